//! The text of a record's name, kept for a record that is returned without a section.

use alloc::vec::Vec;

use vmaple_mm::Error;
use vmaple_smaps::VmaRecord;

use crate::seq_file::NO_MEMORY;

/// The text in the name of the record that was found last.
#[derive(Debug)]
pub(crate) struct NameBuffer(Vec<u8>);

/// There is no room for a name of that many bytes.
pub(crate) struct TooLong(usize);

impl NameBuffer {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Copies the name of a record, and returns the record without it.
    #[inline]
    pub(crate) fn take(&mut self, record: &VmaRecord<'_>) -> Result<VmaRecord<'static>, TooLong> {
        let text = record.name.text();
        if text.len() > self.0.capacity() {
            return Err(TooLong(text.len()));
        }
        self.0.clear();
        self.0.extend_from_slice(text);
        Ok(record.with_name_text(&[]))
    }

    /// Makes room for a name: outside of any section.
    pub(crate) fn grow(&mut self, TooLong(length): TooLong) -> Result<(), Error> {
        self.0.clear();
        let needed = length.next_power_of_two();
        self.0.try_reserve_exact(needed).map_err(|_| NO_MEMORY)
    }

    /// Returns the record that [`take`](Self::take) returned last, with its name.
    #[inline]
    pub(crate) fn give<'a>(&'a self, record: &VmaRecord<'_>) -> VmaRecord<'a> {
        record.with_name_text(&self.0)
    }
}
