//! The work, the same for all: ranges as an address space has them, and queries for them.

/// A range of indexes, both ends included. Maps hold references to these.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub first: u64,
    pub last: u64,
}

/// xorshift64 (13, 7, 17).
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

const PAGE: u64 = 4096;

/// `n` ranges, the order in which to store them, and queries.
pub struct Workload {
    pub ranges: &'static [Range],
    pub shuffled: Vec<u32>,
    pub sorted: Vec<u32>,
    /// Indexes inside ranges; a power of two of them.
    pub queries: Vec<u64>,
    /// Ranges to remove and put back.
    pub churn: Vec<u32>,
    /// One in fifty ranges, removed before the search for gaps.
    pub holes: Vec<u32>,
    /// For gap searches: lower limits, upper limits, sizes.
    pub limits: (Vec<u64>, Vec<u64>, Vec<u64>),
}

impl Workload {
    pub fn new(n: usize) -> Self {
        let mut random = Random::new();
        let mut start = 0x1000_0000;
        let ranges: Vec<Range> = (0..n)
            .map(|_| {
                start += random.next() % 17 * PAGE;
                let first = start;
                start += (1 + random.next() % 64) * PAGE;
                Range { first, last: start - 1 }
            })
            .collect();
        let sorted: Vec<u32> = (0..n as u32).collect();
        let mut shuffled = sorted.clone();
        for i in (1..n).rev() {
            shuffled.swap(i, random.below(i + 1));
        }
        let queries = (0..(4 * n).next_power_of_two().clamp(1 << 14, 1 << 20))
            .map(|_| {
                let range = ranges[random.below(n)];
                range.first + random.next() % (range.last - range.first + 1)
            })
            .collect();
        let churn = (0..100_000).map(|_| random.below(n) as u32).collect();
        let mut holes: Vec<u32> = shuffled.iter().copied().take(n / 50).collect();
        holes.sort_unstable();
        let (low, high) = (ranges[0].first, ranges[n - 1].last);
        let limits = (
            vec![low; 1 << 14],
            (0..1 << 14).map(|_| low + random.next() % (high - low)).collect(),
            (0..1 << 14).map(|_| (1 + random.next() % 64) * PAGE).collect(),
        );
        Self {
            ranges: ranges.leak(),
            shuffled,
            sorted,
            queries,
            churn,
            holes,
            limits,
        }
    }
}
