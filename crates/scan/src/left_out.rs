//! What a scan has not of the kernel's file, and why.

use std::fmt;

use crate::bpf::name::CUT;
use crate::method::Method;
use crate::options::Want;
use crate::report::Report;
use crate::scanner::Raw;
use crate::text::field::Field;
use crate::text::form::Form;
use crate::text::record::{Line, MemSizeStats, NameKind, PSS_SHIFT};

/// A line of the kernel's file that a scan lacks, or has not of every mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// What the line is called in smaps, such as `Swap`; `memory.stat` for the cgroup's of [`Counters`](crate::Counters).
    pub line: String,
    /// The same as a field; nothing for a line that this version does not know.
    pub field: Option<Field>,
    /// Of how many mappings it is left out. If it is one at least, the sum lacks it too.
    pub mappings: usize,
    /// Whether the sum lacks it.
    pub of_sum: bool,
    /// The reason.
    pub why: Why,
}

/// Why a line is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// `Swap`: pages were swapped out of a file in shared memory that is mapped in part, or privately. The file says how many, not which.
    PartOfSharedMemory,
    /// `SwapPss`: swapped pages may be other processes' too, and this kernel does not show how many have them.
    SwapCount,
    /// `THPeligible`: this kernel's rule is not the one that is known.
    ThpRule,
    /// `VmFlags`: letters that this version does not know.
    Letters,
    /// The kernel has the line in smaps_rollup alone, which the method does not read.
    SumAlone,
    /// A line that this version does not know.
    UnknownLine,
    /// memory.stat: the process is in no cgroup of version 2 that accounts memory.
    NoCgroup,
}

impl Why {
    /// A word for it, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PartOfSharedMemory => "part-of-shared-memory",
            Self::SwapCount => "swap-count",
            Self::ThpRule => "thp-rule",
            Self::Letters => "letters",
            Self::SumAlone => "sum-alone",
            Self::UnknownLine => "unknown-line",
            Self::NoCgroup => "no-cgroup",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PartOfSharedMemory => {
                "pages are swapped out of shared memory that is mapped in part or privately: how many of the mapping's is unknown"
            }
            Self::SwapCount => "swapped pages may be shared, and this kernel does not show by how many processes",
            Self::ThpRule => "this kernel decides by another rule",
            Self::Letters => "letters that this version does not know",
            Self::SumAlone => "only smaps_rollup has it, which this method does not read",
            Self::UnknownLine => "a line that this version does not know",
            Self::NoCgroup => "it is in no cgroup of version 2 that accounts memory",
        })
    }
}

impl LeftOut {
    /// Whether two are told in one: of as many mappings, for the same reason.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.mappings, self.of_sum, self.why) == (other.mappings, other.of_sum, other.why)
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)?;
        match (self.mappings, self.of_sum) {
            _ if self.why == Why::NoCgroup => {}
            (0, _) => f.write_str(" of the sum")?,
            (n, true) => write!(f, " of {} and of the sum", mappings(n))?,
            (n, false) => write!(f, " of {}", mappings(n))?,
        }
        write!(f, " ({})", self.why)
    }
}

/// Finds out what a scan has not, and puts it into its report.
pub(crate) fn find(raw: &Raw, want: Want, form: &Form, report: &mut Report) {
    let is_text = matches!(report.method, Method::Boosted | Method::Plain);
    // Whoever asks for page tables alone knows that the rest is not there. The kernel's text has always all.
    let has_pages = want >= Want::Pages || is_text && want > Want::Ranges;
    report.left_out.clear();
    if report.method == Method::Counters {
        if raw.counters.as_ref().is_some_and(|counters| counters.cgroup.is_none()) {
            report.left_out.push(LeftOut {
                line: "memory.stat".into(),
                field: None,
                mappings: 0,
                of_sum: true,
                why: Why::NoCgroup,
            });
        }
        return;
    }
    report.cut_names = raw.lines.iter().filter(|line| is_cut(line, &raw.names)).count();
    if want <= Want::Ranges {
        return;
    }
    let mapped = raw.lines.get(..raw.mapped).unwrap_or_default();
    let mut of_mappings = |field: Field, why, lacks: &dyn Fn(&Line) -> bool| {
        let mappings = mapped.iter().filter(|line| lacks(line)).count();
        if form.has(field) && mappings > 0 {
            report.left_out.push(LeftOut {
                line: field.label().into(),
                field: Some(field),
                mappings,
                of_sum: field.bytes(&MemSizeStats::default()).is_some(),
                why,
            });
        }
    };
    of_mappings(Field::Swap, Why::PartOfSharedMemory, &|line| line.stats.swap_unknown);
    of_mappings(Field::SwapPss, Why::SwapCount, &|line| line.stats.swap_pss_unknown);
    if has_pages {
        of_mappings(Field::THPeligible, Why::ThpRule, &|line| line.thp_eligible.is_none());
        of_mappings(Field::VmFlags, Why::Letters, &|line| {
            line.lost_letters || !is_text && form.lacks_letters(line.vm_flags)
        });
        for (line, [of_smaps, of_sum]) in form.unknown() {
            report.left_out.push(LeftOut {
                line: line.into(),
                field: None,
                mappings: if of_smaps { mapped.len() } else { 0 },
                of_sum,
                why: Why::UnknownLine,
            });
        }
    }
    if is_text && raw.sum.is_none() {
        report.left_out.extend(form.of_sum_alone().map(|field| LeftOut {
            line: field.label().into(),
            field: Some(field),
            mappings: 0,
            of_sum: true,
            why: Why::SumAlone,
        }));
        report.rounded = Rounded::of(mapped);
    }
}

