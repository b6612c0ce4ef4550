//! What a scan lacks of the kernel's file, and why.

use std::fmt;

use vmaple_smaps::{Field, FieldSet, Form, MemSizeStats, PSS_SHIFT, Scope};

use crate::method::Method;
use crate::record::{Line, Mappings};
use crate::want::Want;

/// A line of the kernel's file that a scan lacks, of some mappings or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// The label of the line in smaps, such as `Swap`; `memory.stat` for the cgroup of
    /// [`Counters`](crate::Counters).
    pub line: String,
    /// The same as a field; `None` for a line that this version does not know.
    pub field: Option<Field>,
    /// The number of mappings that lack it. If it is one at least, the sum lacks it too.
    pub mappings: usize,
    /// Whether the sum lacks it.
    pub of_sum: bool,
    /// The reason.
    pub why: Why,
}

/// The reason why a line is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// `Swap`: pages were swapped out of shared memory that is mapped in part, or privately. Its
    /// file says how many, not which.
    PartOfSharedMemory,
    /// All fields of pages: a page table of the mapping lies where the kernel lets no program read.
    UnreadTable,
    /// `SwapPss`: other processes may have swapped pages too. This kernel does not show how many.
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
    /// Returns a word for it, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PartOfSharedMemory => "part-of-shared-memory",
            Self::UnreadTable => "unread-table",
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
            Self::UnreadTable => "a page table lies where it cannot be read",
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
    /// Returns whether two are reported in one: of as many mappings, for the same reason.
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

/// Returns what mappings of these fields, by this method, lack of the kernel's file.
pub(crate) fn find(mappings: &Mappings, method: Method, fields: FieldSet, form: &Form) -> Vec<LeftOut> {
    let own = mappings.own();
    let mut left_out = vec![];
    let mut add = |field: Field, why, mappings: usize| {
        if mappings > 0 {
            left_out.push(LeftOut {
                line: field.label().into(),
                field: Some(field),
                mappings,
                of_sum: field.scope() != Scope::Mapping,
                why,
            });
        }
    };
    let is_due = |field: &Field| fields.contains(*field) && form.fields().contains(*field);
    let [mut unread, mut swap, mut swap_pss] = [0; 3];
    for MemSizeStats { unknown, .. } in mappings.own_stats().iter().filter(|stats| !stats.unknown.is_empty()) {
        let is_unread = unknown.contains(Field::Rss);
        unread += usize::from(is_unread);
        swap += usize::from(unknown.contains(Field::Swap) && !is_unread);
        swap_pss += usize::from(unknown.contains(Field::SwapPss) && !is_unread);
    }
    for field in of_pages().filter(is_due) {
        add(field, Why::UnreadTable, unread);
    }
    let lacking = [
        (Field::Swap, Why::PartOfSharedMemory, swap),
        (Field::SwapPss, Why::SwapCount, swap_pss),
    ];
    for (field, why, mappings) in lacking.into_iter().filter(|(field, ..)| is_due(field)) {
        add(field, why, mappings);
    }
    // A caller that asks for page tables alone knows that the rest is not there.
    if !fields.contains(Field::Pss) {
        return left_out;
    }
    let count = |lacks: &dyn Fn(&Line) -> bool| own.iter().filter(|line| lacks(line)).count();
    if is_due(&Field::THPeligible) {
        let mappings = count(&|line| line.thp_eligible.is_none());
        add(Field::THPeligible, Why::ThpRule, mappings);
    }
    if is_due(&Field::VmFlags) {
        let lacks = |line: &Line| line.lost_letters || !method.reads_text() && form.letters().lacks(line.vm_flags);
        add(Field::VmFlags, Why::Letters, count(&lacks));
    }
    left_out.extend(unknown(form, own.len()));
    if method.reads_text() {
        let of_sum_alone = form
            .rollup_fields()
            .iter()
            .filter(|&field| !form.fields().contains(field));
        left_out.extend(of_sum_alone.map(|field| LeftOut {
            line: field.label().into(),
            field: Some(field),
            mappings: 0,
            of_sum: true,
            why: Why::SumAlone,
        }));
    }
    left_out
}

/// Returns the fields that page tables are read for.
pub(crate) fn of_pages() -> impl Iterator<Item = Field> {
    let is_of_pages = |field: &Field| Want::of(*field) >= Want::Tables && field.scope() != Scope::Mapping;
    Field::ALL.into_iter().filter(is_of_pages)
}

/// Returns the lines of the kernel's files that this version does not know.
pub(crate) fn unknown(form: &Form, mappings: usize) -> impl Iterator<Item = LeftOut> {
    form.unknown().map(move |(line, [of_smaps, of_sum])| LeftOut {
        line: line.into(),
        field: None,
        mappings: if of_smaps { mappings } else { 0 },
        of_sum,
        why: Why::UnknownLine,
    })
}

/// The effect of rounding on sums.
///
/// The kernel rounds each mapping's proportional sizes down to 1 kB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rounded {
    /// The number of mappings with a value that was rounded.
    pub mappings: usize,
    /// The most by which a sum may be too low.
    pub at_most_bytes: u64,
}

