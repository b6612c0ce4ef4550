//! The first screen: what stalls and for how long, in sentences, then one table of everything.

use std::fmt::Write;

use crate::machine::NS_PER_MS;
use crate::plan::{ProcFile, Reading, Scanner, Target};

use super::row::{Row, Verdict};
use super::series::{Series, levels};
use super::spread::Worst;

/// Writes a sentence for each file of the kernel that was read, one for the models, and one table:
/// files and levels down, targets and scanners
/// across.
#[must_use]
pub fn overview(all: &[Series]) -> String {
    let sentences = sentences(all);
    let mut text = sentences.join("\n");
    if !sentences.is_empty() {
        text += "\n\n";
    }
    text + &table(all)
}

/// A series of `target` whose file says what `file` says, read by `scanner`.
fn find(all: &[Series], target: Target, file: ProcFile, scanner: Scanner) -> Option<&Series> {
    let is_it = |s: &&Series| s.target == target && s.file.content() == Some(file) && s.file.scanner() == scanner;
    all.iter().find(is_it)
}

/// Writes a time with the unit that suits it; "at least" before a lower bound.
fn time(worst: Worst) -> String {
    let ms = worst.ns / NS_PER_MS;
    let text = match ms {
        ms if ms < 1.0 => format!("{ms:.2} ms"),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    };
    if worst.at_least {
        format!("at least {text}")
    } else {
        text
    }
}

/// Writes the median worst case of a row.
fn median(row: &Row) -> String {
    row.worst
        .map_or_else(|| "no call completed".to_owned(), |spread| time(spread.median))
}

/// Writes `one reader of maps stalls` or `10 readers of maps stall`.
fn stalls(level: u32, file: ProcFile) -> String {
    match level {
        1 => format!("One reader of {file} stalls"),
        n => format!("{n} readers of {file} stall"),
    }
}

/// Says what the rows with readers show; `None` without any.
fn shown(series: &Series, file: ProcFile) -> Option<String> {
    let rows: Vec<_> = series.rows.iter().filter(|row| row.busy > 0).collect();
    let last = rows.last()?;
    let is_stall = |row: &&&Row| matches!(row.verdict, Verdict::Stalls | Verdict::Hangs);
    Some(if let Some(first) = rows.iter().find(is_stall) {
        let mut text = format!("{} this process for {}", stalls(first.busy, file), median(first));
        if last.busy != first.busy {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {} for {}", last.busy, median(last));
        }
        text
    } else if rows.iter().all(|row| row.verdict == Verdict::WithinNoise) {
        format!(
            "Readers of {file} do not stall this process: {}, as without a reader",
            median(last)
        )
    } else {
        format!("Readers of {file}: too few reads for a verdict")
    })
}

/// Says what the same readers cost when they scan by BPF.
fn scanned(series: &Series) -> Option<String> {
    let last = series.rows.iter().rfind(|row| row.busy > 0)?;
    Some(match last.verdict {
        Verdict::Stalls | Verdict::Hangs => format!("`vmaple scan`, {} of them: {}", last.busy, median(last)),
        Verdict::WithinNoise => format!("`vmaple scan`: {}, as without a reader", median(last)),
        _ => "`vmaple scan`: too few scans for a verdict".to_owned(),
    })
}

fn sentences(all: &[Series]) -> Vec<String> {
    let kernel = |file: ProcFile| {
        let said = shown(find(all, Target::Kernel, file, Scanner::Proc)?, file)?;
        let scan = find(all, Target::Kernel, file, Scanner::Bpf).and_then(scanned);
        Some(format!(
            "{said}{}.",
            scan.map_or_else(String::new, |scan| format!("; {scan}"))
        ))
    };
    let mut sentences: Vec<_> = ProcFile::ALL.into_iter().filter_map(kernel).collect();
    let model = |target: Target| {
        let of = |file| find(all, target, file, Scanner::Proc);
        let series = ProcFile::ALL.into_iter().find_map(of)?;
        let last = series.rows.last()?;
        let file = series.file;
        Some((format!("{target} {}", median(last)), last.busy, file))
    };
    let models: Vec<_> = Target::ALL
        .into_iter()
        .filter(|t| t.is_model())
        .filter_map(model)
        .collect();
    if let Some(&(_, level, file)) = models.first() {
        let list: Vec<_> = models.iter().map(|(text, ..)| text.as_str()).collect();
        let readers = if level == 1 {
            "one reader"
        } else {
            &format!("{level} readers")
        };
        sentences.push(format!("Models with {readers} of {file}: {}.", list.join(", ")));
    }
    sentences
}

