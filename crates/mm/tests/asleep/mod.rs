//! Waits until a thread sleeps, and ends tests that would sleep for ever.

#![allow(dead_code)] // each test uses some of it
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

/// Starts `work` in a thread and returns when that sleeps. In these tests it sleeps in a lock only.
pub(crate) fn start_and_let_wait<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    work: impl FnOnce() -> T + Send + 's,
) -> ScopedJoinHandle<'s, T> {
    let (tell, told) = mpsc::channel();
    let thread = scope.spawn(move || {
        tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        work()
    });
    let stat = Path::new("/proc").join(told.recv().unwrap()).join("stat");
    // Three times in a row: other waits are short.
    let mut asleep = 0;
    while asleep < 3 {
        let Ok(stat) = std::fs::read_to_string(&stat) else {
            panic!("the thread has ended without having waited");
        };
        let state = stat.rsplit_once(") ").unwrap().1.chars().next();
        asleep = if state == Some('S') { asleep + 1 } else { 0 };
        thread::sleep(Duration::from_millis(5));
    }
    thread
}

/// Ends the program if this lives for a minute, some hundred times as long as it should: a broken
/// lock waits for ever.
pub(crate) struct Watchdog(#[expect(dead_code, reason = "its end is what is waited for")] Sender<()>);

impl Watchdog {
    pub(crate) fn new() -> Self {
        let (sender, ended) = mpsc::channel();
        // Miri finds deadlocks by itself, and wants all threads to end before the program.
        if cfg!(miri) {
            return Self(sender);
        }
        thread::spawn(move || {
            if ended.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
                eprintln!("a test waits for ever");
                std::process::abort();
            }
        });
        Self(sender)
    }
}
