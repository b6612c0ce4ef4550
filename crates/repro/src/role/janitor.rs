//! The janitor: removes the run's cgroup once the controller has ended, even if it was killed.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};

/// Waits for the end of standard input, whose other end only the controller holds, then removes the empty cgroup.
pub(crate) fn run(cgroup: &Path) -> Result<()> {
    // Whatever a read error means, the controller cannot be waited for any longer.
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
