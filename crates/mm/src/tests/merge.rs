//! The rules of merge and split: the cases of Linux one by one, and all small address spaces
//! against a model that knows pages only.
//!
//! A drawing has a letter for each page, which stands for its mapping, `.` for a page of a hole,
//! and `|` between two VMAs.

use core::ops::Range;
use std::string::String;
use std::vec::Vec;

use crate::vma::{
    Accounts, AnonVma, Landmarks, MAY_ACCESS, Mapping, Merge, Neighbours, Pages, Plan, Request, Role, VmFlags, Vma,
};
use crate::{PAGE_SIZE, VirtAddr, VirtRange};

/// The page number of the first letter. There is room below.
const FIRST: u64 = 16;

/// No VMA of these tests is heap or stack.
const NOWHERE: Landmarks = Landmarks {
    start_brk: VirtAddr(0),
    brk: VirtAddr(0),
    start_stack: VirtAddr(0),
};

/// A mapping: the letter stands for a protection, `anon_vma` for an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    letter: char,
    anon_vma: u64,
}

impl Kind {
    fn mapping(self) -> Mapping {
        let prot = match self.letter {
            'a' | 'P' => VmFlags::READ,
            'b' | 'M' => VmFlags::READ | VmFlags::WRITE,
            'c' | 'N' => VmFlags::READ | VmFlags::EXEC,
            _ => VmFlags::empty(),
        };
        Mapping {
            flags: prot | MAY_ACCESS,
            file: None,
            anon_name: None,
            anon_vma: AnonVma::new(self.anon_vma),
        }
    }
}

fn addr(page: usize) -> VirtAddr {
    VirtAddr((FIRST + page as u64) * PAGE_SIZE)
}

/// VMAs of pages `start..end`, each with its kind.
type Run = (usize, usize, Kind);

fn vmas(runs: &[Run]) -> Vec<Vma> {
    runs.iter()
        .map(|&(start, end, kind)| {
            Vma::new(
                (addr(start)..addr(end)).into(),
                FIRST + start as u64,
                kind.mapping(),
                Role::None,
            )
        })
        .collect()
}

fn neighbours<'t>(vmas: &'t [Vma], pages: &Range<usize>) -> Neighbours<'t> {
    let range = addr(pages.start)..addr(pages.end);
    let from = range.start - 1;
    Neighbours::new(range.into(), vmas.iter().filter(move |vma| vma.range().end > from))
}

/// Executes a plan on a vector, as a store does, and checks what a store relies on.
fn replaced(vmas: Vec<Vma>, plan: Plan) -> Vec<Vma> {
    let span = plan.span;
    let is_in = |vma: &Vma| vma.range().start < span.end && span.start < vma.range().end;
    let (removed, mut kept): (Vec<_>, Vec<_>) = vmas.into_iter().partition(is_in);
    let lies_in = |vma: &Vma| span.start <= vma.range().start && vma.range().end <= span.end;
    assert!(removed.iter().all(lies_in), "a VMA reaches out of the span");
    let mut counts = Accounts::default();
    removed.iter().for_each(|vma| counts.add(vma));
    assert_eq!(plan.removed, counts);
    let insert: Vec<_> = plan.insert.into_iter().flatten().collect();
    assert!(insert.iter().all(lies_in) && insert.is_sorted_by(|one, next| one.range().end <= next.range().start));
    kept.extend(insert);
    kept.sort_by_key(|vma| vma.range().start);
    kept
}

/// Parses a drawing. No mapping has an identity.
fn drawn(text: &str) -> Vec<Run> {
    let (mut runs, mut page) = (Vec::<Run>::new(), 0);
    let mut begins = true;
    for letter in text.chars() {
        match (letter, runs.last_mut()) {
            ('|', _) => {
                begins = true;
                continue;
            }
            ('.', _) => begins = true,
            (letter, Some((_, end, kind))) if !begins && kind.letter == letter => *end += 1,
            (letter, _) => {
                runs.push((page, page + 1, Kind { letter, anon_vma: 0 }));
                begins = false;
            }
        }
        page += 1;
    }
    runs
}

