//! A call: made in the kernel, made in the model, and written down.

use std::ffi::CStr;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;

use vmaple_mm::{Advice, Error, Fault, FaultCause, Kref, MapFlags, MmThread, Prot, VirtAddr, VmFlags, VmaStore};

use super::access::{Access, hash};
use super::model::Mapping;
use super::refused::Refused;
use super::window::{Free, PAGE};

/// A call to an address space, or an access to its memory.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Mmap {
        addr: u64,
        len: u64,
        prot: u32,
        flags: u32,
        file: Option<usize>,
        offset: u64,
    },
    Munmap {
        addr: u64,
        len: u64,
    },
    Mprotect {
        addr: u64,
        len: u64,
        prot: u32,
    },
    Brk {
        addr: u64,
    },
    Name {
        addr: u64,
        len: u64,
        name: Option<&'static CStr>,
    },
    Madvise {
        addr: u64,
        len: u64,
        advice: i32,
    },
    Read {
        addr: u64,
        len: u64,
    },
    Write {
        addr: u64,
        len: u64,
        byte: u8,
    },
    CompareExchange {
        addr: u64,
        current: u64,
        new: u64,
    },
    /// Of an instruction.
    Fetch {
        addr: u64,
    },
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Errno(error.errno.code())
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let code = match fault.cause {
            FaultCause::MapErr => SEGV_MAPERR,
            FaultCause::AccErr => SEGV_ACCERR,
            cause => panic!("{cause}"),
        };
        let addr = fault.addr.0;
        Self::Segv { code, addr }
    }
}

/// `MAP_TYPE`.
const TYPE: u32 = 0xf;
/// The flags that ask for low memory.
const LOW: u32 = MapFlags::MAP_32BIT
    .union(MapFlags::FIXED)
    .union(MapFlags::FIXED_NOREPLACE)
    .bits();

const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;

/// What mappings are made of: two open files of one object, and one of another.
pub struct Files([File; 3]);

impl Files {
    pub fn new() -> Self {
        let memfd = |name: &CStr| {
            // SAFETY: the name ends with a zero.
            let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
            assert!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
            // SAFETY: the file is new, and no other code has it.
            unsafe { File::from_raw_fd(fd) }
        };
        let one = memfd(c"one");
        let again = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/self/fd/{}", one.as_raw_fd()));
        Self([one, again.unwrap(), memfd(c"other")])
    }

    /// Returns the same for a model: as many files, with the same names and numbers.
    pub fn of_model(&self) -> Vec<Kref<vmaple_mm::File>> {
        let file = |file: &File| {
            let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            let metadata = file.metadata().unwrap();
            let dev = (libc::major(metadata.dev()), libc::minor(metadata.dev()));
            vmaple_mm::File::new(dev, metadata.ino(), path.into_os_string().into_encoded_bytes()).unwrap()
        };
        self.0.iter().map(file).collect()
    }
}

impl Op {
    pub fn on_kernel(&self, free: &mut Free, files: &Files) -> Result<u64, Refused> {
        let child = &mut free.child;
        let done = match *self {
            Self::Mmap {
                addr,
                len,
                prot,
                flags,
                file,
                offset,
            } => {
                let fd = file.map_or(u64::MAX, |file| files.0[file].as_raw_fd() as u64);
                let done = child.call(
                    libc::SYS_mmap,
                    &[addr, len, u64::from(prot), u64::from(flags), fd, offset],
                );
                // Only addresses below vm.mmap_min_addr had room.
                let is_fixed = flags & (MapFlags::FIXED | MapFlags::FIXED_NOREPLACE).bits() != 0;
                done.map_err(|errno| match errno {
                    libc::EPERM if free.is_low_free && !is_fixed => libc::ENOMEM,
                    errno => errno,
                })
            }
            Self::Munmap { addr, len } => child.call(libc::SYS_munmap, &[addr, len]),
            Self::Mprotect { addr, len, prot } => child.call(libc::SYS_mprotect, &[addr, len, u64::from(prot)]),
            Self::Brk { addr } => child.call(libc::SYS_brk, &[addr]),
            Self::Name { addr, len, name } => {
                let (set, what) = (libc::PR_SET_VMA as u64, libc::PR_SET_VMA_ANON_NAME as u64);
                let name = name.map_or(0, |name| name.as_ptr() as u64);
                child.call(libc::SYS_prctl, &[set, what, addr, len, name])
            }
            Self::Madvise { addr, len, advice } => child.call(libc::SYS_madvise, &[addr, len, advice as u64]),
            Self::Read { addr, len } => return child.access(Access::Load, addr, len, 0),
            Self::Write { addr, len, byte } => return child.access(Access::Store, addr, len, u64::from(byte)),
            Self::CompareExchange { addr, current, new } => {
                return child.access(Access::CompareExchange, addr, current, new);
            }
            Self::Fetch { addr } => return child.access(Access::Fetch, addr, 0, 0),
        };
        done.map_err(Refused::Errno)
    }

