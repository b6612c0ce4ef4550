//! Makes random calls and accesses in the running kernel and in the model: the results agree, and
//! so do mappings and pages after each.
//!
//! `VMAPLE_CALLS` is how many (20,000), `VMAPLE_SEED` repeats a run; `ci/deep/long.sh differential`
//! makes a million.

#![cfg(all(not(loom), target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use vmaple_conformance::kernel::{
    Child, Files, Generator, Op, Outcome, PAGE, Pair, Place, Refused, Setting, Window, shrink, sysctl,
};

/// Calls in one child, before the next one begins with an empty window.
const CALLS_OF_A_CHILD: u64 = 500;
const TIME_TO_SHRINK: Duration = Duration::from_secs(20);

fn env(name: &str, default: impl FnOnce() -> u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or_else(default, |text| text.parse().unwrap())
}

/// Returns why this kernel cannot be compared with the model, if it cannot.
fn reason_to_skip() -> Option<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(18)) {
        return Some(format!("Linux {} merges by other rules than 6.18", release.trim()));
    }
    if sysctl("mmap_min_addr") < PAGE {
        return Some("vm.mmap_min_addr is 0, where the first page may be mapped".into());
    }
    (sysctl("overcommit_memory") == 2).then(|| "vm.overcommit_memory is 2, where MAP_NORESERVE is ignored".into())
}

fn too_many_mappings() -> Option<String> {
    let most = sysctl("max_map_count");
    (most > 300_000).then(|| format!("vm.max_map_count is {most}, which takes too long to reach"))
}