/// A column of the table: who is read, and how; `None` for the control.
type Column = (Target, Option<Scanner>);

fn heading((target, scanner): Column) -> [String; 2] {
    match (target, scanner) {
        (Target::Kernel, None) => ["control".into(), String::new()],
        (Target::Kernel, Some(Scanner::Proc)) => ["kernel".into(), "read(2)".into()],
        (Target::Kernel, Some(Scanner::Bpf)) => ["kernel".into(), "scan".into()],
        (Target::Kernel, Some(Scanner::Boosted)) => ["kernel".into(), "boosted".into()],
        (model, _) => ["model".into(), model.to_string()],
    }
}

/// Writes the worst case of a row's runs: their median, and how many hung.
fn cell(row: Option<&Row>) -> String {
    let Some(row) = row else {
        return String::new();
    };
    let Some(worst) = row.worst.map(|spread| spread.median) else {
        return "none".to_owned();
    };
    let ms = worst.ns / NS_PER_MS;
    let bound = if worst.at_least { ">=" } else { "" };
    let hangs = if row.hangs > 0 {
        format!("*{}", row.hangs)
    } else {
        String::new()
    };
    let doubt = if row.verdict == Verdict::FewScans { "?" } else { "" };
    let decimals = if ms < 100.0 { 2 } else { 0 };
    format!("{bound}{ms:.decimals$}{hangs}{doubt}")
}

