//! The talk's thread B: a second thread of the mapper's process that takes page faults.
//!
//! Every millisecond it writes to an untouched page of a mapping that has been in use since before
//! the run ("mapped"). Sixteen times in a run, evenly spread, it writes to the only page of a
//! mapping that no thread has touched ("fresh"), which needs more of the kernel's locks. All
//! mappings are made before the run and stay until it is over: thread B itself never calls
//! mmap() or munmap() in it. In a run of over a minute it discards the old mapping once a minute,
//! which is not timed.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::machine::{now_ns, timespec};
use crate::sample::{Faults, Recorder};

use super::{Ledger, MapperWords, Phase, wait_once};

const PERIOD_NS: u64 = 1_000_000;

/// Mappings of one page that no thread touches before the run.
pub(crate) const FRESH: u64 = 16;

/// Returns the pages of the mapping in use for a run of `duration_ns`: one for each fault of up to
/// a minute.
pub(crate) fn mapped_pages(duration_ns: u64) -> u64 {
    (duration_ns / PERIOD_NS).clamp(1, 60_000)
}

/// Memory that thread B writes to, in whichever address space.
pub(crate) trait Touch {
    /// Returns the pages of the mapping in use.
    fn mapped_pages(&self) -> u64;

    /// Writes to a page of the mapping in use.
    fn touch_mapped(&self, page: u64) -> Result<()>;

    /// Discards all pages of the mapping in use.
    fn discard_mapped(&self) -> Result<()>;

    /// Writes to the page of the `i`th of [`FRESH`] mappings of one page, kept from merging by
    /// pages without access between them.
    fn touch_fresh(&self, i: u64) -> Result<()>;
}

/// The running thread, which ends when the run is over.
pub(crate) struct ThreadB(JoinHandle<Result<Faults>>);

impl ThreadB {
    /// Starts it and waits until it is up.
    pub(crate) fn start(memory: impl Touch + Send + 'static, ledger: &Arc<Ledger>, duration_ns: u64) -> Result<Self> {
        let mut faulter = Faulter::new(memory)?;
        let up = Arc::new(Barrier::new(2));
        let thread = std::thread::Builder::new().name("vmaple-faults".into()).spawn({
            let (ledger, up) = (Arc::clone(ledger), Arc::clone(&up));
            move || {
                wait_once();
                up.wait();
                ledger.wait_for(Phase::Map);
                let done = faulter.run(duration_ns, &ledger.header().mapper);
                ledger.wait_for(Phase::Over); // the end of a thread unmaps its stacks
                done.map(|()| faulter.finish())
            }
        });
        let thread = thread.map_err(|e| Error::failed("starting the thread that takes page faults", e))?;
        up.wait();
        Ok(Self(thread))
    }

    /// Waits for the end of the run; returns what the thread saw.
    pub(crate) fn finish(self) -> Result<Faults> {
        let panicked = |_| Err(Error::failed("taking page faults", "the thread panicked"));
        self.0.join().unwrap_or_else(panicked)
    }
}

/// Does `touch`; returns how long that took, in nanoseconds.
fn timed(since: &AtomicU64, touch: impl FnOnce() -> Result<()>) -> Result<u64> {
    let begin = now_ns();
    since.store(begin, Relaxed);
    touch()?;
    let took = now_ns() - begin;
    since.store(0, Relaxed);
    Ok(took)
}

/// What thread B does, and what it has seen so far.
pub(crate) struct Faulter<T> {
    memory: T,
    /// The page of the mapping in use that is next, each of which faults once a lap.
    next: u64,
    mapped: Recorder,
    fresh: Recorder,
}

impl<T: Touch> Faulter<T> {
    /// Prepares thread B, and takes the mapping into use.
    pub(crate) fn new(memory: T) -> Result<Self> {
        memory.touch_mapped(0)?;
        memory.discard_mapped()?;
        Ok(Self {
            memory,
            next: 0,
            mapped: Recorder::new(),
            fresh: Recorder::new(),
        })
    }

    /// Takes faults for `duration_ns`, without allocating or unmapping.
    pub(crate) fn run(&mut self, duration_ns: u64, words: &MapperWords) -> Result<()> {
        let begin = now_ns();
        let mut used = 0;
        loop {
            let passed = now_ns() - begin;
            if passed >= duration_ns {
                return Ok(());
            }
            self.fault_mapped(&words.mapped_fault_since_ns)?;
            // The first half a step after the begin, the last half a step before the end.
            if used < FRESH && passed >= (2 * used + 1) * duration_ns / (2 * FRESH) {
                let took = timed(&words.fresh_fault_since_ns, || self.memory.touch_fresh(used))?;
                self.fresh.record(took);
                used += 1;
            }
            // A signal that ends the sleep early does not matter.
            let _ = rustix::thread::nanosleep(&timespec(PERIOD_NS));
        }
    }

    fn fault_mapped(&mut self, since: &AtomicU64) -> Result<()> {
        if self.next == self.memory.mapped_pages() {
            self.next = 0;
            self.memory.discard_mapped()?;
        }
        let took = timed(since, || self.memory.touch_mapped(self.next))?;
        self.next += 1;
        self.mapped.record(took);
        Ok(())
    }

    /// Returns what it saw.
    pub(crate) fn finish(self) -> Faults {
        Faults {
            mapped: self.mapped.finish(),
            fresh: self.fresh.finish(),
            // Only the controller knows.
            mapped_cut_short: false,
            fresh_cut_short: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What was done to it, in pages of the mapping in use, or as a letter.
    #[derive(Default)]
    struct Log(RefCell<Vec<String>>);

    impl Log {
        fn add(&self, what: &impl ToString) -> Result<()> {
            self.0.borrow_mut().push(what.to_string());
            Ok(())
        }
    }

    impl Touch for Log {
        fn mapped_pages(&self) -> u64 {
            3
        }

        fn touch_mapped(&self, page: u64) -> Result<()> {
            self.add(&page)
        }

        fn discard_mapped(&self) -> Result<()> {
            self.add(&"d")
        }

        fn touch_fresh(&self, i: u64) -> Result<()> {
            self.add(&format!("f{i}"))
        }
    }

    #[test]
    fn each_page_faults_once_a_lap_and_each_fresh_one_once() {
        let ledger = Ledger::new(0, 0).unwrap();
        let mut faulter = Faulter::new(Log::default()).unwrap();
        faulter.run(100_000_000, &ledger.header().mapper).unwrap();
        let log = faulter.memory.0.take();
        let (fresh, mapped): (Vec<_>, Vec<_>) = log.into_iter().partition(|what| what.starts_with('f'));
        let lap = ["0", "1", "2", "d"].into_iter().cycle();
        // What takes it into use comes first.
        assert_eq!(mapped[..2], ["0", "d"]);
        assert!(mapped[2..].iter().zip(lap).all(|(done, expected)| done == expected));
        // Of a thread that did not run for long some are left.
        assert!(
            fresh
                .iter()
                .eq(&(0..fresh.len()).map(|i| format!("f{i}")).collect::<Vec<_>>())
        );
        let seen = faulter.finish();
        let laps = mapped[2..].iter().filter(|what| *what != "d").count();
        assert_eq!((seen.mapped.count, seen.fresh.count), (laps as u64, fresh.len() as u64));
    }
}