/// Counts what calls and accesses came to, by error or signal.
type Outcomes = BTreeMap<(&'static str, Option<Refused>), u64>;

/// Makes random calls in many windows, with the limits that `setting` makes.
fn compare(calls: u64, mut setting: impl FnMut(&mut fastrand::Rng) -> Setting) -> Outcomes {
    let seed = env("VMAPLE_SEED", || fastrand::u64(..1 << 32));
    println!("VMAPLE_SEED={seed}, {calls} calls");
    let mut rng = fastrand::Rng::with_seed(seed);
    let files = Files::new();
    let mut outcomes = Outcomes::new();
    let (mut left, mut run) = (calls, 0);
    while left > 0 {
        let (setting, pages) = (setting(&mut rng), [60, 600, 1500][rng.usize(..3)]);
        let place = match (Place::of_run(run, &mut rng, pages), setting) {
            // The mappings that almost exceed the limit are above.
            (Place::Top, Setting::MapCount(_)) => Place::Anywhere,
            (place, _) => place,
        };
        let window = Window::reserve(pages, place);
        run += 1;
        let mut pair = Pair::new(&window, &files, setting);
        let has_names = has_names(&mut pair);
        if left == calls {
            for (has, what) in [
                (pair.free.has_brk, "brk: PR_SET_MM_MAP is not there"),
                (
                    !pair.free.is_low_free,
                    "MAP_GROWSDOWN: only root may fill what is below vm.mmap_min_addr",
                ),
                (has_names, "anonymous names: PR_SET_VMA_ANON_NAME is not there"),
            ] {
                if !has {
                    println!("skipped: {what}");
                }
            }
        }
        let mut generator = Generator::new(rng.u64(..), &pair, has_names);
        let mut ops: Vec<Op> = Vec::new();
        for _ in 0..left.min(CALLS_OF_A_CHILD) {
            left -= 1;
            let op = generator.next(&pair);
            ops.push(op);
            match pair.apply(&op) {
                Ok(Outcome::Same(result)) => {
                    let refused = op.refused(result).map(Refused::without_addr);
                    *outcomes.entry((op.name(), refused)).or_default() += 1;
                }
                Ok(Outcome::NotBuilt) => unreachable!("the generator leaves these out"),
                Err(_) => panic!("VMAPLE_SEED={seed}\n{}", shortest(ops, &window, &files, setting)),
            }
        }
    }
    for ((call, refused), count) in &outcomes {
        let outcome = refused.map_or("done".into(), |refused| refused.to_string());
        println!("{count:8} {call}: {outcome}");
    }
    outcomes
}

/// Reports the shortest list of calls that makes a difference, and the difference.
fn shortest(ops: Vec<Op>, window: &Window, files: &Files, setting: Setting) -> String {
    let difference = |ops: &[Op]| {
        let mut pair = Pair::new(window, files, setting).look_always();
        ops.iter().find_map(|op| pair.apply(op).err())
    };
    let ops = shrink(ops, TIME_TO_SHRINK, |ops| difference(ops).is_some());
    let pages = (window.range().end - window.range().start) / PAGE;
    let mut report = format!("{setting:?}, {pages} pages from w\n");
    for op in &ops {
        writeln!(report, "mm.{};", op.display(&window.range())).unwrap();
    }
    report + &difference(&ops).unwrap_or("not seen again".into())
}

fn has_names(pair: &mut Pair<'_>) -> bool {
    let arguments = [libc::PR_SET_VMA as u64, libc::PR_SET_VMA_ANON_NAME as u64];
    pair.free.child.call(libc::SYS_prctl, &arguments).is_ok()
}

/// Defines a test of `compare` that is skipped, visibly, where the kernel has other rules.
fn compare_or_skip(share: u64, setting: impl FnMut(&mut fastrand::Rng) -> Setting) -> Option<Outcomes> {
    let reason = reason_to_skip();
    if let Some(reason) = &reason {
        println!("skipped: {reason}");
    }
    let calls = env("VMAPLE_CALLS", || 20_000) / share;
    reason.is_none().then(|| compare(calls, setting))
}

#[test]
fn random_calls_do_as_the_kernel_does() {
    let outcomes = compare_or_skip(1, |_| Setting::Unlimited).unwrap_or_default();
    // What the comparison is for has happened.
    if outcomes.values().sum::<u64>() >= 20_000 {
        use libc::{EBADF, EEXIST, EINVAL, ENOMEM, EOVERFLOW, EPERM};
        let errors = |errors: &[i32]| errors.iter().copied().map(Refused::Errno).collect::<Vec<_>>();
        let signals = || [1, 2].map(|code| Refused::Segv { code, addr: 0 }).to_vec();
        for (call, refused) in [
            ("mmap", errors(&[EPERM, EBADF, ENOMEM, EEXIST, EINVAL, EOVERFLOW])),
            ("mmap DROPPABLE", errors(&[EINVAL])),
            ("mmap 32BIT", errors(&[ENOMEM])),
            ("munmap", errors(&[EINVAL])),
            ("mprotect", errors(&[ENOMEM, EINVAL])),
            ("madvise DONTNEED", errors(&[ENOMEM, EINVAL])),
            ("madvise POPULATE_READ", errors(&[ENOMEM, EINVAL])),
            ("madvise POPULATE_WRITE", errors(&[ENOMEM, EINVAL])),
            ("fetch", signals()),
            ("read", signals()),
            ("write", signals()),
            ("compare_exchange", signals()),
        ] {
            for outcome in [None].into_iter().chain(refused.into_iter().map(Some)) {
                assert!(outcomes.contains_key(&(call, outcome)), "no {call} came to {outcome:?}");
            }
        }
    }
}

#[test]
fn random_calls_at_the_resource_limits_do_as_the_kernel_does() {
    compare_or_skip(1, |rng| Setting::Rlimits {
        address_space: rng.u64(..150 * PAGE),
        data: rng.u64(..40 * PAGE),
    });
}

#[test]
fn random_calls_at_the_limit_of_mappings_do_as_the_kernel_does() {
    if let Some(reason) = too_many_mappings() {
        println!("skipped: {reason}");
    } else {
        compare_or_skip(4, |rng| Setting::MapCount(rng.u64(2..30)));
    }
}

/// Makes each call at each count of mappings around the limit. It succeeds where as many more
/// mappings are allowed as are written next to it; -1: always, even with one too many.
#[test]
fn a_call_at_the_limit_of_mappings_succeeds_if_there_is_room_for_what_it_splits() {
    const ROOM: i64 = 12;
    if let Some(reason) = reason_to_skip().or_else(too_many_mappings) {
        println!("skipped: {reason}");
        return;
    }
    let (files, window) = (Files::new(), Window::reserve(600, Place::Anywhere));
    let mut pair = Pair::new(&window, &files, Setting::MapCount(ROOM as u64));
    let at = |page: u64| window.range().start + page * PAGE;
    let anonymous = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED) as u32;
    let mmap = |page, pages, prot: i32| Op::Mmap {
        addr: at(page),
        len: pages * PAGE,
        prot: prot as u32,
        flags: anonymous,
        file: None,
        offset: 0,
    };
    let munmap = |page, pages| Op::Munmap {
        addr: at(page),
        len: pages * PAGE,
    };
    let mprotect = |page, pages, prot: i32| Op::Mprotect {
        addr: at(page),
        len: pages * PAGE,
        prot: prot as u32,
    };
    let (read, write) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE);
    // Two adjacent mappings, 10 to 15 read only, 15 to 20 writable, and others to come close to the
    // limit.
    for (needs, op) in [
        (1, munmap(12, 1)),
        (-1, munmap(10, 1)),
        (-1, munmap(12, 6)),
        (2, mprotect(12, 1, write)),
        (1, mprotect(10, 1, write)),
        (-1, mprotect(10, 5, libc::PROT_NONE)),
        (-1, mprotect(10, 5, write)),
        (-1, mprotect(14, 1, write)),
        (1, mprotect(14, 2, libc::PROT_NONE)),
        (0, mmap(30, 1, write)),
        (0, mmap(20, 1, write)),
        (1, mmap(12, 1, write)),
        (0, mmap(10, 1, libc::PROT_NONE)),
        (0, mmap(14, 2, libc::PROT_NONE)),
        (
            0,
            Op::Brk {
                addr: window.brk_and_stack().0 + PAGE,
            },
        ),
    ] {
        if matches!(op, Op::Brk { .. }) && !pair.free.has_brk {
            continue;
        }
        for room in -1..=3 {
            let others = (0..(ROOM - 2 - room) as u64).map(|page| mmap(100 + 2 * page, 1, read));
            let before = [munmap(0, 600), mmap(10, 5, read), mmap(15, 5, write)];
            for op in before.into_iter().chain(others) {
                assert!(matches!(pair.apply(&op).unwrap(), Outcome::Same(Ok(_))), "{op:?}");
            }
            let old_brk = window.brk_and_stack().0;
            let outcome = match pair
                .apply(&op)
                .unwrap_or_else(|report| panic!("room {room}: {op:?}\n{report}"))
            {
                Outcome::Same(Ok(addr)) if matches!(op, Op::Brk { .. }) => addr != old_brk,
                Outcome::Same(result) => result.is_ok(),
                Outcome::NotBuilt => false,
            };
            assert_eq!(outcome, room >= needs, "room {room}: {op:?}");
            let _ = pair.apply(&Op::Brk { addr: old_brk });
        }
    }
}

