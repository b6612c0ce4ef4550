//! Measures maple-tree, its peers and Linux's tree: the same work, in turns, in one run. Prints the
//! median (minimum, maximum) of the rounds.
//!
//!     ci/bench/run.sh maple-tree [ROUNDS] [N...]

#[cfg(linux_tree)]
mod linux;
mod map;
mod ours;
mod peers;
mod workload;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use map::Map;
use workload::Workload;

/// Counts what is allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, and a counter.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[derive(Default)]
struct Figures {
    name: &'static str,
    build: Vec<f64>,
    build_sorted: Vec<f64>,
    lookup: Vec<f64>,
    dependent: Vec<f64>,
    iterate: Vec<f64>,
    churn: Vec<f64>,
    gaps: Vec<f64>,
    bytes: Vec<f64>,
    bytes_sorted: Vec<f64>,
    beside_scan: Vec<f64>,
    beside_worst: Vec<f64>,
    beside_scanned: Vec<f64>,
}

/// Returns the nanoseconds of one of `n` in `work`.
fn per<T>(n: usize, work: impl FnOnce() -> T) -> f64 {
    let begin = Instant::now();
    black_box(work());
    begin.elapsed().as_nanos() as f64 / n as f64
}

/// Repeats until five milliseconds have passed; returns the nanoseconds of one of `n`.
fn repeat<T>(n: usize, mut work: impl FnMut() -> T) -> f64 {
    let (begin, mut rounds) = (Instant::now(), 0);
    while rounds == 0 || begin.elapsed() < Duration::from_millis(5) {
        black_box(work());
        rounds += 1;
    }
    begin.elapsed().as_nanos() as f64 / (rounds * n) as f64
}

fn measure<M: Map>(figures: &mut Figures, work: &Workload) {
    figures.name = M::NAME;
    let (n, ranges) = (work.ranges.len(), work.ranges);
    M::begin_thread();
    // Unknown where an earlier map's garbage is freed during the measurement.
    let live = |before| LIVE.load(Ordering::Relaxed).checked_sub(before);
    let bytes = |map: &M, before| {
        map.bytes()
            .or_else(|| live(before))
            .map(|bytes| bytes as f64 / n as f64)
    };

    let before = LIVE.load(Ordering::Relaxed);
    let sorted = M::new();
    figures.build_sorted.push(per(n, || sorted.store(ranges, &work.sorted)));
    figures.bytes_sorted.extend(bytes(&sorted, before));
    drop(sorted);

    let before = LIVE.load(Ordering::Relaxed);
    let map = M::new();
    figures.build.push(per(n, || map.store(ranges, &work.shuffled)));
    figures.bytes.extend(bytes(&map, before));

    let expected: u64 = ranges.iter().map(|range| range.first).sum();
    assert_eq!(map.iterate(), expected, "{}", M::NAME);
    map.lookup(&work.queries);
    figures
        .lookup
        .push(repeat(work.queries.len(), || map.lookup(&work.queries)));
    figures.dependent.push(repeat(work.queries.len(), || {
        map.dependent(&work.queries, work.queries.len())
    }));
    figures.iterate.push(repeat(n, || map.iterate()));
    figures
        .churn
        .push(repeat(work.churn.len(), || map.churn(ranges, &work.churn, || ())));

    // A reader that scans while a writer churns.
    let (stop, up, scanned) = (AtomicBool::new(false), Barrier::new(2), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            M::begin_thread();
            let mut from = 0;
            up.wait();
            while !stop.load(Ordering::Relaxed) {
                from = map.scan(from, 4096);
                scanned.fetch_add(4096, Ordering::Relaxed);
            }
            M::end_thread();
        });
        up.wait();
        let (begin, mut pairs, mut worst, mut last) = (Instant::now(), 0, 0.0_f64, Instant::now());
        while begin.elapsed() < Duration::from_millis(100) {
            map.churn(ranges, &work.churn[..1000.min(work.churn.len())], || {
                let now = Instant::now();
                worst = worst.max((now - last).as_nanos() as f64);
                last = now;
                pairs += 1;
            });
            last = Instant::now();
        }
        let seconds = begin.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        figures.beside_scan.push(f64::from(pairs) / seconds / 1e6);
        figures.beside_worst.push(worst / 1e3);
        figures
            .beside_scanned
            .push(scanned.load(Ordering::Relaxed) as f64 / seconds / 1e6);
    });

    map.erase(ranges, &work.holes);
    if let Some(found) = map.gaps(&work.limits) {
        black_box(found);
        figures
            .gaps
            .push(repeat(work.limits.0.len(), || map.gaps(&work.limits)));
    }
    drop(map);
    M::end_thread();
}

fn cell(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some((&first, &last)) = sorted.first().zip(sorted.last()) else {
        return "-".to_owned();
    };
    let median = sorted[sorted.len() / 2];
    let digits = if median.abs() < 10.0 {
        2
    } else if median.abs() < 100.0 {
        1
    } else {
        0
    };
    format!("{median:.digits$} ({first:.digits$}, {last:.digits$})")
}

fn main() {
    let mut args = std::env::args()
        .skip(1)
        .map(|arg| arg.parse::<usize>().expect("a number"));
    let rounds = args.next().unwrap_or(5);
    let mut sizes: Vec<usize> = args.collect();
    if sizes.is_empty() {
        sizes = vec![100, 10_000, 1_000_000];
    }
    type Measure = fn(&mut Figures, &Workload);
    let mut maps: Vec<Measure> = vec![
        measure::<ours::Ours>,
        #[cfg(linux_tree)]
        measure::<linux::Linux>,
    ];
    if std::env::var_os("ONLY_TREES").is_none() {
        maps.extend(peers::all());
    }
    for n in sizes {
        let work = Workload::new(n);
        let mut all: Vec<Figures> = maps.iter().map(|_| Figures::default()).collect();
        for _ in 0..rounds {
            for (measure, figures) in maps.iter().zip(&mut all) {
                measure(figures, &work);
            }
        }
        println!("\n## N = {n}\n");
        println!(
            "| ns | lookup | dependent lookup | iterate, an entry | churn, a pair | gap search | build, shuffled | build, sorted |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|--:|");
        for f in &all {
            let cells = [
                &f.lookup,
                &f.dependent,
                &f.iterate,
                &f.churn,
                &f.gaps,
                &f.build,
                &f.build_sorted,
            ]
            .map(|v| cell(v));
            println!("| {} | {} |", f.name, cells.join(" | "));
        }
        println!(
            "\n| | churn beside a scan, M pairs/s | its worst pair, us | scan beside it, M entries/s | bytes an entry, shuffled | sorted |"
        );
        println!("|---|--:|--:|--:|--:|--:|");
        for f in &all {
            let cells = [
                &f.beside_scan,
                &f.beside_worst,
                &f.beside_scanned,
                &f.bytes,
                &f.bytes_sorted,
            ]
            .map(|v| cell(v));
            println!("| {} | {} |", f.name, cells.join(" | "));
        }
    }
}
