//! The one free range of a child's address space.

use std::ops::Range;

use super::Child;
use super::text::range;

pub const PAGE: u64 = 4096;
const RESERVE: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as u64;
/// The size of `struct prctl_mm_map`.
const MM_MAP_BYTES: u64 = 104;
/// An address that any process may have.
const ANYWHERE: u64 = 1 << 32;
const NONE: u64 = libc::PROT_NONE as u64;

/// `capset`'s header and sets: version 3, this process, none.
static CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];
static NO_CAPABILITIES: [u32; 6] = [0; 6];

/// Where a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where the kernel puts it.
    Anywhere,
    /// From this address on, if nothing is there.
    At(u64),
    /// At the last addresses: nothing is above.
    Top,
}

impl Place {
    /// Returns the place of a run: anywhere for every second run, and in turn where the kernel has
    /// rules.
    pub fn of_run(run: u64, rng: &mut fastrand::Rng, pages: u64) -> Self {
        let length = (pages + 2) * PAGE;
        let mut within = |range: Range<u64>| Self::At(rng.u64(range.start..range.end - length) & !(PAGE - 1));
        // None lies across the bottom of MAP_32BIT: the kernel moves it by up to 32 MiB at each
        // call.
        match run % 10 {
            1 => Self::Top,
            3 => within(0x1000_0000..LOW.start),
            5 => within(LOW.start + 0x200_0000..LOW.end),
            7 => within(LOW.end - length..LOW.end + length),
            9 => within(ABOVE_4G - length..ABOVE_4G + length),
            _ => Self::Anywhere,
        }
    }
}

/// Where MAP_32BIT puts mappings, and MAP_ABOVE4G does not.
const LOW: Range<u64> = 0x4000_0000..0x8000_0000;
const ABOVE_4G: u64 = 1 << 32;

/// The end of addresses with page tables of four levels.
const TASK_SIZE: u64 = (1 << 47) - PAGE;

/// Addresses that nothing uses, here and in the children of this process, which have them at the
/// same place.
pub struct Window {
    reserved: Range<u64>,
    /// Room for the `struct prctl_mm_map` of children.
    mm_map: Box<[u8; MM_MAP_BYTES as usize]>,
}

