//! Decides whether huge pages may be used in a mapping: the line THPeligible of smaps.
//!
//! That is no property of the mapping but an answer of the kernel's policy at the moment, so it is
//! worked out from the same settings. Where the rule needs what is not seen from outside, the line
//! is left out.
//!
//! Source: `__thp_vma_allowable_orders()` in Linux's mm/huge_memory.c.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vmaple_smaps::vm_flags::{VM_HUGEPAGE, VM_HUGETLB, VM_NOHUGEPAGE};

use crate::bpf::abi::{RECORD_ANONYMOUS, RECORD_HUGE_FAULT, RECORD_SHMEM, Record};
use crate::process::Process;

const SETTINGS: &str = "/sys/kernel/mm/transparent_hugepage";

/// The knowledge of a kernel's rule for THPeligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ThpRule {
    /// It is the one that is known.
    Known,
    /// It is another one, so that the line is left out.
    Another,
}

/// The setting of where huge pages of a size are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enabled {
    Always,
    Madvise,
    Inherit,
    Never,
}

/// The settings of the kernel as they were at one moment.
#[derive(Clone, Debug)]
pub(crate) struct ThpSettings {
    /// `None` if the kernel has no huge pages.
    global: Option<Enabled>,
    /// Sizes in bytes, each with its setting for anonymous memory.
    sizes: Vec<(u64, Enabled)>,
    shmem_is_never: bool,
    /// Whether the kernel is known to use no huge pages for files that are only read.
    no_files: bool,
}

/// The sizes of huge pages of this kernel, which never change.
#[derive(Clone, Debug)]
pub(crate) struct ThpSizes {
    /// Sizes in bytes, each with the file of its setting. It is empty before Linux 6.8, which has
    /// one size.
    sizes: Vec<(u64, PathBuf)>,
    pmd_bytes: u64,
    no_files: bool,
}

impl ThpSizes {
    pub(crate) fn of_this_kernel() -> Self {
        let settings = Path::new(SETTINGS);
        let sizes = fs::read_dir(settings)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let kilobytes = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?;
                Some((kilobytes.parse::<u64>().ok()? << 10, entry.path().join("enabled")))
            });
        let pmd_bytes = fs::read_to_string(settings.join("hpage_pmd_size")).ok();
        Self {
            sizes: sizes.collect(),
            pmd_bytes: pmd_bytes.and_then(|text| text.trim().parse().ok()).unwrap_or(2 << 20),
            no_files: is_built_without("READ_ONLY_THP_FOR_FS"),
        }
    }

    /// Reads the settings.
    pub(crate) fn settings(&self) -> ThpSettings {
        let settings = Path::new(SETTINGS);
        let sizes = self
            .sizes
            .iter()
            .filter_map(|(size, path)| Some((*size, Enabled::read(path)?)));
        let mut sizes: Vec<_> = sizes.collect();
        if sizes.is_empty() {
            sizes = vec![(self.pmd_bytes, Enabled::Inherit)];
        }
        ThpSettings {
            global: Enabled::read(&settings.join("enabled")),
            sizes,
            shmem_is_never: Enabled::read(&settings.join("shmem_enabled")).is_none_or(|e| e == Enabled::Never),
            no_files: self.no_files,
        }
    }
}

impl ThpSettings {
    /// Returns whether huge pages may be used in the mapping of a record.
    ///
    /// The process must not have turned them off for itself.
    pub(crate) fn eligible(&self, record: &Record) -> Option<bool> {
        let Some(global) = self.global else {
            return Some(false);
        };
        let advised = record.vm_flags & VM_HUGEPAGE != 0;
        if record.vm_flags & VM_NOHUGEPAGE != 0 {
            return Some(false);
        }
        let globally = global.allows(advised);
        if record.flags & RECORD_ANONYMOUS != 0 {
            return Some(self.sizes.iter().any(|&(size, enabled)| {
                let allowed = if enabled == Enabled::Inherit {
                    globally
                } else {
                    enabled.allows(advised)
                };
                allowed && fits(record, size)
            }));
        }
        if record.flags & RECORD_SHMEM != 0 {
            return self.shmem_is_never.then_some(false);
        }
        let pmd = self.sizes.iter().map(|&(size, _)| size).max().unwrap_or(2 << 20);
        if !globally || !fits(record, pmd) {
            return Some(false);
        }
        if record.flags & RECORD_HUGE_FAULT != 0 {
            return Some(true);
        }
        // For other files the kernel asks how it was built, and whether a process has the file open
        // for writing.
        let is_file = record.file != 0 && record.vm_flags & VM_HUGETLB == 0;
        (!is_file || self.no_files).then_some(false)
    }
}