/// Writes the median worst case of every series: files and levels down, targets and scanners
/// across.
fn table(all: &[Series]) -> String {
    const WIDTH: usize = 10;
    let scanners = [Scanner::Proc, Scanner::Bpf, Scanner::Boosted].map(Some);
    let kernel = scanners
        .into_iter()
        .chain([None])
        .map(|scanner| (Target::Kernel, scanner));
    let models = Target::ALL
        .into_iter()
        .filter(|t| t.is_model())
        .map(|t| (t, Some(Scanner::Proc)));
    let is_in = |&(target, scanner): &Column, s: &Series| {
        s.target == target
            && match scanner {
                Some(scanner) => s.file != Reading::Control && s.file.scanner() == scanner,
                None => s.file == Reading::Control,
            }
    };
    let columns: Vec<Column> = kernel
        .chain(models)
        .filter(|c| all.iter().any(|s| is_in(c, s)))
        .collect();
    let labelled: Vec<_> = all.iter().map(|s| (String::new(), s.clone())).collect();
    let mut text = "Worst mmap() or munmap() of a run, in ms: the median of the runs\n\
         (>= lower bound, *n n runs hung, ? too few reads for a verdict)\n\n"
        .to_owned();
    let mut line = |first: &str, readers: &str, cells: Vec<String>| {
        let mut line = format!("{first:<14}{readers:>8}");
        // Writing to a String cannot fail.
        for cell in cells {
            let _ = write!(line, "{cell:>WIDTH$}");
        }
        text += line.trim_end();
        text.push('\n');
    };
    let [above, below]: [Vec<String>; 2] =
        [0, 1].map(|at| columns.iter().map(|&column| heading(column)[at].clone()).collect());
    line("", "", above);
    line("", "readers", below);
    let files = ProcFile::ALL
        .into_iter()
        .filter(|&file| all.iter().any(|s| s.file.content() == Some(file)));
    let mut files: Vec<_> = files.map(Some).collect();
    if files.is_empty() {
        files.push(None);
    }
    let levels = levels(&labelled);
    let mut row = |file: Option<ProcFile>, level: u32| {
        let row_of = |column: &Column| {
            let says = |s: &&Series| level == 0 || s.file == Reading::Control || s.file.content() == file;
            all.iter().filter(|s| is_in(column, s)).find(says)?.row_at(level)
        };
        // Without readers every file of a target is the same runs.
        let first = file.filter(|_| level > 0).map_or("", ProcFile::name);
        line(
            first,
            &level.to_string(),
            columns.iter().map(|column| cell(row_of(column))).collect(),
        );
    };
    if levels.contains(&0) {
        row(None, 0);
    }
    for file in files {
        levels
            .iter()
            .filter(|&&level| level > 0)
            .for_each(|&level| row(file, level));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hung, model, report, sample};
    use super::super::series;
    use super::*;
    use crate::plan::Listing;
    use crate::sample::Sample;

    const LEVELS: [u32; 2] = [1, 10];

    /// The overview of runs of these readings, at levels 1 and 10 in this many milliseconds.
    fn overview_of(readings: &[(Target, Reading, [f64; 2])]) -> String {
        let runs = |&(target, reading, ms): &(Target, Reading, [f64; 2])| {
            LEVELS.into_iter().zip(ms).map(move |(level, ms)| {
                let run = sample(Some(reading), level, &[ms], 40);
                if target.is_model() { model(target, run) } else { run }
            })
        };
        let mut alone = vec![sample(None, 0, &[0.1], 0)];
        alone.extend(readings.iter().flat_map(runs));
        of(alone, readings)
    }

    fn of(samples: Vec<Sample>, readings: &[(Target, Reading, [f64; 2])]) -> String {
        let mut report = report(samples);
        report.plan.busy = vec![0, 1, 10];
        report.plan.files = readings.iter().map(|&(_, reading, _)| reading).collect();
        report.plan.targets = readings.iter().map(|&(target, ..)| target).collect();
        report.plan.files.dedup();
        report.plan.targets.dedup();
        overview(&series(&report))
    }

    const MAPS: (Target, Reading, [f64; 2]) = (Target::Kernel, Reading::MAPS, [93.0, 700.0]);
    const SCAN: (Target, Reading, [f64; 2]) = (Target::Kernel, Reading::Bpf(Listing::Maps), [0.2, 0.3]);

    #[test]
    fn the_first_sentence_says_what_stalls_and_that_the_scan_does_not() {
        let text = overview_of(&[MAPS, SCAN]);
        assert_eq!(
            text.lines().next().unwrap(),
            "One reader of maps stalls this process for 93 ms, 10 for 700 ms; `vmaple scan`: 0.30 ms, as without a reader."
        );
    }

    #[test]
    fn a_file_whose_readers_stall_nothing_is_said_to_stall_nothing() {
        let text = overview_of(&[(Target::Kernel, Reading::MAPS, [0.2, 0.25])]);
        let said = "Readers of maps do not stall this process: 0.25 ms, as without a reader.";
        assert_eq!(text.lines().next().unwrap(), said);
        let few = sample(Some(Reading::MAPS), 1, &[0.2], 1);
        let text = of(vec![few], &[MAPS]);
        assert_eq!(
            text.lines().next().unwrap(),
            "Readers of maps: too few reads for a verdict."
        );
    }

    #[test]
    fn a_scan_that_stalls_is_not_said_to_be_harmless() {
        let text = overview_of(&[MAPS, (SCAN.0, SCAN.1, [0.2, 50.0])]);
        assert!(
            text.lines()
                .next()
                .unwrap()
                .ends_with("`vmaple scan`, 10 of them: 50 ms."),
            "{text}"
        );
    }

    #[test]
    fn lower_bounds_and_hangs_are_marked_in_sentence_and_table() {
        let runs = vec![hung(sample(Some(Reading::MAPS), 10, &[2_500.0], 40))];
        let text = of(runs, &[MAPS]);
        assert!(
            text.starts_with("10 readers of maps stall this process for at least 2.5 s."),
            "{text}"
        );
        assert!(text.lines().last().unwrap().ends_with(">=2500*1"), "{text}");
    }

    #[test]
    fn each_series_is_a_column_and_each_file_and_level_a_line() {
        let smaps = Reading::SMAPS;
        let text = overview_of(&[
            MAPS,
            SCAN,
            (Target::Kernel, Reading::Control, [0.1, 0.1]),
            (Target::V54, Reading::MAPS, [70.0, 800.0]),
            (Target::Maple, smaps, [0.1, 0.1]),
        ]);
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .collect();
        let table = &lines[lines.len() - 7..];
        assert_eq!(table[0], ["kernel", "kernel", "control", "model", "model"]);
        assert_eq!(table[1], ["readers", "read(2)", "scan", "v5.4", "maple"]);
        assert_eq!(table[2], ["0", "0.10", "0.10", "0.10"]);
        assert_eq!(table[3], ["maps", "1", "93.00", "0.20", "0.10", "70.00"]);
        assert_eq!(table[4], ["maps", "10", "700", "0.30", "0.10", "800"]);
        assert_eq!(table[5], ["smaps", "1", "0.10", "0.10"]);
        assert!(text.lines().skip(2).all(|line| line.chars().count() <= 100), "{text}");
    }
}