    pub fn on_model<S: VmaStore>(&self, thread: &MmThread<S>, files: &[Kref<vmaple_mm::File>]) -> Result<u64, Refused> {
        let prot = Prot::from_bits_retain;
        let mm = thread.mm();
        Ok(match *self {
            Self::Mmap {
                addr,
                len,
                prot: bits,
                flags,
                file,
                offset,
            } => {
                let (flags, file) = (MapFlags::from_bits_retain(flags), file.map(|file| &files[file]));
                thread.mmap(VirtAddr(addr), len, prot(bits), flags, file, offset)?.0
            }
            Self::Munmap { addr, len } => mm.munmap(VirtAddr(addr), len).map(|()| 0)?,
            Self::Mprotect { addr, len, prot: bits } => mm.mprotect(VirtAddr(addr), len, prot(bits)).map(|()| 0)?,
            Self::Brk { addr } => mm.brk(VirtAddr(addr)).0,
            Self::Name { addr, len, name } => mm
                .set_anon_vma_name(VirtAddr(addr), len, name.map(CStr::to_bytes))
                .map(|()| 0)?,
            Self::Madvise { addr, len, advice } => {
                let advice = Advice::try_from(advice)?;
                thread.madvise(VirtAddr(addr), len, advice).map(|()| 0)?
            }
            Self::Read { addr, len } => {
                let mut bytes = vec![0; len as usize];
                thread.read(VirtAddr(addr), &mut bytes)?;
                hash(&bytes)
            }
            Self::Write { addr, len, byte } => {
                let bytes = vec![byte; len as usize];
                thread.write(VirtAddr(addr), &bytes).map(|()| 0)?
            }
            Self::CompareExchange { addr, current, new } => {
                let (Ok(old) | Err(old)) = thread.compare_exchange(VirtAddr(addr), current, new)?;
                old
            }
            Self::Fetch { addr } => thread.fault(VirtAddr(addr), vmaple_mm::Access::Exec).map(|()| 0)?,
        })
    }

