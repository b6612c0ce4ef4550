//! Files of text that vmaple-proc does not write.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use vmaple_proc::StatusRecord;

use crate::guests::Guest;

/// Ticks of the clock in /proc: 100 a second, on all architectures.
const TICKS_PER_SECOND: u128 = 100;

/// Returns `status`: lines of identity, and those of memory if the address space is there.
pub(super) fn status(guest: &Guest, memory: Option<&StatusRecord>) -> Vec<u8> {
    let (pid, parent, uid, gid) = (guest.pid(), guest.parent_pid(), guest.uid(), guest.gid());
    let name = escaped(guest.name());
    let mut text = format!(
        "Name:\t{name}\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t{pid}\nNgid:\t0\nPid:\t{pid}\nPPid:\t{parent}\nTracerPid:\t0\n\
         Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nFDSize:\t0\nGroups:\t \n"
    )
    .into_bytes();
    if let Some(memory) = memory {
        let mut lines = [0; 1024];
        let length = memory.write_text(&mut lines).unwrap_or(0);
        text.extend(&lines[..length]);
    }
    let signals = ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"];
    let capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    text.extend(b"Threads:\t1\nSigQ:\t0/0\n");
    for label in signals.into_iter().chain(capabilities) {
        text.extend(format!("{label}:\t{:016x}\n", 0).bytes());
    }
    text.extend(b"NoNewPrivs:\t0\nSeccomp:\t0\nvoluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n");
    text
}

/// Returns `stat`, one line of 52 fields. What an emulator does not say is 0.
pub(super) fn stat(guest: &Guest, memory: Option<&StatusRecord>) -> Vec<u8> {
    let (bytes, pages) = memory.map_or((0, 0), |memory| (memory.vm_size, memory.vm_rss >> 12));
    let mut text = format!(
        "{} ({}) S {} 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {} {bytes} {pages} 18446744073709551615",
        guest.pid(),
        guest.name(),
        guest.parent_pid(),
        start_ticks(guest.began())
    );
    // Up to the signal that its parent gets, and from there on.
    for field in 26..=52 {
        // Writing to a string cannot fail.
        let _ = write!(text, " {}", if field == 38 { 17 } else { 0 });
    }
    text.push('\n');
    text.into_bytes()
}

/// Returns when a process began, in ticks since the machine started.
fn start_ticks(began: SystemTime) -> u128 {
    let since_boot = clock_gettime(ClockId::Boottime);
    let since_boot = Duration::new(since_boot.tv_sec.cast_unsigned(), since_boot.tv_nsec as u32);
    let age = began.elapsed().unwrap_or_default();
    since_boot.saturating_sub(age).as_millis() * TICKS_PER_SECOND / 1000
}

/// Returns a name as status has it.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\n', "\\n")
}