fn is_cut(line: &Line, names: &[u8]) -> bool {
    // No path begins so, and no name that a file system gives.
    line.name == NameKind::Path && names.get(line.name_at..).is_some_and(|name| name.starts_with(CUT))
}

/// Sums of values each of which the kernel has rounded down to 1 kB: proportional sizes of pages that processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rounded {
    /// How many mappings have such a value.
    pub mappings: usize,
    /// By how much a sum may be too low at most.
    pub at_most_bytes: u64,
}

impl Rounded {
    /// A proportional size is whole kilobytes but for what is shared; then it is less than all of it.
    fn of(mapped: &[Line]) -> Option<Self> {
        let count = |is: fn(&MemSizeStats) -> bool| mapped.iter().filter(|line| is(&line.stats)).count();
        let pss: fn(&MemSizeStats) -> bool = |stats| stats.pss >> PSS_SHIFT != stats.rss;
        let swap_pss: fn(&MemSizeStats) -> bool = |stats| stats.swap_pss >> PSS_SHIFT != stats.swap;
        let mappings = mapped
            .iter()
            .filter(|line| pss(&line.stats) || swap_pss(&line.stats))
            .count();
        let most = count(pss).max(count(swap_pss));
        (mappings > 0).then_some(Self {
            mappings,
            at_most_bytes: (most as u64) << 10,
        })
    }
}

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "proportional sizes are rounded down to 1 kB in {}: their sums may be low by up to {} kB",
            mappings(self.mappings),
            self.at_most_bytes >> 10
        )
    }
}