impl Window {
    /// Finds a window of this many pages; anywhere, if the place is taken.
    pub fn reserve(pages: u64, place: Place) -> Self {
        // A page on either side stays mapped, so that no mapping of the window is next to one of
        // the program.
        let length = (pages + 2) * PAGE;
        let (at, length, fixed) = match place {
            Place::Anywhere => (0, length, 0),
            Place::At(start) => (start, length, libc::MAP_FIXED_NOREPLACE),
            Place::Top => (TASK_SIZE - length + PAGE, length - PAGE, libc::MAP_FIXED_NOREPLACE),
        };
        // SAFETY: a new mapping, which replaces none.
        let start = unsafe { libc::mmap(at as *mut _, length as usize, 0, RESERVE as i32 | fixed, -1, 0) };
        if start == libc::MAP_FAILED && fixed != 0 {
            return Self::reserve(pages, Place::Anywhere);
        }
        assert_ne!(start, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        let reserved = start as u64..start as u64 + length;
        Self {
            reserved,
            mm_map: Box::new([0; MM_MAP_BYTES as usize]),
        }
    }

    pub fn range(&self) -> Range<u64> {
        let Range { start, end } = self.reserved;
        start + PAGE..if end == TASK_SIZE { end } else { end - PAGE }
    }

    /// Returns where the heap and the stack begin in children.
    pub fn brk_and_stack(&self) -> (u64, u64) {
        let pages = (self.range().end - self.range().start) / PAGE;
        let at = |page| self.range().start + page * PAGE;
        (at(pages / 8), at(pages / 2))
    }

    /// Makes a child whose only free addresses are the window, without capabilities.
    pub fn child(&self) -> Free {
        let mut child = Child::fork();
        let window = self.range();
        child
            .call(libc::SYS_munmap, &[window.start, window.end - window.start])
            .unwrap();
        // Five levels of page tables have more: 2^47 is an address with them.
        let has_five_levels = child.call(libc::SYS_munmap, &[1 << 47, PAGE]).is_ok();
        let task_size = if has_five_levels { (1 << 56) - PAGE } else { TASK_SIZE };
        let fixed = RESERVE | libc::MAP_FIXED_NOREPLACE as u64;
        let mut text = Vec::new();
        let mut is_low_free = false;
        child.files.maps(u64::MAX, &mut text);
        let margins = [self.reserved.start..window.start, window.end..self.reserved.end];
        for gap in gaps(&text, PAGE, task_size).filter(|gap| *gap != window) {
            let length = gap.end - gap.start;
            let filled = child.call(libc::SYS_mmap, &[gap.start, length, NONE, fixed, u64::MAX]);
            if filled.is_ok() {
                dont_merge(&mut child, &gap);
            }
            is_low_free |= filled == Err(libc::EPERM);
        }
        for margin in margins.into_iter().filter(|margin| !margin.is_empty()) {
            dont_merge(&mut child, &margin);
        }
        let has_brk = self.move_brk(&mut child);
        let without = [CAPABILITY_HEADER.as_ptr() as u64, NO_CAPABILITIES.as_ptr() as u64];
        child.call(libc::SYS_capset, &without).unwrap();
        let min_addr = sysctl("mmap_min_addr");
        child.files.maps(u64::MAX, &mut text);
        let free: Vec<_> = gaps(&text, min_addr, task_size).collect();
        assert_eq!(free, [window], "{}", String::from_utf8_lossy(&text));
        Free {
            child,
            task_size,
            min_addr,
            has_brk,
            is_low_free,
        }
    }

    /// Moves the heap and the stack into the window where the kernel allows it. Returns whether it
    /// does.
    fn move_brk(&self, child: &mut Child) -> bool {
        let set = |what| {
            [
                libc::PR_SET_MM as u64,
                what as u64,
                self.mm_map.as_ptr() as u64,
                MM_MAP_BYTES,
            ]
        };
        let has_mm_map = child.call(libc::SYS_prctl, &set(libc::PR_SET_MM_MAP_SIZE)[..3]).is_ok();
        if has_mm_map {
            let (brk, stack) = self.brk_and_stack();
            // brk(2) counts this with the heap against RLIMIT_DATA: as much as counts there anyway.
            let data = [ANYWHERE, ANYWHERE + child.files.vm_stat()[0]];
            let code = [ANYWHERE, ANYWHERE + 1];
            let arguments_and_environment = [ANYWHERE; 4];
            // No auxiliary vector, no executable.
            let rest = [0, 0xffff_ffff_0000_0000];
            let words = [&code[..], &data, &[brk, brk, stack], &arguments_and_environment, &rest].concat();
            child.store(self.mm_map.as_ptr() as u64, &words);
            child.call(libc::SYS_prctl, &set(libc::PR_SET_MM_MAP)).unwrap();
        }
        has_mm_map
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let length = self.reserved.end - self.reserved.start;
        // SAFETY: the mapping belongs to this value, and nothing uses it.
        unsafe { libc::munmap(self.reserved.start as *mut _, length as usize) };
    }
}

/// A child with a window, and the properties of the kernel's address space.
pub struct Free {
    pub child: Child,
    pub task_size: u64,
    pub min_addr: u64,
    /// Whether the heap begins in the window. Needs CONFIG_CHECKPOINT_RESTORE.
    pub has_brk: bool,
    /// Whether addresses below vm.mmap_min_addr are free, which only root may map. The kernel also
    /// looks for room there, and then fails with EPERM instead of ENOMEM.
    pub is_low_free: bool,
}

impl Free {
    /// Splits what is mapped above an address until only `count` more mappings fit.
    pub fn leave_mappings(&mut self, above: u64, count: u64) {
        let mut text = Vec::new();
        self.child.files.maps(u64::MAX, &mut text);
        let mappings = || ranges(&text, self.task_size);
        let most = sysctl("max_map_count") - count - mappings().count() as u64;
        let above = mappings().filter(|range| range.start >= above);
        let largest = above.max_by_key(|range| range.end - range.start).unwrap();
        // A page inside makes two mappings more, the last page one.
        let inside = (0..most / 2).map(|page| largest.start + (1 + 2 * page) * PAGE);
        let last = (most % 2 == 1).then_some(largest.end - PAGE);
        for page in inside.chain(last) {
            let done = self
                .child
                .call(libc::SYS_mprotect, &[page, PAGE, libc::PROT_READ as u64]);
            assert_eq!(done, Ok(0));
        }
    }
}

pub fn sysctl(name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/sys/vm/{name}")).unwrap();
    text.trim().parse().unwrap()
}

/// Sets a flag on mappings that no mapping of a test has, so that none merges with them.
fn dont_merge(child: &mut Child, range: &Range<u64>) {
    let length = range.end - range.start;
    let done = child.call(libc::SYS_madvise, &[range.start, length, libc::MADV_DONTFORK as u64]);
    assert_eq!(done, Ok(0));
}

/// Returns what is mapped, without `[vsyscall]`, which is no mapping of the process.
fn ranges(text: &[u8], task_size: u64) -> impl Iterator<Item = Range<u64>> {
    let lines = text.split(|&byte| byte == b'\n');
    lines.filter_map(range).filter(move |range| range.start < task_size)
}

fn gaps(text: &[u8], min_addr: u64, task_size: u64) -> impl Iterator<Item = Range<u64>> {
    let top = std::iter::once(task_size..task_size);
    let mut end = min_addr;
    ranges(text, task_size).chain(top).filter_map(move |range| {
        let gap = end..range.start;
        end = end.max(range.end);
        (!gap.is_empty()).then_some(gap)
    })
}
