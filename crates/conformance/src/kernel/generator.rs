//! Random calls, most of them near the edges of what is mapped.

use std::ffi::CStr;
use std::ops::Range;

use fastrand::Rng;

use super::access::MOST;
use super::op::Op;
use super::pair::Pair;
use super::window::PAGE;

const HUGE_PAGE: u64 = 2 << 20;
/// Pages of a crowd.
const CROWD: u64 = 6;
const NAMES: [Option<&CStr>; 4] = [None, Some(c"a"), Some(c"b"), Some(c"[bad]")];

const READ: u32 = 1;
const EXEC: u32 = 4;
const SHARED: u32 = 1;
const PRIVATE: u32 = 2;
const SHARED_VALIDATE: u32 = 3;
const TYPE: u32 = 0xf;
const DROPPABLE: u32 = 0x8;
const FIXED: u32 = 0x10;
const ANONYMOUS: u32 = 0x20;
const MAP_32BIT: u32 = 0x40;
const ABOVE4G: u32 = 0x80;
const GROWSDOWN: u32 = 0x100;
const LOCKED: u32 = 0x2000;
const HUGETLB: u32 = 0x4_0000;
const SYNC: u32 = 0x8_0000;
/// The first of the bits that hold the binary logarithm of a huge page's size.
const HUGE_SHIFT: u32 = 26;
/// No processor has pages of 2 to the power of this.
const NO_HUGE_SIZE: u32 = 62;
const POPULATE: u32 = 0x8000;
const NONBLOCK: u32 = 0x1_0000;
const NORESERVE: u32 = 0x4000;
const STACK: u32 = 0x2_0000;
const FIXED_NOREPLACE: u32 = 0x10_0000;

const DONTNEED: i32 = libc::MADV_DONTNEED;
const POPULATE_READ: i32 = libc::MADV_POPULATE_READ;
const POPULATE_WRITE: i32 = libc::MADV_POPULATE_WRITE;
/// Numbers that are no advice.
const NO_ADVICE: [i32; 8] = [-1, 5, 6, 7, 1 << 16, 0x7ffe_0004, i32::MAX, i32::MIN];

pub struct Generator {
    rng: Rng,
    window: Range<u64>,
    mapped: Vec<Range<u64>>,
    /// Where these begin and end.
    edges: Vec<u64>,
    has_names: bool,
    /// Without huge pages the kernel ignores MAP_STACK; the model does not.
    has_huge_pages: bool,
    /// With protection keys, memory that is only executable cannot be read.
    has_protection_keys: bool,
    /// All calls are on a few pages that are written: whether two mappings merge depends on which
    /// of their neighbours was written first.
    is_crowded: bool,
    /// How many of a hundred calls touch memory, how many mappings grow down, and how many map
    /// files. Runs with many of one kind reach other states.
    touch_percent: u32,
    growsdown_percent: u32,
    file_percent: u32,
}

