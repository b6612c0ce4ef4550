//! The sum of a process's mappings, as runs find them.

use vmaple_smaps::{Field, MemSizeStats};

use crate::bpf::abi::{RECORD_COUNTS_LATER, RECORD_SHMEM, RECORD_UNREAD, RECORD_UNVALIDATED, Record};
use crate::bpf::scan::counts::{ages_of, stats_of};
use crate::left_out::{self, LeftOut, Why};
use crate::record::{Ages, PAGE, Rollup, add_ages};
use crate::source::{Content, Found};

/// The sum so far.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// Without [`swapped_in_files`](Self::swapped_in_files).
    sum: Rollup,
    /// Where the last mapping begins, and what has been counted of it.
    mapping: Option<u64>,
    counted: Counted,
    ages: Ages,
    unvalidated: usize,
    counted_later: usize,
    /// Mappings with a page table that could not be read.
    unread: usize,
    /// Other mappings that lack Swap, and SwapPss.
    lacking: [usize; 2],
    /// Swapped pages of shared memory, in bytes. Files know them, and page tables do not.
    swapped_in_files: u64,
}

/// What has been counted of a mapping, once for all its records.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    unvalidated: bool,
    counted_later: bool,
    unread: bool,
    lacking: [bool; 2],
}

/// Counts a mapping of which this is so, unless it has been counted.
fn count_once(counted: &mut bool, is_so: bool, count: &mut usize) {
    if is_so && !*counted {
        *counted = true;
        *count += 1;
    }
}

impl Sums {
    /// Adds the mappings of a record. Returns the record's counts of pages, which are not added.
    pub(crate) fn add_mappings(&mut self, record: &Record) -> MemSizeStats {
        let mut stats = stats_of(record);
        add_ages(&mut self.ages, &ages_of(record));
        // A part of one is alone in its record, or the last.
        let begins = record.from == record.start || self.mapping != Some(record.start);
        self.sum.mappings += u64::from(record.mappings.max(1) - u32::from(!begins));
        if begins {
            self.counted = Counted::default();
        }
        self.mapping = Some(if record.mappings > 1 { record.last } else { record.start });
        // What of a file is swapped out is known of its mapping from its beginning alone.
        let is_cut = begins && record.from > record.start && record.flags & RECORD_SHMEM != 0;
        if is_cut && record.shmem_swapped != 0 {
            stats.unknown.insert(Field::Swap);
        }
        let Counted {
            unvalidated,
            counted_later,
            unread,
            lacking,
        } = &mut self.counted;
        let has = |flag| record.flags & flag != 0;
        count_once(unvalidated, has(RECORD_UNVALIDATED), &mut self.unvalidated);
        count_once(counted_later, has(RECORD_COUNTS_LATER), &mut self.counted_later);
        count_once(unread, has(RECORD_UNREAD), &mut self.unread);
        for ((counted, count), field) in lacking
            .iter_mut()
            .zip(&mut self.lacking)
            .zip([Field::Swap, Field::SwapPss])
        {
            let lacks = stats.unknown.contains(field) && !has(RECORD_UNREAD);
            count_once(counted, lacks, count);
        }
        if self.sum.end == 0 {
            self.sum.start = record.from;
        }
        self.sum.end = record.to;
        self.sum.size += record.before + record.to - record.last;
        let swapped = record.swap * PAGE;
        self.swapped_in_files += stats.swap.saturating_sub(swapped);
        stats.swap = swapped;
        stats
    }

    /// Adds counts of pages.
    pub(crate) fn add(&mut self, stats: &MemSizeStats) {
        self.sum.stats += stats;
    }

    /// Returns the counts that were added.
    pub(crate) fn stats(&self) -> &MemSizeStats {
        &self.sum.stats
    }

