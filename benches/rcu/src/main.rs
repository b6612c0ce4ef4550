//! Measures vmaple-rcu and its peers: the same work, in turns, in one run. Prints the median
//! (minimum, maximum) of the rounds.
//!
//!     ci/bench/run.sh rcu [ROUNDS]
//!
//! - read: enter a section, load a pointer, read the word that it points to, leave. nested: the
//!   same inside another section.
//! - replace: allocate 256 bytes, swap them in, retire the old ones, including any freeing that
//!   falls due.
//! - the same two while the other thread does the other.
//! - frozen: a reader stops inside a section for a second while the writer goes on. How much its
//!   memory grows, the longest single replace, and what is still held 0.1 s after the reader has
//!   gone on.

#[cfg(liburcu)]
mod liburcu;
mod peers;

use std::fs;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use peers::Peer;
use vmaple_rcu::{Fences, RcuBox, RcuDomain, RcuPtr};

const READS: u32 = 1_000_000;
const REPLACES: u32 = 200_000;
/// Short measurements for each long one.
const SHORT: usize = 5;
const BATCH: u32 = 1_000;

#[derive(Default)]
struct Figures {
    name: &'static str,
    read: Vec<f64>,
    nested: Vec<f64>,
    read_beside: Vec<f64>,
    replace: Vec<f64>,
    replace_beside: Vec<f64>,
    frozen_rate: Vec<f64>,
    frozen_growth: Vec<f64>,
    frozen_worst: Vec<f64>,
    thaw: Vec<f64>,
    held_after: Vec<f64>,
}

/// Returns the nanoseconds of one of `n` in `work`.
fn per(n: u32, work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_nanos() as f64 / f64::from(n)
}

fn resident_mib() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0.0);
    pages * 4096.0 / f64::from(1 << 20)
}

/// Measurements that take milliseconds.
fn short<P: Peer>(figures: &mut Figures) {
    figures.name = P::NAME;
    let peer = P::new();
    let mut writer = peer.writer();
    P::replace(&mut writer, REPLACES / 10);
    figures
        .replace
        .push(per(REPLACES, || P::replace(&mut writer, REPLACES)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let reader = peer.reader();
            P::read(&reader, READS / 10);
            figures.read.push(per(READS, || {
                black_box(P::read(&reader, READS));
            }));
            figures.nested.push(per(READS, || {
                black_box(P::nested(&reader, READS));
            }));
        });
    });

    // Each while the other runs.
    let (stop, up) = (AtomicBool::new(false), Barrier::new(2));
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let reader = peer.reader();
            let mut rounds = Vec::new();
            up.wait();
            while rounds.is_empty() || !stop.load(Ordering::Relaxed) {
                rounds.push(per(BATCH, || {
                    black_box(P::read(&reader, BATCH));
                }));
            }
            rounds
        });
        up.wait();
        figures
            .replace_beside
            .push(per(REPLACES, || P::replace(&mut writer, REPLACES)));
        stop.store(true, Ordering::Relaxed);
        let mut rounds = beside.join().expect("the reader");
        rounds.sort_by(f64::total_cmp);
        figures.read_beside.push(rounds[rounds.len() / 2]);
    });

    P::settle(&mut writer);
}

/// A reader that stops.
fn frozen<P: Peer>(figures: &mut Figures) {
    let peer = P::new();
    let mut writer = peer.writer();
    P::replace(&mut writer, REPLACES / 10);
    P::settle(&mut writer);
    let (frozen, thawed) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let reader = peer.reader();
            P::freeze(&reader, || {
                frozen.wait();
                thawed.wait();
            })
        });
        frozen.wait();
        let before = resident_mib();
        let (begin, mut worst, mut done) = (Instant::now(), 0.0_f64, 0.0);
        // Each is timed, with one read of the clock.
        let (mut last, mut now) = (begin, begin);
        while now - begin < Duration::from_secs(1) {
            P::replace(&mut writer, 1);
            now = Instant::now();
            worst = worst.max((now - last).as_nanos() as f64);
            last = now;
            done += 1.0;
        }
        figures.frozen_rate.push(done / begin.elapsed().as_secs_f64() / 1e6);
        figures.frozen_growth.push(resident_mib() - before);
        figures.frozen_worst.push(worst / 1e3);
        thawed.wait();
        figures
            .thaw
            .push(reader.join().expect("the reader").as_nanos() as f64 / 1e3);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(100) {
            P::replace(&mut writer, BATCH);
        }
        // SAFETY: no argument; returns free memory to the kernel, so that the rest is held.
        unsafe { malloc_trim(0) };
        figures.held_after.push(resident_mib() - before);
    });
    P::settle(&mut writer);
}

