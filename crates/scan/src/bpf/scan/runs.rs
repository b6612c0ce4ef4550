//! What the runs of a scan have found so far.

use std::time::Duration;

use vmaple_smaps::vm_flags::VM_HUGETLB;
use vmaple_smaps::{FieldSet, NameKind, Perms, VmaRecord};

use crate::bpf::abi::{Control, RECORD_COUNTS_LATER, RECORD_UNVALIDATED, Record, Stop, VALIDATION_NONE};
use crate::bpf::scan::counts::{ages_of, stats_of};
use crate::bpf::scan::lines::Lines;
use crate::bpf::scan::name::{CUT, Known, NameText, Places};
use crate::bpf::scan::vsyscall::Vsyscall;
use crate::method::Method;
use crate::record::{Line, Mappings, NamePlace, PAGE};
use crate::report::{Partial, Report, Validation};
use crate::source::{Content, Found};

/// The runs of a scan so far, with their lines and names, and their counts for the report.
pub(crate) struct Runs {
    lines: Lines,
    names: NameText,
    vsyscall: Option<Line>,
    runs: u64,
    longest_ns: u64,
    together_ns: u64,
    rejected: u64,
    seq: Seq,
}

/// What the records of runs have besides their mappings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Has {
    pub(crate) pages: bool,
    pub(crate) ages: bool,
}

/// The numbers of the address space's state that runs saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seq {
    /// There was no run.
    NoRun,
    /// All runs saw this one.
    One(u32),
    /// They saw several, or one is not known.
    Several,
}

impl Runs {
    /// Returns no run, with memory of earlier ones.
    pub(crate) fn new(room: Mappings, known: Known) -> Self {
        Self {
            lines: Lines::with_room(room.lines, room.stats, room.ages),
            names: NameText::with_room(room.names, known),
            vsyscall: None,
            runs: 0,
            longest_ns: 0,
            together_ns: 0,
            rejected: 0,
            seq: Seq::NoRun,
        }
    }

    /// Counts a run.
    pub(crate) fn count(&mut self, control: &Control, stop: Stop) {
        self.runs += 1;
        self.longest_ns = self.longest_ns.max(control.ns);
        self.together_ns += control.ns;
        self.rejected += u64::from(control.rejected);
        let is_one =
            matches!(stop, Stop::End | Stop::Budget) && control.one_seq != 0 && control.validation != VALIDATION_NONE;
        let seq = if is_one { Seq::One(control.seq) } else { Seq::Several };
        self.seq = match self.seq {
            Seq::NoRun => seq,
            before if before == seq => before,
            _ => Seq::Several,
        };
    }

    /// Adds what a run found.
    pub(crate) fn add(
        &mut self,
        records: &[Record],
        names: &[u8],
        places: &Places,
        has: Has,
        thp_eligible: impl Fn(&Record) -> Option<bool>,
    ) {
        self.names.begin_run();
        for record in records {
            let (kind, name) = self.names.add(record, names, places);
            let line = line(record, kind, name, thp_eligible(record));
            let stats = has.pages.then(|| stats_of(record));
            self.lines.add(record, line, stats, has.ages.then(|| ages_of(record)));
        }
    }

    /// Adds the page `[vsyscall]`, which no run finds.
    pub(crate) fn push(&mut self, vsyscall: &Vsyscall) {
        self.vsyscall = Some(vsyscall.line(&mut self.names.text));
    }

    /// Returns the memory of the names that are known.
    pub(crate) fn take_known(&mut self) -> Known {
        std::mem::take(&mut self.names.known)
    }

    /// Returns what all runs found.
    pub(crate) fn end(
        self,
        fields: FieldSet,
        elapsed: Duration,
        partial: Option<Partial>,
        validation: Validation,
    ) -> Found {
        let (mut lines, stats, ages) = self.lines.into_parts();
        let names = self.names.text;
        let own = lines.len();
        let count = |is: &dyn Fn(&Line) -> bool| Some(lines.iter().filter(|line| is(line)).count());
        let snapshot = match (self.seq, partial) {
            (Seq::One(seq), None) => Some(seq),
            _ => None,
        };
        let report = Report {
            mappings: Some(own),
            runs: self.runs,
            longest_run: Duration::from_nanos(self.longest_ns),
            in_runs: Duration::from_nanos(self.together_ns),
            rejected: Some(self.rejected),
            validation,
            unvalidated: count(&|line| !line.is_validated),
            counted_later: count(&|line| line.counts_later),
            cut_names: count(&|line| is_cut(line, &names)),
            snapshot,
            partial,
            ..Report::of_one_read(Method::Bpf, elapsed)
        };
        lines.extend(self.vsyscall);
        Found {
            content: Content::Mappings(Mappings {
                lines,
                stats,
                ages,
                own,
                names,
            }),
            fields,
            report,
        }
    }
}

/// Returns the line of a record.
fn line(record: &Record, kind: NameKind, name: NamePlace, thp_eligible: Option<bool>) -> Line {
    let has_file = record.file != 0;
    let vma = VmaRecord {
        start: record.start,
        end: record.end,
        perms: Perms::of_vm_flags(record.vm_flags),
        offset: if has_file { record.pgoff.wrapping_mul(PAGE) } else { 0 },
        dev: (record.dev >> 20, record.dev & 0xf_ffff),
        inode: record.ino,
        name: kind.with(b""),
        new_from: record.from,
    };
    let is_hugetlb = record.vm_flags & VM_HUGETLB != 0;
    Line {
        vma,
        vm_flags: record.vm_flags,
        lost_letters: false,
        page_bytes: if is_hugetlb { record.block_bytes } else { PAGE },
        thp_eligible,
        name,
        is_validated: record.flags & RECORD_UNVALIDATED == 0,
        counts_later: record.flags & RECORD_COUNTS_LATER != 0,
    }
}

