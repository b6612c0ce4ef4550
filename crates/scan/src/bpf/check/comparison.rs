//! Compares a scan of the self-test's process with the kernel's texts before and after it.
//!
//! The machine does not stand still during a comparison. Other processes map and unmap the same
//! pages of files (Pss, Shared, Private). DAMON, reclaim and readers of a file change Referenced.
//! khugepaged, KSM, swapping and migration change nearly all. So a value is right if the kernel had
//! it before or after, or if it lies between the two. What changes forth and back within one
//! comparison differs by chance, and never in every one.

use vmaple_smaps::{Field, FieldSet, Form, Line, Mapping, append};

use crate::bpf::check::shapes::Child;
use crate::record::{Mappings, ScanRecord};

/// A line that is not what the kernel says.
pub(crate) struct Difference {
    pub(crate) text: String,
    /// `None` for the line of maps.
    pub(crate) field: Option<Field>,
}

/// The result of one comparison.
pub(crate) struct Comparison {
    /// The first addresses of the mappings all of whose lines are right.
    pub(crate) right: Vec<u64>,
    pub(crate) differences: Vec<Difference>,
    /// The number of mappings that the kernel has shown.
    pub(crate) mappings: usize,
}

/// A mapping's lines of smaps.
type Lines<'a> = Vec<&'a str>;

/// The room for a record of smaps at first.
const RECORD_BYTES: usize = 1024;

/// Compares a scan of the child with the kernel's texts from before and after it.
pub(crate) fn compare(scan: &Mappings, form: &Form, child: &Child, before: &str, after: &str) -> Comparison {
    let (before, after) = (records(before), records(after));
    let mut comparison = Comparison {
        right: vec![],
        differences: vec![],
        // One that the kernel has not shown is never right.
        mappings: before.len().max(after.len()).max(scan.lines.len()),
    };
    let mut scan_records = scan.records();
    for i in 0..comparison.mappings {
        let kernels = |records: &[Lines<'_>], mapping: &Mapping<'_>| -> Vec<String> {
            let lines = records.get(i).map(Vec::as_slice).unwrap_or_default().iter();
            lines
                .filter(|line| !is_left_out(line, mapping))
                .map(ToString::to_string)
                .collect()
        };
        let Some(ScanRecord { mapping, .. }) = scan_records.next() else {
            let text = before.get(i).or(after.get(i)).and_then(|lines| lines.first());
            let text = format!("nothing instead of \"{}\"", text.unwrap_or(&""));
            comparison.differences.push(Difference { text, field: None });
            continue;
        };
        let mut text = vec![];
        append(&mut text, RECORD_BYTES, |to| {
            form.write_smaps(&mapping, FieldSet::ALL, to)
        });
        let text = String::from_utf8_lossy(&text);
        let ours: Vec<_> = text.lines().collect();
        let (before, after) = (kernels(&before, &mapping), kernels(&after, &mapping));
        // Pages of what is a copy of this process are shared with it, and come and go while its
        // threads run.
        let compared = if child.has_made(mapping.vma.start) {
            usize::MAX
        } else {
            1
        };
        match first_difference(&ours, &before, &after, compared) {
            None => comparison.right.push(mapping.vma.start),
            Some((text, field)) => comparison.differences.push(Difference {
                text: format!("{text}, in {:x}-{:x}", mapping.vma.start, mapping.vma.end),
                field,
            }),
        }
    }
    comparison
}

/// Returns the first of the compared lines that the kernel did not write, and its field.
fn first_difference(
    ours: &[&str],
    before: &[String],
    after: &[String],
    compared: usize,
) -> Option<(String, Option<Field>)> {
    let lines = ours.len().max(before.len()).max(after.len()).min(compared);
    (0..lines).find_map(|i| {
        let at = |lines: &[String]| lines.get(i).map_or("", |line| line).to_owned();
        let (ours, before, after) = (ours.get(i).copied().unwrap_or(""), at(before), at(after));
        if is_between(ours, &before, &after) {
            return None;
        }
        let or = if before == after {
            String::new()
        } else {
            format!(" or \"{after}\"")
        };
        let field = field_of(ours).or(field_of(&before));
        Some((format!("\"{ours}\" instead of \"{before}\"{or}"), field))
    })
}

/// Returns whether a line is the kernel's before or after, or its number lies between.
fn is_between(ours: &str, before: &str, after: &str) -> bool {
    if ours == before || ours == after {
        return true;
    }
    match [ours, before, after].map(|line| Line::parse(line.as_bytes())) {
        [
            Ok(Line::Value(field, value)),
            Ok(Line::Value(first, a)),
            Ok(Line::Value(second, b)),
        ] => field == first && field == second && (a.min(b)..=a.max(b)).contains(&value),
        _ => false,
    }
}

/// Returns the lines of a text of smaps, mapping by mapping.
fn records(text: &str) -> Vec<Lines<'_>> {
    let mut records: Vec<Lines<'_>> = vec![];
    for line in text.lines() {
        let begins = matches!(Line::parse(line.as_bytes()), Ok(Line::Vma(_)));
        match records.last_mut().filter(|_| !begins) {
            Some(record) => record.push(line),
            None => records.push(vec![line]),
        }
    }
    records
}

