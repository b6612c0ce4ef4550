//! The rules of merge and split: which VMAs replace which, and what becomes of the pages.
//!
//! Pure: no lock, no store. A call collects the [`Neighbours`] of its range and makes a
//! [`Request`]. The answer is a [`Plan`], which the transaction executes.
//!
//! # The cases
//! `P` is the VMA of the page before the range, `N` that of the page after it, `M` what lies
//! between. `*` is the request, if it stays a VMA of its own. The numbers are those of `vma_merge`
//! in `mm/mmap.c` of Linux before 6.12.
//!
//! mmap or brk maps a hole:
//! ```text
//!     prev|range|next
//!     PPPP|     |NNNN      PPPPPPPPPPPPP   1  continues both, and they continue each other
//!     PPPP|     |NNNN      PPPPPPPPP NNNN  2  continues prev
//!     PPPP|     |NNNN      PPPP NNNNNNNNN  3  continues next
//!     PPPP|     |NNNN      PPPP ***** NNNN    continues neither
//! ```
//! mprotect or a name changes a part of one VMA, which reaches out of the range at both ends, at
//! one, or at none:
//! ```text
//!     PPPP|PPPPP|PPPP      PPPP ***** PPPP    split at both ends
//!     PPPP|PPPPP|NNNN      PPPP NNNNNNNNN  4  continues next: a boundary moves down
//!     PPPP|PPPPP|NNNN      PPPP ***** NNNN    split at the start
//!     PPPP|NNNNN|NNNN      PPPPPPPPP NNNN  5  continues prev: a boundary moves up
//!     PPPP|NNNNN|NNNN      PPPP ***** NNNN    split at the end
//!     PPPP|MMMMM|NNNN      PPPPPPPPPPPPP   6  continues both, and they continue each other
//!     PPPP|MMMMM|NNNN      PPPPPPPPP NNNN  7  continues prev
//!     PPPP|MMMMM|NNNN      PPPP NNNNNNNNN  8  continues next
//!     PPPP|MMMMM|NNNN      PPPP ***** NNNN    continues neither
//! ```
//! mmap replaces what is in the range, as if it were a hole. `M` is any number of VMAs; `P` and `N`
//! may reach into the range, and may be one VMA:
//! ```text
//!     PPPP|PPMNN|NNNN      PPPP ***** NNNN    or merged as in 1, 2 and 3
//!     PPPP|PPPPP|PPPP      PPPPPPPPPPPPP      continues what it replaces; the pages are new
//! ```
//! munmap or brk removes what is in the range:
//! ```text
//!     PPPP|PPMNN|NNNN      PPPP       NNNN
//! ```

use super::accounts::Accounts;
use super::role::{Landmarks, Role};
use super::vma::{Mapping, Vma};
use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange};

/// The VMAs in a range and next to it.
pub(crate) struct Neighbours<'t> {
    range: VirtRange,
    /// The VMA of the page before the range. It may reach into the range, and beyond it.
    prev: Option<&'t Vma>,
    /// The first VMA with a page in the range.
    middle: Option<&'t Vma>,
    /// The VMA of the page after the range. It may start in the range, or before it.
    next: Option<&'t Vma>,
    /// The counts of all VMAs with a page in the range.
    inside: Accounts,
    /// The pages in the range that are mapped.
    pages: u64,
}

/// A call's request for a range.
pub(crate) enum Request {
    /// Maps it, and replaces what is there.
    #[doc(alias = "vma_merge_new_range")]
    Map { mapping: Mapping, pgoff: u64, merge: Merge },
    /// Removes what is there.
    #[doc(alias = "vms_gather_munmap_vmas")]
    Unmap,
    /// Changes the part of one VMA that is the range. Its offset in its object stays.
    #[doc(alias = "vma_merge_existing_range")]
    Modify(Mapping),
}

/// The neighbours that a new mapping may merge with.
#[derive(Clone, Copy)]
pub(crate) enum Merge {
    Both,
    /// Only the one before, if it ends above the start of the heap: a VMA that ends there is not
    /// heap.
    Heap,
}

