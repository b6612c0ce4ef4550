//! Several series side by side, as in the talk's last table.

use std::fmt::Write;

use super::{hangs_cell, spread_cells};
use crate::proc_file::ProcFile;
use crate::stats::{Row, Series};
use crate::target::Target;

/// Levels that any series has, ascending.
pub(super) fn levels(series: &[(String, Series)]) -> Vec<u32> {
    let mut levels: Vec<u32> = series.iter().flat_map(|(_, s)| s.rows.iter().map(|r| r.busy)).collect();
    levels.sort_unstable();
    levels.dedup();
    levels
}

pub(super) fn row_at(series: &Series, level: u32) -> Option<&Row> {
    series.rows.iter().find(|r| r.busy == level)
}

/// The series next to each other: median, minimum, maximum and hangs of each, a line a level.
#[must_use]
pub fn compare(series: &[(String, Series)]) -> String {
    const WIDTH: usize = 36;
    let mut text = String::from("Worst-case mmap()/munmap() latency (milliseconds)\n     ");
    // Writing to a String can not fail.
    for (label, _) in series {
        let label: String = label.chars().take(WIDTH - 2).collect();
        let _ = write!(text, " |{label:^WIDTH$}");
    }
    text.push_str("\n#Busy");
    for _ in series {
        let _ = write!(
            text,
            " |{:>9} {:>9} {:>9} {:>6}",
            "Median", "Minimum", "Maximum", "#Hangs"
        );
    }
    text.push('\n');
    for level in levels(series) {
        let _ = write!(text, "{level:>5}");
        for (_, series) in series {
            let [median, min, max] =
                row_at(series, level).map_or([const { String::new() }; 3], |r| spread_cells(r.worst));
            let hangs = row_at(series, level).map_or(String::new(), |r| hangs_cell(r.hangs));
            let _ = write!(text, " |{median:>9} {min:>9} {max:>9} {hangs:>6}");
        }
        text.push('\n');
    }
    text
}

/// The talk's last table, v5.4 against the maple tree and what else is modelled, for each file of which the report has both.
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
    let tables = ProcFile::ALL.into_iter().map(of).filter(has_both);
    tables.map(|models| compare(&models)).collect()
}

/// What the kernel's file costs against what says the same otherwise, with the control, for each file that several scanners read.
#[must_use]
pub fn scanners(series: &[Series]) -> Vec<String> {
    let of = |file: ProcFile| -> Vec<_> {
        let kernels = series.iter().filter(|s| s.target == Target::Kernel);
        let same = kernels.filter(|s| s.file.content() == file || s.file == ProcFile::None);
        same.map(|s| (s.label(), s.clone())).collect()
    };
    let has_several = |file: &ProcFile| {
        let read = of(*file).into_iter().filter(|(_, s)| s.file != ProcFile::None);
        read.count() > 1
    };
    let contents = ProcFile::ALL.into_iter().filter(|file| file.content() == *file);
    contents.filter(has_several).map(|file| compare(&of(file))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{model, report, sample};
    use super::*;
    use crate::stats::series;

    #[test]
    fn the_cure_is_shown_of_each_file_if_both_models_are_there() {
        let run = |target, file| model(target, sample(Some(file), 1, &[2.0], 40));
        let (maps, smaps) = (ProcFile::Maps, ProcFile::Smaps);
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
        let of = |files: &[ProcFile]| {
            let runs = files.iter().map(|&file| sample(Some(file), 1, &[2.0], 40));
            let mut report = report(runs.collect());
            report.plan.files = files.to_vec();
            scanners(&series(&report))
        };
        use ProcFile::{Maps, MapsByBpf, None, Smaps, SmapsBoosted, SmapsByBpf};
        assert!(of(&[Maps, Smaps, None]).is_empty());
        assert!(of(&[MapsByBpf, Smaps, None]).is_empty());
        let tables = of(&[Smaps, SmapsByBpf, SmapsBoosted, Maps, None]);
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
        assert_eq!(of(&[Maps, Smaps, SmapsByBpf, MapsByBpf]).len(), 2);
    }

    #[test]
    fn levels_that_one_series_lacks_stay_empty() {
        let of = |busy| {
            let report = report(vec![sample(Some(ProcFile::Maps), busy, &[2.0], 40)]);
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
