//! Lays addresses out over rows: what was ever mapped, with the gaps between left out.

use std::ops::Range;
use std::time::Duration;

/// The most parts of a column. Small neighbours are joined until there are no more.
const PARTS: usize = 4096;
/// The rows of the picture, about, and the fewest of a strip.
const ROWS: usize = 320;
const FEWEST: usize = 3;
/// The most strips. Those with the smallest gaps between them are joined until there are no more.
const STRIPS: usize = 48;
/// The smallest gap that is left out.
const GAP: u64 = 1 << 20;
/// How many colours there are for what is resident.
const LEVELS: u64 = 8;

/// A range of addresses at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    range: Range<u64>,
    /// Bytes of it that are mapped, and of these, resident.
    mapped: u64,
    resident: u64,
}

/// A round.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) when: Duration,
    parts: Vec<Part>,
}

/// Addresses that lie together, and their rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Strip {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) rows: Range<usize>,
}

/// A rectangle of one colour: 0 for memory that is mapped and not resident, up to 8 for all of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) level: u8,
    pub(super) columns: Range<usize>,
    pub(super) rows: Range<usize>,
}

/// The colours of all rows at all times.
pub(super) struct Grid {
    strips: Vec<Strip>,
    /// By row, then column; `None` where nothing is mapped.
    cells: Vec<Vec<Option<u8>>>,
}

impl Part {
    pub(super) fn new(range: Range<u64>, resident: u64) -> Self {
        Self {
            mapped: range.end.saturating_sub(range.start),
            range,
            resident,
        }
    }
}

impl Column {
    /// Returns a round of these parts, which ascend.
    pub(super) fn new(when: Duration, mut parts: Vec<Part>) -> Self {
        let mut grain = GAP >> 8;
        while parts.len() > PARTS {
            parts.dedup_by(|part, before| {
                let is_near = part.range.end / grain == before.range.start / grain;
                if is_near {
                    before.range.end = part.range.end;
                    before.mapped += part.mapped;
                    before.resident += part.resident;
                }
                is_near
            });
            grain = grain.saturating_mul(4);
        }
        Self { when, parts }
    }
}

impl Grid {
    pub(super) fn of(columns: &[Column]) -> Self {
        let strips = strips(columns);
        let rows = strips.last().map_or(0, |strip| strip.rows.end);
        let mut cells = vec![vec![None; columns.len()]; rows];
        for (at, column) in columns.iter().enumerate() {
            let mut sums = vec![(0, 0); rows];
            for part in &column.parts {
                fill(&mut sums, &strips, part);
            }
            for (row, (mapped, resident)) in sums.into_iter().enumerate() {
                cells[row][at] = (mapped > 0).then(|| {
                    let level = (resident * u128::from(LEVELS)).div_ceil(mapped);
                    level.min(u128::from(LEVELS)) as u8
                });
            }
        }
        Self { strips, cells }
    }

    pub(super) fn rows(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn strips(&self) -> &[Strip] {
        &self.strips
    }

    /// Returns rectangles of one colour that are all of the picture.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = vec![];
        let mut first = 0;
        for same in self.cells.chunk_by(PartialEq::eq) {
            let rows = first..first + same.len();
            first = rows.end;
            let mut column = 0;
            for alike in same[0].chunk_by(PartialEq::eq) {
                let columns = column..column + alike.len();
                column = columns.end;
                runs.extend(alike[0].map(|level| Run {
                    level,
                    columns,
                    rows: rows.clone(),
                }));
            }
        }
        runs
    }
}

/// Adds a part to the rows that it lies in: what is mapped, and resident, both in 1024ths of bytes.
fn fill(sums: &mut [(u128, u128)], strips: &[Strip], part: &Part) {
    let after = strips.partition_point(|strip| strip.start <= part.range.start);
    let Some(strip) = after.checked_sub(1).and_then(|at| strips.get(at)) else {
        return;
    };
    let (bytes, rows) = (u128::from(strip.end - strip.start), strip.rows.len() as u128);
    let place = |address: u64| u128::from(address - strip.start) * rows;
    let (start, end) = (place(part.range.start), place(part.range.end));
    let size = (end - start).max(1);
    for row in start / bytes..end.div_ceil(bytes).min(rows) {
        let (from, to) = ((row * bytes).max(start), ((row + 1) * bytes).min(end));
        let (mapped, resident) = &mut sums[strip.rows.start + row as usize];
        *mapped += u128::from(part.mapped) * (to - from) * 1024 / size;
        *resident += u128::from(part.resident) * (to - from) * 1024 / size;
    }
}

