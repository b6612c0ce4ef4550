//! `vmaple mount --live`: a /proc that is the kernel's, but for the locks.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use running::mounted::Live;
use running::scan::{Killed, Mapped, sleep};
use running::{outcome, vmaple_with, wait_until};
use rustix::process::Signal;

/// The files that a scan answers.
const SCANNED: [&str; 5] = ["maps", "smaps", "smaps_rollup", "cmdline", "environ"];

#[test]
fn everything_of_a_process_is_as_in_proc() {
    let Some(live) = Live::mount("") else { return };
    let sleep = sleep();
    let pid = sleep.pid().to_string();
    let mut compared = 0;
    for dir in [
        pid.clone(),
        format!("{pid}/task/{pid}"),
        format!("{pid}/fd"),
        format!("{pid}/ns"),
    ] {
        let (theirs, ours) = (Path::new("/proc").join(&dir), live.at(&dir));
        let names = |dir: &Path| -> BTreeSet<_> {
            fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect()
        };
        assert_eq!(names(&ours), names(&theirs), "{dir}");
        for name in names(&theirs) {
            compared += same(&theirs.join(&name), &ours.join(&name));
        }
    }
    assert!(compared > 60, "{compared}");
    // Where the kernel has no file, nor has the tree; and what is not of a process is there.
    assert!(!live.at("0").exists() && !live.at(format!("{pid}/nothing")).exists());
    assert_eq!(
        fs::read(live.at("version")).unwrap(),
        fs::read("/proc/version").unwrap()
    );
    assert_eq!(fs::read(live.at("sys/kernel/ostype")).unwrap(), b"Linux\n");
    assert_eq!(
        fs::read_link(live.at("self")).unwrap().to_str(),
        Some(&*std::process::id().to_string())
    );
    let comm = fs::read_to_string(live.at("self/comm")).unwrap();
    assert_eq!(comm, fs::read_to_string("/proc/self/comm").unwrap());
    let thread = fs::read_link(live.at("thread-self")).unwrap();
    assert_eq!(thread, fs::read_link("/proc/thread-self").unwrap());
    // Nothing can be changed there.
    let error = fs::write(live.at("self/comm"), "another").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    let (code, err) = ended(live);
    assert_eq!(code, Some(0));
    // Of the only file whose locks are taken here.
    let said: Vec<_> = err.lines().skip(1).collect();
    assert!(
        said.len() == 1 && said[0].contains("numa_maps: the kernel's own"),
        "{err}"
    );
}

fn ended(live: Live) -> (Option<i32>, String) {
    live.signal(Signal::INT);
    live.end()
}

/// Compares what two paths are; returns 1.
fn same(theirs: &Path, ours: &Path) -> usize {
    let (a, b) = (
        fs::symlink_metadata(theirs).unwrap(),
        fs::symlink_metadata(ours).unwrap(),
    );
    let whole = |of: &fs::Metadata| (of.mode(), of.uid(), of.gid(), of.size(), of.nlink(), of.rdev());
    assert_eq!(whole(&a), whole(&b), "{ours:?}");
    let name = theirs.file_name().unwrap().to_str().unwrap();
    // What changes by itself, or is told once.
    let changes = [
        "sched",
        "schedstat",
        "stat",
        "timers",
        "mem",
        "pagemap",
        "clear_refs",
        "wchan",
        "io",
    ];
    if a.is_symlink() {
        assert_eq!(fs::read_link(ours).unwrap(), fs::read_link(theirs).unwrap(), "{ours:?}");
    } else if a.is_file() && !changes.contains(&name) {
        let read = |path| fs::read(path).map_err(|e| e.raw_os_error());
        // What other processes do with the pages that they share changes it.
        wait_until(&format!("{ours:?} to be {theirs:?}"), || read(ours) == read(theirs));
    }
    1
}