/// Returns the field that a line is of.
///
/// Returns `None` for a line of maps, and for a field that this version does not know.
fn field_of(line: &str) -> Option<Field> {
    match Line::parse(line.as_bytes()) {
        Ok(Line::Value(field, _)) => Some(field),
        Ok(Line::Flags(_)) => Some(Field::VmFlags),
        _ => None,
    }
}

/// Returns whether a line of smaps is one that a scan leaves out.
fn is_left_out(line: &str, mapping: &Mapping<'_>) -> bool {
    match Line::parse(line.as_bytes()) {
        Ok(Line::Unknown(_)) => true,
        Ok(Line::Value(field, _)) => mapping.value(field).is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_changes_meanwhile_may_be_what_it_was_before_or_after_or_in_between() {
        let pss = |kb: u64| format!("Pss:               {kb:>8} kB");
        for (ours, before, after, expected) in [
            (1, 1, 1, true),
            (1, 1, 3, true),
            (2, 1, 3, true),
            (3, 3, 1, true),
            (0, 1, 3, false),
            (4, 1, 3, false),
            (2, 1, 1, false),
        ] {
            let is = is_between(&pss(ours), &pss(before), &pss(after));
            assert_eq!(is, expected, "{ours} of {before} and {after}");
        }
        assert!(!is_between("Rss: 1 kB", "Pss: 1 kB", "Pss: 1 kB"));
        assert!(!is_between("VmFlags: rd", "VmFlags: rd wr", "VmFlags: rd wr"));
        assert!(is_between("VmFlags: rd", "VmFlags: rd wr", "VmFlags: rd"));
    }

    #[test]
    fn a_line_too_many_or_too_few_is_a_difference() {
        let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        let kernels = lines(&["1-2 r", "Rss: 1 kB", "Pss: 1 kB"]);
        let differs = |ours: &[&str], compared| first_difference(ours, &kernels, &kernels, compared).is_some();
        assert!(!differs(&["1-2 r", "Rss: 1 kB", "Pss: 1 kB"], usize::MAX));
        assert!(differs(&["1-2 r", "Rss: 1 kB"], usize::MAX));
        assert!(differs(&["1-2 r", "Rss: 1 kB", "Pss: 1 kB", "Swap: 0 kB"], usize::MAX));
        // Of a copy of our memory the line of maps alone counts.
        assert!(!differs(&["1-2 r", "Rss: 9 kB"], 1));
        assert!(differs(&["1-2 w", "Rss: 1 kB"], 1));
    }
}
