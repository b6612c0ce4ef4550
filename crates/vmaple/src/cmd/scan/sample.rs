//! Sums of which a part of the pages was counted: the shares of several processes, and margins as
//! text.

use std::fs;
use std::time::Duration;

use vmaple_scan::{Field, Sample, Sampled};

use crate::cmd::scan::processes::status::kilobytes;

/// What each process of a round may count of what all may, by its page tables.
pub(super) struct Shares {
    /// What is not given to a process yet.
    sample: Sample,
    /// The tables of each process that has no share yet, and their sum.
    each: std::vec::IntoIter<u64>,
    tables: u64,
}

impl Shares {
    /// Shares what a round may count among these processes.
    pub(super) fn new(sample: Sample, pids: impl Iterator<Item = u32>) -> Self {
        let each: Vec<_> = match sample {
            Sample::All => vec![],
            _ => pids.map(tables_of).collect(),
        };
        Self {
            sample,
            tables: each.iter().sum(),
            each: each.into_iter(),
        }
    }

    /// Takes the share of the next process.
    pub(super) fn take(&mut self) -> Sample {
        let Some(tables) = self.each.next() else {
            return self.sample;
        };
        let share = tables as f64 / self.tables as f64;
        self.tables -= tables;
        match &mut self.sample {
            Sample::Cpu(time) => {
                let part = time.mul_f64(share);
                *time -= part;
                Sample::Cpu(part)
            }
            Sample::Tables(all) => {
                let part = (f64::from(*all) * share).round() as u32;
                *all -= part;
                Sample::Tables(part)
            }
            other => *other,
        }
    }
}

/// Returns how many page tables a process has, and one more: each process costs something.
fn tables_of(pid: u32) -> u64 {
    let status = fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    kilobytes(&status, "VmPTE").unwrap_or(0) / 4 + 1
}

/// Appends the margins to the lines of a roll-up.
pub(super) fn with_margins(rollup: &[u8], sampled: &Sampled) -> Vec<u8> {
    let mut text = vec![];
    for line in rollup.split_inclusive(|&byte| byte == b'\n') {
        let label = line.split(|&byte| byte == b':').next().unwrap_or_default();
        let field = str::from_utf8(label).ok().and_then(Field::parse);
        let margin = field.and_then(|field| sampled.margin(field));
        text.extend(line.trim_ascii_end());
        if let Some(margin) = margin {
            text.extend(format!(" +- {} kB", margin.bytes().div_ceil(1024)).bytes());
        }
        text.push(b'\n');
    }
    text
}

/// How a round has drawn, all processes together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drawn {
    tables: u64,
    counted: u64,
    cpu: Duration,
}

impl Drawn {
    pub(super) fn add(&mut self, sampled: &Sampled) {
        self.tables += sampled.tables;
        self.counted += sampled.counted;
        self.cpu += sampled.cpu;
    }

    /// Returns it as text; `None` if nothing was drawn.
    pub(super) fn text(&self) -> Option<String> {
        let Self { tables, counted, cpu } = self;
        let ms = cpu.as_secs_f64() * 1e3;
        (*tables > 0).then(|| format!("{counted} of {tables} tables of pages counted, in {ms:.1} ms of CPU time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_what_a_round_may_count() {
        let me = std::process::id();
        let mut shares = Shares::new(Sample::Tables(1000), [me, me, me].into_iter());
        let mut counted = 0;
        for _ in 0..3 {
            let Sample::Tables(part) = shares.take() else {
                panic!("another kind")
            };
            counted += part;
        }
        assert_eq!(counted, 1000);
        let mut all = Shares::new(Sample::All, [me].into_iter());
        assert_eq!(all.take(), Sample::All);
    }
}
