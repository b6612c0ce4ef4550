//! Scans for the threads that read, shared by those that read at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vmaple_scan::{Credentials, Error, Process, Scanner};

use crate::live::LiveOptions;
use crate::live::answer::{Answer, NoText};
use crate::live::once;
use crate::live::text::{Text, Texts};

/// Scans for the threads that read.
///
/// Lock order: `answers`, then that of a `Pending`; `scanners` alone. Each is held for no more than
/// a look or a change. A thread waits for the one that scans the same process for the same caller.
/// That one may wait for a scanner. A thread that has a scanner waits for no other.
pub(super) struct Scans {
    options: LiveOptions,
    scanners: Mutex<HashMap<Answer, Pool>>,
    /// Notified when a scanner comes back.
    came_back: Condvar,
    answers: Mutex<HashMap<Question, Arc<Pending>>>,
    texts: Texts,
}

/// Scanners of one kind.
#[derive(Default)]
struct Pool {
    free: Vec<Scanner>,
    count: usize,
}

/// Scanners of one kind at most: each scans one process at a time.
const MOST_SCANNERS: usize = 4;

/// What is asked, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) answer: Answer,
    pub(super) task: u32,
    /// The inode of the task's directory: another task that has its number later has another.
    pub(super) directory: u64,
    pub(super) credentials: Credentials,
    /// Whether the caller is of the process itself.
    pub(super) is_own: bool,
}

/// Why a scan has no answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unanswered {
    /// The kernel refuses it to the caller.
    Refused,
    /// The scan cannot say, but the kernel's own file can.
    AskTheKernel,
}

/// An answer that is awaited, or has come.
#[derive(Default)]
struct Pending {
    came: Mutex<Option<(Instant, Result<Text, Unanswered>)>>,
    comes: Condvar,
}

impl Pending {
    fn put(&self, result: Result<Text, Unanswered>) {
        *lock(&self.came) = Some((Instant::now(), result));
        self.comes.notify_all();
    }

    fn wait(&self) -> Result<Text, Unanswered> {
        let mut came = lock(&self.came);
        loop {
            if let Some((_, result)) = &*came {
                return result.clone();
            }
            came = self.comes.wait(came).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns whether it has come, and is older than that.
    fn is_older_than(&self, age: Duration) -> bool {
        lock(&self.came).as_ref().is_some_and(|(at, _)| at.elapsed() >= age)
    }
}

/// An answer that this thread has to give; it is `AskTheKernel` if the thread panics.
struct Promised<'a> {
    scans: &'a Scans,
    question: &'a Question,
    pending: Arc<Pending>,
    result: Result<Text, Unanswered>,
}

impl Drop for Promised<'_> {
    fn drop(&mut self) {
        let is_kept = self.result.is_ok() && !self.scans.options.max_age.is_zero();
        if !is_kept || self.scans.keeps_too_much() {
            lock(&self.scans.answers).remove(self.question);
        }
        self.pending.put(self.result.clone());
    }
}

impl Scans {
    /// Starts a scanner, to know whether one is possible.
    ///
    /// # Errors
    /// [`Error::NotPossible`] if the kernel or this process's rights allow none.
    pub(super) fn start(options: LiveOptions) -> Result<Self, Error> {
        let scans = Self {
            options,
            scanners: Mutex::default(),
            came_back: Condvar::new(),
            answers: Mutex::default(),
            texts: Texts::default(),
        };
        let first = scans.new_scanner(Answer::Rollup)?;
        lock(&scans.scanners).insert(
            Answer::Rollup,
            Pool {
                free: vec![first],
                count: 1,
            },
        );
        Ok(scans)
    }

