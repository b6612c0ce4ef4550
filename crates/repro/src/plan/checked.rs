//! Whether a plan is possible: every value, and what each target can do.

use crate::error::{Error, Result};
use crate::machine::read_number;

use super::{Plan, Reading, Scanner, Slice, Target};

/// Drops what is in the list already.
fn each_once<T: PartialEq + Copy>(list: &mut Vec<T>) {
    let mut seen = Vec::new();
    list.retain(|item| {
        let new = !seen.contains(item);
        seen.push(*item);
        new
    });
}

impl Plan {
    /// Returns why this plan is not possible on `target`, and what to do about it; `None` if it is
    /// possible.
    fn obstacle(&self, target: Target) -> Option<String> {
        if !target.is_model() {
            let why = "--target kernel --freeze: a process cannot be stopped inside the kernel's read, where it holds the lock; freeze readers of models, --target v5.4,v6.17,maple";
            return self.freeze.then(|| why.to_owned());
        }
        let none = !self.files.iter().any(|file| file.is_of_models());
        let other = self.files.iter().find(|file| file.scanner() != Scanner::Proc);
        if let Some(file) = other.filter(|_| none || !self.targets.contains(&Target::Kernel)) {
            return Some(format!(
                "--target {target}: {file} reads real processes, not models; take --scanner proc, or --target kernel"
            ));
        }
        let of_models = || {
            let names = Reading::ALL.into_iter().filter(|file| file.is_of_models());
            names.map(Reading::name).collect::<Vec<_>>().join(", ")
        };
        let unknown = |file: &&Reading| matches!(file, Reading::Proc(_)) && !file.is_of_models();
        if let Some(file) = self.files.iter().find(unknown) {
            return Some(format!(
                "--target {target}: the models have no {file}; take some of {}, or --target kernel",
                of_models()
            ));
        }
        if none {
            return Some(format!(
                "--target {target}: the control none is the kernel's; add some of {} to --file, or take --target kernel",
                of_models()
            ));
        }
        match self.slice {
            Slice::Nice(_) => None,
            slice => Some(format!(
                "--target {target}: a model's scanners are threads of its process, which --slice {slice} would confine as a whole; take nice=N, or --target kernel"
            )),
        }
    }

    /// Returns this plan with the targets each of which can do it alone; with all targets if
    /// there is none.
    #[must_use]
    pub fn with_possible_targets(self) -> Self {
        let alone = |target: Target| Self {
            targets: vec![target],
            ..self.clone()
        };
        let possible = |&target: &Target| alone(target).obstacle(target).is_none();
        let mut targets: Vec<_> = Target::ALL.into_iter().filter(possible).collect();
        if targets.is_empty() {
            targets.extend(Target::ALL);
        }
        Self { targets, ..self }
    }

