//! What a scan keeps of a mapping, and of all.

use vmaple_smaps::{Mapping, MemSizeStats, VmaRecord};

/// The size of a page, and of what an entry of the last page table maps.
pub(crate) const PAGE: u64 = 4096;

/// A mapping as a scan saw it, or the part that is new to the scan. It borrows from the
/// [`Scan`](crate::Scan).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanRecord<'a> {
    /// Its line of maps, its flags, and its pages from `vma.new_from` on.
    pub mapping: Mapping<'a>,
    /// Its resident bytes by generation, the youngest first, if [`Options::ages`] asks for them.
    /// What is on no list of the kernel, as locked pages, is in none.
    ///
    /// [`Options::ages`]: crate::Options::ages
    pub ages: Option<Ages>,
    /// Whether the line is known to be of one instant. If not, it passed the tests of structure
    /// alone.
    pub is_validated: bool,
    /// Whether a writer was inside between the line's instant and the end of counting.
    ///
    /// If so, some of the pages may be those of a mapping that came after it.
    pub counts_later: bool,
}

/// Bytes by generation of the multi-gen LRU, the youngest first.
pub type Ages = [u64; 4];

/// A record as it is kept, its name and its pages elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Its name has its kind and no text.
    pub(crate) vma: VmaRecord<'static>,
    pub(crate) vm_flags: u64,
    pub(crate) lost_letters: bool,
    pub(crate) page_bytes: u64,
    pub(crate) thp_eligible: Option<bool>,
    pub(crate) name: NamePlace,
    pub(crate) is_validated: bool,
    pub(crate) counts_later: bool,
}

/// Where the text of a name is, in the text of all names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamePlace {
    pub(crate) at: usize,
    pub(crate) bytes: usize,
}

impl Line {
    /// Returns the line of a mapping that was seen at one instant.
    pub(crate) fn new(mapping: &Mapping<'_>, name: NamePlace) -> Self {
        Self {
            vma: mapping.vma.with_name_text(b""),
            vm_flags: mapping.vm_flags,
            lost_letters: mapping.lost_letters,
            page_bytes: mapping.page_bytes,
            thp_eligible: mapping.thp_eligible,
            name,
            is_validated: true,
            counts_later: false,
        }
    }

    /// Returns the text of its name.
    pub(crate) fn name<'a>(&self, names: &'a [u8]) -> &'a [u8] {
        let NamePlace { at, bytes } = self.name;
        names.get(at..at + bytes).unwrap_or_default()
    }
}

/// The mappings that a scan found, ascending.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    pub(crate) lines: Vec<Line>,
    /// The pages of each; empty where they are not wanted.
    pub(crate) stats: Vec<MemSizeStats>,
    /// The ages of each one's pages; empty where they are not wanted.
    pub(crate) ages: Vec<Ages>,
    /// How many of them, from the first on, are the process's own: `[vsyscall]` is not.
    pub(crate) own: usize,
    /// The text of all names.
    pub(crate) names: Vec<u8>,
}

impl Mappings {
    /// Returns the process's own.
    pub(crate) fn own(&self) -> &[Line] {
        self.lines.get(..self.own).unwrap_or_default()
    }

    /// Returns the pages of the process's own; nothing where they are not wanted.
    pub(crate) fn own_stats(&self) -> &[MemSizeStats] {
        self.stats.get(..self.own).unwrap_or_default()
    }

    /// Returns the records.
    pub(crate) fn records(&self) -> impl Iterator<Item = ScanRecord<'_>> {
        self.lines.iter().enumerate().map(|(i, line)| ScanRecord {
            mapping: Mapping {
                vma: line.vma.with_name_text(line.name(&self.names)),
                vm_flags: line.vm_flags,
                lost_letters: line.lost_letters,
                stats: self.stats.get(i).copied().unwrap_or_default(),
                page_bytes: line.page_bytes,
                thp_eligible: line.thp_eligible,
            },
            ages: self.ages.get(i).copied(),
            is_validated: line.is_validated,
            counts_later: line.counts_later,
        })
    }

    /// Returns their sum.
    pub(crate) fn sum(&self) -> Rollup {
        let own = self.own();
        let mut sum = Rollup {
            start: own.first().map_or(0, |line| line.vma.new_from),
            end: own.last().map_or(0, |line| line.vma.end),
            mappings: own.len() as u64,
            ..Rollup::default()
        };
        for Line { vma, .. } in own {
            sum.size += vma.end - vma.new_from;
        }
        for stats in self.own_stats() {
            sum.stats += stats;
        }
        for ages in self.ages.iter().take(own.len()) {
            add_ages(sum.ages.get_or_insert_default(), ages);
        }
        sum
    }
}

/// The sum over all mappings, as in smaps_rollup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rollup {
    /// The first address of the first mapping.
    pub start: u64,
    /// The end of the last.
    pub end: u64,
    /// How many mappings; 0 where the sum was read as such
    /// ([`Options::sum_alone`](crate::Options::sum_alone)).
    pub mappings: u64,
    /// Their sizes, in bytes; 0 in the same case.
    pub size: u64,
    /// Their pages.
    pub stats: MemSizeStats,
    /// As [`ScanRecord::ages`].
    pub ages: Option<Ages>,
}

/// Adds bytes to those of the same generation.
pub(crate) fn add_ages(to: &mut Ages, ages: &Ages) {
    for (to, bytes) in to.iter_mut().zip(ages) {
        *to += bytes;
    }
}
