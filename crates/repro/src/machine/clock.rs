//! CLOCK_MONOTONIC in nanoseconds: one clock for every role, so that their times compare.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds in a millisecond, the talk's unit.
pub const NS_PER_MS: f64 = 1e6;

/// Returns the monotonic time in nanoseconds; never zero on a machine that has booted.
pub(crate) fn now_ns() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs()
}

/// Converts nanoseconds to a `timespec`.
pub(crate) fn timespec(ns: u64) -> Timespec {
    Timespec {
        tv_sec: (ns / 1_000_000_000).cast_signed(),
        tv_nsec: (ns % 1_000_000_000).cast_signed(),
    }
}