fn drawing(vmas: &[Vma], letters: &[char]) -> String {
    let mut text = String::new();
    let mut at = addr(0);
    for vma in vmas {
        let pages = ((vma.range().start - at) / PAGE_SIZE) as usize;
        text.push_str(&".".repeat(pages));
        if pages == 0 && at > addr(0) {
            text.push('|');
        }
        let of = |letter: &&char| {
            Kind {
                letter: **letter,
                anon_vma: 0,
            }
            .mapping()
            .flags
                == vma.flags()
        };
        let letter = letters.iter().find(of).unwrap();
        text.extend(core::iter::repeat_n(*letter, vma.pages() as usize));
        at = vma.range().end;
    }
    text
}

/// Checks that `change` of the pages 4 to 7 turns `before` into `after`, and what becomes of these
/// pages.
#[track_caller]
fn becomes(before: &str, change: (Want, char), after: &str, pages: fn(VirtRange) -> Pages) {
    let before = vmas(&drawn(before));
    let range = 4..8;
    let plan = neighbours(&before, &range).plan(change.0.request(change.1, range.start), &NOWHERE);
    assert_eq!(plan.pages, pages(VirtRange::new(addr(4), addr(8))));
    assert_eq!(drawing(&replaced(before, plan), &['P', 'M', 'N', '*']), after);
}

#[derive(Clone, Copy)]
enum Want {
    Map,
    Unmap,
    Modify,
}

impl Want {
    fn request(self, letter: char, page: usize) -> Request {
        let mapping = Kind { letter, anon_vma: 0 }.mapping();
        match self {
            Self::Map => Request::Map {
                mapping,
                pgoff: FIRST + page as u64,
                merge: Merge::Both,
            },
            Self::Unmap => Request::Unmap,
            Self::Modify => Request::Modify(mapping),
        }
    }
}

const KEEP: fn(VirtRange) -> Pages = |_| Pages::Keep;

#[test]
fn a_new_mapping_of_a_hole_merges_in_linux_s_cases_1_to_3() {
    becomes("PPPP....PPPP", (Want::Map, 'P'), "PPPPPPPPPPPP", KEEP);
    becomes("PPPP....NNNN", (Want::Map, 'P'), "PPPPPPPP|NNNN", KEEP);
    becomes("PPPP....NNNN", (Want::Map, 'N'), "PPPP|NNNNNNNN", KEEP);
    becomes("PPPP....NNNN", (Want::Map, '*'), "PPPP|****|NNNN", KEEP);
    becomes("PPP......NNN", (Want::Map, 'P'), "PPP.PPPP.NNN", KEEP);
}

#[test]
fn a_part_of_a_mapping_that_changes_merges_in_linux_s_cases_4_to_8() {
    let change = |letter| (Want::Modify, letter);
    becomes("PPPPPPPPPPPP", change('*'), "PPPP|****|PPPP", Pages::Protect);
    becomes("PPPPPPPPNNNN", change('N'), "PPPP|NNNNNNNN", Pages::Protect); // 4
    becomes("PPPPPPPPNNNN", change('*'), "PPPP|****|NNNN", Pages::Protect);
    becomes("PPPPNNNNNNNN", change('P'), "PPPPPPPP|NNNN", Pages::Protect); // 5
    becomes("PPPPNNNNNNNN", change('*'), "PPPP|****|NNNN", Pages::Protect);
    becomes("PPPPMMMMPPPP", change('P'), "PPPPPPPPPPPP", Pages::Protect); // 6
    becomes("PPPPMMMMNNNN", change('P'), "PPPPPPPP|NNNN", Pages::Protect); // 7
    becomes("PPPPMMMMNNNN", change('N'), "PPPP|NNNNNNNN", Pages::Protect); // 8
    becomes("PPPPMMMMNNNN", change('*'), "PPPP|****|NNNN", Pages::Protect);
    // As a change of the name: the protection stays, and the pages with it.
    becomes("....MMMM....", change('M'), "....MMMM", KEEP);
}

#[test]
fn a_new_mapping_replaces_what_is_in_its_range_and_the_old_pages_go() {
    let map = |letter| (Want::Map, letter);
    becomes("PPPPPPMNNNNN", map('*'), "PPPP|****|NNNN", Pages::ZapReplaced);
    becomes("PPPPPPMNNNNN", map('P'), "PPPPPPPP|NNNN", Pages::ZapReplaced);
    becomes("PPPPPPMNNNNN", map('N'), "PPPP|NNNNNNNN", Pages::ZapReplaced);
    becomes("PPPPPPMPPPPP", map('P'), "PPPPPPPPPPPP", Pages::ZapReplaced);
    becomes("PPPPPPPPPPPP", map('P'), "PPPPPPPPPPPP", Pages::ZapReplaced);
    becomes("PPPPPPPPPPPP", map('*'), "PPPP|****|PPPP", Pages::ZapReplaced);
    becomes("PPPP.M..NNNN", map('P'), "PPPPPPPP|NNNN", Pages::ZapReplaced);
}

