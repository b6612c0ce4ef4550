//! What the ledger and the kernel say of the roles of a run.

use std::sync::atomic::Ordering::Relaxed;

use crate::check::ScanCheck;
use crate::plan::Reading;
use crate::role::Slot;
use crate::sample::{Misreads, Timeline};

use super::roles::Roles;

impl Roles<'_> {
    /// Returns the slots of the scanners, and those of the busy tasks.
    fn slots(&self) -> (&[Slot], &[Slot]) {
        let slots = self.ledger.slots();
        slots.split_at(slots.len() / 2)
    }

    /// Returns when each step of the run was taken.
    pub(super) fn timeline(&self) -> Timeline {
        let words = &self.ledger.header().mapper;
        let mapped = words.mapped_ns.load(Relaxed);
        let after = |ns: u64| ns.saturating_sub(mapped);
        let started = |slots: &[Slot]| -> Vec<u64> { slots.iter().map(|s| s.started_ns.load(Relaxed)).collect() };
        let (scanners, busy) = self.slots();
        Timeline {
            scanners_go_ns: after(self.scanners_go_ns),
            // A starved scanner may never have begun.
            first_scan_ns: after(started(scanners).into_iter().filter(|&ns| ns > 0).min().unwrap_or(0)),
            busy_go_ns: after(self.busy_go_ns),
            busy_up_ns: after(started(busy).into_iter().max().unwrap_or(0)),
            first_call_ns: after(words.begun_ns.load(Relaxed)),
        }
    }

    /// Returns the number of completed scans.
    pub(super) fn scans(&self) -> u64 {
        self.slots().0.iter().map(|s| s.scans.load(Relaxed)).sum()
    }

    /// Returns the longest scan since the mapper began, those in flight at `now` included.
    pub(super) fn longest_scan_ns(&self, now: u64) -> u64 {
        let longest = |slot: &Slot| {
            let since = slot.scan_since_ns.load(Relaxed);
            let in_flight = if since == 0 { 0 } else { now.saturating_sub(since) };
            slot.longest_ns.load(Relaxed).max(in_flight)
        };
        self.slots().0.iter().map(longest).max().unwrap_or(0)
    }

    /// Returns how often the kernel has taken the CPU from a scanner so far.
    pub(super) fn preemptions(&self) -> u64 {
        let of = |slot: &Slot| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", slot.tid.load(Relaxed))).ok()?;
            let line = status.lines().find(|l| l.starts_with("nonvoluntary_ctxt_switches"))?;
            line.split_once(':')?.1.trim().parse::<u64>().ok()
        };
        self.slots().0.iter().filter_map(of).sum()
    }

    /// Returns what the scanners read that was not so, where that is looked at.
    pub(super) fn misreads(&self) -> Option<Misreads> {
        let of = |slot: &Slot| Misreads {
            overlaps: slot.overlaps.load(Relaxed),
            misses: slot.misses.load(Relaxed),
            torn: slot.torn.load(Relaxed),
            resurrected: slot.resurrected.load(Relaxed),
        };
        let content = self.cell.file.and_then(Reading::content);
        let checked = content.is_some_and(ScanCheck::is_for) && !self.are_frozen();
        checked.then(|| Misreads::merged(self.slots().0.iter().map(of)))
    }
}