impl Generator {
    pub fn new(seed: u64, pair: &Pair<'_>, has_names: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        Self {
            window: pair.window.clone(),
            mapped: Vec::new(),
            edges: Vec::new(),
            has_names,
            has_huge_pages: std::fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap(),
            has_protection_keys: std::fs::read_to_string("/proc/cpuinfo").unwrap().contains(" ospke"),
            is_crowded: rng.u32(..3) == 0,
            touch_percent: [0, 30, 60][rng.usize(..3)],
            // The kernel would find free addresses below vm.mmap_min_addr where a guard gap
            // restarts the search.
            growsdown_percent: if pair.free.is_low_free {
                0
            } else {
                [0, 5, 30][rng.usize(..3)]
            },
            file_percent: [0, 20, 60][rng.usize(..3)],
            rng,
        }
    }

    pub fn next(&mut self, pair: &Pair<'_>) -> Op {
        self.mapped.clear();
        self.mapped.extend(pair.mapped());
        self.edges.clear();
        self.edges.extend([self.window.start, self.window.end]);
        self.edges
            .extend(self.mapped.iter().flat_map(|range| [range.start, range.end]));
        loop {
            let op = match self.rng.u32(..100) {
                _ if self.is_crowded => self.in_crowd(),
                _ if self.chance(self.touch_percent) => self.touch(),
                0..45 => self.mmap(),
                45..62 => self.munmap(),
                62..87 => self.mprotect(),
                87..92 if self.has_names => self.name(),
                _ if pair.free.has_brk => self.brk(),
                _ => continue,
            };
            if op.is_harmless(&pair.free, &self.window) && pair.is_built(&op) {
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
                let end = 1 << 47;
                let edges = [
                    0,
                    PAGE,
                    0x1_0000,
                    1 << 30,
                    1 << 31,
                    1 << 32,
                    end - 2 * PAGE,
                    end - PAGE,
                    end,
                    1 << 63,
                    last,
                ];
                edges[self.rng.usize(..edges.len())]
            }
        };
        if self.chance(4) {
            addr.wrapping_add(self.rng.u64(1..PAGE))
        } else {
            addr
        }
    }

    /// Draws a length from `addr`.
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
                let end = 1 << 47;
                let most = [
                    u64::MAX,
                    u64::MAX - PAGE + 1,
                    u64::MAX - PAGE,
                    1 << 63,
                    // Almost to the end of the address space, to it, beyond it.
                    end,
                    end - PAGE,
                    (end - PAGE).wrapping_sub(addr).wrapping_sub(PAGE),
                    (end - PAGE).wrapping_sub(addr),
                    end.wrapping_sub(addr),
                    // Almost to 0, to it, beyond it.
                    addr.wrapping_neg().wrapping_sub(PAGE),
                    addr.wrapping_neg(),
                    addr.wrapping_neg().wrapping_add(PAGE),
                ];
                // Rounded up, they are equal or a page longer.
                most[self.rng.usize(..most.len())].wrapping_sub(self.rng.u64(..2) * self.rng.u64(..PAGE))
            }
        }
    }

    fn prot(&mut self) -> u32 {
        let prot = match self.rng.u32(..100) {
            0..35 => 1,
            35..70 => 3,
            70..80 => 0,
            80..97 => self.rng.u32(..8),
            97..99 => self.rng.u32(..8) | 8,
            _ => self.rng.u32(..8) | 1 << self.rng.u32(4..32),
        };
        if prot == EXEC && self.has_protection_keys {
            prot | READ
        } else {
            prot
        }
    }

    fn mmap(&mut self) -> Op {
        let mut flags = match self.rng.u32(..100) {
            0..78 => PRIVATE,
            78..88 => SHARED,
            88..93 => SHARED_VALIDATE,
            93..97 => DROPPABLE,
            _ => self.rng.u32(..=TYPE),
        };
        flags |= match self.rng.u32(..100) {
            0..45 => FIXED,
            45..55 => FIXED_NOREPLACE,
            55..57 => FIXED | FIXED_NOREPLACE,
            _ => 0,
        };
        // Elsewhere low memory has no room.
        let low_percent = if self.window.start < 1 << 32 { 25 } else { 3 };
        let stack_percent = if self.has_huge_pages { 3 } else { 0 };
        for (flag, percent) in [
            (GROWSDOWN, self.growsdown_percent),
            (NORESERVE, 8),
            (STACK, stack_percent),
            (MAP_32BIT, low_percent),
            (ABOVE4G, low_percent),
            (LOCKED, 1),
            (HUGETLB, 1),
            (SYNC, 2),
        ] {
            if self.chance(percent) {
                flags |= flag;
            }
        }
        if self.chance(4) {
            flags |= self.any_flags();
        }
        if flags & HUGETLB != 0 {
            // Sizes that the kernel does not have may be free, or some.
            flags |= NO_HUGE_SIZE << HUGE_SHIFT;
        }
        let is_fixed = flags & (FIXED | FIXED_NOREPLACE) != 0;
        let addr = if !is_fixed && self.chance(50) { 0 } else { self.addr() };
        let len = self.len(addr);
        let (mut file, mut offset) = (None, 0);
        flags &= !(ANONYMOUS | POPULATE | NONBLOCK);
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
            // The model has no pages of shared memory.
            if self.touch_percent > 0 && flags & SHARED == 0 && self.chance(20) {
                flags |= POPULATE | if self.chance(5) { NONBLOCK } else { 0 };
            }
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

    /// Returns one flag in four, named or not, of those that do not decide the kind of the mapping.
    fn any_flags(&mut self) -> u32 {
        let any = self.rng.u32(..) & self.rng.u32(..);
        let mut decided = TYPE | FIXED | FIXED_NOREPLACE | ANONYMOUS;
        if self.growsdown_percent == 0 {
            decided |= GROWSDOWN;
        }
        if !self.has_huge_pages {
            decided |= STACK;
        }
        any & !decided
    }

    /// Draws an access, or advice.
    fn touch(&mut self) -> Op {
        let addr = if !self.mapped.is_empty() && self.chance(70) {
            // Mostly the first pages of a mapping: mappings have neighbours there, and pages are
            // met again.
            let range = self.mapped[self.rng.usize(..self.mapped.len())].clone();
            let pages = (range.end - range.start) / PAGE;
            let most = if self.chance(70) { pages.min(4) } else { pages };
            range.start + self.rng.u64(..most) * PAGE
        } else {
            self.addr()
        };
        let len = self.len(addr);
        let place = addr.wrapping_add(self.rng.u64(..PAGE));
        let bytes = match self.rng.u32(..100) {
            0..60 => self.rng.u64(1..16),
            60..90 => self.rng.u64(1..=PAGE),
            _ => self.rng.u64(1..=MOST),
        };
        match self.rng.u32(..100) {
            0..40 => Op::Write {
                addr: place,
                len: bytes,
                byte: self.rng.u8(..),
            },
            40..63 => Op::Read {
                addr: place,
                len: bytes,
            },
            63..66 => Op::Fetch { addr: place & !15 },
            66..71 => {
                let words = [0, 0x0101_0101_0101_0101, u64::MAX];
                Op::CompareExchange {
                    addr: place & !7,
                    current: words[self.rng.usize(..3)],
                    new: words[self.rng.usize(..3)],
                }
            }
            kind => Op::Madvise {
                addr,
                len,
                advice: match kind {
                    71..82 => DONTNEED,
                    82..89 => POPULATE_READ,
                    89..98 => POPULATE_WRITE,
                    _ => NO_ADVICE[self.rng.usize(..NO_ADVICE.len())],
                },
            },
        }
    }

    /// Draws a call on a few pages: adjacent mappings that differ in one property at most.
    fn in_crowd(&mut self) -> Op {
        let page = self.rng.u64(..CROWD);
        let addr = self.window.start + page * PAGE;
        let len = self.rng.u64(1..4).min(CROWD - page) * PAGE;
        let prot = [0, 1, 3, 3, 3, 7, 7][self.rng.usize(..7)];
        match self.rng.u32(..100) {
            0..20 => Op::Mmap {
                addr,
                len,
                prot,
                flags: PRIVATE | FIXED | ANONYMOUS | if self.chance(25) { NORESERVE } else { 0 },
                file: None,
                offset: 0,
            },
            20..28 => Op::Munmap { addr, len },
            28..60 => Op::Mprotect { addr, len, prot },
            60..92 => Op::Write {
                addr,
                len: 1,
                byte: self.rng.u8(..),
            },
            92..94 => Op::Read { addr, len: 1 },
            94..96 => Op::Fetch { addr },
            _ => Op::Madvise {
                addr,
                len,
                advice: [DONTNEED, POPULATE_READ, POPULATE_WRITE][self.rng.usize(..3)],
            },
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