#[test]
fn munmap_leaves_what_is_outside_of_its_range() {
    let unmap = (Want::Unmap, '*');
    becomes("PPPPPPMNNNNN", unmap, "PPPP....NNNN", Pages::Zap);
    becomes("PPPPPPPPPPPP", unmap, "PPPP....PPPP", Pages::Zap);
    becomes("..PP.MM.NN..", unmap, "..PP....NN", Pages::Zap);
}

#[test]
fn the_heap_merges_with_the_heap_alone() {
    let heap = Landmarks {
        start_brk: addr(4),
        brk: addr(8),
        start_stack: VirtAddr(0),
    };
    let grown = |before: &str, pages: Range<usize>| {
        let before = vmas(&drawn(before));
        let request = Request::Map {
            mapping: Kind {
                letter: 'P',
                anon_vma: 0,
            }
            .mapping(),
            pgoff: FIRST + pages.start as u64,
            merge: Merge::Heap,
        };
        let plan = neighbours(&before, &pages).plan(request, &heap);
        let after = replaced(before, plan);
        let roles: Vec<_> = after.iter().map(Vma::role).collect();
        (drawing(&after, &['P']), roles)
    };
    // The second mapping lies in the heap, but was made without this role.
    assert_eq!(
        grown("PPPP....PPPP", 4..8),
        ("PPPP|PPPP|PPPP".into(), [Role::None, Role::Heap, Role::None].into())
    );
    assert_eq!(
        grown("PPPP|PP..PPPP", 6..8),
        ("PPPP|PPPP|PPPP".into(), [Role::None, Role::Heap, Role::None].into())
    );
}

/// The model: the mapping of each page, and the pages where VMAs start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    pages: [Option<Kind>; PAGES],
    begins: [bool; PAGES],
}

const PAGES: usize = 5;

impl Model {
    fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::<Run>::new();
        for (page, kind) in self.pages.iter().enumerate() {
            match (kind, runs.last_mut()) {
                (None, _) => {}
                (Some(_), Some((_, end, _))) if *end == page && !self.begins[page] => *end += 1,
                (Some(kind), _) => runs.push((page, page + 1, *kind)),
            }
        }
        runs
    }

    fn of(vmas: &[Vma]) -> Vec<Run> {
        let page = |addr: VirtAddr| (addr.page_number() - FIRST) as usize;
        let run = |vma: &Vma| {
            let letter = ['a', 'b'].into_iter().find(|&letter| {
                let kind = Kind { letter, anon_vma: 0 };
                kind.mapping().flags == vma.flags()
            });
            let ids = 0..=2;
            let anon_vma = ids.into_iter().find(|&id| AnonVma::new(id) == vma.anon_vma());
            assert_eq!(vma.pgoff(), vma.range().start.page_number());
            let kind = Kind {
                letter: letter.unwrap(),
                anon_vma: anon_vma.unwrap(),
            };
            (page(vma.range().start), page(vma.range().end), kind)
        };
        vmas.iter().map(run).collect()
    }

    /// Sets one page after the other; then closes the two seams, the lower one first.
    fn put(&mut self, range: Range<usize>, kind: Option<Kind>) {
        for page in range.clone() {
            self.pages[page] = kind;
            self.begins[page] = page == range.start;
        }
        if range.end < PAGES {
            self.begins[range.end] = true;
        }
        for seam in [range.start, range.end] {
            self.close(seam);
        }
    }

    /// Merges the VMAs on both sides, if they are alike, or differ only in that one has no
    /// identity.
    fn close(&mut self, seam: usize) {
        if seam == 0 || seam == PAGES {
            return;
        }
        let (Some(left), Some(right)) = (self.pages[seam - 1], self.pages[seam]) else {
            return;
        };
        let has_one_identity = left.anon_vma == right.anon_vma || left.anon_vma.min(right.anon_vma) == 0;
        if left.letter != right.letter || !has_one_identity {
            return;
        }
        self.begins[seam] = false;
        let kind = Kind {
            anon_vma: left.anon_vma.max(right.anon_vma),
            ..left
        };
        let mut low = seam - 1;
        while low > 0 && !self.begins[low] && self.pages[low - 1].is_some() {
            low -= 1;
        }
        let mut high = seam + 1;
        while high < PAGES && !self.begins[high] && self.pages[high].is_some() {
            high += 1;
        }
        self.pages[low..high].fill(Some(kind));
    }
}

