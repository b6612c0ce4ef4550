//! A record of smaps.

use crate::field::{Field, MemSizeStats};
use crate::maps_line::VmaRecord;
use crate::vm_flags::VM_PKEY_SHIFT;

/// The size of a page of a text without KernelPageSize.
const PAGE_BYTES: u64 = 4096;

/// A mapping and its pages, as a reader of smaps sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// Its line of maps.
    pub vma: VmaRecord<'a>,
    /// Its flags, with the bits of its kernel.
    ///
    /// After a text without VmFlags they are what the permissions say.
    pub vm_flags: u64,
    /// Whether the text had letters of flags that are not known, so that `vm_flags` lacks some.
    pub lost_letters: bool,
    /// Its pages, from `vma.new_from` on.
    pub stats: MemSizeStats,
    /// The size of its pages: KernelPageSize, and on all machines but powerpc MMUPageSize.
    pub page_bytes: u64,
    /// Whether huge pages may be used; `None` if it is not known.
    pub thp_eligible: Option<bool>,
}

impl<'a> Mapping<'a> {
    /// Makes the record of a mapping whose line of maps is all that is known.
    #[must_use]
    pub fn new(vma: VmaRecord<'a>) -> Self {
        Self {
            vma,
            vm_flags: vma.perms.vm_flags(),
            lost_letters: false,
            stats: MemSizeStats::default(),
            page_bytes: PAGE_BYTES,
            thp_eligible: None,
        }
    }

    /// Returns a field's value, in bytes or as a number.
    ///
    /// It is `None` if the value is not known, and for VmFlags.
    #[must_use]
    #[inline]
    pub fn value(&self, field: Field) -> Option<u64> {
        match field {
            Field::Size => Some(self.vma.end.saturating_sub(self.vma.new_from)),
            Field::KernelPageSize | Field::MMUPageSize => Some(self.page_bytes),
            Field::THPeligible => self.thp_eligible.map(u64::from),
            Field::ProtectionKey => Some(self.vm_flags >> VM_PKEY_SHIFT & 15),
            Field::VmFlags => None,
            _ => self.stats.bytes(field),
        }
    }

    /// Sets a field's value, as a text has it. The size is known from the line of maps.
    pub(crate) fn set_value(&mut self, field: Field, value: u64) {
        match field {
            Field::Size | Field::MMUPageSize | Field::VmFlags => {}
            Field::KernelPageSize => self.page_bytes = value,
            Field::THPeligible => self.thp_eligible = Some(value != 0),
            Field::ProtectionKey => self.vm_flags |= (value & 15) << VM_PKEY_SHIFT,
            _ => self.stats.set_bytes(field, value),
        }
    }
}
