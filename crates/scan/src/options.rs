//! What a scanner is to do.

use std::time::Duration;

use crate::method::Method;

/// How much of a process is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Want {
    /// What the kernel has counted anyway, of the whole process.
    Counters,
    /// Mappings, as maps has them.
    Ranges,
    /// And what page tables say of each: resident, huge and swapped pages.
    Tables,
    /// And what is known of each page: all of smaps.
    Pages,
}

/// What a scanner is to do. Without more it is all of smaps, by the best method that holds nothing of the process for long.
///
/// ```
/// use vmaple_scan::{Options, Want};
///
/// let options = Options::new().want(Want::Ranges).limit(std::time::Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub(crate) method: Option<Method>,
    pub(crate) want: Want,
    pub(crate) budget: Duration,
    pub(crate) limit: Duration,
    pub(crate) sum_alone: bool,
}

pub(crate) const LEAST_BUDGET: Duration = Duration::from_micros(10);
pub(crate) const MOST_BUDGET: Duration = Duration::from_millis(10);

impl Options {
    /// All of smaps, by the best method.
    #[must_use]
    pub fn new() -> Self {
        Self {
            method: None,
            want: Want::Pages,
            budget: Duration::from_micros(200),
            limit: Duration::from_secs(10),
            sum_alone: false,
        }
    }

    /// The method. Nothing for the best that kernel and rights allow, which is never [`Method::Plain`]: that has to be asked for.
    #[must_use]
    pub fn method(mut self, method: impl Into<Option<Method>>) -> Self {
        self.method = method.into();
        self
    }

    /// How much is wanted.
    #[must_use]
    pub fn want(mut self, want: Want) -> Self {
        self.want = want;
        self
    }

    /// The time after which a run of the program stops by itself: from 10 us to 10 ms, less or more is taken as these. Where the kernel
    /// is not preemptible nothing else runs on this CPU meanwhile.
    ///
    /// The program looks at the clock after each leaf, table of pages and name. What interrupts it counts as its time, and a run that
    /// comes no further in several attempts is given more: [`Report::longest_run`](crate::Report::longest_run) says how long it took.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// The longest that a scan may take; what was found until then is a partial result.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Whether the sum of all mappings is all that is wanted.
    ///
    /// [`Method::Plain`] reads smaps_rollup then, which adds up before it rounds; the scan has no records. The other methods look at each
    /// mapping all the same.
    #[must_use]
    pub fn sum_alone(mut self, alone: bool) -> Self {
        self.sum_alone = alone;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
