//! The janitor: removes the run's cgroup once the controller has ended, even if it was killed.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};

/// Waits until the controller has closed standard input, or ended, then removes the empty cgroup.
///
/// Only the controller holds the other end of standard input.
pub(crate) fn run(cgroup: &Path) -> Result<()> {
    // After a read error there is nothing left to wait for.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    // The roles die with the controller, but not at once where the CPU is full of them.
    for _ in 0..1000 {
        match std::fs::remove_dir(cgroup) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    Err(Error::failed(
        format!("removing {}", cgroup.display()),
        "processes stay in it; end them and remove it by hand",
    ))
}
