//! The rights of the caller, of which the program's file may have more.

#![allow(unsafe_code)] // a look at the auxiliary vector

use rustix::process::getuid;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::error::{Error, Result};

/// The capabilities that loading and running the BPF program needs. From Linux 6.15 on CAP_PERFMON
/// opens every process's maps, too.
const OF_THE_PROGRAM: CapabilitySet = CapabilitySet::PERFMON
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::SYS_ADMIN);

/// Asks the kernel something with the rights of the caller.
///
/// In this thread, and for as long, the capabilities by which the BPF program is loaded are not
/// effective. They may come from the program's file, which a user without any can execute. Root's
/// are root's own. CAP_SYS_PTRACE stays: it is the right to look at other processes, and nothing
/// else here needs it.
///
/// # Errors
/// [`Error::Failed`] if the kernel does not let them be given up, or taken back.
pub(crate) fn as_caller<T>(ask: impl FnOnce() -> T) -> Result<T> {
    if getuid().is_root() && !may_be_the_files() {
        return Ok(ask());
    }
    let failed = |what: &str, e| Error::failed(format!("{what} capabilities while permission is asked for"), e);
    let before = capabilities(None).map_err(|e| failed("looking at", e))?;
    if !before.effective.intersects(OF_THE_PROGRAM) {
        return Ok(ask());
    }
    let without = CapabilitySets {
        effective: before.effective.difference(OF_THE_PROGRAM),
        ..before
    };
    set_capabilities(None, without).map_err(|e| failed("giving up", e))?;
    let lowered = Lowered(before);
    let answer = ask();
    lowered.end().map_err(|e| failed("taking back", e))?;
    Ok(answer)
}

/// Lowered capabilities. The thread gets them back when this is dropped, also if `ask` panics.
struct Lowered(CapabilitySets);

impl Lowered {
    fn end(self) -> rustix::io::Result<()> {
        let before = self.0;
        std::mem::forget(self);
        set_capabilities(None, before)
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        let _ = set_capabilities(None, self.0);
    }
}

/// Returns whether this program was given rights when it was executed.
fn may_be_the_files() -> bool {
    // SAFETY: only reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective() -> CapabilitySet {
        capabilities(None).unwrap().effective
    }

    #[test]
    fn a_user_asks_without_the_programs_capabilities_and_has_them_afterwards() {
        let thread = std::thread::spawn(|| {
            // The system calls change this thread alone.
            let before = capabilities(None).unwrap();
            if !before.permitted.contains(OF_THE_PROGRAM) {
                eprintln!("skipped: it needs root");
                return;
            }
            assert!(
                as_caller(effective).unwrap().contains(OF_THE_PROGRAM),
                "root's are its own"
            );
            // SAFETY: of this thread alone.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1) }, 0);
            // SAFETY: as above.
            assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) }, 0);
            let kept = CapabilitySets {
                effective: before.permitted,
                ..before
            };
            set_capabilities(None, kept).unwrap();
            let asked = as_caller(effective).unwrap();
            assert_eq!(asked, before.permitted.difference(OF_THE_PROGRAM));
            assert_eq!(effective(), before.permitted);
            let panics = std::panic::catch_unwind(|| as_caller(|| panic!("asked in vain")));
            assert!(panics.is_err());
            assert_eq!(effective(), before.permitted);
        });
        thread.join().unwrap();
    }
}
