//! Signals that ask to end.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::exit::Exit;

/// Returns a file descriptor that the first of these signals makes readable. The second ends the
/// program at once.
pub(crate) fn that_end(signals: &[i32]) -> std::io::Result<OwnedFd> {
    let (stop, tell) = UnixStream::pair()?;
    let asked = Arc::new(AtomicBool::new(false));
    for &signal in signals {
        // In this order, the first signal arms the flag after the check of it.
        signal_hook::flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
        signal_hook::low_level::pipe::register(signal, tell.try_clone()?)?;
    }
    Ok(stop.into())
}
