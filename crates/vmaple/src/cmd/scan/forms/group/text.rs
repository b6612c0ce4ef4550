//! Groups as JSON, CSV and metrics.

use std::fmt::Write;
use std::time::SystemTime;

use serde_json::json;

use super::{Sums, ratio};
use crate::cli::GroupBy;
use crate::cmd::scan::forms::prometheus::Exposition;

/// The form of an object and its version. A change that breaks a reader raises the version.
const SCHEMA: &str = "vmaple-groups/1";

/// Returns one object on each line.
pub(super) fn json(by: GroupBy, groups: &[(String, Sums)], max_map_count: Option<u64>) -> String {
    let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let mut text = String::new();
    for (group, sums) in groups {
        let object = json!({
            "schema": SCHEMA,
            "time": time,
            "by": by.name(),
            "group": group,
            "processes": sums.processes,
            "pss_bytes": sums.pss,
            "uss_bytes": sums.uss,
            "rss_bytes": sums.rss,
            "swap_bytes": sums.swap,
            "pss_margin_bytes": sums.pss_margins.bytes(),
            "uss_margin_bytes": sums.uss_margins.bytes(),
            "mappings": (sums.mappings > 0).then_some(sums.mappings),
            "max_map_count_ratio": ratio(sums, max_map_count),
        });
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{object}");
    }
    text
}

/// Returns a heading and a line for each group (RFC 4180, but for the ends of lines).
pub(super) fn csv(by: GroupBy, groups: &[(String, Sums)], max_map_count: Option<u64>) -> String {
    let mut text = format!(
        "{},processes,pss_bytes,uss_bytes,rss_bytes,swap_bytes,mappings,max_map_count_ratio,pss_margin_bytes,uss_margin_bytes\n",
        by.name()
    );
    for (group, sums) in groups {
        let mappings = if sums.mappings > 0 {
            sums.mappings.to_string()
        } else {
            String::new()
        };
        let ratio = ratio(sums, max_map_count).map_or_else(String::new, |ratio| format!("{ratio:.6}"));
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{mappings},{ratio},{},{}",
            quoted(group),
            sums.processes,
            sums.pss,
            sums.uss,
            sums.rss,
            sums.swap,
            sums.pss_margins.bytes(),
            sums.uss_margins.bytes(),
        );
    }
    text
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Returns the metrics.
pub(super) fn prometheus(by: GroupBy, groups: &[(String, Sums)], max_map_count: Option<u64>) -> String {
    let mut exposition = Exposition::default();
    for (group, sums) in groups {
        let labels = [("by", by.name()), ("group", group.as_str())];
        let mut put = |name: &str, help: &str, value: f64| {
            exposition.put(format!("vmaple_group_{name}"), help.to_owned(), &labels, value);
        };
        put("processes", "How many processes were scanned.", sums.processes as f64);
        let pss = "Memory of the group: a page that processes share is divided among them.";
        put("pss_bytes", pss, sums.pss as f64);
        put("uss_bytes", "Memory of one process alone, summed.", sums.uss as f64);
        let rss = "Resident memory. A page that processes share counts in each.";
        put("rss_bytes", rss, sums.rss as f64);
        put(
            "swap_bytes",
            "Memory that is swapped out, of each process.",
            sums.swap as f64,
        );
        for (name, margins) in [
            ("pss_margin_bytes", sums.pss_margins),
            ("uss_margin_bytes", sums.uss_margins),
        ] {
            if margins.bytes() > 0 {
                let help = "What the value may be too high or too low by (95 %), as not all pages were counted.";
                put(name, help, margins.bytes() as f64);
            }
        }
        if sums.mappings > 0 {
            put(
                "mappings",
                "How many mappings the processes have.",
                sums.mappings as f64,
            );
        }
        if let Some(ratio) = ratio(sums, max_map_count) {
            let help = "The most mappings of one process, as a part of vm.max_map_count.";
            put("max_map_count_ratio", help, ratio);
        }
    }
    exposition.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_commas_and_quotes_is_one_value() {
        let sums = Sums {
            processes: 1,
            pss: 2,
            ..Sums::default()
        };
        let text = csv(GroupBy::Exe, &[("a,\"b".to_owned(), sums)], Some(10));
        assert_eq!(text.lines().nth(1), Some("\"a,\"\"b\",1,2,0,0,0,,,0,0"));
    }
}