impl Rounded {
    /// Returns by how much the sums of mappings that were read as text may be low.
    ///
    /// A proportional size is whole kilobytes but for what is shared; then it is less than all of
    /// it.
    pub(crate) fn of(own: &[MemSizeStats]) -> Option<Self> {
        let count = |is: &dyn Fn(&MemSizeStats) -> bool| own.iter().filter(|stats| is(stats)).count();
        let pss = |stats: &MemSizeStats| stats.pss >> PSS_SHIFT != stats.rss;
        let swap_pss = |stats: &MemSizeStats| stats.swap_pss >> PSS_SHIFT != stats.swap;
        let mappings = count(&|stats| pss(stats) || swap_pss(stats));
        let most = count(&pss).max(count(&swap_pss));
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

    use vmaple_smaps::{FlagLetters, Mapping, VmaRecord};

    use super::*;
    use crate::record::NamePlace;
    use crate::report::Report;
    use crate::want::Want;

    const SMAPS: &[u8] =
        b"1000-2000 r--p 00000000 00:00 0\nRss: 0 kB\nPss: 0 kB\nNew: 0 kB\nSwap: 0 kB\nSwapPss: 0 kB\n\
        THPeligible: 0\nVmFlags: rd \n";
    const ROLLUP: &[u8] =
        b"1000-2000 ---p 00000000 00:00 0 [rollup]\nRss: 0 kB\nPss: 0 kB\nPss_Anon: 0 kB\nNew: 0 kB\n\
        Swap: 0 kB\nSwapPss: 0 kB\n";

    fn line(change: impl Fn(&mut Mapping<'_>)) -> Mapping<'static> {
        let mut mapping = Mapping::new(VmaRecord::new(0..4096));
        (mapping.vm_flags, mapping.thp_eligible) = (1, Some(false));
        change(&mut mapping);
        mapping
    }

    /// The report of a scan with these mappings.
    fn found(method: Method, want: Want, lines: &[Mapping<'_>]) -> Report {
        let mappings = Mappings {
            own: lines.len(),
            lines: lines.iter().map(|line| Line::new(line, NamePlace::default())).collect(),
            stats: lines.iter().map(|line| line.stats).collect(),
            ages: vec![],
            names: vec![],
        };
        let fields = if method.reads_text() { Want::Pages } else { want };
        let fields = Field::ALL
            .into_iter()
            .filter(|&field| Want::of(field) <= fields)
            .collect();
        let form = Form::of_text(SMAPS, Some(ROLLUP), FlagLetters::of_release((6, 18)));
        Report {
            mappings: Some(mappings.own),
            left_out: find(&mappings, method, fields, &form),
            rounded: Rounded::of(mappings.own_stats()).filter(|_| method.reads_text()),
            ..Report::of_one_read(method, Duration::ZERO)
        }
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
            [
                line(|_| {}),
                line(|mapping| mapping.stats.unknown.insert(Field::Swap)),
                line(|mapping| mapping.stats.unknown.insert(Field::Swap)),
                line(|mapping| mapping.stats.unknown.insert(Field::SwapPss)),
                line(|mapping| mapping.thp_eligible = None),
                line(|mapping| mapping.vm_flags |= 1 << 62),
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
        let report = found(Method::Bpf, Want::Pages, &lines());
        assert_eq!(told(&report), [&swap[..], &more].concat());
        let said = report.to_string();
        assert!(
            said.contains("LEFT OUT: Swap of 2 mappings and of the sum (pages are swapped out"),
            "{said}"
        );
        assert!(said.contains("; THPeligible of 1 mapping (this kernel"), "{said}");
        // A caller that asks for page tables alone does not expect the others, and of ranges
        // nothing is left out.
        assert_eq!(told(&found(Method::Bpf, Want::Tables, &lines())), swap);
        assert_eq!(told(&found(Method::Bpf, Want::Ranges, &lines())), []);
        let whole = found(Method::Bpf, Want::Tables, &[line(|_| {})]);
        assert!(!whole.to_string().contains("LEFT OUT"), "{whole}");
    }

    #[test]
    fn what_the_kernels_text_has_and_lacks_is_told() {
        let lines = [line(|_| {}), line(|mapping| mapping.lost_letters = true)];
        let report = found(Method::Plain, Want::Tables, &lines);
        let expected = [
            ("VmFlags", 1, false, "letters"),
            ("New", 2, true, "unknown-line"),
            ("Pss_Anon", 0, true, "sum-alone"),
        ];
        assert_eq!(told(&report), expected);
    }

    #[test]
    fn a_share_of_a_page_is_rounded_and_a_whole_page_is_not() {
        let share = |rss: u64, pss: u64| {
            line(|mapping| (mapping.stats.rss, mapping.stats.pss) = (rss << 10, pss << 10 << PSS_SHIFT))
        };
        let of = |lines: &[Mapping<'_>]| found(Method::Boosted, Want::Pages, lines).rounded;
        assert_eq!(of(&[share(4, 4), share(8, 8)]), None);
        let rounded = of(&[share(4, 1), share(8, 8), share(8, 2)]).unwrap();
        assert_eq!((rounded.mappings, rounded.at_most_bytes), (2, 2 << 10));
        let swapped = line(|mapping| (mapping.stats.swap, mapping.stats.swap_pss) = (4 << 10, 1 << 10 << PSS_SHIFT));
        let rounded = of(&[share(4, 1), swapped]).unwrap();
        assert_eq!((rounded.mappings, rounded.at_most_bytes), (2, 1 << 10));
        assert_eq!(found(Method::Bpf, Want::Pages, &[share(4, 1)]).rounded, None);
    }
}