/// Returns what was ever mapped, as strips with rows.
fn strips(columns: &[Column]) -> Vec<Strip> {
    let mut ranges: Vec<_> = columns
        .iter()
        .flat_map(|column| column.parts.iter().map(|part| part.range.clone()))
        .collect();
    ranges.sort_by_key(|range| range.start);
    let mut gap = GAP;
    loop {
        ranges.dedup_by(|range, before| {
            let is_near = range.start.saturating_sub(before.end) < gap;
            if is_near {
                before.end = before.end.max(range.end);
            }
            is_near
        });
        if ranges.len() <= STRIPS {
            break;
        }
        gap = gap.saturating_mul(4);
    }
    // By the root of the size, a megabyte has a row next to a terabyte.
    let root = |range: &Range<u64>| ((range.end - range.start) as f64).sqrt();
    let all: f64 = ranges.iter().map(root).sum();
    let mut first = 0;
    let strip = |range: Range<u64>| {
        let rows = ((ROWS as f64 * root(&range) / all) as usize).max(FEWEST);
        let strip = Strip {
            start: range.start,
            end: range.end,
            rows: first..first + rows,
        };
        first += rows;
        strip
    };
    ranges.into_iter().map(strip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn column(parts: &[(u64, u64, u64)]) -> Column {
        let parts = parts
            .iter()
            .map(|&(start, end, resident)| Part::new(start * MIB..end * MIB, resident * MIB));
        Column::new(Duration::ZERO, parts.collect())
    }

    #[test]
    fn gaps_are_left_out_and_each_range_has_rows() {
        let columns = [
            column(&[(0, 64, 64), (1 << 20, (1 << 20) + 1, 0)]),
            column(&[(0, 64, 0)]),
        ];
        let grid = Grid::of(&columns);
        let [large, small] = grid.strips() else {
            panic!("{:?}", grid.strips())
        };
        assert!(large.rows.len() > 4 * small.rows.len() && small.rows.len() >= FEWEST);
        let runs = grid.runs();
        let levels: Vec<_> = runs.iter().map(|run| (run.level, run.columns.clone())).collect();
        assert_eq!(levels, [(8, 0..1), (0, 1..2), (0, 0..1)]);
        assert_eq!(runs[0].rows, large.rows);
    }

    #[test]
    fn a_colour_is_the_share_that_is_resident_of_what_is_mapped() {
        for (resident, level) in [(0, 0), (1, 1), (32, 4), (33, 5), (64, 8)] {
            let grid = Grid::of(&[column(&[(10, 74, resident)])]);
            assert_eq!(grid.runs().iter().map(|run| run.level).collect::<Vec<_>>(), [level]);
        }
        // Half of the rows, and what lies there.
        let grid = Grid::of(&[column(&[(0, 32, 32), (32, 64, 0)])]);
        let runs = grid.runs();
        assert_eq!(runs.iter().map(|run| run.level).collect::<Vec<_>>(), [8, 0]);
        assert_eq!(runs[0].rows.len(), runs[1].rows.len());
    }

    #[test]
    fn many_small_mappings_are_joined_and_none_is_lost() {
        let parts: Vec<_> = (0..100_000_u64)
            .map(|i| Part::new(i << 13..(i << 13) + 4096, if i % 2 == 0 { 4096 } else { 0 }))
            .collect();
        let column = Column::new(Duration::ZERO, parts);
        assert!(column.parts.len() <= PARTS);
        let sum = |of: fn(&Part) -> u64| column.parts.iter().map(of).sum::<u64>();
        assert_eq!(
            (sum(|part| part.mapped), sum(|part| part.resident)),
            (100_000 << 12, 50_000 << 12)
        );
        let grid = Grid::of(&[column]);
        assert!(grid.runs().iter().all(|run| run.level == 4), "{:?}", grid.runs());
    }

    #[test]
    fn any_ranges_are_drawn_without_a_panic() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..300 {
            let columns: Vec<_> = (0..4)
                .map(|_| {
                    let mut at = 0_u64;
                    let parts = (0..random.usize(0..200)).map_while(|_| {
                        let (gap, bytes) = (random.u32(0..46), random.u32(0..46));
                        let start = at.checked_add(random.u64(0..1 << gap))?;
                        at = start.checked_add(1 + random.u64(0..1 << bytes))?;
                        Some(Part::new(start..at, random.u64(0..at)))
                    });
                    Column::new(Duration::ZERO, parts.collect())
                })
                .collect();
            let grid = Grid::of(&columns);
            assert!(grid.runs().iter().all(|run| run.rows.end <= grid.rows()));
        }
    }
}
