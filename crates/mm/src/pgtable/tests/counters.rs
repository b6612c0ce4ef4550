//! The packed counters of a leaf table.

use crate::pgtable::{ENTRIES, LeafCounters, PageFlags, Pfn, Pte};

fn pte(bits: u32) -> Pte {
    Pte {
        pfn: Pfn(u64::from(bits)),
        flags: PageFlags::from_bits_truncate(bits),
    }
}

/// What counters are to say of these entries: present, anonymous, dirty, young.
fn counted(entries: &[Option<Pte>]) -> [u64; 4] {
    let count = |is: &dyn Fn(PageFlags) -> bool| {
        let entries = entries.iter().flatten();
        entries.filter(|pte| is(pte.flags)).count() as u64
    };
    let anon = |flags: PageFlags| !flags.contains(PageFlags::ZERO);
    [
        count(&|_| true),
        count(&anon),
        count(&|flags| anon(flags) && flags.contains(PageFlags::DIRTY)),
        count(&|flags| anon(flags) && flags.contains(PageFlags::ACCESSED)),
    ]
}

fn fields(counters: LeafCounters) -> [u64; 4] {
    [counters.present(), counters.anon(), counters.dirty(), counters.young()]
}

#[test]
fn counts_stay_apart_whatever_entries_become() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut entries = [None; ENTRIES];
    let mut counters = LeafCounters::default();
    let mut may_share = false;
    for round in 0..20_000 {
        // At times nearly all entries are pages, at times nearly none.
        let keep = if round / 2_000 % 2 == 0 { 15 } else { 1 };
        let index = random.usize(0..ENTRIES);
        let new = (random.u32(0..16) < keep).then(|| pte(random.u32(0..=PageFlags::all().bits())));
        let old = core::mem::replace(&mut entries[index], new);
        counters = counters.replaced(LeafCounters::of(old), LeafCounters::of(new));
        if round == 7_000 {
            counters = counters.shared();
            may_share = true;
        }
        assert_eq!(fields(counters), counted(&entries));
        assert_eq!(counters.may_share(), may_share);
        assert_eq!(LeafCounters::from_bits(counters.bits()), counters);
    }
}

#[test]
fn a_full_table_is_counted_and_an_empty_one() {
    let full = LeafCounters::of(Some(pte((PageFlags::all() - PageFlags::ZERO).bits())));
    let mut counters = LeafCounters::default().shared();
    for _ in 0..ENTRIES {
        counters = counters.replaced(LeafCounters::default(), full);
    }
    assert_eq!(fields(counters), [ENTRIES as u64; 4]);
    for _ in 0..ENTRIES {
        counters = counters.replaced(full, LeafCounters::default());
    }
    assert_eq!((fields(counters), counters.may_share()), ([0; 4], true));
}

#[test]
fn a_page_of_zeros_is_present_and_nothing_else() {
    let zero = LeafCounters::of(Some(pte(PageFlags::all().bits())));
    assert_eq!(fields(zero), [1, 0, 0, 0]);
    assert_eq!(LeafCounters::of(None), LeafCounters::default());
}
