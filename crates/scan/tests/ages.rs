//! Ages of pages, next to the kernel's list of generations, as it grows older.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // memory that a target shares with its parent

mod targets;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use targets::{ANON, PAGE, RW, SHARED, Target, map, scanner_with, write};
use vmaple_scan::{Ages, Error, Method, Options, Scanner};

const LISTS: &str = "/sys/kernel/debug/lru_gen";
const PAGES: usize = 4096;
/// New pages come on a list some at a time; and the cgroup has pages of other mappings.
const SLACK: u64 = 128;

/// A cgroup with an account of memory, which is removed when this is dropped.
struct Cgroup {
    mount: tempfile::TempDir,
    name: String,
}

impl Cgroup {
    fn new() -> Option<Self> {
        let mount = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "cgroup2", "none"])
            .arg(mount.path())
            .status();
        let cgroup = Self {
            name: format!("vmaple-{}", std::process::id()),
            mount,
        };
        let is_made = mounted.is_ok_and(|status| status.success())
            && fs::write(cgroup.mount.path().join("cgroup.subtree_control"), "+memory").is_ok()
            && fs::create_dir(cgroup.path()).is_ok();
        is_made.then_some(cgroup)
    }

    fn path(&self) -> PathBuf {
        self.mount.path().join(&self.name)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.path());
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}

/// What the kernel lists of a cgroup on one node: its number, that of the youngest generation, and
/// anonymous bytes by age.
fn listed(name: &str) -> (String, u64, Ages) {
    let text = fs::read_to_string(LISTS).unwrap();
    let mut words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let head = words
        .by_ref()
        .find(|line| line.first() == Some(&"memcg") && line.last().is_some_and(|path| path.ends_with(name)));
    let number = head.unwrap_or_else(|| panic!("no {name} in {text}"))[1].to_owned();
    let generations = words.skip(1).take_while(|line| line.len() == 4);
    let of = |line: Vec<&str>| {
        let number = |word: &str| word.trim_end_matches('x').parse::<u64>().unwrap();
        (number(line[0]), number(line[2]))
    };
    let generations: Vec<_> = generations.map(of).collect();
    let youngest = generations.last().unwrap().0;
    let mut ages = [0; 4];
    for (sequence, pages) in generations {
        ages[(youngest - sequence) as usize] += pages * PAGE as u64;
    }
    (number, youngest, ages)
}

/// Makes a generation that is younger than all.
fn grow_older(name: &str) {
    let (number, youngest, _) = listed(name);
    fs::write(LISTS, format!("+ {number} 0 {youngest} 1 1\n")).unwrap();
}

#[test]
fn ages_are_those_of_the_kernels_list_or_refused_in_words() {
    let options = || Options::new().ages(true);
    if let Err(Error::NotPossible(why)) = Scanner::with(options().method(Method::Bpf)) {
        let is_there = fs::exists("/sys/kernel/mm/lru_gen/enabled").unwrap();
        println!("{why}");
        // Without rights or types it is another reason.
        assert!(
            !is_there || !why.contains("ages of pages") || why.contains("is off"),
            "{why}"
        );
        return;
    }
    let (Some(mut scanner), Some(cgroup)) = (scanner_with(options()), Cgroup::new()) else {
        println!("no cgroup with an account of memory can be made");
        return;
    };
    let (at, flag) = (map(PAGES, RW, ANON), map(1, RW, SHARED));
    targets::advise(at, PAGES, libc::MADV_NOHUGEPAGE);
    // SAFETY: the page is shared with the target alone, and stays mapped.
    let says = |word: u8| unsafe { flag.write_volatile(word) };
    let hears = |word: u8| {
        // SAFETY: as above.
        while unsafe { flag.read_volatile() } != word {
            std::thread::yield_now();
        }
    };
    let target = Target::with_word(|tell| {
        tell();
        for (word, pages) in [(1, PAGES), (3, PAGES / 2)] {
            hears(word);
            write(at, pages, 1);
            says(word + 1);
        }
        // SAFETY: sleeps.
        unsafe { libc::pause() };
    });
    fs::write(cgroup.path().join("cgroup.procs"), target.pid().to_string()).unwrap();
    let mut ages = |when: &str| -> Ages {
        let scan = scanner.scan(target.pid()).unwrap();
        let mut records = scan.records();
        let record = records
            .find(|record| record.mapping.vma.start <= at.addr() as u64 && at.addr() < record.mapping.vma.end as usize);
        let ours = record.unwrap().ages.unwrap();
        let (.., theirs) = listed(&cgroup.name);
        println!("{when}: {ours:?}, listed {theirs:?}");
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            assert!(ours.abs_diff(theirs) <= SLACK * PAGE as u64, "{when}");
        }
        let sum = scan.rollup().ages.unwrap();
        assert!(sum.iter().zip(ours).all(|(sum, ours)| *sum >= ours));
        ours
    };
    says(1);
    hears(2);
    let all = (PAGES as u64 - SLACK) * PAGE as u64;
    assert!(ages("written").iter().sum::<u64>() >= all);
    grow_older(&cgroup.name);
    ages("a generation later");
    says(3);
    hears(4);
    grow_older(&cgroup.name);
    let [youngest, young, old, oldest] = ages("half of it written again, a generation later");
    for half in [youngest + young, old + oldest] {
        assert!(half.abs_diff(all / 2) <= 2 * SLACK * PAGE as u64, "{half}");
    }
    grow_older(&cgroup.name);
    ages("another generation later");
    drop(target);
}