/// The answers for the mappings of one process.
#[derive(Debug)]
pub(crate) struct Eligibility<'a> {
    settings: ThpSettings,
    process: &'a Process,
    /// Whether the process has not turned huge pages off for itself.
    ///
    /// Reading it keeps the process's memory from being freed for as long, so it is read only if it
    /// matters.
    is_on: OnceCell<bool>,
}

impl<'a> Eligibility<'a> {
    /// Returns the answers for a process by these settings.
    pub(crate) fn new(settings: ThpSettings, process: &'a Process) -> Self {
        Self {
            settings,
            process,
            is_on: OnceCell::new(),
        }
    }

    /// Returns whether huge pages may be used in the mapping of a record.
    ///
    /// Returns `None` if the rule needs what is not seen from outside.
    pub(crate) fn of(&self, record: &Record) -> Option<bool> {
        match self.settings.eligible(record) {
            Some(false) => Some(false),
            _ if !self.is_on.get_or_init(|| self.process.thp_enabled()) => Some(false),
            eligible => eligible,
        }
    }
}

/// Returns whether the last aligned huge page before the end lies in the mapping.
///
/// It is the kernel's arithmetic, which says so of a mapping that ends below the size of a huge
/// page too.
fn fits(record: &Record, size: u64) -> bool {
    let aligned = record.end.wrapping_sub(size) & !(size - 1);
    let is_anonymous = record.flags & RECORD_ANONYMOUS != 0;
    let is_aligned_in_file = is_anonymous || record.start.wrapping_sub(record.pgoff << 12) & (size - 1) == 0;
    aligned >= record.start && aligned.wrapping_add(size) <= record.end && is_aligned_in_file
}

/// Returns whether the kernel says that it was built without an option.
fn is_built_without(option: &str) -> bool {
    let uname = rustix::system::uname();
    let config = fs::read_to_string(format!("/boot/config-{}", uname.release().to_string_lossy()));
    config.is_ok_and(|config| !config.lines().any(|line| line == format!("CONFIG_{option}=y")))
}

impl Enabled {
    /// Reads the word in brackets of a setting's file.
    fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let word = text.split('[').nth(1)?.split(']').next()?.to_owned();
        Some(match word.as_str() {
            "always" => Self::Always,
            "madvise" | "advise" => Self::Madvise,
            "inherit" => Self::Inherit,
            _ if word == "never" || word == "deny" => Self::Never,
            _ => Self::Always,
        })
    }

    fn allows(self, advised: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Madvise => advised,
            Self::Inherit | Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(global: Enabled, size: Enabled) -> ThpSettings {
        ThpSettings {
            global: Some(global),
            sizes: vec![(2 << 20, size)],
            shmem_is_never: true,
            no_files: true,
        }
    }

    fn anonymous(start: u64, end: u64, vm_flags: u64) -> Record {
        Record {
            start,
            end,
            vm_flags,
            flags: RECORD_ANONYMOUS,
            ..Record::default()
        }
    }

    #[test]
    fn anonymous_memory_is_eligible_if_a_huge_page_fits_and_is_allowed() {
        let inherit = settings(Enabled::Madvise, Enabled::Inherit);
        let two = 2 << 20;
        assert_eq!(inherit.eligible(&anonymous(two, 2 * two, VM_HUGEPAGE)), Some(true));
        assert_eq!(inherit.eligible(&anonymous(two, 2 * two, 0)), Some(false));
        assert_eq!(
            inherit.eligible(&anonymous(two + 4096, 2 * two + 4096, VM_HUGEPAGE)),
            Some(false)
        );
        assert_eq!(
            inherit.eligible(&anonymous(two, 2 * two, VM_HUGEPAGE | VM_NOHUGEPAGE)),
            Some(false)
        );
        let never = settings(Enabled::Always, Enabled::Never);
        assert_eq!(never.eligible(&anonymous(two, 2 * two, VM_HUGEPAGE)), Some(false));
    }
}