#[test]
fn reads_at_any_place_and_of_any_size_are_of_one_scan() {
    let Some(live) = Live::mount("") else { return };
    let sleep = sleep();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    for name in SCANNED {
        let path = live.at(format!("{}/{name}", sleep.pid()));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (mut file, mut text) = (File::open(&path).unwrap(), vec![]);
                let mut random = fastrand::Rng::with_seed(seed ^ thread);
                scope.spawn(move || {
                    file.read_to_end(&mut text).unwrap();
                    for _ in 0..100 {
                        let (at, size) = (random.usize(1..text.len() + 100), random.usize(..10_000));
                        let mut bytes = vec![0; size];
                        let read = file.read_at(&mut bytes, at as u64).unwrap();
                        let from = at.min(text.len());
                        assert!(text[from..].starts_with(&bytes[..read]));
                        assert_eq!(read, size.min(text.len() - from), "{name}: {size} at {at}");
                    }
                });
            }
        });
    }
    drop(live);
}

#[test]
fn a_read_from_the_beginning_sees_the_process_as_it_is_now_or_as_it_was_a_little_while_ago() {
    let ranges = |live: &Live| fs::read_to_string(live.at(format!("{}/maps", std::process::id()))).unwrap();
    let Some(live) = Live::mount("") else { return };
    let (_one, before) = (Mapped::new(3, None), ranges(&live));
    let mut file = File::open(live.at(format!("{}/maps", std::process::id()))).unwrap();
    let mut text = vec![0; 16];
    file.read_exact(&mut text).unwrap();
    let two = Mapped::new(5, None);
    two.split();
    file.read_to_end(&mut text).unwrap();
    drop(file);
    let after = ranges(&live);
    // The rest of what was begun is of the same scan, and another read is not.
    let line = format!("{:08x}-", two.address());
    assert!(!String::from_utf8(text).unwrap().contains(&line));
    assert!(after.contains(&line), "{line} {after}");
    assert!(after.lines().count() > before.lines().count(), "{before}{after}");
    drop(live);

    let Some(live) = Live::mount("--max-age 1h") else {
        return;
    };
    let before = ranges(&live);
    let three = Mapped::new(7, None);
    three.split();
    assert_eq!(ranges(&live), before);
    assert_ne!(before, fs::read_to_string("/proc/self/maps").unwrap());
}

#[test]
fn a_sum_within_a_budget_has_margins_that_no_other_line_is_taken_for() {
    let Some(live) = Live::mount("--cpu 1us") else { return };
    // Many tables of pages.
    let memory = Mapped::new(1 << 16, None);
    memory.fill();
    let path = live.at(format!("{}/smaps_rollup", std::process::id()));
    let text = fs::read_to_string(path).unwrap();
    let theirs = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let label = |line: &str| line.split(':').next().unwrap().to_owned();
    let labels = |text: &str| text.lines().skip(1).map(label).collect::<Vec<_>>();
    let (margins, values): (Vec<_>, Vec<_>) = labels(&text)
        .into_iter()
        .partition(|label| label.starts_with("Margin_"));
    assert_eq!(values, labels(&theirs), "{text}");
    assert!(margins.contains(&"Margin_Pss".to_owned()), "{text}");
    let value = |text: &str, label: &str| -> i64 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{label}:")))
            .unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    };
    // Exact, but for what the reading itself changes.
    let changes = value(&text, "Rss") - value(&theirs, "Rss");
    assert!(changes.abs() < 4096, "{text}{theirs}");
}