/// Covers what chance rarely reaches. Pages 0 to 2 become three adjacent mappings; a list says
/// which of them were written. The middle one differs in one property, and becomes like the others
/// at the end, as a whole or its first page.
#[test]
fn mappings_become_one_by_who_wrote_to_them_as_the_kernel_s_do() {
    if let Some(reason) = reason_to_skip() {
        println!("skipped: {reason}");
        return;
    }
    let (files, window) = (Files::new(), Window::reserve(60, Place::Anywhere));
    let mut pair = Pair::new(&window, &files, Setting::Unlimited);
    let at = |page: u64| window.range().start + (40 + page) * PAGE;
    let mmap = |page, pages, prot: i32, flags: i32| Op::Mmap {
        addr: at(page),
        len: pages * PAGE,
        prot: prot as u32,
        flags: (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | flags) as u32,
        file: None,
        offset: 0,
    };
    let mprotect = |page, pages, prot: i32| Op::Mprotect {
        addr: at(page),
        len: pages * PAGE,
        prot: prot as u32,
    };
    let write = |page| Op::Write {
        addr: at(page),
        len: 1,
        byte: 1,
    };
    let (same, other) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
    );
    let mut counts = BTreeMap::new();
    // In which order they are written, if at all.
    let orders: [&[u64]; 16] = [
        &[],
        &[0],
        &[1],
        &[2],
        &[0, 1],
        &[0, 2],
        &[1, 0],
        &[1, 2],
        &[2, 0],
        &[2, 1],
        &[0, 1, 2],
        &[0, 2, 1],
        &[1, 0, 2],
        &[1, 2, 0],
        &[2, 0, 1],
        &[2, 1, 0],
    ];
    for order in orders {
        for middle in [
            mmap(1, 1, other, 0),
            mmap(1, 1, same, libc::MAP_NORESERVE),
            mmap(1, 1, libc::PROT_READ, 0),
            mmap(1, 1, libc::PROT_NONE, libc::MAP_NORESERVE),
        ] {
            for last in [
                vec![mprotect(1, 1, same)],
                vec![mmap(1, 1, same, 0)],
                vec![mprotect(0, 2, libc::PROT_READ), mprotect(0, 3, libc::PROT_READ)],
                vec![mprotect(1, 2, other), mprotect(0, 2, other)],
                vec![
                    Op::Munmap { addr: at(1), len: PAGE },
                    mmap(1, 1, same, 0),
                    write(1),
                    mprotect(0, 3, other),
                ],
            ] {
                let before = [
                    Op::Munmap {
                        addr: at(0),
                        len: 3 * PAGE,
                    },
                    mmap(0, 1, same, 0),
                    mmap(2, 1, same, 0),
                    middle,
                ];
                let ops: Vec<Op> = before
                    .into_iter()
                    .chain(order.iter().map(|&page| write(page)))
                    .chain(last)
                    .collect();
                for op in &ops {
                    let done = pair.apply(op);
                    assert!(done.is_ok(), "{ops:?}\n{}", done.err().unwrap());
                }
                *counts.entry(pair.mapped().count()).or_insert(0) += 1;
            }
        }
    }
    assert!(counts.len() == 3 && counts.contains_key(&1), "{counts:?}");
}

#[test]
fn a_child_ends_with_its_owner_and_with_its_thread() {
    let has_ended =
        |pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    let child = Child::fork();
    let pid = child.pid();
    assert!(!has_ended(pid));
    drop(child);
    assert!(has_ended(pid));
    let forgotten = std::thread::spawn(|| {
        let mut child = Child::fork();
        // It serves, so it has asked for its signal.
        child.call(libc::SYS_getpid, &[]).unwrap();
        let pid = child.pid();
        std::mem::forget(child);
        pid
    });
    let pid = forgotten.join().unwrap();
    while !has_ended(pid) {
        std::thread::yield_now();
    }
    // SAFETY: a child of this process that no other code waits for; no status is requested.
    assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
}