/// Visits every space of a few pages: each page is a hole, or continues the VMA before it, or
/// starts one of two protections and three identities.
fn all_spaces(visit: &mut impl FnMut(&Model)) {
    fn extend(model: &mut Model, page: usize, visit: &mut impl FnMut(&Model)) {
        if page == PAGES {
            return visit(model);
        }
        model.begins[page] = true;
        model.pages[page] = None;
        extend(model, page + 1, visit);
        for letter in ['a', 'b'] {
            for anon_vma in 0..=2 {
                model.begins[page] = true;
                model.pages[page] = Some(Kind { letter, anon_vma });
                extend(model, page + 1, visit);
            }
        }
        if page > 0 && model.pages[page - 1].is_some() {
            model.begins[page] = false;
            model.pages[page] = model.pages[page - 1];
            extend(model, page + 1, visit);
        }
    }
    let mut model = Model {
        pages: [None; PAGES],
        begins: [true; PAGES],
    };
    extend(&mut model, 0, visit);
}

fn ranges() -> impl Iterator<Item = Range<usize>> {
    (0..PAGES).flat_map(|start| (start + 1..=PAGES).map(move |end| start..end))
}

fn check(model: &Model, before: &[Run], range: &Range<usize>, request: Request, wanted: Option<Kind>) {
    let before = vmas(before);
    let is_new = !matches!(request, Request::Modify(_));
    let plan = neighbours(&before, range).plan(request, &NOWHERE);
    let range_addrs = addr(range.start)..addr(range.end);
    let pages = match wanted {
        None => Pages::Zap(range_addrs.into()),
        Some(_) if !is_new => Pages::Protect(range_addrs.into()),
        Some(_) if model.pages[range.clone()].iter().any(Option::is_some) => Pages::ZapReplaced(range_addrs.into()),
        Some(_) => Pages::Keep,
    };
    assert_eq!(plan.pages, pages);
    let count = before.len();
    let growth = plan.growth();
    let after = replaced(before, plan);
    assert_eq!(growth, after.len().saturating_sub(count));
    let mut expected = model.clone();
    expected.put(range.clone(), wanted);
    assert_eq!(
        Model::of(&after),
        expected.runs(),
        "{:?}, {range:?} becomes {wanted:?}",
        model.runs()
    );
}

#[test]
fn a_split_leaves_two_mappings_of_the_same() {
    let before = vmas(&drawn("PPPPPPPP"));
    let plan = Plan::split(&before[0], addr(3), &NOWHERE);
    assert_eq!((plan.growth(), &plan.pages), (1, &Pages::Keep));
    assert_eq!(drawing(&replaced(before, plan), &['P']), "PPP|PPPPP");
}

#[test]
fn every_small_space_becomes_what_its_pages_say() {
    let new = ['a', 'b'].map(|letter| Kind { letter, anon_vma: 0 });
    let mut spaces = 0_u32;
    all_spaces(&mut |model| {
        spaces += 1;
        let runs = model.runs();
        for range in ranges() {
            check(model, &runs, &range, Request::Unmap, None);
            for kind in new {
                let request = Request::Map {
                    mapping: kind.mapping(),
                    pgoff: FIRST + range.start as u64,
                    merge: Merge::Both,
                };
                check(model, &runs, &range, request, Some(kind));
            }
            // A part of one VMA, which keeps its identity.
            if let Some((_, _, kind)) = runs
                .iter()
                .find(|(start, end, _)| *start <= range.start && range.end <= *end)
            {
                let letter = if kind.letter == 'a' { 'b' } else { 'a' };
                let kind = Kind { letter, ..*kind };
                check(model, &runs, &range, Request::Modify(kind.mapping()), Some(kind));
            }
        }
    });
    assert_eq!(spaces, 26_839);
}