/// The edit that a transaction is to make.
pub(crate) struct Plan {
    /// The range in which `insert` replaces all VMAs. No VMA reaches out of it.
    pub(crate) span: VirtRange,
    /// The counts of the VMAs in `span`.
    pub(crate) removed: Accounts,
    /// The new VMAs. They ascend and lie in `span`.
    pub(crate) insert: [Option<Vma>; 3],
    pub(crate) pages: Pages,
}

/// What becomes of the pages after the new VMAs are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// They stay as they are.
    Keep,
    /// They are zapped. The range is a hole.
    Zap(VirtRange),
    /// They are zapped while the new mapping is already there. Faults in the range wait until then.
    ZapReplaced(VirtRange),
    /// They get the protections of the VMAs there.
    Protect(VirtRange),
}

impl<'t> Neighbours<'t> {
    /// Collects the neighbours of `range` in one walk. `vmas` ascend, from the VMA of the page
    /// before the range on.
    #[inline(always)]
    pub(crate) fn new(range: VirtRange, vmas: impl Iterator<Item = &'t Vma>) -> Self {
        let (mut prev, mut middle, mut next, mut inside, mut pages) = (None, None, None, Accounts::default(), 0);
        for vma in vmas {
            let VirtRange { start, end } = vma.range();
            if start > range.end {
                break;
            }
            if start < range.start {
                prev = Some(vma);
            }
            if start < range.end && end > range.start {
                middle = middle.or(Some(vma));
                inside.add(vma);
                pages += (end.min(range.end) - start.max(range.start)) >> PAGE_SHIFT;
            }
            if end > range.end {
                next = Some(vma);
                break;
            }
        }
        Self {
            range,
            prev,
            middle,
            next,
            inside,
            pages,
        }
    }

    /// Whether something is mapped in the range.
    pub(crate) fn is_occupied(&self) -> bool {
        self.middle.is_some()
    }

    /// Returns the number of mapped pages in the range.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether one VMA reaches out of the range at both ends. Unmapping the range splits it.
    #[inline]
    pub(crate) fn is_split(&self) -> bool {
        let reaches_out = |vma: &Vma| vma.range().start < self.range.start && self.range.end < vma.range().end;
        self.middle.is_some_and(reaches_out)
    }

    /// Whether a VMA has a page in the range.
    #[inline]
    fn is_inside(&self, vma: &Vma) -> bool {
        vma.range().overlaps(self.range)
    }

    /// Plans a call.
    // Inlined, as `new` and `replace`: each caller makes one kind of request, for which little of
    // this is left.
    #[inline(always)]
    pub(crate) fn plan(&self, request: Request, landmarks: &Landmarks) -> Plan {
        let range = self.range;
        let whole = |mapping: Mapping, pgoff| Piece { range, pgoff, mapping };
        match request {
            Request::Unmap => self.replace(None, Merge::Both, Pages::Zap(range), landmarks),
            Request::Map { mapping, pgoff, merge } => {
                let piece = whole(mapping, pgoff);
                let pages = if self.is_occupied() {
                    Pages::ZapReplaced(range)
                } else {
                    Pages::Keep
                };
                self.replace(Some(piece), merge, pages, landmarks)
            }
            Request::Modify(mapping) => {
                let (old, pgoff) = self
                    .middle
                    .map_or((mapping.flags, 0), |vma| (vma.flags(), vma.pgoff_at(range.start)));
                let pages = if mapping.flags == old {
                    Pages::Keep
                } else {
                    Pages::Protect(range)
                };
                self.replace(Some(whole(mapping, pgoff)), Merge::Both, pages, landmarks)
            }
        }
    }

