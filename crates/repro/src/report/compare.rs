//! Several series side by side, as in the talk's last table.

use std::fmt::Write;

use crate::plan::{ProcFile, Reading, Target};

use super::cells::{hangs_cell, spread_cells};
use super::series::{Series, levels};

/// Writes several series side by side: median, minimum, maximum and hangs of each, one line a
/// level.
///
/// Series of the same file and target, from several reports, are in one table. A table has at most
/// three, for the width of a terminal.
#[must_use]
pub fn compare(series: &[(String, Series)]) -> String {
    let tables = tables(series);
    let texts: Vec<_> = tables.iter().map(|series| table(series)).collect();
    format!("{TITLE}{}", texts.join("\n"))
}

const TITLE: &str = "Worst-case mmap()/munmap() latency (milliseconds)\n";

/// The most series of one table.
const MOST: usize = 3;

/// Distributes the series over tables: those of the same file and target together, as many as there
/// is room for in each.
fn tables(series: &[(String, Series)]) -> Vec<Vec<&(String, Series)>> {
    let mut groups: Vec<Vec<&(String, Series)>> = vec![];
    for one in series {
        let is_same = |group: &&mut Vec<&(String, Series)>| {
            let first = &group[0].1;
            (first.target, first.file) == (one.1.target, one.1.file)
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    let mut tables: Vec<Vec<&(String, Series)>> = vec![];
    for group in groups.iter().flat_map(|group| group.chunks(MOST)) {
        match tables.last_mut() {
            Some(table) if table.len() + group.len() <= MOST => table.extend(group),
            _ => tables.push(group.to_vec()),
        }
    }
    tables
}

/// Returns a column's heading: whole, or without its middle if it is very long.
fn heading(label: &str) -> String {
    const MOST: usize = 60;
    const END: usize = (MOST - 3) / 2;
    let chars: Vec<_> = label.chars().collect();
    if chars.len() <= MOST {
        return label.to_owned();
    }
    let [begin, end]: [String; 2] = [&chars[..END], &chars[chars.len() - END..]].map(|part| part.iter().collect());
    format!("{begin}...{end}")
}

/// Writes one table, without a title.
fn table(series: &[&(String, Series)]) -> String {
    /// The width of the four cells.
    const WIDTH: usize = 36;
    let headings: Vec<_> = series.iter().map(|(label, _)| heading(label)).collect();
    let widths: Vec<_> = headings.iter().map(|h| WIDTH.max(h.chars().count() + 2)).collect();
    let mut text = String::from("     ");
    // Writing to a String cannot fail.
    for (heading, &width) in headings.iter().zip(&widths) {
        let _ = write!(text, " |{heading:^width$}");
    }
    let mut line = |begin: &str, cells: &dyn Fn(&Series) -> [String; 4]| {
        text.push('\n');
        text.push_str(begin);
        for ((_, series), &width) in series.iter().zip(&widths) {
            let [median, min, max, hangs] = cells(series);
            let cells = format!("{median:>9} {min:>9} {max:>9} {hangs:>6}");
            let _ = write!(text, " |{cells:>width$}");
        }
    };
    line("#Busy", &|_| {
        ["Median", "Minimum", "Maximum", "#Hangs"].map(str::to_owned)
    });
    let all: Vec<_> = series.iter().map(|one| (*one).clone()).collect();
    for level in levels(&all) {
        line(&format!("{level:>5}"), &|series| match series.row_at(level) {
            Some(row) => {
                let [median, min, max] = spread_cells(row.worst);
                [median, min, max, hangs_cell(row.hangs)]
            }
            None => [const { String::new() }; 4],
        });
    }
    text.push('\n');
    text
}

/// Writes all of these in one table.
fn side_by_side(series: &[(String, Series)]) -> String {
    format!("{TITLE}{}", table(&series.iter().collect::<Vec<_>>()))
}

/// Writes the talk's last table: v5.4, the maple tree and other models side by side, for each file
/// that the report has of both.
#[must_use]
pub fn cures(series: &[Series]) -> Vec<String> {
    let of = |file| -> Vec<_> {
        let models = series.iter().filter(|s| s.target.is_model() && s.file == file);
        models.map(|s| (s.label(), s.clone())).collect()
    };
    let has_both = |models: &Vec<(String, Series)>| {
        [Target::V54, Target::Maple]
            .iter()
            .all(|&target| models.iter().any(|(_, s)| s.target == target))
    };
    let tables = Reading::ALL.into_iter().map(of).filter(has_both);
    tables.map(|models| side_by_side(&models)).collect()
}

/// Writes what each scanner of the kernel's file costs, with the control, for each file that
/// several scanners read.
#[must_use]
pub fn scanners(series: &[Series]) -> Vec<String> {
    let of = |file: ProcFile| -> Vec<_> {
        let kernels = series.iter().filter(|s| s.target == Target::Kernel);
        let same = kernels.filter(|s| s.file.content() == Some(file) || s.file == Reading::Control);
        same.map(|s| (s.label(), s.clone())).collect()
    };
    let has_several = |file: &ProcFile| {
        let read = of(*file).into_iter().filter(|(_, s)| s.file != Reading::Control);
        read.count() > 1
    };
    let tables = ProcFile::ALL.into_iter().filter(has_several);
    tables.map(|file| side_by_side(&of(file))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{model, report, sample};
    use super::*;
    use crate::plan::Listing;
    use crate::report::series;

    #[test]
    fn the_cure_is_shown_of_each_file_if_both_models_are_there() {
        let run = |target, file| model(target, sample(Some(file), 1, &[2.0], 40));
        let (maps, smaps) = (Reading::MAPS, Reading::SMAPS);
        let of = |target| [run(target, maps), run(target, smaps)];
        let mut report = report([Target::Kernel, Target::V54, Target::Maple].map(of).concat());
        report.plan.files = vec![smaps, maps];
        report.plan.targets = vec![Target::V54];
        assert!(cures(&series(&report)).is_empty());
        report.plan.targets = vec![Target::Maple, Target::Kernel, Target::V54];
        let tables = cures(&series(&report));
        assert_eq!(tables.len(), 2);
        for (table, file) in tables.iter().zip(["maps", "smaps"]) {
            let heading = table.lines().nth(1).unwrap();
            let labels: Vec<_> = heading.split('|').map(str::trim).collect();
            assert_eq!(labels, ["".to_owned(), format!("maple {file}"), format!("v5.4 {file}")]);
            assert_eq!(table.lines().last().unwrap().matches("2.000").count(), 6, "{table}");
        }
    }

    #[test]
    fn scanners_of_a_file_stand_side_by_side_with_the_control_behind() {
        let of = |files: &[Reading]| {
            let runs = files.iter().map(|&file| sample(Some(file), 1, &[2.0], 40));
            let mut report = report(runs.collect());
            report.plan.files = files.to_vec();
            scanners(&series(&report))
        };
        let (maps, smaps, control) = (Reading::MAPS, Reading::SMAPS, Reading::Control);
        let maps_by_bpf = Reading::Bpf(Listing::Maps);
        let (smaps_by_bpf, smaps_boosted) = (Reading::Bpf(Listing::Smaps), Reading::Boosted(Listing::Smaps));
        assert!(of(&[maps, smaps, control]).is_empty());
        assert!(of(&[maps_by_bpf, smaps, control]).is_empty());
        let tables = of(&[smaps, smaps_by_bpf, smaps_boosted, maps, control]);
        assert_eq!(tables.len(), 1);
        let heading = tables[0].lines().nth(1).unwrap();
        let labels: Vec<_> = heading.split('|').map(str::trim).collect();
        assert_eq!(
            labels,
            [
                "",
                "kernel smaps",
                "kernel smaps-bpf",
                "kernel smaps-boosted",
                "kernel none"
            ]
        );
        assert_eq!(of(&[maps, smaps, smaps_by_bpf, maps_by_bpf]).len(), 2);
    }

    #[test]
    fn series_of_one_file_stand_together_in_tables_of_three_and_headings_are_whole() {
        let (maps, smaps, control) = (Reading::MAPS, Reading::SMAPS, Reading::Control);
        let smaps_boosted = Reading::Boosted(Listing::Smaps);
        let labels = |releases: &[&str], files: &[Reading]| -> Vec<Vec<String>> {
            let of_report = |release: &&str| {
                let runs = files.iter().map(|&file| sample(Some(file), 1, &[2.0], 40));
                let mut report = report(runs.collect());
                report.plan.files = files.to_vec();
                let release = (*release).to_owned();
                let named = move |s: Series| (format!("{} {release}", s.label()), s);
                series(&report).into_iter().map(named).collect::<Vec<_>>()
            };
            let text = compare(&releases.iter().flat_map(of_report).collect::<Vec<_>>());
            let headings = text.lines().filter(|line| line.starts_with("      |"));
            let label = |label: &str| label.trim().trim_start_matches("kernel ").to_owned();
            headings
                .map(|line| line.split('|').skip(1).map(label).collect())
                .collect()
        };
        let long = "6.18.44-fc-v595-and-more-of-it";
        assert_eq!(
            labels(&[long, "6.18.44-fc-v657"], &[smaps, smaps_boosted, control]),
            ["smaps", "smaps-boosted", "none"]
                .map(|file| [format!("{file} {long}"), format!("{file} 6.18.44-fc-v657")])
        );
        let [first, second] = &labels(&["a"], &[smaps, smaps_boosted, maps, control])[..] else {
            panic!("two tables");
        };
        assert_eq!(first[..], ["smaps a", "smaps-boosted a", "maps a"]);
        assert_eq!(second[..], ["none a"]);
        let four = labels(&["a", "b", "c", "d"], &[maps]);
        assert_eq!(four, [vec!["maps a", "maps b", "maps c"], vec!["maps d"]]);
        let cut = heading(&format!("kernel smaps {}-v595", "x".repeat(100)));
        assert!(cut.len() < 61 && cut.starts_with("kernel smaps x") && cut.ends_with("x-v595") && cut.contains("..."));
    }

    #[test]
    fn lines_of_a_table_are_of_one_width_whatever_its_headings_are() {
        let report = report(vec![sample(Some(Reading::MAPS), 1, &[2.0], 40)]);
        let one = series(&report).remove(0);
        let two = [
            "short".to_owned(),
            "a heading that is longer than its cells are".to_owned(),
        ]
        .map(|label| (label, one.clone()));
        let text = compare(&two);
        let columns = |line: &str| line.match_indices('|').map(|(at, _)| at).collect::<Vec<_>>();
        let mut lines = text.lines().skip(1);
        let first = lines.next().unwrap();
        assert!(
            first.contains("longer than its cells are |") || first.ends_with("longer than its cells are "),
            "{text}"
        );
        assert!(
            lines.all(|line| line.len() == first.len() && columns(line) == columns(first)),
            "{text}"
        );
    }

    #[test]
    fn levels_that_one_series_lacks_stay_empty() {
        let of = |busy| {
            let report = report(vec![sample(Some(Reading::MAPS), busy, &[2.0], 40)]);
            ("maps 5.4.0".to_owned(), series(&report).remove(0))
        };
        let text = compare(&[of(1), of(10)]);
        let lines: Vec<_> = text.lines().skip(3).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].matches("2.000").count(), 3);
        assert!(lines[0].starts_with("    1 |    2.000"));
        assert!(lines[1].trim_end().ends_with("2.000"));
        assert!(text.contains("maps 5.4.0"));
    }
}
