//! Random calls do the same in every store, and the accounts match the mappings.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use vmaple_mm::{
    Layout, Limits, MapFlags, MapleStore, Mm, PartialEffects, Prot, RbStore, VirtAddr, VmaLockStore, VmaRead, VmaStore,
};

const PAGE: u64 = 0x1000;
const PAGES: u64 = 64;
const BASE: u64 = 0x7000_0000_0000;

/// One VMA as numbers and text, and the accounts.
type Seen = (Vec<(u64, u64, u64, u64, Option<Vec<u8>>)>, usize, u64);

fn new<S: VmaStore>(limits: Limits) -> Mm<S> {
    let mut layout = Layout::default();
    layout.min_addr = VirtAddr(BASE);
    layout.mmap_base = VirtAddr(BASE + PAGES * PAGE);
    layout.task_size = VirtAddr(BASE + (PAGES + 8) * PAGE);
    layout.start_brk = VirtAddr(BASE + 4 * PAGE);
    Mm::new(layout, limits).unwrap()
}

fn seen<S: VmaStore>(mm: &Mm<S>) -> Seen {
    let reader = mm.reader().unwrap();
    let section = reader.read_lock().unwrap();
    let vmas: Vec<_> = section.iter_from(VirtAddr(0)).collect();
    assert!(vmas.is_sorted_by(|one, other| one.end() <= other.start()));
    // A search finds what a walk reaches.
    for page in 0..PAGES + 8 {
        let addr = BASE + page * PAGE;
        let find = vmas.iter().find(|vma| vma.end().0 > addr).map(|vma| vma.start());
        assert_eq!(section.find(VirtAddr(addr)).map(vmaple_mm::Vma::start), find);
        let prev = vmas.iter().rfind(|vma| vma.start().0 < addr).map(|vma| vma.start());
        assert_eq!(section.find_prev(VirtAddr(addr)).map(vmaple_mm::Vma::start), prev);
    }
    let pages = vmas.iter().map(|vma| vma.pages()).sum();
    assert_eq!((mm.map_count(), mm.total_vm()), (vmas.len(), pages));
    let fields = |vma: &&vmaple_mm::Vma| {
        let name = vma.anon_name().map(<[u8]>::to_vec);
        let offset = vma.pgoff();
        (vma.start().0, vma.end().0, vma.flags().bits(), offset, name)
    };
    (vmas.iter().map(fields).collect(), vmas.len(), pages)
}

/// One random call, from numbers.
fn call<S: VmaStore>(mm: &Mm<S>, numbers: [u64; 5]) -> Result<u64, String> {
    let [kind, place, size, prot, how] = numbers;
    let addr = VirtAddr(BASE + place % (PAGES + 4) * PAGE);
    let len = size % 8 * PAGE;
    let prot = Prot::from_bits_retain((prot % 8) as u32);
    let anonymous = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    let told = |e: vmaple_mm::Error| e.to_string();
    match kind % 8 {
        0..=2 => {
            let more = [
                MapFlags::FIXED,
                MapFlags::FIXED_NOREPLACE,
                MapFlags::empty(),
                MapFlags::NORESERVE,
            ];
            let flags = anonymous | more[(how % 4) as usize];
            mm.mmap(addr, len, prot, flags, None, 0).map(|at| at.0).map_err(told)
        }
        3 | 4 => mm.munmap(addr, len).map(|()| 0).map_err(told),
        5 => mm.mprotect(addr, len, prot).map(|()| 0).map_err(told),
        6 => Ok(mm.brk(VirtAddr(BASE + 4 * PAGE + how % (12 * PAGE))).0),
        _ => {
            let name = [None, Some(&b"a"[..]), Some(&b"b"[..])][(how % 3) as usize];
            mm.set_anon_vma_name(addr, len, name).map(|()| 0).map_err(told)
        }
    }
}

#[test]
fn random_calls_do_the_same_in_every_store() {
    let seed = std::env::var("VMAPLE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("VMAPLE_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for round in 0..40 {
        let mut limits = Limits::default();
        limits.max_map_count = if round % 2 == 0 { 65_530 } else { 12 };
        limits.address_space = if round % 3 == 0 { 40 * PAGE } else { u64::MAX };
        limits.data = if round % 4 == 0 { 20 * PAGE } else { u64::MAX };
        limits.partial_effects = [PartialEffects::None, PartialEffects::AsLinux][round / 2 % 2];
        let (maple, rb) = (new::<MapleStore>(limits), new::<RbStore>(limits));
        let vma_lock = new::<VmaLockStore>(limits);
        for step in 0..500 {
            let numbers = std::array::from_fn(|_| rng.u64(..));
            let before = seen(&maple);
            let change = maple.change();
            let done = call(&maple, numbers);
            assert_eq!(done, call(&rb, numbers), "round {round}, step {step}");
            assert_eq!(done, call(&vma_lock, numbers), "round {round}, step {step}");
            let after = seen(&maple);
            assert_eq!(after, seen(&rb), "round {round}, step {step}");
            assert_eq!(after, seen(&vma_lock), "round {round}, step {step}");
            if maple.change() == change {
                assert_eq!(after, before);
            }
            assert!(after.2 * PAGE <= limits.address_space);
            // A call may start at the limit and add a mapping. One that fails may leave two splits
            // instead: Linux checks the limit of pages after it has split at the start and at the
            // end, and that of mappings before.
            let added = match limits.partial_effects {
                PartialEffects::AsLinux => 2,
                _ => 1,
            };
            assert!(after.1 <= limits.max_map_count + added, "round {round}, step {step}");
        }
    }
}
