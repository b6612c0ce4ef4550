//! The talk's "tiny slice of the machine", in which the scanners run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the scanners are confined to the talk's "tiny slice of the machine".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Slice {
    /// A nice value; the talk's choice is 15.
    Nice(i32),
    /// A cgroup of this weight (cgroup v2's scale, 1 to 10000, where 100 is normal).
    Weight(u32),
    /// A cgroup that may use `quota_us` of CPU time in every `period_us`.
    Quota {
        /// CPU time a period, in microseconds.
        quota_us: u64,
        /// The period, in microseconds.
        period_us: u64,
    },
    /// A cpuset that holds the busy tasks' CPUs only; no other limit.
    Cpuset,
}

impl Slice {
    /// Returns the nice value of a scanner in this slice.
    #[must_use]
    pub fn nice(self) -> i32 {
        match self {
            Self::Nice(n) => n,
            _ => 0,
        }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nice(n) => write!(f, "nice={n}"),
            Self::Weight(w) => write!(f, "weight={w}"),
            Self::Quota { quota_us, period_us } => {
                let ms = |us: u64| us as f64 / 1e3;
                write!(f, "quota={}ms/{}ms", ms(*quota_us), ms(*period_us))
            }
            Self::Cpuset => f.write_str("cpuset"),
        }
    }
}

impl FromStr for Slice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: String| {
            Error::Usage(format!(
                "slice '{text}': {why}; use nice=-20..19, weight=1..10000, quota=2ms/100ms or cpuset"
            ))
        };
        let in_range = |value: i64, low: i64, high: i64| {
            (low..=high)
                .contains(&value)
                .then_some(value)
                .ok_or_else(|| bad(format!("{value} is outside {low}..{high}")))
        };
        let number = |s: &str| s.parse::<i64>().map_err(|_| bad(format!("'{s}' is not a number")));
        let micros = |s: &str| {
            humantime::parse_duration(s)
                .map_err(|e| bad(format!("'{s}': {e}")))
                .and_then(|d| u64::try_from(d.as_micros()).map_err(|_| bad(format!("'{s}' is too long"))))
        };
        match text.split_once('=') {
            Some(("nice", n)) => Ok(Self::Nice(in_range(number(n)?, -20, 19)? as i32)),
            Some(("weight", w)) => Ok(Self::Weight(in_range(number(w)?, 1, 10_000)? as u32)),
            Some(("quota", q)) => {
                let (quota, period) = q
                    .split_once('/')
                    .ok_or_else(|| bad("a quota needs a period, as in 2ms/100ms".into()))?;
                let (quota_us, period_us) = (micros(quota)?, micros(period)?);
                // The kernel's own limits: kernel/sched/core.c, min_cfs_quota_period and
                // max_cfs_quota_period.
                if quota_us < 1_000 || !(1_000..=1_000_000).contains(&period_us) {
                    return Err(bad("the quota must be at least 1ms, the period 1ms to 1s".into()));
                }
                Ok(Self::Quota { quota_us, period_us })
            }
            None if text == "cpuset" => Ok(Self::Cpuset),
            _ => Err(bad("unknown kind".into())),
        }
    }
}

impl TryFrom<String> for Slice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Slice> for String {
    fn from(value: Slice) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_written_as_they_are_read() {
        for text in [
            "nice=15",
            "nice=-20",
            "weight=1",
            "quota=2ms/100ms",
            "quota=1.5ms/1000ms",
            "cpuset",
        ] {
            let slice: Slice = match text {
                "quota=1.5ms/1000ms" => "quota=1500us/1s",
                text => text,
            }
            .parse()
            .unwrap();
            assert_eq!(slice.to_string(), text);
        }
        for bad in [
            "",
            "nice",
            "nice=20",
            "nice=x",
            "weight=0",
            "quota=2ms",
            "quota=1us/1s",
            "quota=2ms/2s",
            "cpu",
        ] {
            assert!(bad.parse::<Slice>().is_err(), "{bad}");
        }
    }
}
