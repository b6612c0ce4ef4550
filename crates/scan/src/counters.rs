//! What the kernel has counted for a whole process.

/// Makes [`Counter`] and its table from one list of rows.
///
/// A row has the label in /proc/PID/status, and the name here.
macro_rules! counters {
    ($($counter:ident $label:literal $name:literal;)+) => {
        /// A number that the kernel counts for a whole process. A line of /proc/PID/status shows
        /// it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Counter {
            $(#[doc = concat!("`", $label, "`")] $counter,)+
        }

        impl Counter {
            /// All counters.
            pub const ALL: &[Self] = &[$(Self::$counter),+];

            /// Returns the kernel's label, as a line of /proc/PID/status begins: `RssAnon` of
            /// [`Counter::RssAnon`].
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$counter => $label,)+
                }
            }

            /// Returns its name, as on the command line: `rss_anon` of [`Counter::RssAnon`].
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$counter => $name,)+
                }
            }
        }
    };
}

// No name is one of smaps but for the two whose values are the same. `VmSwap` and `VmLck` are not
// the sums of `Swap` and `Locked`: those have shared memory too, and of locked mappings what is
// resident.
counters! {
    Size       "VmSize"       "size";
    Rss        "VmRSS"        "rss";
    RssAnon    "RssAnon"      "rss_anon";
    RssFile    "RssFile"      "rss_file";
    RssShmem   "RssShmem"     "rss_shmem";
    Swap       "VmSwap"       "vm_swap";
    Hugetlb    "HugetlbPages" "hugetlb";
    Locked     "VmLck"        "vm_locked";
    Pinned     "VmPin"        "pinned";
    PageTables "VmPTE"        "page_tables";
    Data       "VmData"       "data";
    Stack      "VmStk"        "stack";
    Exe        "VmExe"        "exe";
    Lib        "VmLib"        "lib";
    Peak       "VmPeak"       "peak";
    RssPeak    "VmHWM"        "rss_peak";
}

impl Counter {
    /// Returns the counter of a name here, or of a label of the kernel's in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_it = |counter: &&Self| counter.name() == text || counter.label().eq_ignore_ascii_case(text);
        Self::ALL.iter().find(is_it).copied()
    }
}

/// What status and the cgroup's memory.stat say of a process, in bytes.
///
/// The kernel keeps some of these numbers for each CPU and adds them up now and then: they may be
/// off by a few hundred kilobytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Those that this kernel has of the process, with bytes.
    pub process: Vec<(Counter, u64)>,
    /// Those of the process's cgroup. `None` if it is in none of version 2 that accounts memory;
    /// [`Report::left_out`](crate::Report::left_out) then says so.
    pub cgroup: Option<Cgroup>,
}

/// What memory.stat and memory.current say of a cgroup of version 2. They count all processes in it
/// together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cgroup {
    /// Its path.
    pub path: String,
    /// Lines of memory.stat with bytes, after `current`.
    pub memory: Vec<(String, u64)>,
}

impl Counters {
    /// Returns one of the process's, in bytes.
    #[must_use]
    pub fn get(&self, counter: Counter) -> Option<u64> {
        let is_it = |(other, _): &&(Counter, u64)| *other == counter;
        self.process.iter().find(is_it).map(|&(_, bytes)| bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names_and_by_the_kernels_labels() {
        for &counter in Counter::ALL {
            assert_eq!(Counter::parse(counter.name()), Some(counter));
            assert_eq!(Counter::parse(counter.label()), Some(counter));
            assert_eq!(Counter::parse(&counter.label().to_lowercase()), Some(counter));
        }
        assert_eq!(Counter::parse("pss"), None);
    }
}
