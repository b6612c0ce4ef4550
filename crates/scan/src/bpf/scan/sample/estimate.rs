//! Estimates the sums of a process from some of its tables of pages, each with the margin of its
//! error.
//!
//! The tables of a mapping are a stratum: `N` of them, of which `n` were counted. The kernel knows
//! the sums of some counts of the whole process exactly. They are ratios' denominators: a sum is
//! estimated as `X * (Y / x)`, where `Y` and `x` are expanded from the tables counted, and `X` is
//! the kernel's. Its variance is that of the residuals `y - (Y / x) * x` within strata.
//!
//! A table that holds most of a process may be missing among those counted, or stand for many. No
//! variance shows that, but `x` does: if it is further from `X` than chance explains, the margin
//! grows by what the pages in between could be at most. So it does by what may lie in mappings of
//! which no table was counted, if those of the others leave room for it.
//!
//! Source: Cochran, Sampling Techniques, 1977, sections 5 and 6.

/// The counts of a table, or of several, in the order of the caller's.
pub(super) type Counts<const F: usize> = [f64; F];

/// The tables of a mapping: how many there are, and the counts of those that were counted.
#[derive(Clone, Debug)]
pub(super) struct Stratum<const F: usize> {
    pub(super) tables: u64,
    /// The number of tables of which one was counted.
    pub(super) every: u32,
    pub(super) counted: Vec<Counts<F>>,
}

/// A count whose sum is known, and that sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) count: usize,
    pub(super) sum: f64,
}

/// An estimated sum, and the margin on both sides within which it is with a probability of 95 %: by
/// the chance of the draw, and by what the draw may have missed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) by_chance: f64,
    pub(super) missed: f64,
}

/// The strata, ready for estimates: those in which too few tables were counted are one.
#[derive(Debug)]
pub(super) struct Sample<const F: usize> {
    strata: Vec<Weighted<F>>,
    /// The tables that none of those counted stands for.
    unknown: f64,
    /// The most that a table may have of a count.
    full: f64,
}

/// A stratum whose tables may have had different chances to be counted.
#[derive(Debug)]
struct Weighted<const F: usize> {
    tables: f64,
    /// The counts of a table, and of how many it is one.
    counted: Vec<(Counts<F>, f64)>,
}

impl<const F: usize> Sample<F> {
    /// Returns the sample of these strata, of whose tables each has at most `full` of a count.
    pub(super) fn of(strata: Vec<Stratum<F>>, full: f64) -> Self {
        let mut all = vec![];
        let mut rest = Weighted::empty();
        for stratum in strata {
            let counted = stratum.counted.len() as u64;
            if counted >= 2 || counted == stratum.tables {
                let mut weighted = Weighted::empty();
                weighted.add(stratum);
                all.push(weighted);
            } else {
                rest.add(stratum);
            }
        }
        let mut unknown = 0.0;
        if rest.counted.len() < 2 && !all.is_empty() {
            // Too little to stand for the others.
            let counted = rest.counted.len() as f64;
            unknown = rest.tables - counted;
            rest.tables = counted;
        }
        if rest.tables > 0.0 {
            all.push(rest);
        }
        Self {
            strata: all,
            unknown,
            full,
        }
    }

    /// Returns how many tables were counted.
    pub(super) fn counted(&self) -> usize {
        self.strata.iter().map(|stratum| stratum.counted.len()).sum()
    }

    /// Returns the sum over all tables of a count whose ratio to a known one is estimated.
    ///
    /// A page is counted at most once, so the count is never more than the known one.
    pub(super) fn ratio(&self, count: usize, known: Known) -> Estimate {
        self.ratios(&[(count, known)])
    }