#[test]
fn the_files_of_a_process_that_has_ended_are_gone_also_those_that_are_open() {
    let Some(live) = Live::mount("") else { return };
    let sleep = sleep();
    let dir = File::open(live.at(sleep.pid().to_string())).unwrap();
    let open = |name: &str| File::open(live.at(format!("{}/{name}", sleep.pid())));
    let files = SCANNED.map(|name| open(name).unwrap());
    let path = live.at(format!("{}/maps", sleep.pid()));
    drop::<Killed>(sleep);
    assert_eq!(fs::read(&path).unwrap_err().kind(), ErrorKind::NotFound);
    let in_it = rustix::fs::openat(&dir, "maps", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    assert!(
        matches!(in_it, Err(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH)),
        "{in_it:?}"
    );
    for (file, name) in files.iter().zip(SCANNED) {
        let mut text = vec![];
        // As the kernel's: no memory, or no process.
        let read = { file }.read_to_end(&mut text);
        assert!(
            matches!(read, Ok(0)) || read.is_err_and(|e| e.raw_os_error() == Some(3)),
            "{name}"
        );
    }
}

#[test]
fn a_mount_ends_with_a_signal_an_umount_or_the_death_of_its_process_and_leaves_nothing() {
    type End = fn(&Live);
    let ends: [(End, Option<i32>); 4] = [
        (|live| live.signal(Signal::INT), Some(0)),
        (|live| live.signal(Signal::TERM), Some(0)),
        (
            |live| assert_eq!(outcome(vmaple_with("umount {}", &live.root())).0, 0),
            Some(0),
        ),
        (|live| live.signal(Signal::KILL), None),
    ];
    for (end, expected) in ends {
        let Some(live) = Live::mount("") else { return };
        assert!(live.is_mounted());
        let children = format!("/proc/{0}/task/{0}/children", live.pid());
        let unmounter = fs::read_to_string(children).unwrap();
        let unmounter = unmounter.trim().to_owned();
        assert!(!unmounter.is_empty());
        let open = File::open(live.at("self/maps")).unwrap();
        end(&live);
        wait_until("the mount to end", || !live.is_mounted());
        drop(open);
        wait_until("the process that unmounts to end", || !is_running(&unmounter));
        assert_eq!(live.end().0, expected);
    }
}

fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_place_that_will_not_do_is_refused_in_words() {
    let place = tempfile::tempdir().unwrap();
    let refused = |args: &str, why: &str| {
        let (code, _, err) = outcome(vmaple_with(args, place.path()));
        assert!(matches!(code, 2 | 77) && err.contains(why), "{args}: {code} {err}");
    };
    refused("mount --live {}/none", "make an empty directory");
    fs::write(place.path().join("file"), "").unwrap();
    refused("mount --live {}/file", "make an empty directory");
    refused("mount --live {}", "not empty");
    refused("mount --live /proc", "not empty");
    refused("umount {}", "nothing is mounted at");
    refused("umount /proc", "no tree of vmaple's");
    refused("mount {}", "--live");
    let Some(live) = Live::mount("") else { return };
    let (code, _, err) = outcome(vmaple_with("mount --live {}", &live.root()));
    assert!(code == 2 && err.contains("mounted here already"), "{err}");
}

#[test]
fn a_reader_that_stops_in_the_middle_keeps_no_other_from_reading() {
    let Some(live) = Live::mount("") else { return };
    let sleep = sleep();
    let path = live.at(format!("{}/maps", sleep.pid()));
    let text = fs::read(&path).unwrap();
    // More than there are threads that answer.
    let stopped: Vec<_> = (0..200)
        .map(|_| {
            let mut file = File::open(&path).unwrap();
            let mut first = [0; 100];
            file.read_exact(&mut first).unwrap();
            file
        })
        .collect();
    assert!(fs::read(&path).unwrap() == text);
    for mut file in stopped {
        let mut rest = vec![];
        file.read_to_end(&mut rest).unwrap();
        assert!(text.ends_with(&rest) && rest.len() == text.len() - 100);
    }
}

#[test]
fn the_demo_is_of_two_processes_of_which_one_changes() {
    let Some(demo) = Live::start("--demo", "") else { return };
    let numbers = fs::read_dir(demo.root()).unwrap();
    let numbers = numbers.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pids: Vec<u32> = numbers.filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    let [quiet, busy] = pids.as_slice() else {
        panic!("{pids:?}")
    };
    let read = |pid: u32, name: &str| fs::read_to_string(demo.at(format!("{pid}/{name}"))).unwrap();
    assert_eq!(
        (&*read(*quiet, "comm"), &*read(*busy, "comm")),
        ("demo-quiet\n", "demo-busy\n")
    );
    let (still, first) = (read(*quiet, "maps"), read(*busy, "maps"));
    wait_until("the busy one to change", || read(*busy, "maps") != first);
    assert_eq!(read(*quiet, "maps"), still);
    assert_eq!(outcome(vmaple_with("umount {}", &demo.root())).0, 0);
    assert_eq!(demo.end().0, Some(0));
}