    /// Puts the sum in place of what was found, with these counts of pages, and their ages if the
    /// records have them.
    pub(crate) fn end(mut self, mut stats: MemSizeStats, has_ages: bool, found: &mut Found) {
        stats.swap += self.swapped_in_files;
        self.sum.stats = stats;
        self.sum.ages = has_ages.then_some(self.ages);
        found.report.mappings = Some(self.sum.mappings as usize);
        found.report.unvalidated = Some(self.unvalidated);
        found.report.counted_later = Some(self.counted_later);
        let unread = left_out::of_pages().filter(|field| found.fields.contains(*field));
        let unread = unread.map(|field| (field, Why::UnreadTable, self.unread));
        let [swap, swap_pss] = self.lacking;
        let others = [
            (Field::Swap, Why::PartOfSharedMemory, swap),
            (Field::SwapPss, Why::SwapCount, swap_pss),
        ];
        let lacking = unread.chain(others).filter(|(.., mappings)| *mappings > 0);
        let left_out = lacking.map(|(field, why, mappings)| LeftOut {
            line: field.label().into(),
            field: Some(field),
            mappings,
            of_sum: true,
            why,
        });
        found.report.left_out = left_out.collect();
        let lacking = found.report.left_out.iter().filter_map(|left_out| left_out.field);
        lacking.for_each(|field| self.sum.stats.unknown.insert(field));
        found.content = Content::Sum(self.sum);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::method::Method;
    use crate::record::Mappings;
    use crate::report::Report;
    use vmaple_smaps::FieldSet;
    use vmaple_smaps::vm_flags::{VM_SHARED, VM_WRITE};

    fn ended(records: &[Record]) -> (Rollup, Report) {
        let mut sums = Sums::default();
        for record in records {
            let stats = sums.add_mappings(record);
            sums.add(&stats);
        }
        let mut found = Found {
            content: Content::Mappings(Mappings::default()),
            fields: FieldSet::ALL,
            report: Report::of_one_read(Method::Bpf, Duration::ZERO),
        };
        let stats = *sums.stats();
        sums.end(stats, true, &mut found);
        let Content::Sum(sum) = found.content else {
            panic!("not a sum")
        };
        (sum, found.report)
    }

    /// A part of a mapping of ten pages of a file in shared memory, of which some are swapped.
    fn part(from: u64, to: u64) -> Record {
        Record {
            start: 0,
            end: 10 * PAGE,
            from: from * PAGE,
            to: to * PAGE,
            last: from * PAGE,
            mappings: 1,
            vm_flags: VM_SHARED | VM_WRITE,
            flags: RECORD_SHMEM,
            i_size: 10 * PAGE,
            shmem_swapped: 3,
            swap: 1,
            rss: 2,
            ..Record::default()
        }
    }

    #[test]
    fn swapped_shared_memory_is_summed_or_said_to_be_unknown() {
        let (sum, report) = ended(&[part(0, 4), part(4, 10)]);
        assert_eq!((sum.stats.swap, sum.stats.rss), (5 * PAGE, 4 * PAGE));
        assert_eq!((sum.mappings, sum.size, sum.end), (1, 10 * PAGE, 10 * PAGE));
        assert_eq!(report.left_out, []);
        // It grew over the cursor: its beginning was not seen.
        let (_, report) = ended(&[part(4, 10)]);
        assert_eq!(
            (report.left_out[0].field, report.left_out[0].mappings),
            (Some(Field::Swap), 1)
        );
    }

    #[test]
    fn a_mapping_of_several_records_is_counted_once() {
        let unsure = Record {
            flags: RECORD_UNVALIDATED | RECORD_COUNTS_LATER,
            ..part(0, 4)
        };
        let other = Record {
            start: 20 * PAGE,
            end: 21 * PAGE,
            from: 20 * PAGE,
            to: 21 * PAGE,
            last: 20 * PAGE,
            mappings: 1,
            ..Record::default()
        };
        let (sum, report) = ended(&[
            unsure,
            Record {
                from: 4 * PAGE,
                last: 4 * PAGE,
                ..unsure
            },
            other,
        ]);
        assert_eq!((report.unvalidated, report.counted_later), (Some(1), Some(1)));
        assert_eq!((report.mappings, sum.start, sum.end), (Some(2), 0, 21 * PAGE));
    }

    #[test]
    fn mappings_that_share_a_record_are_each_counted_and_the_last_may_go_on_in_the_next() {
        // Three of two pages each, with gaps; of the last the first page was counted.
        let shared = Record {
            start: 0,
            end: 8 * PAGE,
            to: 7 * PAGE,
            last: 6 * PAGE,
            before: 4 * PAGE,
            mappings: 3,
            rss: 5,
            flags: RECORD_COUNTS_LATER,
            ..Record::default()
        };
        let rest = Record {
            start: 6 * PAGE,
            end: 8 * PAGE,
            from: 7 * PAGE,
            to: 8 * PAGE,
            last: 7 * PAGE,
            mappings: 1,
            rss: 1,
            flags: RECORD_COUNTS_LATER,
            ..Record::default()
        };
        let (sum, report) = ended(&[shared, rest]);
        assert_eq!((sum.mappings, sum.size, sum.stats.rss), (3, 6 * PAGE, 6 * PAGE));
        assert_eq!((report.mappings, report.counted_later), (Some(3), Some(1)));
        // One that grew over the cursor was not seen before.
        let grown = Record {
            start: 5 * PAGE,
            ..rest
        };
        assert_eq!(ended(&[shared, grown]).0.mappings, 4);
    }

    #[test]
    fn a_sum_lacks_the_fields_of_pages_of_a_table_that_was_not_read() {
        let unread = Record {
            flags: RECORD_UNREAD,
            ..part(0, 4)
        };
        let (sum, report) = ended(&[unread]);
        for (field, is_lacking) in [(Field::Rss, true), (Field::SwapPss, true), (Field::Size, false)] {
            assert_eq!(sum.stats.unknown.contains(field), is_lacking, "{field:?}");
        }
        let is_so = |left_out: &LeftOut| (left_out.mappings, left_out.why) == (1, Why::UnreadTable);
        assert!(report.left_out.iter().all(is_so), "{report}");
    }
}
