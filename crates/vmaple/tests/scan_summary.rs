//! `vmaple scan --summary`: what uses the memory of a process, on one screen.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::collections::HashMap;

use running::scan::{methods, proc_file, scan, sleep};
use running::{outcome, vmaple};

/// Returns the rows of a table by their first words, each with its numbers.
fn rows(table: &str) -> HashMap<String, Vec<u64>> {
    let row = |line: &str| {
        let is_number = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
        let words: Vec<_> = line.split_whitespace().collect();
        let names = words.iter().take_while(|word| !is_number(word)).count();
        let numbers = words[names..].iter().filter_map(|word| word.parse().ok());
        (words[..names].join(" "), numbers.collect())
    };
    table.lines().map(row).collect()
}

fn kilobytes(rollup: &str, label: &str) -> u64 {
    let line = rollup.lines().find(|line| line.starts_with(label)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_kinds_add_up_to_the_whole_and_the_whole_is_the_kernels() {
    let target = sleep();
    for method in methods() {
        let (code, out, err) = scan(&[&target], &format!("--summary --method {method}"));
        assert_eq!(code, 0, "{method}: {err}");
        let (kinds, largest) = out.split_once("LARGEST").unwrap();
        assert!(
            kinds.starts_with(&format!("sleep, process {}, user ", target.pid())),
            "{out}"
        );
        let rows = rows(kinds);
        let all = &rows["all"];
        let kinds = ["heap", "stack", "anonymous", "files", "kernel"];
        let sum = |column: usize| {
            kinds
                .iter()
                .filter_map(|kind| rows.get(*kind))
                .map(|row| row[column])
                .sum::<u64>()
        };
        for (column, &whole) in all.iter().enumerate() {
            assert_eq!(sum(column), whole, "{method}: column {column} of {out}");
        }
        let rollup = proc_file(&target, "smaps_rollup");
        assert_eq!(all[2] >> 10, kilobytes(&rollup, "Rss:"), "{method}: {out}");
        assert_eq!(all[3] >> 10, kilobytes(&rollup, "Swap:"), "{method}: {out}");
        let mappings = proc_file(&target, "maps")
            .lines()
            .filter(|line| !line.ends_with("[vsyscall]"))
            .count();
        assert_eq!(all[5], mappings as u64, "{method}: {out}");
        assert!((2..=9).contains(&largest.lines().count()), "{out}");
    }
}

#[test]
fn the_largest_comes_first_and_all_mappings_of_a_file_are_one() {
    let memory = std::hint::black_box(vec![1_u8; 3000 << 12]);
    let pid = std::process::id();
    let (code, out, err) = outcome(vmaple(&format!("scan {pid} --summary --quiet")));
    assert_eq!((code, err.as_str()), (0, ""));
    let (kinds, largest) = out.split_once("LARGEST").unwrap();
    let first = largest.lines().nth(1).unwrap();
    let pss: u64 = first.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(pss >= 3000 << 12, "{out}");
    let anonymous = &rows(kinds)["anonymous"];
    assert!(anonymous[0] >= 3000 << 12 && anonymous[1] >= 3000 << 12, "{out}");
    drop(memory);
    let libc: Vec<_> = largest.lines().filter(|line| line.contains("/libc.so.6")).collect();
    assert!(libc.len() <= 1, "{out}");
}

#[test]
fn what_a_summary_cannot_be_made_of_is_a_usage_error() {
    for (args, part) in [
        ("--summary --fields pss", "--format summary has no values"),
        ("--summary --format smaps", "cannot be used with"),
        (
            "--format summary --method counters",
            "the kernel counts for whole processes",
        ),
    ] {
        let (code, out, err) = outcome(vmaple(&format!("scan 1 {args}")));
        assert!(code == 2 && out.is_empty() && err.contains(part), "{args}: {err}");
    }
}

#[test]
fn folded_stacks_add_up_to_the_pss_of_a_process() {
    let target = sleep();
    let (code, out, err) = scan(&[&target], "--format folded");
    assert_eq!(code, 0, "{err}");
    let (code, rollup, err) = scan(&[&target], "--format rollup --fields pss");
    assert_eq!(code, 0, "{err}");
    let mut sum = 0;
    for line in out.lines() {
        let (stack, kilobytes) = line.rsplit_once(' ').unwrap();
        let frames: Vec<_> = stack.split(';').collect();
        assert_eq!(
            (frames.len(), frames[1]),
            (4, format!("sleep {}", target.pid()).as_str()),
            "{line}"
        );
        sum += kilobytes.parse::<u64>().unwrap();
    }
    // Each stack is rounded up, and what others share changes.
    assert!(sum.abs_diff(kilobytes(&rollup, "Pss:")) < 200, "{out} {rollup}");
}

#[test]
fn a_treemap_is_one_picture_of_all_processes() {
    let (one, other) = (sleep(), sleep());
    let (code, out, err) = scan(&[&one, &other], "--format treemap");
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("<svg ") && out.ends_with("</svg>\n"), "{out}");
    assert!(out.contains(" of 2 processes (Pss)"), "{out}");
    for process in [&one, &other] {
        assert!(out.contains(&format!("<title>sleep {}: ", process.pid())), "{out}");
    }
}

#[test]
fn ages_are_printed_or_it_is_said_why_not() {
    let target = sleep();
    let (code, out, err) = scan(&[&target], "--age");
    match code {
        0 => assert!(out.contains("YOUNGEST"), "{out}"),
        _ => assert!(
            code == 77 && out.is_empty() && err.contains("--method bpf: "),
            "{code}: {err}"
        ),
    }
    for (args, why) in [
        ("--age --method plain", "of --method bpf"),
        ("--age --format smaps", "for --format summary and json"),
        ("--age --format json --fields rss", "leave --fields out"),
        ("--age --cpu 5ms", "cannot be used with"),
    ] {
        let (code, out, err) = scan(&[&target], args);
        assert!(
            code == 2 && out.is_empty() && err.contains(why),
            "{args}: {code}, {err}"
        );
    }
}
