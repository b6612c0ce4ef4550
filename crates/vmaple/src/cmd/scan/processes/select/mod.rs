//! Selects the processes to scan: by number, or by what they are.

mod cgroup;
mod criteria;
mod table;

use std::io::Read;

use anyhow::{Context, bail};
use vmaple_repro::Error;

pub(in crate::cmd::scan) use self::criteria::{Criteria, Found};
use crate::cli::{PidArg, ScanOptions};

/// The processes that a command names.
pub(in crate::cmd::scan) enum Selection {
    /// By number. One that cannot be scanned is an error.
    Numbers(Vec<u32>),
    /// By what they are, looked for again in each round. They may come and go.
    Matching(Criteria),
}

impl Selection {
    /// Returns the selection; reads standard input for `-`.
    ///
    /// # Errors
    /// [`Error::Usage`] names the option and why its value selects nothing.
    pub(in crate::cmd::scan) fn of(options: &ScanOptions) -> anyhow::Result<Self> {
        if let Some(criteria) = Criteria::of(&options.select)? {
            return Ok(Self::Matching(criteria));
        }
        let mut pids = vec![];
        for arg in &options.pids {
            match arg {
                PidArg::Number(pid) => pids.push(*pid),
                PidArg::Stdin => pids.extend(read_stdin()?),
            }
        }
        if pids.is_empty() {
            bail!("standard input names no process");
        }
        Ok(Self::Numbers(pids))
    }
}

/// Reads numbers of processes from standard input, separated by blanks or lines.
fn read_stdin() -> anyhow::Result<Vec<u32>> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("reading numbers of processes from standard input")?;
    let number = |word: &str| {
        crate::cli::pid(word).map_err(|why| Error::Usage(format!("'{word}' of standard input: {why}")).into())
    };
    text.split_whitespace().map(number).collect()
}
