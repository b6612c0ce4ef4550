//! What the program says of the self-test's process beside what the kernel says of it, before and after.
//!
//! The machine goes on meanwhile: other processes map and unmap the same pages of files (Pss, Shared, Private), DAMON, reclaim and
//! whoever reads a file change Referenced, khugepaged, KSM, swapping and migration change nearly all. So a value is right if the kernel
//! gave it before or after, or if it lies in between. What changes forth and back within one comparison differs by chance, and
//! never in every one.

use crate::bpf::shapes::Child;
use crate::scanner::Raw;
use crate::text::field::Field;
use crate::text::form::{Form, label};
use crate::text::record::ScanRecord;

/// A line that is not what the kernel says.
pub(crate) struct Difference {
    pub(crate) text: String,
    /// Nothing for the line of maps.
    pub(crate) field: Option<Field>,
}

/// What one comparison has come to.
pub(crate) struct Comparison {
    /// Where the mappings begin about which all lines are right.
    pub(crate) right: Vec<u64>,
    pub(crate) differences: Vec<Difference>,
    /// How many mappings the kernel has shown.
    pub(crate) mappings: usize,
}

/// A mapping's lines of smaps.
type Lines<'a> = Vec<&'a str>;

/// Compares a scan of the child with texts that the kernel gave before and after it.
pub(crate) fn compare(scan: &Raw, form: &Form, child: &Child, before: &str, after: &str) -> Comparison {
    let (before, after) = (records(before), records(after));
    let mut comparison = Comparison {
        right: vec![],
        differences: vec![],
        // One that the kernel has not shown is never right.
        mappings: before.len().max(after.len()).max(scan.lines.len()),
    };
    for i in 0..before.len().max(after.len()).max(scan.lines.len()) {
        let kernels = |records: &[Lines<'_>], record: &ScanRecord<'_>| -> Vec<String> {
            let lines = records.get(i).map(Vec::as_slice).unwrap_or_default().iter();
            lines
                .filter(|line| !is_left_out(line, record))
                .map(ToString::to_string)
                .collect()
        };
        let Some(line) = scan.lines.get(i) else {
            let text = before.get(i).or(after.get(i)).and_then(|lines| lines.first());
            let text = format!("nothing instead of \"{}\"", text.unwrap_or(&""));
            comparison.differences.push(Difference { text, field: None });
            continue;
        };
        let record = line.record(&scan.names);
        let mut text = vec![];
        form.write_smaps(&record, |_| true, &mut text);
        let text = String::from_utf8_lossy(&text);
        let ours: Vec<_> = text.lines().collect();
        let (before, after) = (kernels(&before, &record), kernels(&after, &record));
        // Pages of what is a copy of our memory are shared with us, and come and go while threads of ours run.
        let compared = if child.has_made(line.start) { usize::MAX } else { 1 };
        match first_difference(&ours, &before, &after, compared) {
            None => comparison.right.push(line.start),
            Some((text, field)) => comparison.differences.push(Difference {
                text: format!("{text}, in {:x}-{:x}", line.start, line.end),
                field,
            }),
        }
    }
    comparison
}

/// The first of the lines that count that is none of the kernel's.
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
        let field = label(ours).or(label(&before)).and_then(Field::parse);
        Some((format!("\"{ours}\" instead of \"{before}\"{or}"), field))
    })
}

/// Whether a line is what the kernel said before or after, or its number lies in between.
fn is_between(ours: &str, before: &str, after: &str) -> bool {
    if ours == before || ours == after {
        return true;
    }
    match (number(ours), number(before), number(after)) {
        (Some((ours, value)), Some((first, a)), Some((second, b))) => {
            ours == first && ours == second && (a.min(b)..=a.max(b)).contains(&value)
        }
        _ => false,
    }
}

/// The name and the number of a line.
fn number(line: &str) -> Option<(&str, u64)> {
    let label = label(line)?;
    let value = line.get(label.len() + 1..)?.trim();
    Some((label, value.strip_suffix(" kB").unwrap_or(value).parse().ok()?))
}

/// The lines of a text of smaps, mapping by mapping.
fn records(text: &str) -> Vec<Lines<'_>> {
    let mut records: Vec<Lines<'_>> = vec![];
    for line in text.lines() {
        match records.last_mut().filter(|_| label(line).is_some()) {
            Some(record) => record.push(line),
            None => records.push(vec![line]),
        }
    }
    records
}

/// Whether a line of smaps is one that we do not write.
fn is_left_out(line: &str, record: &ScanRecord<'_>) -> bool {
    let is_unknown = |field: Field| field != Field::VmFlags && field.of(record).is_none();
    label(line).is_some_and(|label| Field::parse(label).is_none_or(is_unknown))
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
