//! Which CPU each role runs on.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which CPU each role runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The mapper's CPU, alone in the talk.
    pub mapper: usize,
    /// The CPU of the process that starts and stops all others.
    pub controller: usize,
    /// The CPUs of the scanners and busy tasks; each runs the level's number of both.
    pub busy: Vec<usize>,
}

/// What the user asked for; [`PlacementRequest::place`] chooses where there is `None`.
#[derive(Clone, Copy, Debug)]
pub struct PlacementRequest {
    /// The mapper's CPU.
    pub mapper: Option<usize>,
    /// The controller's CPU.
    pub controller: Option<usize>,
    /// The first CPU of the busy tasks.
    pub first_busy: Option<usize>,
    /// How many CPUs run busy tasks and scanners.
    pub busy_cpus: usize,
}

impl Default for PlacementRequest {
    fn default() -> Self {
        Self {
            mapper: None,
            controller: None,
            first_busy: None,
            busy_cpus: 1,
        }
    }
}

impl PlacementRequest {
    /// Chooses among the CPUs `allowed` to this process, ascending: mapper and controller on the
    /// first, the rest on the last.
    ///
    /// # Errors
    /// [`Error::NotPossible`] with fewer than two CPUs; [`Error::Usage`] for a CPU that is not
    /// allowed, or for busy tasks on the mapper's CPU.
    pub fn place(&self, allowed: &[usize]) -> Result<Placement> {
        if allowed.len() < 2 {
            return Err(Error::NotPossible(format!(
                "this process may use {} CPU: the mapper needs one and the busy tasks another; widen the affinity (taskset, cpuset) or use a larger machine",
                allowed.len()
            )));
        }
        let check = |cpu: usize, option: &str| {
            allowed.contains(&cpu).then_some(cpu).ok_or_else(|| {
                Error::Usage(format!(
                    "{option} {cpu}: no such CPU here; this process may use {allowed:?}"
                ))
            })
        };
        let mapper = check(self.mapper.unwrap_or(allowed[0]), "--cpu-mapper")?;
        let controller = check(self.controller.unwrap_or(mapper), "--cpu-controller")?;
        if self.busy_cpus == 0 || self.busy_cpus >= allowed.len() {
            return Err(Error::Usage(format!(
                "--busy-cpus {}: of {} CPUs one is the mapper's, so 1 to {} can be busy",
                self.busy_cpus,
                allowed.len(),
                allowed.len() - 1
            )));
        }
        let first = match self.first_busy {
            Some(cpu) => {
                let cpu = check(cpu, "--cpu-busy")?;
                allowed.iter().position(|&c| c == cpu).unwrap_or_default()
            }
            // The last CPUs, but never the mapper's.
            None if allowed[allowed.len() - self.busy_cpus..].contains(&mapper) => 0,
            None => allowed.len() - self.busy_cpus,
        };
        let busy: Vec<usize> = allowed.iter().copied().skip(first).take(self.busy_cpus).collect();
        if busy.len() < self.busy_cpus {
            return Err(Error::Usage(format!(
                "--busy-cpus {}: only {} CPUs from --cpu-busy {} on",
                self.busy_cpus,
                busy.len(),
                allowed[first]
            )));
        }
        if busy.contains(&mapper) {
            return Err(Error::Usage(format!(
                "CPU {mapper} would run the mapper and the busy tasks: calls would wait for the CPU, not for the lock; set --cpu-mapper or --cpu-busy to another CPU"
            )));
        }
        Ok(Placement {
            mapper,
            controller,
            busy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> PlacementRequest {
        PlacementRequest::default()
    }

    #[test]
    fn mapper_and_controller_get_the_first_cpu_and_the_rest_the_last() {
        let place = request().place(&[2, 3, 5, 7]).unwrap();
        assert_eq!((place.mapper, place.controller, place.busy), (2, 2, vec![7]));
        let two = PlacementRequest {
            busy_cpus: 2,
            ..request()
        };
        assert_eq!(two.place(&[0, 1, 2, 3]).unwrap().busy, [2, 3]);
        let last = PlacementRequest {
            mapper: Some(3),
            ..request()
        };
        assert_eq!(last.place(&[0, 1, 2, 3]).unwrap().busy, [0]);
    }

    #[test]
    fn a_placement_that_could_show_nothing_is_refused() {
        assert!(matches!(request().place(&[0]), Err(Error::NotPossible(_))));
        let refused = |request: PlacementRequest| matches!(request.place(&[0, 1, 2]), Err(Error::Usage(_)));
        assert!(refused(PlacementRequest {
            mapper: Some(9),
            ..request()
        }));
        assert!(refused(PlacementRequest {
            controller: Some(9),
            ..request()
        }));
        assert!(refused(PlacementRequest {
            first_busy: Some(0),
            ..request()
        }));
        assert!(refused(PlacementRequest {
            first_busy: Some(2),
            busy_cpus: 2,
            ..request()
        }));
        assert!(refused(PlacementRequest {
            busy_cpus: 0,
            ..request()
        }));
        assert!(refused(PlacementRequest {
            busy_cpus: 3,
            ..request()
        }));
    }
}
