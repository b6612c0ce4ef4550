//! Joins the records of runs to lines.
//!
//! Lines ascend and never overlap. Each is a mapping, or the part of it that is new.
//!
//! A run gets the cursor where the last one stopped. The mapping that it finds there may begin
//! below, because it grew or was merged between the runs. Or it is another than the mapping whose
//! pages were half counted: then the line of that one ends at the cursor, and a new line begins.

use vmaple_smaps::{Field, MemSizeStats};

use crate::bpf::abi::{RECORD_SHMEM, Record};
use crate::record::{Ages, Line, add_ages};

/// The lines of a scan so far.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Vec<Line>,
    /// The pages of each; empty where they are not wanted.
    stats: Vec<MemSizeStats>,
    /// The ages of each one's pages; empty where they are not wanted.
    ages: Vec<Ages>,
    /// The part of a mapping that the last line was made from.
    last: Option<Part>,
    /// All below it is done.
    cursor: u64,
}

/// A part of a mapping, with what tells mappings apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: u64,
    vm_flags: u64,
    pgoff: u64,
    file: (u64, u64, u32),
    /// The end of the part.
    to: u64,
    /// Whether the mapping went on there.
    is_cut: bool,
}

impl Lines {
    /// Returns no lines, with the memory of others.
    pub(crate) fn with_room(mut lines: Vec<Line>, mut stats: Vec<MemSizeStats>, mut ages: Vec<Ages>) -> Self {
        lines.clear();
        stats.clear();
        ages.clear();
        Self {
            lines,
            stats,
            ages,
            ..Self::default()
        }
    }

    /// Adds what a run found. `line` is the line of the record's part `from..to` alone, `stats` are
    /// its pages and `ages` theirs, if they are wanted.
    ///
    /// Records of a run ascend. One that does not is left out: no run makes it.
    pub(crate) fn add(&mut self, record: &Record, mut line: Line, stats: Option<MemSizeStats>, ages: Option<Ages>) {
        let from = record.from.max(self.cursor);
        if record.to <= from {
            return;
        }
        let part = Part {
            start: record.start,
            vm_flags: record.vm_flags,
            pgoff: record.pgoff,
            file: (record.file, record.ino, record.dev),
            to: record.to,
            is_cut: record.to < record.end,
        };
        match (self.last, self.lines.last_mut()) {
            (Some(last), Some(before)) if last.is_cut && last.to == from && last.is_of(&part) => {
                before.vma.end = record.to;
                if let (Some(before), Some(stats)) = (self.stats.last_mut(), stats) {
                    *before += &stats;
                }
                if let (Some(before), Some(ages)) = (self.ages.last_mut(), ages) {
                    add_ages(before, &ages);
                }
                before.is_validated &= line.is_validated;
                before.counts_later |= line.counts_later;
            }
            _ => {
                (line.vma.new_from, line.vma.end) = (from, record.to);
                self.lines.push(line);
                // What of a file in shared memory is swapped out is known of its mapping from its
                // beginning alone.
                let lacks_swap = from > record.start && record.flags & RECORD_SHMEM != 0 && record.shmem_swapped != 0;
                self.ages.extend(ages);
                self.stats.extend(stats.map(|mut stats| {
                    if lacks_swap {
                        stats.unknown.insert(Field::Swap);
                    }
                    stats
                }));
            }
        }
        self.last = Some(part);
        self.cursor = record.to;
    }

    /// Returns the lines, and the pages of each with their ages.
    pub(crate) fn into_parts(self) -> (Vec<Line>, Vec<MemSizeStats>, Vec<Ages>) {
        (self.lines, self.stats, self.ages)
    }
}

impl Part {
    /// Returns whether both are parts of one mapping.
    fn is_of(&self, other: &Self) -> bool {
        (self.start, self.vm_flags, self.pgoff, self.file) == (other.start, other.vm_flags, other.pgoff, other.file)
    }
}

#[cfg(test)]
mod tests {
    use vmaple_smaps::walk::Walk;
    use vmaple_smaps::{Mapping, VmaRecord};

    use super::*;
    use crate::record::NamePlace;