/// Returns whether the name of a line is not whole. No path begins so, and no name that a file
/// system gives.
fn is_cut(line: &Line, names: &[u8]) -> bool {
    line.vma.name.kind() == NameKind::Path && line.name(names).starts_with(CUT)
}

#[cfg(test)]
mod tests {
    use vmaple_smaps::walk::Walk;
    use vmaple_smaps::{Field, Mapping};

    use super::*;
    use crate::bpf::abi::{NAME_PATH, RECORD_NAME_CUT, VALIDATION_SEQCOUNT};
    use crate::bpf::scan::name::HeapRule;
    use crate::bpf::scan::thp::ThpSizes;

    const HAS: Has = Has {
        pages: true,
        ages: true,
    };

    fn runs() -> Runs {
        Runs::new(Mappings::default(), Known::new())
    }

    fn end(runs: Runs) -> (Mappings, Report) {
        let found = runs.end(FieldSet::NONE, Duration::ZERO, None, Validation::Seqcount);
        let Content::Mappings(mappings) = found.content else {
            panic!("runs find mappings")
        };
        (mappings, found.report)
    }

    #[test]
    fn records_of_any_content_are_taken_without_a_panic_and_lines_never_overlap() {
        let mut seed = 7_u64;
        let mut random = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Small numbers, the ends of the range, and all between.
            match seed >> 61 {
                0 => u64::MAX,
                1 => u64::MAX << 12,
                2 => seed >> 32 & 0xff,
                _ => seed.rotate_left(17) >> (seed >> 58),
            }
        };
        let found: Vec<u8> = (0..4096_u32).map(|i| if i % 7 == 0 { 0 } else { i as u8 }).collect();
        let thp = ThpSizes::of_this_kernel().settings();
        for _ in 0..300 {
            let mut runs = runs();
            for _ in 0..10 {
                let control = Control {
                    ns: random() >> 8,
                    seq: random() as u32,
                    rejected: random() as u32,
                    ..Control::default()
                };
                let records: Vec<_> = (0..20)
                    .map(|_| Record {
                        start: random(),
                        end: random(),
                        from: random(),
                        to: random(),
                        vm_flags: random(),
                        pgoff: random(),
                        ino: random(),
                        file: random(),
                        block_bytes: random(),
                        i_size: random(),
                        shmem_swapped: random(),
                        rss: random(),
                        anonymous: random(),
                        referenced: random(),
                        shared_clean: random(),
                        private_dirty: random(),
                        anon_thp: random(),
                        shared_hugetlb: random(),
                        swap: random(),
                        pss: random(),
                        pss_anon: random(),
                        swap_pss: random(),
                        dev: random() as u32,
                        magic: random() as u32,
                        flags: random() as u32,
                        name: random() as u32,
                        name_at: random() as u32,
                        name_bytes: random() as u32,
                        anon_name_at: random() as u32,
                        anon_name_bytes: random() as u32,
                        ..Record::default()
                    })
                    .collect();
                let places = Places {
                    start_brk: random(),
                    brk: random(),
                    start_stack: random(),
                    heap: HeapRule::Overlaps,
                };
                runs.count(&control, Stop::of(random() as u32 % 5).unwrap());
                runs.add(&records, &found, &places, HAS, |record| thp.eligible(record));
            }
            let (mappings, _) = end(runs);
            let mut walk = Walk::new(0..0, PAGE);
            for record in mappings.records() {
                let mapping = record.mapping;
                walk.line(mapping.vma.new_from..mapping.vma.end, |_| None);
                for field in Field::ALL {
                    let _ = mapping.value(field);
                }
            }
            assert_eq!(walk.findings().first, None);
        }
    }

    #[test]
    fn a_snapshot_is_one_if_all_leaves_of_all_runs_saw_one_number() {
        let cases: [(&[_], _); 3] = [
            (&[(8, 1), (8, 1)], Some(8)),
            (&[(8, 1), (6, 1)], None),
            (&[(8, 1), (8, 0)], None),
        ];
        for (seqs, expected) in cases {
            let mut runs = runs();
            for &(seq, one_seq) in seqs {
                let control = Control {
                    validation: VALIDATION_SEQCOUNT,
                    seq,
                    one_seq,
                    ..Control::default()
                };
                runs.count(&control, Stop::End);
            }
            assert_eq!(end(runs).1.snapshot, expected, "{seqs:?}");
        }
    }

    #[test]
    fn names_that_are_cut_are_counted() {
        let names = b"(cut)/a/b/c";
        let line = |kind: NameKind, at, bytes| {
            let vma = VmaRecord {
                name: kind.with(b""),
                ..VmaRecord::new(0..4096)
            };
            Line::new(&Mapping::new(vma), NamePlace { at, bytes })
        };
        assert!(is_cut(&line(NameKind::Path, 0, 11), names));
        assert!(!is_cut(&line(NameKind::Path, 5, 6), names));
        assert!(!is_cut(&line(NameKind::None, 0, 0), names));
        assert!(!is_cut(&line(NameKind::Anon, 0, 11), names));
        let record = Record {
            end: 4096,
            to: 4096,
            file: 1,
            flags: RECORD_NAME_CUT,
            name: NAME_PATH,
            name_bytes: 2,
            ..Record::default()
        };
        let mut runs = runs();
        runs.add(&[record], b"a\0", &Places::default(), HAS, |_| None);
        let (_, report) = end(runs);
        assert_eq!(report.cut_names, Some(1));
        let told = report.to_string();
        assert!(told.contains("CUT: 1 name, which begins with (cut)"), "{told}");
    }
}