    /// Returns the sum of such sums.
    pub(super) fn ratios(&self, parts: &[(usize, Known)]) -> Estimate {
        let mut value = 0.0;
        let mut missed = 0.0;
        // How wrong it can be at most.
        let mut bound = 0.0;
        // Of each part: the count, the known one, the ratio, and the factor of its residuals.
        let mut terms = vec![];
        for &(count, known) in parts {
            let (sum, of_known) = (self.expanded(|c| c[count]), self.expanded(|c| c[known.count]));
            if of_known <= 0.0 {
                // None of those counted has any, so they say nothing of the rest.
                missed += known.sum;
                bound += known.sum;
                continue;
            }
            let ratio = (sum / of_known).clamp(0.0, 1.0);
            value += ratio * known.sum;
            let by_chance = 2.0 * self.variance(|c| c[known.count]).sqrt();
            let gap = (known.sum - of_known).abs();
            // A quarter is too much for a chance that the counts are a fair picture of.
            let unexplained = if gap > known.sum / 4.0 {
                gap.min(known.sum)
            } else {
                (gap - by_chance).max(0.0)
            };
            let room = (known.sum - of_known).max(0.0) + by_chance;
            let hidden = room.min(self.unknown * self.full);
            missed += unexplained.max(hidden) * ratio.max(1.0 - ratio);
            bound += known.sum * ratio.max(1.0 - ratio);
            terms.push((count, known.count, ratio, known.sum / of_known));
        }
        let residual = |c: &Counts<F>| -> f64 {
            let of = |&(count, known, ratio, factor): &(usize, usize, f64, f64)| factor * (c[count] - ratio * c[known]);
            terms.iter().map(of).sum()
        };
        let missed = missed.min(bound);
        let by_chance = student(self.degrees()) * self.variance(|c| residual(c)).sqrt();
        Estimate {
            value,
            by_chance: by_chance.min(bound - missed),
            missed,
        }
    }

    /// Returns the sum over all tables, expanded from those counted.
    fn expanded(&self, count: impl Fn(&Counts<F>) -> f64) -> f64 {
        self.strata.iter().map(|s| s.tables * s.mean(&count)).sum()
    }

    /// Returns the variance of that.
    fn variance(&self, count: impl Fn(&Counts<F>) -> f64) -> f64 {
        self.strata.iter().map(|s| s.variance(&count)).sum()
    }

    fn degrees(&self) -> usize {
        let of_stratum = |stratum: &Weighted<F>| {
            let counted = stratum.counted.len();
            // One of which all tables were counted adds nothing.
            if counted as f64 >= stratum.tables {
                0
            } else {
                counted.saturating_sub(1)
            }
        };
        self.strata.iter().map(of_stratum).sum()
    }
}

impl<const F: usize> Weighted<F> {
    fn empty() -> Self {
        Self {
            tables: 0.0,
            counted: vec![],
        }
    }

    fn add(&mut self, stratum: Stratum<F>) {
        let weight = f64::from(stratum.every.max(1));
        self.tables += stratum.tables as f64;
        self.counted
            .extend(stratum.counted.into_iter().map(|counts| (counts, weight)));
    }

    fn mean(&self, count: impl Fn(&Counts<F>) -> f64) -> f64 {
        let weights: f64 = self.counted.iter().map(|(_, weight)| weight).sum();
        let sum: f64 = self.counted.iter().map(|(counts, weight)| weight * count(counts)).sum();
        if weights > 0.0 { sum / weights } else { 0.0 }
    }

    /// Returns the variance of the sum over all tables.
    fn variance(&self, count: impl Fn(&Counts<F>) -> f64) -> f64 {
        let counted = self.counted.len() as f64;
        if counted < 2.0 || counted >= self.tables {
            return 0.0;
        }
        let mean = self.mean(&count);
        let weights: f64 = self.counted.iter().map(|(_, weight)| weight).sum();
        let square = |(counts, weight): &(Counts<F>, f64)| (weight * (count(counts) - mean)).powi(2);
        let squares: f64 = self.counted.iter().map(square).sum();
        let of_mean = squares / weights.powi(2) * counted / (counted - 1.0);
        (1.0 - counted / self.tables).max(0.0) * self.tables.powi(2) * of_mean
    }
}