    /// Returns the error that a result stands for. brk(2) has no errors; its result becomes that of
    /// brk(3).
    pub fn refused(&self, result: Result<u64, Refused>) -> Option<Refused> {
        match (self, result) {
            (Self::Brk { addr }, Ok(brk)) => (brk != *addr).then_some(Refused::Errno(libc::ENOMEM)),
            (_, result) => result.err(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Mmap { flags, .. } if flags & TYPE == MapFlags::DROPPABLE.bits() => "mmap DROPPABLE",
            Self::Mmap { flags, .. } if flags & LOW == MapFlags::MAP_32BIT.bits() => "mmap 32BIT",
            Self::Mmap { .. } => "mmap",
            Self::Munmap { .. } => "munmap",
            Self::Mprotect { .. } => "mprotect",
            Self::Brk { .. } => "brk",
            Self::Name { .. } => "set_anon_vma_name",
            Self::Madvise { advice, .. } => match *advice {
                libc::MADV_DONTNEED => "madvise DONTNEED",
                libc::MADV_POPULATE_READ => "madvise POPULATE_READ",
                libc::MADV_POPULATE_WRITE => "madvise POPULATE_WRITE",
                _ => "madvise of no advice",
            },
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::CompareExchange { .. } => "compare_exchange",
            Self::Fetch { .. } => "fetch",
        }
    }

    /// Returns the addresses of an access.
    fn accessed(&self) -> Option<Range<u64>> {
        match *self {
            Self::Read { addr, len } | Self::Write { addr, len, .. } => Some(addr..addr.saturating_add(len)),
            Self::CompareExchange { addr, .. } => Some(addr..addr.saturating_add(8)),
            Self::Fetch { addr } => Some(addr..addr.saturating_add(2)),
            _ => None,
        }
    }

    /// Returns the addresses where it matters whether the model supports what is mapped.
    pub fn touched(&self) -> Option<Range<u64>> {
        match *self {
            Self::Madvise {
                advice: libc::MADV_DONTNEED,
                ..
            } => None,
            Self::Madvise { addr, len, .. } => Some(addr..addr.saturating_add(len)),
            _ => self.accessed(),
        }
    }

    /// Returns whether the model supports what is mapped there: it has no pages of files, and no
    /// stacks that grow.
    pub fn is_built(&self, touched: &Range<u64>, mappings: &[Mapping]) -> bool {
        let is_access = self.accessed().is_some();
        let mut end = touched.start;
        mappings.iter().all(|(range, flags, is_file)| {
            let is_hole = end < range.start && end < touched.end;
            let is_met = range.start < touched.end;
            let is_accessible = flags.intersects(VmFlags::READ | VmFlags::WRITE | VmFlags::EXEC);
            end = range.end;
            !(is_access && is_hole && flags.contains(VmFlags::GROWSDOWN) || is_met && *is_file && is_accessible)
        })
    }

    /// Returns whether it leaves everything outside the window alone: it is within, changes nothing
    /// that is mapped, or is sure to fail.
    pub fn is_harmless(&self, free: &Free, window: &Range<u64>) -> bool {
        let (addr, len) = match *self {
            Self::Brk { .. } => return true,
            // It ends at the inaccessible page on either side of the window, if not before.
            Self::Read { addr, .. }
            | Self::Write { addr, .. }
            | Self::CompareExchange { addr, .. }
            | Self::Fetch { addr } => {
                let reserved = window.start - PAGE..window.end + PAGE;
                let above = free.task_size..free.task_size + PAGE;
                let last = u64::MAX - 2 * PAGE;
                return reserved.contains(&addr) || addr < PAGE || above.contains(&addr) || addr > last;
            }
            Self::Mmap { flags, .. } if flags & MapFlags::FIXED_NOREPLACE.bits() != 0 => return true,
            Self::Mmap { flags, .. } if flags & MapFlags::FIXED.bits() == 0 => return true,
            Self::Mmap { addr, len, .. }
            | Self::Munmap { addr, len }
            | Self::Mprotect { addr, len, .. }
            | Self::Name { addr, len, .. }
            | Self::Madvise { addr, len, .. } => (addr, len),
        };
        let end = len.checked_next_multiple_of(PAGE).and_then(|len| addr.checked_add(len));
        let Some(end) = end else { return true };
        let above = end > free.task_size && matches!(self, Self::Mmap { .. } | Self::Munmap { .. });
        let below = addr < free.min_addr && matches!(self, Self::Mmap { .. });
        // Nothing is above the last window.
        let within = window.start <= addr && (end <= window.end || window.end == free.task_size);
        !addr.is_multiple_of(PAGE) || len == 0 || addr >= free.task_size || above || below || within
    }

    /// Writes it as a call in Rust, with addresses relative to the window where they are close to
    /// it.
    pub fn display(&self, window: &Range<u64>) -> String {
        let near = window.start - 16 * PAGE..window.end + 16 * PAGE;
        let place = |addr: u64| {
            let relative = addr.wrapping_sub(window.start).cast_signed();
            match near.contains(&addr) {
                true if relative < 0 => format!("w - {:#x}", -relative),
                true => format!("w + {relative:#x}"),
                false => format!("{addr:#x}"),
            }
        };
        match *self {
            Self::Mmap {
                addr,
                len,
                prot,
                flags,
                file,
                offset,
            } => {
                let (prot, flags) = (Prot::from_bits_retain(prot), MapFlags::from_bits_retain(flags));
                format!(
                    "mmap({}, {len:#x}, {prot:?}, {flags:?}, {file:?}, {offset:#x})",
                    place(addr)
                )
            }
            Self::Munmap { addr, len } => format!("munmap({}, {len:#x})", place(addr)),
            Self::Mprotect { addr, len, prot } => {
                format!(
                    "mprotect({}, {len:#x}, {:?})",
                    place(addr),
                    Prot::from_bits_retain(prot)
                )
            }
            Self::Brk { addr } => format!("brk({})", place(addr)),
            Self::Name { addr, len, name } => format!("set_anon_vma_name({}, {len:#x}, {name:?})", place(addr)),
            Self::Madvise { addr, len, advice } => format!("madvise({}, {len:#x}, {advice:?})", place(addr)),
            Self::Read { addr, len } => format!("read({}, {len:#x} bytes)", place(addr)),
            Self::Write { addr, len, byte } => format!("write({}, {len:#x} bytes, all {byte:#x})", place(addr)),
            Self::CompareExchange { addr, current, new } => {
                format!("compare_exchange({}, {current:#x}, {new:#x})", place(addr))
            }
            Self::Fetch { addr } => format!("fetch({})", place(addr)),
        }
    }
}
