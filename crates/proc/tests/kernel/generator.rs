//! Calls at random, most of them near the edges of what is mapped.

use std::ffi::CStr;
use std::ops::Range;

use fastrand::Rng;

use super::op::Op;
use super::pair::Pair;
use super::window::PAGE;

const HUGE_PAGE: u64 = 2 << 20;
const NAMES: [Option<&CStr>; 4] = [None, Some(c"a"), Some(c"b"), Some(c"[bad]")];

const SHARED: u32 = 1;
const PRIVATE: u32 = 2;
const SHARED_VALIDATE: u32 = 3;
const FIXED: u32 = 0x10;
const ANONYMOUS: u32 = 0x20;
const GROWSDOWN: u32 = 0x100;
const NORESERVE: u32 = 0x4000;
const STACK: u32 = 0x2_0000;
const FIXED_NOREPLACE: u32 = 0x10_0000;

pub(crate) struct Generator {
    rng: Rng,
    window: Range<u64>,
    /// Where mappings begin and end.
    edges: Vec<u64>,
    has_names: bool,
    /// Without huge pages MAP_STACK is ignored, which the model does not do.
    has_huge_pages: bool,
    /// How many of a hundred mappings grow down, and are of files: runs with many of a kind reach other states.
    growsdown_percent: u32,
    file_percent: u32,
}

