//! Whether standard output was closed when the program started.
//!
//! Before `main` the standard library opens `/dev/null` in place of a closed descriptor 0, 1 or 2,
//! so that no file that is opened later becomes standard output by chance. From then on results
//! vanish without an error. A `/dev/null` open for reading and writing is no sign of it: Python's
//! `subprocess.DEVNULL` and daemon(3) open it so too. So a function in the list that the loader
//! calls before the program's start (`.init_array`) checks the descriptor earlier.
#![allow(unsafe_code)] // an entry of that list

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::{Errno, fcntl_getfd};

/// Relaxed: written before there is a second thread.
static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look() {
    let is_closed = fcntl_getfd(rustix::stdio::stdout()) == Err(Errno::BADF);
    WAS_CLOSED.store(is_closed, Relaxed);
}

// SAFETY: the loader calls each entry of this section once, as a function without a result whose
// arguments may be ignored, after the C library is ready and before `main`. The function makes one
// system call and one store: it needs nothing of Rust's runtime.
#[unsafe(link_section = ".init_array")]
#[used]
static LOOK: extern "C" fn() = look;

/// Returns whether standard output was closed.
pub(crate) fn was_closed() -> bool {
    WAS_CLOSED.load(Relaxed)
}