    /// Replaces the range by `piece`, merged with the neighbours that it continues. Other
    /// neighbours keep their parts outside.
    #[inline(always)]
    fn replace(&self, mut piece: Option<Piece>, merge: Merge, pages: Pages, landmarks: &Landmarks) -> Plan {
        let (mut prev, mut next) = (self.prev, self.next);
        let mut removed = self.inside;
        if let Some(piece) = &mut piece {
            let (with_prev, with_next) = match merge {
                Merge::Both => (true, true),
                Merge::Heap => (prev.is_some_and(|prev| prev.range().end > landmarks.start_brk), false),
            };
            for (neighbour, may_merge) in [(&mut prev, with_prev), (&mut next, with_next)] {
                if let Some(vma) = neighbour.take_if(|vma| may_merge && piece.continues(vma)) {
                    piece.join(vma);
                    if !self.is_inside(vma) {
                        removed.add(vma);
                    }
                }
            }
        }
        let prev = prev.filter(|vma| self.is_inside(vma));
        let next = next.filter(|vma| self.is_inside(vma));
        let whole = piece.as_ref().map_or(&self.range, |piece| &piece.range);
        Plan {
            span: VirtRange::new(
                prev.map_or(whole.start, |vma| vma.range().start),
                next.map_or(whole.end, |vma| vma.range().end),
            ),
            removed,
            insert: [
                prev.map(|vma| part(vma, VirtRange::new(vma.range().start, self.range.start), landmarks)),
                piece.map(|piece| piece.vma(landmarks)),
                next.map(|vma| part(vma, VirtRange::new(self.range.end, vma.range().end), landmarks)),
            ],
            pages,
        }
    }
}

impl Plan {
    /// Plans to split a VMA at `addr`, which is inside it.
    pub(crate) fn split(vma: &Vma, addr: VirtAddr, landmarks: &Landmarks) -> Self {
        let span = vma.range();
        let mut removed = Accounts::default();
        removed.add(vma);
        let part = |start, end| Some(part(vma, VirtRange::new(start, end), landmarks));
        Self {
            insert: [part(span.start, addr), part(addr, span.end), None],
            span,
            removed,
            pages: Pages::Keep,
        }
    }

    /// Returns by how many the VMAs increase; 0 if they decrease.
    #[inline]
    pub(crate) fn growth(&self) -> usize {
        self.insert
            .iter()
            .flatten()
            .count()
            .saturating_sub(self.removed.map_count)
    }
}

impl Pages {
    /// Returns the range in which translations end or allow less.
    #[inline]
    pub(crate) fn range(&self) -> VirtRange {
        match self {
            Self::Keep => VirtRange::default(),
            Self::Zap(range) | Self::ZapReplaced(range) | Self::Protect(range) => *range,
        }
    }

    /// Adds what becomes of the pages of the call's next plan.
    ///
    /// A call makes several plans only to change one VMA after the other, or to split. Their ranges
    /// ascend.
    #[inline]
    pub(crate) fn add(&mut self, next: Self) {
        match (&mut *self, next) {
            (_, Self::Keep) => {}
            (Self::Protect(first), Self::Protect(last)) => first.end = last.end,
            (pages, next) => *pages = next,
        }
    }
}

/// A VMA to be made.
struct Piece {
    range: VirtRange,
    pgoff: u64,
    mapping: Mapping,
}

impl Piece {
    /// Whether it continues a neighbour, or is continued by it.
    #[inline]
    fn continues(&self, vma: &Vma) -> bool {
        vma.continues_as(self.range.start, self.pgoff, &self.mapping)
    }

    /// Grows over a neighbour. If one of the two has no identity, it gets that of the other.
    #[inline]
    fn join(&mut self, vma: &Vma) {
        if vma.range().start < self.range.start {
            (self.range.start, self.pgoff) = (vma.range().start, vma.pgoff());
        }
        self.range.end = self.range.end.max(vma.range().end);
        self.mapping.anon_vma = self.mapping.anon_vma.or(vma.anon_vma());
    }

    #[inline]
    fn vma(self, landmarks: &Landmarks) -> Vma {
        let role = match &self.mapping.file {
            Some(_) => Role::None,
            None => landmarks.role(self.range),
        };
        Vma::new(self.range, self.pgoff, self.mapping, role)
    }
}

/// Makes a VMA of a part of another one.
#[doc(alias = "__split_vma")]
fn part(vma: &Vma, range: VirtRange, landmarks: &Landmarks) -> Vma {
    let piece = Piece {
        pgoff: vma.pgoff_at(range.start),
        mapping: vma.mapping(),
        range,
    };
    piece.vma(landmarks)
}
