//! A record of smaps: a VMA, and the pages that are mapped in it.
//!
//! Source: `show_smap()`, `__show_smap()` and `show_smap_vma_flags()` in Linux's
//! fs/proc/task_mmu.c.

use vmaple_mm::pgtable::{CountBy, PageCounts};
use vmaple_mm::{PAGE_SIZE, VmFlags, Vma};
use vmaple_smaps::{FieldSet, Mapping, TooShort, VmaRecord};

use crate::record::{FORM, stats};
use crate::source::PageSource;

/// A VMA with its pages, as a reader of smaps sees it.
///
/// With the feature `serde` it can be serialized, with the flags as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SmapsRecord<'a> {
    /// The VMA.
    pub vma: VmaRecord<'a>,
    /// Its flags.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize_flags"))]
    pub flags: VmFlags,
    /// The pages from the VMA's `new_from` to its end.
    #[cfg_attr(feature = "serde", serde(with = "crate::record::PageCountsFields"))]
    pub counts: PageCounts,
    /// Whether all of them are this VMA's own.
    ///
    /// If so, what had been mapped there before was gone, and the VMA was live until all were
    /// counted. If not, some may be of the mapping before it or after it; in a
    /// [snapshot](crate::Smaps::snapshot) none is counted then.
    pub was_live: bool,
}

/// The length of all lines but the first, without flags, if no number has more than eight digits.
const COUNTS_LENGTH: usize = 22 * 28 + 25 + 10;

impl<'a> SmapsRecord<'a> {
    /// Makes a record of any origin, of a mapping that was live.
    #[must_use]
    pub const fn from_parts(vma: VmaRecord<'a>, flags: VmFlags, counts: PageCounts) -> Self {
        Self {
            vma,
            flags,
            counts,
            was_live: true,
        }
    }

    /// Makes the record of a VMA, whose line of maps is `record`: counts its pages.
    pub(crate) fn new(source: &impl PageSource, by: CountBy, vma: &Vma, record: VmaRecord<'a>) -> Self {
        let (counts, was_live) = source.count(vma, (record.new_from..record.end).into(), by);
        Self {
            vma: record,
            flags: vma.flags(),
            counts,
            was_live,
        }
    }

    /// Returns the least length of the text of a VMA, whose line of maps is `record`, before its
    /// pages are counted.
    pub(crate) fn min_length(vma: &Vma, record: &VmaRecord<'_>) -> usize {
        let line = record.write_line(&mut []).unwrap_or_else(|short| short.needed);
        line + COUNTS_LENGTH + 3 * vma.flags().bits().count_ones() as usize
    }

    /// Writes the record's lines of smaps at the beginning of `to`, and returns their length in
    /// bytes.
    ///
    /// The first is the line of maps ([`VmaRecord::write_line`]); `Size` is of what that line
    /// shows.
    ///
    /// The text is that of a kernel without `CONFIG_MEM_SOFT_DIRTY` and without
    /// `CONFIG_ARCH_HAS_PKEYS` (or on a processor without protection keys): it has no flag
    /// `sd`, and no line `ProtectionKey`. `THPeligible` is 0, as nothing is in huge pages.
    ///
    /// # Errors
    /// [`TooShort`] if `to` is; what is in it then is part of no record.
    ///
    /// ```
    /// use vmaple_mm::pgtable::PageCounts;
    /// use vmaple_mm::VmFlags;
    /// use vmaple_proc::{Name, Perms, SmapsRecord, VmaRecord};
    ///
    /// let vma = VmaRecord {
    ///     start: 0x10000,
    ///     end: 0x13000,
    ///     perms: Perms { read: true, ..Perms::default() },
    ///     offset: 0,
    ///     dev: (0, 0),
    ///     inode: 0,
    ///     name: Name::None,
    ///     new_from: 0x11000,
    /// };
    /// let mut counts = PageCounts::default();
    /// (counts.rss, counts.pss, counts.private_dirty) = (0x1000, 0x1000 << 12, 0x1000);
    /// let record = SmapsRecord::from_parts(vma, VmFlags::READ | VmFlags::MAYREAD, counts);
    /// let mut to = [0; 1000];
    /// let length = record.write_text(&mut to)?;
    /// let text = std::str::from_utf8(&to[..length])?;
    /// assert!(text.starts_with("00011000-00013000 r--p 00000000 00:00 0 \n"));
    /// assert!(text.contains("\nSize:                  8 kB\n"));
    /// assert!(text.contains("\nPrivate_Dirty:         4 kB\n"));
    /// assert!(text.ends_with("\nTHPeligible:           0\nVmFlags: rd mr \n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_text(&self, to: &mut [u8]) -> Result<usize, TooShort> {
        let mut mapping = Mapping::new(self.vma);
        mapping.vm_flags = self.flags.bits();
        mapping.stats = stats(&self.counts);
        mapping.page_bytes = PAGE_SIZE;
        mapping.thp_eligible = Some(false);
        FORM.write_smaps(&mapping, FieldSet::ALL, to)
    }
}

/// Serializes flags as text: `rd mr`.
#[cfg(feature = "serde")]
fn serialize_flags<S: serde::Serializer>(flags: &VmFlags, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&FORM.letters().text(flags.bits()))
}
