//! What a scan has found.

use vmaple_smaps::{Field, FieldSet};

use crate::counters::Counters;
use crate::record::{Mappings, Rollup, ScanRecord};
use crate::report::Report;
use crate::source::{Content, Found};

/// A process's memory map.
#[derive(Debug)]
pub struct Scan {
    pid: u32,
    found: Found,
}

impl Scan {
    pub(crate) fn new(pid: u32, found: Found) -> Self {
        Self { pid, found }
    }

    /// Returns the number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns its mappings, ascending.
    ///
    /// There are none by the method [`Counters`](crate::Method::Counters), nor where the sum was
    /// read as such ([`Options::sum_alone`](crate::Options::sum_alone)).
    pub fn records(&self) -> impl Iterator<Item = ScanRecord<'_>> {
        let mappings = match &self.found.content {
            Content::Mappings(mappings) => Some(mappings),
            Content::Sum(_) | Content::Counters(_) => None,
        };
        mappings.into_iter().flat_map(Mappings::records)
    }

    /// Returns the sum of the mappings, without `[vsyscall]`.
    #[must_use]
    pub fn rollup(&self) -> Rollup {
        match &self.found.content {
            Content::Mappings(mappings) => mappings.sum(),
            Content::Sum(sum) => *sum,
            Content::Counters(_) => Rollup::default(),
        }
    }

    /// Returns what the kernel has counted, by the method [`Counters`](crate::Method::Counters).
    #[must_use]
    pub fn counters(&self) -> Option<&Counters> {
        match &self.found.content {
            Content::Counters(counters) => Some(counters),
            Content::Mappings(_) | Content::Sum(_) => None,
        }
    }

    /// Returns what was held, and what the lines are worth.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.found.report
    }

    /// Returns the fields that the scan has, of each mapping or of the sum.
    #[must_use]
    pub fn fields(&self) -> FieldSet {
        self.found.fields
    }

    /// Returns whether [`fields`](Self::fields) contains a field.
    #[must_use]
    pub fn has(&self, field: Field) -> bool {
        self.fields().contains(field)
    }

    /// Returns its memory.
    pub(crate) fn into_room(self) -> Mappings {
        match self.found.content {
            Content::Mappings(mappings) => mappings,
            Content::Sum(_) | Content::Counters(_) => Mappings::default(),
        }
    }
}
