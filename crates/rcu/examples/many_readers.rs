//! What many readers cost a writer, while they are there and after they have gone.
//!
//! `cargo run --release --example many_readers`

use std::time::Instant;

use vmaple_rcu::{AllocError, Fences, RcuDomain, Updater};

/// Returns the nanoseconds of one of `n` calls of `work`: the least of nine tries.
fn least(n: u32, mut work: impl FnMut()) -> f64 {
    let tries = (0..9).map(|_| {
        let begin = Instant::now();
        (0..n).for_each(|_| work());
        begin.elapsed().as_nanos() as f64 / f64::from(n)
    });
    tries.fold(f64::INFINITY, f64::min)
}

/// Returns the nanoseconds of a look at all readers, as before each free at once.
fn look(updater: &mut Updater) -> f64 {
    let mut held = 0;
    let ns = least(200, || held = held.max(updater.held_until()));
    assert_eq!(held, 0, "no reader is inside of a section");
    ns
}

fn main() -> Result<(), AllocError> {
    println!(
        "| readers | registering one, ns | a look, ns | after all but the last have gone | after all have gone | registering one then |"
    );
    println!("|--:|--:|--:|--:|--:|--:|");
    for readers in [1_usize, 1_000, 10_000, 100_000] {
        let (domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric)?;
        let begin = Instant::now();
        let mut all = Vec::new();
        for _ in 0..readers {
            all.push(domain.reader()?);
        }
        let registering = begin.elapsed().as_nanos() as f64 / readers as f64;
        let with_all = look(&mut updater);
        let last = all.pop();
        drop(all);
        let with_last = look(&mut updater);
        drop(last);
        let with_none = look(&mut updater);
        let again = least(200, || drop(domain.reader()));
        println!("| {readers} | {registering:.0} | {with_all:.0} | {with_last:.0} | {with_none:.0} | {again:.0} |");
    }
    Ok(())
}