fn mappings(n: usize) -> String {
    format!("{n} mapping{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proc::counters::Counters;

    const SMAPS: &[u8] =
        b"1000-2000 r--p 00000000 00:00 0\nRss: 0 kB\nPss: 0 kB\nNew: 0 kB\nSwap: 0 kB\nSwapPss: 0 kB\n\
        THPeligible: 0\nVmFlags: rd \n";
    const ROLLUP: &[u8] =
        b"1000-2000 ---p 00000000 00:00 0 [rollup]\nRss: 0 kB\nPss: 0 kB\nPss_Anon: 0 kB\nNew: 0 kB\n\
        Swap: 0 kB\nSwapPss: 0 kB\n";

    fn line(change: impl Fn(&mut Line)) -> Line {
        let mut line = Line {
            end: 4096,
            vm_flags: 1,
            thp_eligible: Some(false),
            is_validated: true,
            ..Line::default()
        };
        change(&mut line);
        line
    }

    /// What is said of a scan with these mappings.
    fn found(method: Method, want: Want, lines: Vec<Line>, names: &[u8]) -> Report {
        let raw = Raw {
            mapped: lines.len(),
            lines,
            names: names.to_vec(),
            ..Raw::default()
        };
        let mut report = Report::of_kernel(method, Duration::ZERO);
        report.mappings = raw.mapped;
        find(&raw, want, &Form::of_text(SMAPS, ROLLUP), &mut report);
        report
    }

    fn told(report: &Report) -> Vec<(&str, usize, bool, &str)> {
        let left_out = report.left_out.iter();
        left_out
            .map(|l| (l.line.as_str(), l.mappings, l.of_sum, l.why.name()))
            .collect()
    }

    #[test]
    fn each_line_that_is_not_known_of_a_mapping_is_told_with_the_number_of_mappings() {
        let lines = || {
            vec![
                line(|_| {}),
                line(|line| line.stats.swap_unknown = true),
                line(|line| line.stats.swap_unknown = true),
                line(|line| line.stats.swap_pss_unknown = true),
                line(|line| line.thp_eligible = None),
                line(|line| line.vm_flags |= 1 << 62),
            ]
        };
        let swap = [
            ("Swap", 2, true, "part-of-shared-memory"),
            ("SwapPss", 1, true, "swap-count"),
        ];
        let more = [
            ("THPeligible", 1, false, "thp-rule"),
            ("VmFlags", 1, false, "letters"),
            ("New", 6, true, "unknown-line"),
        ];
        let report = found(Method::Bpf, Want::Pages, lines(), b"");
        assert_eq!(told(&report), [&swap[..], &more].concat());
        let said = report.to_string();
        assert!(
            said.contains("LEFT OUT: Swap of 2 mappings and of the sum (pages are swapped out"),
            "{said}"
        );
        assert!(said.contains("; THPeligible of 1 mapping (this kernel"), "{said}");
        // Who asks for page tables alone does not expect the others, and of ranges there is nothing to be left out.
        assert_eq!(told(&found(Method::Bpf, Want::Tables, lines(), b"")), swap);
        assert_eq!(told(&found(Method::Bpf, Want::Ranges, lines(), b"")), []);
        let whole = found(Method::Bpf, Want::Tables, vec![line(|_| {})], b"");
        assert!(!whole.to_string().contains("LEFT OUT"), "{whole}");
    }

    #[test]
    fn what_the_kernels_text_has_and_lacks_is_told() {
        let lines = vec![line(|_| {}), line(|line| line.lost_letters = true)];
        let report = found(Method::Plain, Want::Tables, lines, b"");
        let expected = [
            ("VmFlags", 1, false, "letters"),
            ("New", 2, true, "unknown-line"),
            ("Pss_Anon", 0, true, "sum-alone"),
        ];
        assert_eq!(told(&report), expected);
    }

    #[test]
    fn a_share_of_a_page_is_rounded_and_a_whole_page_is_not() {
        let share =
            |rss: u64, pss: u64| line(|line| (line.stats.rss, line.stats.pss) = (rss << 10, pss << 10 << PSS_SHIFT));
        let of = |lines| found(Method::Boosted, Want::Pages, lines, b"").rounded;
        assert_eq!(of(vec![share(4, 4), share(8, 8)]), None);
        let rounded = of(vec![share(4, 1), share(8, 8), share(8, 2)]).unwrap();
        assert_eq!((rounded.mappings, rounded.at_most_bytes), (2, 2 << 10));
        let swapped = line(|line| (line.stats.swap, line.stats.swap_pss) = (4 << 10, 1 << 10 << PSS_SHIFT));
        let rounded = of(vec![share(4, 1), swapped]).unwrap();
        assert_eq!((rounded.mappings, rounded.at_most_bytes), (2, 1 << 10));
        assert_eq!(found(Method::Bpf, Want::Pages, vec![share(4, 1)], b"").rounded, None);
    }

    #[test]
    fn names_that_are_cut_are_counted() {
        let names = b"(cut)/a/b/c";
        let named = |at, bytes| line(|line| (line.name, line.name_at, line.name_bytes) = (NameKind::Path, at, bytes));
        let report = found(
            Method::Bpf,
            Want::Ranges,
            vec![named(0, 11), named(5, 6), line(|_| {})],
            names,
        );
        assert_eq!(report.cut_names, 1);
        assert!(
            report.to_string().contains("CUT: 1 name, which begins with (cut)"),
            "{report}"
        );
    }

    #[test]
    fn counters_without_a_cgroup_say_so() {
        let raw = Raw {
            counters: Some(Counters::default()),
            ..Raw::default()
        };
        let mut report = Report::of_kernel(Method::Counters, Duration::ZERO);
        find(&raw, Want::Counters, &Form::of_text(SMAPS, ROLLUP), &mut report);
        assert_eq!(told(&report), [("memory.stat", 0, true, "no-cgroup")]);
        assert!(report.to_string().contains("LEFT OUT: memory.stat"), "{report}");
    }
}