    fn part(start: u64, end: u64, from: u64, to: u64) -> (Record, Line, MemSizeStats) {
        let record = Record {
            start,
            end,
            from,
            to,
            vm_flags: 3,
            ..Record::default()
        };
        let mapping = Mapping::new(VmaRecord {
            new_from: from,
            ..VmaRecord::new(start..end)
        });
        let mut stats = MemSizeStats::default();
        stats.rss = to - from;
        (record, Line::new(&mapping, NamePlace::default()), stats)
    }

    fn lines(parts: &[(Record, Line, MemSizeStats)]) -> Vec<(u64, u64, u64, u64)> {
        let mut lines = Lines::default();
        for (record, line, stats) in parts {
            lines.add(record, *line, Some(*stats), Some([stats.rss; 4]));
        }
        let (lines, stats, ages) = lines.into_parts();
        assert!(stats.iter().map(|stats| [stats.rss; 4]).eq(ages));
        let mappings = lines.iter().map(|line| line.vma).zip(&stats);
        mappings
            .map(|(vma, stats)| (vma.start, vma.new_from, vma.end, stats.rss))
            .collect()
    }

    #[test]
    fn a_mapping_that_is_looked_at_in_parts_is_one_line_with_the_sum() {
        let parts = [part(10, 40, 10, 20), part(10, 40, 20, 30), part(10, 40, 30, 40)];
        assert_eq!(lines(&parts), [(10, 10, 40, 30)]);
    }

    #[test]
    fn a_mapping_that_is_replaced_half_way_ends_at_the_cursor() {
        // A split: what was 10..40 is 10..20 and 20..40 now.
        let parts = [part(10, 40, 10, 20), part(20, 40, 20, 40)];
        assert_eq!(lines(&parts), [(10, 10, 20, 10), (20, 20, 40, 20)]);
    }

    #[test]
    fn a_mapping_that_grew_over_the_cursor_is_shown_from_there_on() {
        // A merge: what was 10..20 is 10..40 now.
        let parts = [part(10, 20, 10, 20), part(10, 40, 20, 40)];
        assert_eq!(lines(&parts), [(10, 10, 20, 10), (10, 20, 40, 20)]);
    }

    #[test]
    fn a_mapping_that_is_gone_half_way_leaves_what_was_seen_of_it() {
        let parts = [part(10, 40, 10, 20), part(50, 60, 50, 60)];
        assert_eq!(lines(&parts), [(10, 10, 20, 10), (50, 50, 60, 10)]);
    }

    #[test]
    fn swapped_shared_memory_of_a_mapping_that_grew_over_the_cursor_is_not_known() {
        let swapped = |(record, line, stats)| {
            let record = Record {
                flags: RECORD_SHMEM,
                shmem_swapped: 5,
                ..record
            };
            (record, line, stats)
        };
        let unknown = |parts: [(Record, Line, MemSizeStats); 2]| {
            let mut lines = Lines::default();
            for (record, line, stats) in parts.map(swapped) {
                lines.add(&record, line, Some(stats), None);
            }
            let (_, stats, _) = lines.into_parts();
            let is_unknown = |stats: &MemSizeStats| stats.unknown.contains(Field::Swap);
            stats.iter().map(is_unknown).collect::<Vec<_>>()
        };
        assert_eq!(unknown([part(10, 20, 10, 20), part(10, 40, 20, 40)]), [false, true]);
        assert_eq!(unknown([part(10, 40, 10, 20), part(10, 40, 20, 40)]), [false]);
    }

    #[test]
    fn lines_ascend_and_never_overlap_whatever_runs_say() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..2000 {
            let parts: Vec<_> = (0..20)
                .map(|_| {
                    let start = random(100);
                    let end = start + 1 + random(30);
                    let from = start + random(end - start);
                    part(start, end, from, from + random(end - from + 1))
                })
                .collect();
            let lines = lines(&parts);
            let mut walk = Walk::new(0..0, 1);
            for &(start, from, end, _) in &lines {
                assert!(start <= from, "{lines:?}");
                walk.line(from..end, |_| None);
            }
            assert_eq!(walk.findings().first, None, "{lines:?}");
        }
    }
}