    /// Checks every value, sorts the levels and drops duplicates.
    ///
    /// # Errors
    /// [`Error::Usage`] names the first value that is out of its range.
    pub fn checked(mut self) -> Result<Self> {
        self.busy.sort_unstable();
        self.busy.dedup();
        each_once(&mut self.files);
        each_once(&mut self.targets);
        let page = rustix::param::page_size() as u64;
        let max_map_count = read_number("/proc/sys/vm/max_map_count").unwrap_or(65530);
        let faults = [
            (self.busy.is_empty(), "--busy: no level given".to_owned()),
            (self.files.is_empty(), "--file: no file given".to_owned()),
            (self.targets.is_empty(), "--target: no target given".to_owned()),
            (self.busy.last() > Some(&10_000), "--busy: at most 10000".to_owned()),
            (
                !(1..=10_000).contains(&self.samples),
                format!("--samples {}: 1 to 10000", self.samples),
            ),
            (
                !(100_000_000..=3_600_000_000_000).contains(&self.duration_ns),
                "--duration: 100ms to 1h".to_owned(),
            ),
            (
                self.busy_duration_ns == Some(0) || self.busy_duration_ns > Some(60_000_000_000),
                "--busy-duration: more than 0, at most 60s".to_owned(),
            ),
            (
                self.region_bytes < 16 * page || !self.region_bytes.is_multiple_of(page),
                format!("--region: whole pages of {page} bytes, at least 16"),
            ),
            (
                self.region_bytes / page / 2 + 1_000 > max_map_count,
                format!(
                    "--region: {} pages can become {} mappings, but vm.max_map_count is {max_map_count}; take a smaller region or raise it",
                    self.region_bytes / page,
                    self.region_bytes / page / 2
                ),
            ),
            (
                self.freeze && self.files.iter().any(|file| file.scanner() != Scanner::Proc),
                "--freeze: stops readers of models, which --scanner bpf and boosted do not read; take --scanner proc"
                    .to_owned(),
            ),
            (self.fragment > 100_000_000, "--fragment: at most 100000000".to_owned()),
        ];
        let fault = faults.into_iter().find_map(|(wrong, text)| wrong.then_some(text));
        match fault.or_else(|| self.targets.iter().find_map(|&target| self.obstacle(target))) {
            Some(text) => Err(Error::Usage(text)),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Listing, PlacementRequest, Preset, ProcFile};
    use super::*;

    fn plan() -> Plan {
        Plan::preset(Preset::Check, PlacementRequest::default().place(&[0, 1]).unwrap())
    }

    #[test]
    fn a_plan_is_possible_on_the_targets_that_have_all_of_it() {
        let of = |plan: Plan| plan.with_possible_targets().targets;
        assert_eq!(of(plan()), Target::ALL);
        let with = |files: &[Reading]| {
            of(Plan {
                files: files.to_vec(),
                ..plan()
            })
        };
        let (smaps, rollup, pagemap) = (Reading::SMAPS, Reading::SMAPS_ROLLUP, Reading::PAGEMAP);
        assert_eq!(with(&[Reading::MAPS, smaps, rollup, pagemap]), Target::ALL);
        assert_eq!(with(&[pagemap, Reading::Control]), Target::ALL);
        assert_eq!(with(&[Reading::Control]), [Target::Kernel]);
        assert_eq!(
            with(&[Reading::MAPS, Reading::Proc(ProcFile::NumaMaps)]),
            [Target::Kernel]
        );
        assert_eq!(with(&[Reading::SMAPS, Reading::Bpf(Listing::Smaps)]), [Target::Kernel]);
        assert_eq!(
            of(Plan {
                slice: Slice::Cpuset,
                ..plan()
            }),
            [Target::Kernel]
        );
        assert_eq!(of(Plan { freeze: true, ..plan() }), Target::ALL[1..]);
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let refused = |plan: Plan, name: &str| {
            let error = plan.checked().unwrap_err();
            assert!(
                matches!(&error, Error::Usage(text) if text.starts_with(name)),
                "{error}"
            );
        };
        refused(Plan { samples: 0, ..plan() }, "--samples");
        refused(
            Plan {
                duration_ns: 99_999_999,
                ..plan()
            },
            "--duration",
        );
        refused(
            Plan {
                duration_ns: u64::MAX,
                ..plan()
            },
            "--duration",
        );
        refused(Plan { busy: vec![], ..plan() }, "--busy");
        refused(
            Plan {
                busy: vec![10_001],
                ..plan()
            },
            "--busy",
        );
        refused(
            Plan {
                files: vec![],
                ..plan()
            },
            "--file",
        );
        refused(
            Plan {
                targets: vec![],
                ..plan()
            },
            "--target",
        );
        refused(Plan { freeze: true, ..plan() }, "--target kernel --freeze");
        for files in [
            vec![Reading::Bpf(Listing::Smaps)],
            vec![Reading::MAPS, Reading::Boosted(Listing::Maps)],
        ] {
            let of_models = Plan {
                targets: vec![Target::Maple],
                files,
                ..plan()
            };
            refused(of_models.clone(), "--target maple: ");
            refused(
                Plan {
                    freeze: true,
                    ..of_models
                },
                "--freeze",
            );
        }
        let files = vec![Reading::Proc(ProcFile::NumaMaps)];
        refused(Plan { files, ..plan() }, "--target v5.4: the models have no numa_maps");
        refused(
            Plan {
                slice: Slice::Cpuset,
                ..plan()
            },
            "--target v5.4: a model's scanners",
        );
        refused(
            Plan {
                region_bytes: 0,
                ..plan()
            },
            "--region",
        );
        refused(
            Plan {
                region_bytes: (128 << 20) + 1,
                ..plan()
            },
            "--region",
        );
        refused(
            Plan {
                region_bytes: 1 << 46,
                ..plan()
            },
            "--region",
        );
        refused(
            Plan {
                busy_duration_ns: Some(0),
                ..plan()
            },
            "--busy-duration",
        );
        refused(
            Plan {
                fragment: u64::MAX,
                ..plan()
            },
            "--fragment",
        );
    }
}
