//! Asks about addresses in the model and in the running kernel, with the same mappings in this
//! process.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use vmaple_mm::{Errno, File, Kref, Layout, Limits, MapFlags, Mm, PAGE_SIZE, Prot, VirtAddr};
use vmaple_proc::{Maps, QueryFlags};

/// Where the queried mappings are. Without an address the kernel places none so low (from the top
/// down, or from a third of the address space up), so that other threads put nothing into the
/// holes.
const WINDOW: u64 = 0x2000_0000_0000;
const PAGES: u64 = 64;

/// `struct procmap_query`.
#[repr(C)]
#[derive(Default)]
struct ProcmapQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

const PROCMAP_QUERY: libc::Ioctl = libc::_IOWR::<ProcmapQuery>(b'f' as u32, 17);

/// The compared part of an answer: the range, its flags and its offset; or the error.
type Answer = Result<(u64, u64, QueryFlags, u64), i32>;

fn ask_kernel(maps: &std::fs::File, addr: u64, flags: QueryFlags) -> Answer {
    let mut query = ProcmapQuery {
        size: size_of::<ProcmapQuery>() as u64,
        query_flags: flags.bits(),
        query_addr: addr,
        ..ProcmapQuery::default()
    };
    // SAFETY: an ioctl on an open file, which writes to a structure of the size that it names.
    match unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) } {
        0 => Ok((
            query.vma_start,
            query.vma_end,
            QueryFlags::from_bits_retain(query.vma_flags),
            query.vma_offset,
        )),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
    }
}

fn ask(maps: &mut Maps, addr: u64, flags: QueryFlags) -> Answer {
    let record = maps.query(VirtAddr(addr), flags).map_err(|error| error.errno.code())?;
    let mut flags = QueryFlags::empty();
    flags.set(QueryFlags::READABLE, record.perms.read);
    flags.set(QueryFlags::WRITABLE, record.perms.write);
    flags.set(QueryFlags::EXECUTABLE, record.perms.execute);
    flags.set(QueryFlags::SHARED, record.perms.shared);
    Ok((record.start, record.end, flags, record.offset))
}

/// The window of this process's address space, and an address space with the same mappings.
struct Twins {
    memfd: OwnedFd,
    mm: Mm,
    file: Kref<File>,
}

impl Twins {
    fn new() -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let (at, len) = (WINDOW as *mut libc::c_void, (PAGES * PAGE_SIZE) as usize);
        // SAFETY: it replaces nothing.
        let window = unsafe { libc::mmap(at, len, libc::PROT_NONE, flags, -1, 0) };
        assert_eq!(window, at, "something is mapped where the test needs room");
        // SAFETY: the name is a string.
        let memfd = unsafe { libc::memfd_create(c"query".as_ptr(), 0) };
        assert!(memfd >= 0);
        let twins = Self {
            // SAFETY: just opened, and no other code has it.
            memfd: unsafe { OwnedFd::from_raw_fd(memfd) },
            mm: Mm::new(Layout::default(), Limits::default()).unwrap(),
            file: File::new((0, 1), 1, b"/memfd:query (deleted)".as_slice()).unwrap(),
        };
        // Nothing but a wall at the end, which passes all filters.
        twins.map(0, PAGES, Prot::empty(), MapFlags::PRIVATE | MapFlags::ANONYMOUS);
        twins.unmap(0, PAGES - 1);
        twins.map(PAGES - 1, 1, Prot::READ | Prot::WRITE | Prot::EXEC, MapFlags::SHARED);
        twins
    }

    fn map(&self, page: u64, pages: u64, prot: Prot, flags: MapFlags) {
        let (addr, len, flags) = (WINDOW + page * PAGE_SIZE, pages * PAGE_SIZE, flags | MapFlags::FIXED);
        let is_anonymous = flags.contains(MapFlags::ANONYMOUS);
        let (fd, file) = if is_anonymous {
            (-1, None)
        } else {
            (self.memfd.as_raw_fd(), Some(&self.file))
        };
        let offset = page * PAGE_SIZE;
        let at = addr as *mut libc::c_void;
        let (prot_bits, flag_bits) = (prot.bits() as i32, flags.bits() as i32);
        // SAFETY: within the window, where no other code maps anything.
        let mapped = unsafe { libc::mmap(at, len as usize, prot_bits, flag_bits, fd, offset as i64) };
        assert_eq!(mapped as u64, addr);
        self.mm.mmap(VirtAddr(addr), len, prot, flags, file, offset).unwrap();
    }

    fn unmap(&self, page: u64, pages: u64) {
        let (addr, len) = (WINDOW + page * PAGE_SIZE, pages * PAGE_SIZE);
        // SAFETY: within the window, where no other code maps anything, and nothing uses what is
        // there.
        assert_eq!(unsafe { libc::munmap(addr as *mut libc::c_void, len as usize) }, 0);
        self.mm.munmap(VirtAddr(addr), len).unwrap();
    }
}