unsafe extern "C" {
    fn malloc_trim(pad: usize) -> i32;
}

/// Objects that a frozen reader holds all of.
const LIVE: usize = 500_000;

/// Returns how many ms the backlog of a reader that goes on takes to be freed while the writer goes
/// on, and how large it was.
fn thaw(fences: Fences) -> (f64, f64) {
    let (domain, mut updater) = RcuDomain::with_fences(fences).expect("memory");
    let ptrs: Vec<RcuPtr<peers::Object>> = (0..LIVE).map(|_| RcuPtr::null(&domain)).collect();
    let mut replace = |i: usize| {
        let new = RcuBox::new([7; 30]).expect("memory");
        assert!(ptrs[i % LIVE].assign(&mut updater, Some(new)).is_ok());
        if updater.reap_due() {
            updater.reap();
        }
    };
    (0..LIVE).for_each(&mut replace);
    let reader = domain.reader().expect("memory");
    let guard = reader.read_lock();
    (0..LIVE).for_each(&mut replace);
    let held = domain.stats().deferred_bytes as f64 / f64::from(1 << 20);
    drop(guard);
    let begin = Instant::now();
    let mut i = 0;
    while domain.stats().deferred_bytes > 1 << 20 {
        (i..i + 100).for_each(&mut replace);
        i += 100;
    }
    (begin.elapsed().as_secs_f64() * 1e3, held)
}

fn cell(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some((&first, &last)) = sorted.first().zip(sorted.last()) else {
        return "-".to_owned();
    };
    let median = sorted[sorted.len() / 2];
    let digits = if median.abs() < 100.0 { 2 } else { 0 };
    format!("{median:.digits$} ({first:.digits$}, {last:.digits$})")
}

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5);
    type Measure = fn(&mut Figures);
    let schemes: Vec<(Measure, Measure)> = vec![
        (short::<peers::Nothing>, frozen::<peers::Nothing>),
        (short::<peers::Ours>, frozen::<peers::Ours>),
        (short::<peers::OursSymmetric>, frozen::<peers::OursSymmetric>),
        (short::<peers::Kovan>, frozen::<peers::Kovan>),
        (short::<peers::Crossbeam>, frozen::<peers::Crossbeam>),
        (short::<peers::Seize>, frozen::<peers::Seize>),
        (short::<peers::Haphazard>, frozen::<peers::Haphazard>),
        #[cfg(liburcu)]
        (short::<liburcu::Memb>, frozen::<liburcu::Memb>),
        #[cfg(liburcu)]
        (short::<liburcu::Bp>, frozen::<liburcu::Bp>),
        #[cfg(liburcu)]
        (short::<liburcu::Qsbr>, frozen::<liburcu::Qsbr>),
    ];
    let mut all: Vec<Figures> = schemes.iter().map(|_| Figures::default()).collect();
    for _ in 0..rounds {
        for _ in 0..SHORT {
            for ((short, _), figures) in schemes.iter().zip(&mut all) {
                short(figures);
            }
        }
        for ((_, frozen), figures) in schemes.iter().zip(&mut all) {
            frozen(figures);
        }
    }
    println!(
        "| ns | read | nested | read beside a writer | replace | replace beside a reader |\n|---|--:|--:|--:|--:|--:|"
    );
    for f in &all {
        let cells = [&f.read, &f.nested, &f.read_beside, &f.replace, &f.replace_beside].map(|v| cell(v));
        println!("| {} | {} |", f.name, cells.join(" | "));
    }
    println!(
        "\n| one reader frozen for 1 s | M replaces/s | growth, MiB | longest replace, us | reader's exit, us | still held 0.1 s later, MiB |\n|---|--:|--:|--:|--:|--:|"
    );
    for f in &all {
        let cells = [
            &f.frozen_rate,
            &f.frozen_growth,
            &f.frozen_worst,
            &f.thaw,
            &f.held_after,
        ]
        .map(|v| cell(v));
        println!("| {} | {} |", f.name, cells.join(" | "));
    }
    println!();
    for fences in [Fences::cheapest_for_readers(), Fences::Symmetric] {
        let (ms, held): (Vec<f64>, Vec<f64>) = (0..rounds).map(|_| thaw(fences)).unzip();
        println!(
            "{fences:?}: a reader that held {} MiB goes on; all but 1 MiB is free after {} ms, while the writer goes on.",
            cell(&held),
            cell(&ms)
        );
    }
}
