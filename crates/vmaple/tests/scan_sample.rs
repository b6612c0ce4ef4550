//! `vmaple scan --cpu` and `--sample`: sums with margins, at a cost that is known before.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use running::scan::{methods, scan, sleep};
use running::{outcome, vmaple};
use serde_json::Value;

/// Memory of this process whose pages are many and not alike: some are in huge pages, as the kernel
/// likes.
fn memory() -> Vec<u8> {
    let mut memory = vec![0_u8; 200 << 20];
    for at in (0..memory.len()).step_by(3 << 12) {
        memory[at] = 1;
    }
    std::hint::black_box(memory)
}

#[test]
fn sums_of_a_part_of_the_pages_have_margins_and_the_report_says_how_many_were_counted() {
    if !methods().contains(&"bpf") {
        println!("skipped: no scan by BPF");
        return;
    }
    let memory = memory();
    let pid = std::process::id();
    let (code, out, err) = outcome(vmaple(&format!("scan {pid} --sample 10")));
    assert_eq!(code, 0, "{err}");
    assert!(out.lines().next().unwrap().contains("[rollup]"), "{out}");
    let rss = out.lines().find(|line| line.starts_with("Rss:")).unwrap();
    assert!(!rss.contains("+-"), "{rss}");
    assert!(
        err.contains("SAMPLED: ") && err.contains(" tables of pages counted, in "),
        "{err}"
    );
    let (code, out, err) = outcome(vmaple(&format!(
        "scan {pid} --sample 10 --format json --fields pss,rss"
    )));
    assert_eq!(code, 0, "{err}");
    let object: Value = serde_json::from_str(&out).unwrap();
    let sampled = &object["report"]["sampled"];
    assert!(
        sampled["counted_tables"].as_u64() <= sampled["tables"].as_u64(),
        "{out}"
    );
    assert!(
        sampled["margins"]["rss_bytes"].is_null() && object["mappings"].is_null(),
        "{out}"
    );
    assert!(object["sum"]["pss_bytes"].as_u64().unwrap() > 60 << 20, "{out}");
    drop(memory);
}

#[test]
fn the_processes_of_a_round_share_what_it_may_count() {
    if !methods().contains(&"bpf") {
        println!("skipped: no scan by BPF");
        return;
    }
    let (one, other) = (sleep(), sleep());
    let (code, out, err) = scan(&[&one, &other], "--cpu 2ms --group-by name --format json");
    assert_eq!(code, 0, "{err}");
    let object: Value = serde_json::from_str(&out).unwrap();
    assert!(
        object["processes"] == 2 && object["pss_margin_bytes"].is_u64(),
        "{out} {err}"
    );
}

#[test]
fn sums_without_mappings_are_asked_for_in_json() {
    let pid = std::process::id();
    let (code, out, err) = outcome(vmaple(&format!("scan {pid} --format json --sums --method plain")));
    assert_eq!(code, 0, "{err}");
    let object: Value = serde_json::from_str(&out).unwrap();
    assert!(
        object["mappings"].is_null() && object["sum"]["rss_bytes"].is_u64(),
        "{out}"
    );
}

#[test]
fn what_cannot_be_estimated_is_a_usage_error() {
    for (args, part) in [
        ("--cpu 5ms --format smaps", "not its mappings"),
        ("--sample 9 --summary", "not its mappings"),
        ("--cpu 5ms --method plain", "are of --method bpf"),
        ("--cpu 5ms --sample 9", "cannot be used with"),
        ("--cpu 5ms --fields thpeligible", "no field of this format"),
        ("--sums --format smaps", "--sums is for --format json"),
    ] {
        let (code, out, err) = outcome(vmaple(&format!("scan 1 {args}")));
        assert!(code == 2 && out.is_empty() && err.contains(part), "{args}: {err}");
    }
}
