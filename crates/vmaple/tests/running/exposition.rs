//! A strict reader of Prometheus' text format, as far as gauges need it.
//!
//! The rules are those of the format's document (version 0.0.4), and two that Prometheus' own
//! linter adds: each family has HELP and TYPE, and a gauge's name does not end as a counter's does.

use std::collections::{HashMap, HashSet};
use std::iter::Peekable;
use std::str::Chars;

/// A sample: its labels in their order, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The samples of an exposition, by the name of their family.
#[derive(Debug, Default)]
pub(crate) struct Exposition(pub(crate) HashMap<String, Vec<Sample>>);

impl Exposition {
    /// Reads a whole exposition, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut families = Self::default();
        let mut series = HashSet::new();
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let wrong = |what: &str| Err(format!("{what}: {line}"));
            let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
                return wrong("a family begins with HELP");
            };
            let is_ended = help.ends_with('.') || help.is_empty();
            if !is_name(name, true) || !is_ended {
                return wrong("not a name and a sentence");
            }
            if ["_total", "_sum", "_count", "_bucket", "_info_info"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                return wrong("a gauge's name does not end so");
            }
            if lines.next() != Some(&format!("# TYPE {name} gauge")) {
                return wrong("TYPE follows HELP, once");
            }
            let mut samples = vec![];
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let Some(rest) = line.strip_prefix(name) else {
                    return Err(format!("of another family than {name}: {line}"));
                };
                let sample = sample(rest).ok_or_else(|| format!("no sample: {line}"))?;
                let mut labels = sample.labels.clone();
                labels.sort_unstable();
                if labels.windows(2).any(|two| two[0].0 == two[1].0) {
                    return Err(format!("a label twice: {line}"));
                }
                if !series.insert((name.to_owned(), labels)) {
                    return Err(format!("a series twice: {line}"));
                }
                samples.push(sample);
            }
            if samples.is_empty() {
                return wrong("a family without samples");
            }
            if families.0.insert(name.to_owned(), samples).is_some() {
                return wrong("a family twice");
            }
        }
        Ok(families)
    }

    /// The samples of a family, which may be none.
    pub(crate) fn of(&self, name: &str) -> &[Sample] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of a family's only sample of a process.
    pub(crate) fn value(&self, name: &str, pid: u32) -> Option<f64> {
        let pid = pid.to_string();
        let mut of_it = self.of(name).iter().filter(|sample| sample.label("pid") == Some(&pid));
        match (of_it.next(), of_it.next()) {
            (Some(sample), None) => Some(sample.value),
            _ => None,
        }
    }
}

fn is_name(name: &str, colons: bool) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || colons && c == ':';
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

/// What follows a family's name: labels in braces or none, a blank, a value, and no time.
fn sample(rest: &str) -> Option<Sample> {
    let mut chars = rest.chars().peekable();
    let mut labels = vec![];
    if chars.next_if_eq(&'{').is_some() {
        while chars.next_if_eq(&'}').is_none() {
            if !labels.is_empty() {
                chars.next_if_eq(&',')?;
            }
            labels.push(label(&mut chars)?);
        }
    }
    chars.next_if_eq(&' ')?;
    let value: String = chars.collect();
    let value = (!value.contains(' ')).then(|| value.parse().ok())??;
    Some(Sample { labels, value })
}

fn label(chars: &mut Peekable<Chars<'_>>) -> Option<(String, String)> {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|&c| c != '=') {
        name.push(c);
    }
    chars.next_if_eq(&'=')?;
    chars.next_if_eq(&'"')?;
    let mut value = String::new();
    loop {
        value.push(match chars.next()? {
            '"' => break,
            '\n' => return None,
            '\\' => match chars.next()? {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            },
            c => c,
        });
    }
    is_name(&name, false).then_some((name, value))
}
