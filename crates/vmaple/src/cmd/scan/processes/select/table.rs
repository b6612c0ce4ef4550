//! The processes of the machine, as /proc lists them.

use std::collections::{HashMap, HashSet};
use std::{fs, io};

use crate::cmd::scan::processes::stat::Stat;

/// The processes that /proc shows, with what their stat says, by number.
pub(super) fn processes() -> io::Result<Vec<(u32, Stat)>> {
    let mut all = vec![];
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that has ended since is not there.
        if let Some(stat) = fs::read(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| Stat::parse(&stat))
        {
            all.push((pid, stat));
        }
    }
    all.sort_unstable_by_key(|&(pid, _)| pid);
    Ok(all)
}

/// Returns all descendants of a process, without itself.
pub(super) fn descendants(all: &[(u32, Stat)], of: u32) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, stat) in all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let mut found = HashSet::new();
    let mut next = vec![of];
    while let Some(parent) = next.pop() {
        for &child in children.get(&parent).into_iter().flatten() {
            // Numbers that come again while /proc is read could make a circle.
            if child != of && found.insert(child) {
                next.push(child);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn process(pid: u32, parent: u32) -> (u32, Stat) {
        let stat = Stat {
            comm: vec![],
            parent,
            is_kernel_thread: false,
            started: Duration::ZERO,
        };
        (pid, stat)
    }

    #[test]
    fn descendants_are_children_and_theirs_even_in_a_circle() {
        let all = [
            process(1, 0),
            process(2, 1),
            process(3, 2),
            process(4, 3),
            process(5, 1),
            process(6, 7),
            process(7, 6),
        ];
        assert_eq!(descendants(&all, 2), HashSet::from([3, 4]));
        assert_eq!(descendants(&all, 1), HashSet::from([2, 3, 4, 5]));
        assert_eq!(descendants(&all, 6), HashSet::from([7]));
        assert_eq!(descendants(&all, 4), HashSet::new());
    }

    #[test]
    fn this_process_is_listed() {
        let all = processes().unwrap();
        assert!(
            all.iter()
                .any(|(pid, stat)| *pid == std::process::id() && !stat.is_kernel_thread)
        );
        assert!(all.is_sorted_by_key(|(pid, _)| *pid));
    }
}
