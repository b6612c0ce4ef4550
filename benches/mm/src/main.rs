//! Measures vmaple-mm and vmaple-proc, the running kernel and the v5.4 model: the same work, in
//! turns, in one run. Prints the median (minimum, maximum) of the rounds.
//!
//!     ci/bench/run.sh mm [ROUNDS]
//!
//! N mappings of two pages, each followed by two free pages. No page is touched, so there are no
//! page tables.
//! - apart: munmap of a random one of them, and mmap of it: a mapping goes and comes.
//! - middle: munmap of the second page of one, and mmap of it: a mapping shrinks, and becomes whole
//!   again.
//! - text: all of /proc/PID/maps, read with a buffer of 128 KiB.
//! - frozen: maple's pair of kind middle, a million of them, without a reader and with 16 that
//!   stopped in the middle of a read at different times; and the memory kept for them.
//!
//! `--one NAME N PAIRS` makes this many pairs of kind middle and nothing else, for callgrind.

mod space;

use std::time::Instant;

use space::{Kernel, Model, Space};
use vmaple_mm::{MapleStore, RbStore};

const COUNTS: [u64; 6] = [10, 100, 1_000, 10_000, 60_000, 1_000_000];
const PAIRS: u64 = 50_000;
const NAMES: [&str; 3] = ["kernel", "v5.4", "maple"];

fn fill(space: &impl Space, count: u64) {
    (0..count).for_each(|i| space.map(4 * i, 2, i % 2 == 0));
}

/// Returns the nanoseconds of a pair.
fn apart(space: &impl Space, count: u64, rng: &mut fastrand::Rng) -> f64 {
    let begin = Instant::now();
    for _ in 0..PAIRS {
        let i = rng.u64(..count);
        space.unmap(4 * i, 2);
        space.map(4 * i, 2, i % 2 == 0);
    }
    begin.elapsed().as_nanos() as f64 / PAIRS as f64
}

/// The same.
fn middle(space: &impl Space, count: u64, pairs: u64, rng: &mut fastrand::Rng) -> f64 {
    let begin = Instant::now();
    for _ in 0..pairs {
        let i = rng.u64(..count);
        space.unmap(4 * i + 1, 1);
        space.map(4 * i + 1, 1, i % 2 == 0);
    }
    begin.elapsed().as_nanos() as f64 / pairs as f64
}

/// Returns the nanoseconds of a line.
fn text(space: &mut impl Space, count: u64, buffer: &mut [u8]) -> f64 {
    let (begin, mut lines) = (Instant::now(), 0);
    while lines < 20_000.max(count as usize) {
        lines += space.text(buffer);
    }
    begin.elapsed().as_nanos() as f64 / lines as f64
}

/// The measurements of each kind of work, by subject, over all rounds.
type Figures = [[Vec<f64>; 3]; 3];

fn round<S: Space>(figures: &mut Figures, subject: usize, count: u64, seed: u64, buffer: &mut [u8]) {
    let Some(mut space) = S::new(8 << 20, count) else {
        return;
    };
    let rng = &mut fastrand::Rng::with_seed(seed);
    fill(&space, count);
    apart(&space, count, rng); // warm
    figures[0][subject].push(apart(&space, count, rng));
    figures[1][subject].push(middle(&space, count, PAIRS, rng));
    figures[2][subject].push(text(&mut space, count, buffer));
}

/// Returns the nanoseconds of a pair without a reader and with frozen ones, and the KiB kept for
/// these.
fn frozen(count: u64, seed: u64) -> [f64; 3] {
    let space = Model::<MapleStore>::new(0, count).expect("a model");
    let rng = &mut fastrand::Rng::with_seed(seed);
    fill(&space, count);
    middle(&space, count, PAIRS, rng); // warm
    let alone = middle(&space, count, 20 * PAIRS, rng);
    let readers: Vec<_> = (0..16).map(|_| space.mm().reader().expect("a reader")).collect();
    let mut sections = Vec::new();
    for reader in &readers {
        sections.push(reader.read_lock().expect("an address space"));
        middle(&space, count, 1_000, rng);
    }
    let beside = middle(&space, count, 20 * PAIRS, rng);
    let kept = space.mm().store().rcu().stats().deferred_bytes as f64 / 1024.0;
    [alone, beside, kept]
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| args.get(i).and_then(|n| n.parse::<u64>().ok());
    if args.first().is_some_and(|arg| arg == "--one") {
        let (count, pairs) = (number(2).unwrap_or(1_000), number(3).unwrap_or(0));
        return match args.get(1).map(String::as_str) {
            Some("v5.4") => one::<Model<RbStore>>(count, pairs),
            _ => one::<Model<MapleStore>>(count, pairs),
        };
    }
    let rounds = number(0).unwrap_or(5);
    let mut buffer = vec![1; 128 << 10];
    println!("ns, median (min, max) of {rounds} rounds; ratio to the kernel's median");
    for count in COUNTS {
        let mut figures = Figures::default();
        for seed in 0..rounds {
            round::<Kernel>(&mut figures, 0, count, seed, &mut buffer);
            round::<Model<RbStore>>(&mut figures, 1, count, seed, &mut buffer);
            round::<Model<MapleStore>>(&mut figures, 2, count, seed, &mut buffer);
        }
        for (work, subjects) in ["apart", "middle", "text"].into_iter().zip(&mut figures) {
            print!("{count:>9} {work:<7}");
            let kernel = median(&mut subjects[0]);
            for (name, values) in NAMES.into_iter().zip(subjects) {
                match (median(values), kernel) {
                    (Some(m), Some(kernel)) => print!(
                        "  {name} {m:>7.1} ({:.1}, {:.1}) {:.2}",
                        values[0],
                        values[values.len() - 1],
                        m / kernel
                    ),
                    (Some(m), None) => print!(
                        "  {name} {m:>7.1} ({:.1}, {:.1}) -",
                        values[0],
                        values[values.len() - 1]
                    ),
                    (None, _) => print!("  {name} - (vm.max_map_count)"),
                }
            }
            println!();
        }
        let rounds = (0..rounds).map(|seed| frozen(count, seed));
        let mut columns: [Vec<f64>; 3] = Default::default();
        rounds.for_each(|round| {
            columns
                .iter_mut()
                .zip(round)
                .for_each(|(column, value)| column.push(value))
        });
        print!("{count:>9} frozen ");
        for (name, values) in ["no reader", "16 frozen", "KiB kept"].into_iter().zip(&mut columns) {
            let middle = median(values).unwrap_or(0.0);
            print!(
                "  {name} {middle:>7.1} ({:.1}, {:.1})",
                values[0],
                values[values.len() - 1]
            );
        }
        println!();
    }
}

fn one<S: Space>(count: u64, pairs: u64) {
    let space = S::new(8 << 20, count).expect("a model");
    fill(&space, count);
    middle(&space, count, pairs, &mut fastrand::Rng::with_seed(1));
}