#[test]
fn questions_are_answered_as_by_the_running_kernel() {
    let kernel = std::fs::File::open("/proc/self/maps").unwrap();
    if ask_kernel(&kernel, 0, QueryFlags::COVERING_OR_NEXT_VMA) == Err(libc::ENOTTY) {
        println!("skipped: this kernel has no PROCMAP_QUERY, which came with Linux 6.11");
        return;
    }
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let twins = Twins::new();
    let mut maps = Maps::open(&twins.mm).unwrap();
    let mut found = 0;
    for _ in 0..300 {
        let page = random.u64(..PAGES - 1);
        let pages = random.u64(1..=(PAGES - 1 - page).min(6));
        let flags = [MapFlags::PRIVATE, MapFlags::SHARED][random.usize(..2)]
            | [MapFlags::empty(), MapFlags::ANONYMOUS][random.usize(..2)];
        match random.u32(..4) {
            0 => twins.unmap(page, pages),
            _ => twins.map(page, pages, Prot::from_bits_retain(random.u32(..8)), flags),
        }
        for _ in 0..50 {
            let addr = WINDOW + random.u64(..PAGES * PAGE_SIZE);
            let flags = QueryFlags::from_bits_retain(random.u64(..0x40));
            let answer = ask(&mut maps, addr, flags);
            assert_eq!(answer, ask_kernel(&kernel, addr, flags), "{addr:x} {flags:?}");
            found += u32::from(answer.is_ok());
        }
    }
    assert!(found > 1_000);
    for unknown in [0x40, 1 << 63] {
        let flags = QueryFlags::from_bits_retain(unknown);
        assert_eq!(ask(&mut maps, 0, flags), Err(libc::EINVAL));
        assert_eq!(ask_kernel(&kernel, 0, flags), Err(libc::EINVAL));
    }
    // SAFETY: as in `unmap`.
    unsafe { libc::munmap(WINDOW as *mut libc::c_void, (PAGES * PAGE_SIZE) as usize) };
}

#[test]
fn unknown_flags_are_told_before_the_end_of_the_address_space() {
    let mm: Mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    let mut maps = Maps::open(&mm).unwrap();
    drop(mm);
    let unknown = QueryFlags::from_bits_retain(0x80);
    assert_eq!(maps.query(VirtAddr(0), unknown).unwrap_err().errno, Errno::EINVAL);
    assert_eq!(
        maps.query(VirtAddr(0), QueryFlags::empty()).unwrap_err().errno,
        Errno::ESRCH
    );
}

#[test]
fn questions_leave_the_place_of_reads_where_it_is() {
    let mm: Mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    for i in 1..=3 {
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
        mm.mmap(VirtAddr(i << 20), PAGE_SIZE, Prot::READ, flags, None, 0)
            .unwrap();
    }
    let mut maps = Maps::open(&mm).unwrap();
    let mut text = [0; 200];
    assert_eq!(maps.read(&mut text[..10]).unwrap(), 10);
    assert_eq!(
        maps.query(VirtAddr(3 << 20), QueryFlags::empty()).unwrap().start,
        3 << 20
    );
    let length = maps.read(&mut text[10..]).unwrap() + 10;
    assert_eq!(text[..length].iter().filter(|&&byte| byte == b'\n').count(), 3);
}