    /// Answers a question about a process, by a scan that begins now, or one that goes on for the
    /// same caller, or one that is young enough.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) fn answer(
        &self,
        question: &Question,
        process: impl FnOnce() -> Result<Process, Error>,
    ) -> Result<Text, Unanswered> {
        let pending = {
            let mut answers = lock(&self.answers);
            answers.retain(|_, pending| !pending.is_older_than(self.options.max_age));
            if let Some(pending) = answers.get(question) {
                let pending = Arc::clone(pending);
                drop(answers);
                return pending.wait();
            }
            let pending = Arc::new(Pending::default());
            answers.insert(question.clone(), Arc::clone(&pending));
            pending
        };
        let mut promised = Promised {
            scans: self,
            question,
            pending,
            result: Err(Unanswered::AskTheKernel),
        };
        promised.result = self.scan(question.answer, process);
        promised.result.clone()
    }

    fn scan(&self, answer: Answer, process: impl FnOnce() -> Result<Process, Error>) -> Result<Text, Unanswered> {
        let why = |error| unanswered(answer, &error);
        let process = process().map_err(why)?;
        let mut scanner = Borrowed::new(self, answer).map_err(why)?;
        for _ in 0..EXECUTIONS {
            return match answer.text(scanner.get(), &process) {
                Ok(text) => Ok(self.texts.add(text)),
                Err(NoText::Scan(Error::Executed(_))) => continue,
                Err(NoText::Scan(error)) => Err(unanswered(answer, &error)),
                Err(NoText::Lacks(what)) => Err(ask_the_kernel(answer, &what)),
            };
        }
        Err(Unanswered::AskTheKernel)
    }

    /// Returns whether there is more text than should be kept.
    pub(super) fn keeps_too_much(&self) -> bool {
        self.texts.are_too_many()
    }

    fn new_scanner(&self, answer: Answer) -> Result<Scanner, Error> {
        let options = answer.options(self.options.cpu);
        let options = match &self.options.cache {
            Some(directory) => options.cache(directory),
            None => options,
        };
        Scanner::with(options)
    }
}

/// Says once why the kernel's own file is read.
fn ask_the_kernel(answer: Answer, why: &dyn fmt::Display) -> Unanswered {
    once::warn(format!(
        "{}: the kernel's own is read, under its locks: {why}",
        answer.name()
    ));
    Unanswered::AskTheKernel
}

/// Returns what an error of a scan means to the caller.
fn unanswered(answer: Answer, error: &Error) -> Unanswered {
    match error {
        Error::NotPermitted(_) => Unanswered::Refused,
        // It has no memory, or is gone: the kernel's file is empty, or says so.
        Error::NoProcess(_) | Error::KernelThread(_) | Error::Zombie(_) | Error::Exiting(_) | Error::Executed(_) => {
            Unanswered::AskTheKernel
        }
        error => ask_the_kernel(answer, error),
    }
}

/// How often a process may execute another program during its scan.
const EXECUTIONS: u32 = 3;

/// A scanner that comes back to its pool.
struct Borrowed<'a> {
    scans: &'a Scans,
    answer: Answer,
    scanner: Option<Scanner>,
}

impl<'a> Borrowed<'a> {
    /// Takes a free scanner, or starts one, or waits for one.
    fn new(scans: &'a Scans, answer: Answer) -> Result<Self, Error> {
        let mut borrowed = Self {
            scans,
            answer,
            scanner: None,
        };
        let mut scanners = lock(&scans.scanners);
        loop {
            let pool = scanners.entry(answer.kind()).or_default();
            borrowed.scanner = pool.free.pop();
            if borrowed.scanner.is_some() {
                return Ok(borrowed);
            }
            if pool.count < MOST_SCANNERS {
                pool.count += 1;
                break;
            }
            scanners = scans.came_back.wait(scanners).unwrap_or_else(PoisonError::into_inner);
        }
        drop(scanners);
        // If it fails the place is given back.
        borrowed.scanner = Some(scans.new_scanner(answer)?);
        Ok(borrowed)
    }

    fn get(&mut self) -> &mut Scanner {
        // There is one from `new` on.
        self.scanner.as_mut().unwrap_or_else(|| unreachable!())
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut scanners = lock(&self.scans.scanners);
        let pool = scanners.entry(self.answer.kind()).or_default();
        match self.scanner.take() {
            // What a panic has left is not used again.
            Some(scanner) if !std::thread::panicking() => pool.free.push(scanner),
            _ => pool.count -= 1,
        }
        drop(scanners);
        self.scans.came_back.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