impl Generator {
    pub(crate) fn new(seed: u64, pair: &Pair<'_>, has_names: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        Self {
            window: pair.window.clone(),
            edges: Vec::new(),
            has_names,
            has_huge_pages: std::fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap(),
            // What is free below vm.mmap_min_addr would be found where a guard gap has the search begin anew.
            growsdown_percent: if pair.free.is_low_free {
                0
            } else {
                [0, 5, 30][rng.usize(..3)]
            },
            file_percent: [0, 20, 60][rng.usize(..3)],
            rng,
        }
    }

    pub(crate) fn next(&mut self, pair: &Pair<'_>) -> Op {
        self.edges.clear();
        self.edges.extend([self.window.start, self.window.end]);
        self.edges
            .extend(pair.mapped().flat_map(|range| [range.start, range.end]));
        loop {
            let op = match self.rng.u32(..100) {
                0..45 => self.mmap(),
                45..62 => self.munmap(),
                62..87 => self.mprotect(),
                87..92 if self.has_names => self.name(),
                _ if pair.free.has_brk => self.brk(),
                _ => continue,
            };
            if op.is_harmless(&pair.free, &self.window) {
                return op;
            }
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    fn edge(&mut self) -> u64 {
        self.edges[self.rng.usize(..self.edges.len())]
    }

    fn addr(&mut self) -> u64 {
        let pages = (self.window.end - self.window.start) / PAGE;
        let addr = match self.rng.u32(..100) {
            0..60 => self
                .edge()
                .wrapping_add(self.rng.u64(..5) * PAGE)
                .wrapping_sub(2 * PAGE),
            60..97 => self.window.start + self.rng.u64(..pages) * PAGE,
            _ => {
                // Not in the last page: see the head of `kernel`.
                let last = u64::MAX - 2 * PAGE + 1;
                let edges = [0, PAGE, 0x1_0000, 1 << 47, (1 << 47) - PAGE, (1 << 47) - 2 * PAGE, last];
                edges[self.rng.usize(..edges.len())]
            }
        };
        if self.chance(4) {
            addr.wrapping_add(self.rng.u64(1..PAGE))
        } else {
            addr
        }
    }

    /// A length from `addr`.
    fn len(&mut self, addr: u64) -> u64 {
        match self.rng.u32(..100) {
            0..50 => self.rng.u64(1..6) * PAGE,
            50..75 => match self.edge().saturating_sub(addr) & !(PAGE - 1) {
                0 => PAGE,
                len => len,
            },
            75..83 => self.rng.u64(1..400) * PAGE,
            83..96 => self.rng.u64(1..6 * PAGE),
            96..98 => 0,
            _ => {
                let most = [
                    u64::MAX,
                    u64::MAX - PAGE + 1,
                    u64::MAX - PAGE,
                    1 << 63,
                    1 << 47,
                    (1 << 47) - PAGE,
                ];
                most[self.rng.usize(..most.len())]
            }
        }
    }

    fn prot(&mut self) -> u32 {
        match self.rng.u32(..100) {
            0..35 => 1,
            35..70 => 3,
            70..80 => 0,
            80..97 => self.rng.u32(..8),
            97..99 => self.rng.u32(..8) | 8,
            _ => self.rng.u32(..8) | 0x10,
        }
    }

    fn mmap(&mut self) -> Op {
        let mut flags = match self.rng.u32(..100) {
            0..82 => PRIVATE,
            82..93 => SHARED,
            93..98 => SHARED_VALIDATE,
            _ => 0,
        };
        flags |= match self.rng.u32(..100) {
            0..45 => FIXED,
            45..55 => FIXED_NOREPLACE,
            55..57 => FIXED | FIXED_NOREPLACE,
            _ => 0,
        };
        let stack_percent = if self.has_huge_pages { 3 } else { 0 };
        for (flag, percent) in [
            (GROWSDOWN, self.growsdown_percent),
            (NORESERVE, 8),
            (STACK, stack_percent),
        ] {
            if self.chance(percent) {
                flags |= flag;
            }
        }
        let is_fixed = flags & (FIXED | FIXED_NOREPLACE) != 0;
        let addr = if !is_fixed && self.chance(50) { 0 } else { self.addr() };
        let len = self.len(addr);
        let (mut file, mut offset) = (None, 0);
        if self.chance(self.file_percent) {
            file = Some(self.rng.usize(..3));
            // Offsets that continue those of neighbours more often than not.
            offset = match self.rng.u32(..100) {
                0..80 => addr.saturating_sub(self.window.start) & !(PAGE - 1),
                80..95 => self.rng.u64(..4) * PAGE,
                95..97 => self.rng.u64(..4 * PAGE),
                _ => (0x7fff_ffff_ffff_f000_u64 - self.rng.u64(..4) * PAGE) | self.rng.u64(..2) << 63,
            };
        } else if !self.chance(1) {
            flags |= ANONYMOUS;
            offset = if self.chance(3) {
                self.rng.u64(..) & !(PAGE / 2 - 1)
            } else {
                0
            };
        }
        let len = if (HUGE_PAGE..1 << 46).contains(&len) {
            len % HUGE_PAGE
        } else {
            len
        };
        let prot = self.prot();
        Op::Mmap {
            addr,
            len,
            prot,
            flags,
            file,
            offset,
        }
    }

    fn munmap(&mut self) -> Op {
        let addr = self.addr();
        let len = self.len(addr);
        Op::Munmap { addr, len }
    }

    fn mprotect(&mut self) -> Op {
        let (addr, mut prot) = (self.addr(), self.prot());
        for (flag, percent) in [(0x0100_0000, 5), (0x0200_0000, 1)] {
            if self.chance(percent) {
                prot |= flag;
            }
        }
        let len = self.len(addr);
        Op::Mprotect { addr, len, prot }
    }

    fn brk(&mut self) -> Op {
        let heap = self.window.start + (self.window.end - self.window.start) / PAGE / 8 * PAGE;
        let addr = match self.rng.u32(..100) {
            0..80 => heap + self.rng.u64(..24) * PAGE,
            80..90 => heap + self.rng.u64(..24 * PAGE),
            _ => self.addr(),
        };
        Op::Brk { addr }
    }

    fn name(&mut self) -> Op {
        let addr = self.addr();
        let len = self.len(addr);
        let name = NAMES[self.rng.usize(..NAMES.len())];
        Op::Name { addr, len, name }
    }
}
