//! Address spaces that do the same work: the running kernel's own, of this process, and the models.

use std::fs::File;
use std::io::Read;

use rustix::mm::{MapFlags as Flags, ProtFlags};
use vmaple_mm::{Layout, Limits, MapFlags, Mm, MmReader, Prot, VirtAddr, VmaStore};
use vmaple_proc::Maps;

const PAGE: u64 = 4096;

/// Mappings of a reserved range of `pages` pages, and their text.
pub trait Space {
    /// `None` if the kernel does not allow this many mappings.
    fn new(pages: u64, mappings: u64) -> Option<Self>
    where
        Self: Sized;

    /// Maps private anonymous pages, which no thread touches.
    fn map(&self, first: u64, pages: u64, writable: bool);

    fn unmap(&self, first: u64, pages: u64);

    /// Reads all of maps; returns its lines.
    fn text(&mut self, buffer: &mut [u8]) -> usize;
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}

/// The kernel's own, by system calls.
pub struct Kernel {
    base: u64,
}

impl Space for Kernel {
    fn new(pages: u64, mappings: u64) -> Option<Self> {
        let max = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
        if mappings + 1_000 > max.trim().parse().ok()? {
            return None;
        }
        let bytes = (pages * PAGE) as usize;
        let flags = Flags::PRIVATE | Flags::NORESERVE;
        // SAFETY: a new mapping, which nothing refers to.
        let base =
            unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::empty(), flags) }.ok()?;
        // SAFETY: just mapped; nothing else in this process maps without an address while the range
        // is empty.
        unsafe { rustix::mm::munmap(base, bytes) }.ok()?;
        let base = base.addr() as u64;
        Some(Self { base })
    }

    fn map(&self, first: u64, pages: u64, writable: bool) {
        let at = std::ptr::without_provenance_mut((self.base + first * PAGE) as usize);
        let prot = if writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        let flags = Flags::PRIVATE | Flags::FIXED | Flags::NORESERVE;
        // SAFETY: inside the range, which belongs to this value.
        unsafe { rustix::mm::mmap_anonymous(at, (pages * PAGE) as usize, prot, flags) }.expect("mmap");
    }

    fn unmap(&self, first: u64, pages: u64) {
        let at = std::ptr::without_provenance_mut((self.base + first * PAGE) as usize);
        // SAFETY: as above.
        unsafe { rustix::mm::munmap(at, (pages * PAGE) as usize) }.expect("munmap");
    }

    fn text(&mut self, buffer: &mut [u8]) -> usize {
        let mut file = File::open("/proc/self/maps").expect("maps");
        let mut all = 0;
        loop {
            match file.read(buffer).expect("maps") {
                0 => return all,
                read => all += lines(&buffer[..read]),
            }
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.unmap(0, 8 << 20);
    }
}

/// A model.
pub struct Model<S: VmaStore>(Mm<S>, Maps<MmReader<S>>);

impl<S: VmaStore> Model<S> {
    pub fn mm(&self) -> &Mm<S> {
        &self.0
    }
}

const BASE: u64 = 0x6000_0000_0000;

impl<S: VmaStore> Space for Model<S> {
    fn new(_: u64, _: u64) -> Option<Self> {
        let mut limits = Limits::default();
        limits.max_map_count = usize::MAX;
        let mm = Mm::new(Layout::default(), limits).ok()?;
        let maps = Maps::open(&mm).ok()?;
        Some(Self(mm, maps))
    }

    fn map(&self, first: u64, pages: u64, writable: bool) {
        let prot = if writable { Prot::READ | Prot::WRITE } else { Prot::READ };
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED | MapFlags::NORESERVE;
        self.0
            .mmap(VirtAddr(BASE + first * PAGE), pages * PAGE, prot, flags, None, 0)
            .expect("mmap");
    }

    fn unmap(&self, first: u64, pages: u64) {
        self.0
            .munmap(VirtAddr(BASE + first * PAGE), pages * PAGE)
            .expect("munmap");
    }

    fn text(&mut self, buffer: &mut [u8]) -> usize {
        self.1.rewind();
        let mut all = 0;
        loop {
            match self.1.read(buffer).expect("maps") {
                0 => return all,
                read => all += lines(&buffer[..read]),
            }
        }
    }
}
