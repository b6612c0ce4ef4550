//! The options of a scanner.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::method::Method;
use crate::want::Want;

/// How many of a process's tables of pages are counted.
///
/// A table has 512 entries. What no table holds is always counted whole: huge pages. So are
/// mappings of 64 kB or less, and those of three tables or fewer while there is time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sample {
    /// All of them.
    #[default]
    All,
    /// About this number, drawn by chance.
    Tables(u32),
    /// As many as fit into so much CPU time of the calling thread, drawn by chance.
    Cpu(Duration),
}

/// The options of a scanner. By default: all of smaps, by the best method that holds nothing of the
/// process for long.
///
/// ```
/// use vmaple_scan::{Options, Want};
///
/// let options = Options::new().want(Want::Ranges).limit(std::time::Duration::from_secs(1));
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) method: Option<Method>,
    pub(crate) want: Want,
    /// Within [`BUDGETS`](Self::BUDGETS).
    pub(crate) budget: Duration,
    pub(crate) limit: Duration,
    pub(crate) sum_alone: bool,
    pub(crate) sample: Sample,
    pub(crate) ages: bool,
    pub(crate) cache: Option<PathBuf>,
}

impl Options {
    /// The [budgets](Self::budget) that make sense. A shorter run reads no page; a longer one is
    /// felt where the kernel is not preemptible.
    pub const BUDGETS: RangeInclusive<Duration> = Duration::from_micros(10)..=Duration::from_millis(10);

    /// Returns the default options.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            method: None,
            want: Want::Pages,
            budget: Duration::from_micros(200),
            limit: Duration::from_secs(10),
            sum_alone: false,
            sample: Sample::All,
            ages: false,
            cache: None,
        }
    }

    /// Sets the method. `None` takes the best that kernel and rights allow, but never
    /// [`Method::Plain`]: ask for that by name.
    #[must_use]
    pub fn method(mut self, method: impl Into<Option<Method>>) -> Self {
        self.method = method.into();
        self
    }

    /// Sets how much is wanted.
    #[must_use]
    pub const fn want(mut self, want: Want) -> Self {
        self.want = want;
        self
    }

    /// Sets the time after which a run of the program stops by itself, clamped to
    /// [`BUDGETS`](Self::BUDGETS).
    ///
    /// Where the kernel is not preemptible nothing else runs on this CPU during a run. The program
    /// looks at the clock after each leaf, table of pages and name. Interrupts count as its
    /// time, and a run that makes no progress in several attempts gets
    /// more: [`Report::longest_run`](crate::Report::longest_run) reports how long it took.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget.clamp(*Self::BUDGETS.start(), *Self::BUDGETS.end());
        self
    }

    /// Sets the longest time that a scan may take. What was found until then is a partial result.
    #[must_use]
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets whether the sum over all mappings is all that is wanted.
    ///
    /// The scan then has no records. [`Method::Plain`] reads smaps_rollup, which adds up before it
    /// rounds. [`Method::Bpf`] looks at each mapping, but neither at its name, nor whether it may
    /// have huge pages. [`Method::Boosted`] reads all, and has the records too.
    #[must_use]
    pub const fn sum_alone(mut self, alone: bool) -> Self {
        self.sum_alone = alone;
        self
    }

    /// Sets how many tables of pages are counted, by [`Method::Bpf`] alone.
    ///
    /// With a part of them the scan is of the sum alone, as after
    /// [`sum_alone`](Self::sum_alone), and without records.
    /// [`Report::sampled`](crate::Report::sampled) has the margins within which the true sums are
    /// with a probability of 95 %. Rss, Anonymous and Swap are what the kernel has counted, and
    /// exact.
    #[must_use]
    pub const fn sample(mut self, sample: Sample) -> Self {
        self.sample = sample;
        self
    }

    /// Sets whether the ages of pages are told, by [`Method::Bpf`] alone: [`ScanRecord::ages`] and
    /// [`Rollup::ages`].
    ///
    /// They are the generations of Linux's multi-gen LRU. Reclaim begins a new one when it needs
    /// memory, and so does a write to /sys/kernel/debug/lru_gen. Reading them changes nothing,
    /// unlike clear_refs. A start fails where the kernel has none, or does not use them. Ages come
    /// with [`Want::Pages`], and not with a [`sample`](Self::sample).
    ///
    /// [`ScanRecord::ages`]: crate::ScanRecord::ages
    /// [`Rollup::ages`]: crate::Rollup::ages
    #[must_use]
    pub const fn ages(mut self, ages: bool) -> Self {
        self.ages = ages;
        self
    }

    /// Sets the directory that keeps what a start by [`Method::Bpf`] has learnt of this kernel, for
    /// the starts after it. By default nothing is kept.
    ///
    /// The next scanner then starts in a tenth of the time and memory, until the machine starts
    /// again. It checks what was learnt by a page of its own, and learns all again if that is not
    /// found. The directory is made if it is missing, not its parents. Its file holds
    /// addresses of the kernel and instructions for it, so only root keeps one, which nobody else
    /// may read or write; others start as if there were none. A file that is damaged, of another
    /// kernel, or not root's alone is not used.
    #[must_use]
    pub fn cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = Some(directory.into());
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