/// Returns how many standard deviations a margin is, if the deviation is itself estimated with this
/// number of degrees of freedom.
///
/// It is Student's for 97 %: counts are skewed, so a deviation that few of them give is too small
/// more often than not, and 95 % are to be kept.
fn student(degrees: usize) -> f64 {
    const FEW: [f64; 11] = [
        21.21, 21.21, 5.643, 3.896, 3.298, 3.003, 2.829, 2.715, 2.634, 2.574, 2.527,
    ];
    match FEW.get(degrees) {
        Some(&factor) => factor,
        None => 2.17 + 3.6 / degrees as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rss, anonymous, Pss of a table, in pages.
    type Three = Counts<3>;
    type Shape = fn(&mut fastrand::Rng) -> Vec<Vec<Three>>;

    /// Tables of which all pages are private, or shared by a number of processes.
    fn table(pages: f64, sharers: f64) -> Three {
        [pages, pages, pages / sharers]
    }

    const SHAPES: [(&str, Shape); 9] = [
        ("dense and private", |_| vec![vec![table(512.0, 1.0); 2000]]),
        ("as full as chance has it", |random| {
            let some = |_| table(random.f64() * 512.0, 1.0);
            vec![(0..2000).map(some).collect()]
        }),
        ("shared by 2, some private", |random| {
            let some = |_| table(512.0, if random.f64() < 0.7 { 2.0 } else { 1.0 });
            vec![(0..2000).map(some).collect()]
        }),
        ("shared by 200, the rest private", |random| {
            let some = |i: u64| table(random.f64() * 512.0, if i.is_multiple_of(3) { 1.0 } else { 200.0 });
            vec![(0..2000).map(some).collect()]
        }),
        ("one hot table", |random| {
            let mut tables = vec![table(1.0, 1.0); 2000];
            let hot = random.usize(..2000);
            tables[hot] = table(512.0, 50.0);
            vec![tables]
        }),
        ("few full tables, shared, among those of one page", |random| {
            let some = |_| {
                if random.f64() < 0.02 {
                    table(512.0, 4.0)
                } else {
                    table(1.0, 1.0)
                }
            };
            vec![(0..2000).map(some).collect()]
        }),
        ("half swapped: as many pages, each half full", |random| {
            let some = |i: u64| {
                table(
                    if i.is_multiple_of(2) {
                        512.0
                    } else {
                        512.0 * random.f64()
                    },
                    1.0 + (i % 5) as f64,
                )
            };
            vec![(0..2000).map(some).collect()]
        }),
        ("many mappings of many sizes", |random| {
            let mapping = |random: &mut fastrand::Rng| {
                let sharers = 1.0 + f64::from(random.u32(..4).pow(3));
                let tables = 1 + random.usize(..60);
                (0..tables)
                    .map(|_| table(1.0 + random.f64() * 511.0, sharers))
                    .collect()
            };
            (0..100).map(|_| mapping(random)).collect()
        }),
        ("two large ones", |random| {
            let mapping =
                |random: &mut fastrand::Rng, sharers| (0..1000).map(|_| table(random.f64() * 512.0, sharers)).collect();
            vec![mapping(random, 1.0), mapping(random, 3.0)]
        }),
    ];

    /// Draws as the program does: one of each `every` that follow one another in a mapping.
    fn draw(mappings: &[Vec<Three>], every: u32, random: &mut fastrand::Rng) -> Vec<Stratum<3>> {
        let stratum = |tables: &Vec<Three>| {
            let every = every.min(tables.len() as u32 / 2).max(1);
            let blocks = tables.chunks(every as usize);
            let drawn = blocks.filter_map(|block| block.get(random.usize(..every as usize)).copied());
            Stratum {
                tables: tables.len() as u64,
                every,
                counted: drawn.collect(),
            }
        };
        mappings.iter().map(stratum).collect()
    }

    #[test]
    fn the_truth_lies_within_the_margin_as_often_as_it_says_whatever_the_shape() {
        const RUNS: u64 = 1000;
        for (name, shape) in SHAPES {
            for every in [5, 20, 50] {
                let mut within = 0;
                let mut widest = 0_f64;
                for seed in 0..RUNS {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let mappings = shape(&mut random);
                    let sum = |count: usize| mappings.iter().flatten().map(|table| table[count]).sum::<f64>();
                    let known = Known { count: 0, sum: sum(0) };
                    let sample = Sample::of(draw(&mappings, every, &mut random), 512.0);
                    let Estimate {
                        value,
                        by_chance,
                        missed,
                    } = sample.ratio(2, known);
                    let margin = by_chance + missed;
                    within += u64::from((value - sum(2)).abs() <= margin + 1e-6 * sum(2));
                    widest = widest.max(margin / sum(0));
                }
                println!(
                    "{name}, one of {every}: {within} of {RUNS} within, the widest {:.1} %",
                    100.0 * widest
                );
                assert!(within * 100 >= RUNS * 94, "{name}, one of {every}: {within} of {RUNS}");
            }
        }
    }

    #[test]
    fn what_is_the_same_in_every_table_has_no_margin() {
        let stratum = Stratum {
            tables: 1000,
            every: 100,
            counted: vec![table(512.0, 2.0); 10],
        };
        let known = Known {
            count: 0,
            sum: 512_000.0,
        };
        let estimate = Sample::of(vec![stratum], 512.0).ratio(2, known);
        assert!(
            (estimate.value - 256_000.0).abs() < 1e-6 && estimate.by_chance + estimate.missed < 1e-6,
            "{estimate:?}"
        );
    }

    #[test]
    fn small_mappings_of_which_none_was_drawn_widen_the_margin_by_no_more_than_they_hold() {
        const RUNS: u64 = 1000;
        for sparse in [1_usize, 5, 20] {
            let (mut within, mut widest) = (0, 0_f64);
            for seed in 0..RUNS {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut mappings = vec![vec![table(512.0, 64.0); 2000]];
                let mut strata = draw(&mappings, 50, &mut random);
                // Their ranges have room for more tables than there are, so often none is drawn.
                for _ in 0..sparse {
                    let only = table(1.0 + random.f64() * 40.0, 1.0);
                    let every = random.u32(2..5);
                    let is_drawn = random.u32(0..every) == 0;
                    strata.push(Stratum {
                        tables: 1,
                        every,
                        counted: is_drawn.then_some(only).into_iter().collect(),
                    });
                    mappings.push(vec![only]);
                }
                let sum = |count: usize| mappings.iter().flatten().map(|table| table[count]).sum::<f64>();
                let known = Known { count: 0, sum: sum(0) };
                let estimate = Sample::of(strata, 512.0).ratio(2, known);
                let margin = estimate.by_chance + estimate.missed;
                within += u64::from((estimate.value - sum(2)).abs() <= margin + 1e-6 * sum(2));
                widest = widest.max(margin / sum(0));
            }
            println!(
                "{sparse}: {within} of {RUNS} within, the widest {:.2} %",
                100.0 * widest
            );
            assert!(within * 100 >= RUNS * 94, "{sparse}: {within} of {RUNS}");
            assert!(widest < 0.0001 * sparse as f64, "{sparse}: {widest}");
        }
    }

    #[test]
    fn full_tables_of_which_none_was_drawn_are_within_the_margin_where_chance_hides_them() {
        const RUNS: u64 = 300;
        let mut within = 0;
        for seed in 0..RUNS {
            let mut random = fastrand::Rng::with_seed(seed);
            let shared = (0..2000).map(|_| table(random.f64() * 512.0, 64.0)).collect();
            let mut mappings = vec![shared];
            let mut strata = draw(&mappings, 50, &mut random);
            for _ in 0..20 {
                strata.push(Stratum {
                    tables: 1,
                    every: 3,
                    counted: vec![],
                });
                mappings.push(vec![table(512.0, 1.0)]);
            }
            let sum = |count: usize| mappings.iter().flatten().map(|table| table[count]).sum::<f64>();
            let known = Known { count: 0, sum: sum(0) };
            let estimate = Sample::of(strata, 512.0).ratio(2, known);
            let margin = estimate.by_chance + estimate.missed;
            within += u64::from((estimate.value - sum(2)).abs() <= margin + 1e-6 * sum(2));
        }
        assert!(within * 100 >= RUNS * 94, "{within} of {RUNS}");
    }

    #[test]
    fn without_a_table_that_has_any_page_everything_is_possible() {
        let stratum = |counted| Stratum {
            tables: 10,
            every: 5,
            counted,
        };
        let known = Known { count: 0, sum: 100.0 };
        for counted in [vec![], vec![table(0.0, 1.0); 2]] {
            let estimate = Sample::of(vec![stratum(counted)], 512.0).ratio(2, known);
            assert!(estimate.missed >= 100.0, "{estimate:?}");
        }
        let nothing = Sample::<3>::of(vec![], 512.0).ratio(2, Known { count: 0, sum: 0.0 });
        assert_eq!(nothing, Estimate::default());
    }
}
