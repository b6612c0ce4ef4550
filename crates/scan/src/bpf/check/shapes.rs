//! The child process of the self-test: it sleeps, and has mappings of many kinds.

#![allow(unsafe_code)] // the child is made by clone(2), and makes nothing but system calls

use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

use libc::{MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE};

use crate::error::{Error, Result};

const PAGE: usize = 4096;
const HUGE: usize = 2 << 20;
/// The size of the range that the mappings lie in.
const WINDOW: usize = 32 << 20;

/// The child. It ends when this is dropped, or with the thread that made it.
#[derive(Debug)]
pub(crate) struct Child {
    pid: libc::pid_t,
    /// The process that shares its pages: a copy of it, whose parent is this process.
    sharer: libc::pid_t,
    /// The addresses of its own mappings; what else it has is a copy of this process's.
    window: Range<usize>,
    /// The pipe that asks it to change its mappings, and the one by which it answers.
    ask: PipeWriter,
    told: PipeReader,
    /// Its end of the first pipe. It is kept so that asking a killed child is no SIGPIPE.
    _asked: PipeReader,
}

impl Child {
    /// Starts the child; it maps `anon_file` too.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is no memory for it.
    pub(crate) fn start(anon_file: Option<BorrowedFd<'_>>) -> Result<Self> {
        let failed = |what: &str| {
            Error::failed(
                format!("the self-test's process: {what}"),
                std::io::Error::last_os_error(),
            )
        };
        let pipe = || std::io::pipe().map_err(|e| Error::failed("the self-test's pipe", e));
        let ((told, tell), (asked, ask)) = (pipe()?, pipe()?);
        // SAFETY: a mapping at an address of the kernel's choice.
        let window = unsafe {
            libc::mmap(
                null_mut(),
                WINDOW + HUGE,
                PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if window == libc::MAP_FAILED {
            return Err(failed("mapping"));
        }
        let start = window.addr().next_multiple_of(HUGE);
        let parent = std::process::id();
        let anon_file = anon_file.map_or(-1, |file| file.as_raw_fd());
        // No signal is sent when it ends: the program that uses this crate may count its own
        // children.
        // SAFETY: without CLONE_VM this is fork(2). The child calls nothing that another thread
        // could have locked.
        let pid = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) } as libc::pid_t;
        if pid == 0 {
            // SAFETY: the range is the child's own copy of what was just mapped.
            unsafe { sleep_with_shapes(start, asked.as_raw_fd(), tell.as_raw_fd(), parent, anon_file) }
        }
        drop(tell);
        // Before an error can return.
        // SAFETY: the memory was mapped above with this length, and not used here after this.
        let unmapped = unsafe { libc::munmap(window, WINDOW + HUGE) };
        if pid < 0 || unmapped != 0 {
            return Err(failed("starting"));
        }
        let mut child = Self {
            pid,
            sharer: 0,
            window: start..start + WINDOW,
            ask,
            told,
            _asked: asked,
        };
        let mut sharer = [0; size_of::<libc::pid_t>()];
        child
            .told
            .read_exact(&mut sharer)
            .map_err(|e| Error::failed("the self-test's process ended", e))?;
        child.sharer = libc::pid_t::from_ne_bytes(sharer);
        Ok(child)
    }

    /// Makes it change its mappings twice: it maps a page, and unmaps it again.
    ///
    /// # Errors
    /// [`Error::Failed`] if it has ended.
    pub(crate) fn map_and_unmap(&mut self) -> Result<()> {
        let ask = self.ask.write_all(&[0]);
        ask.and_then(|()| self.told.read_exact(&mut [0]))
            .map_err(|e| Error::failed("the self-test's process ended", e))
    }

    /// Reads the kernel's smaps of it.
    ///
    /// # Errors
    /// [`Error::Failed`] if it has ended.
    pub(crate) fn smaps(&self) -> Result<String> {
        let path = format!("/proc/{}/smaps", self.pid);
        let text = fs::read(&path).map_err(|e| Error::failed(format!("reading {path}"), e))?;
        if text.is_empty() {
            return Err(Error::failed(format!("reading {path}"), "the process has ended"));
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.cast_unsigned()
    }

    /// Returns whether it made a mapping itself. If not, the mapping is a copy of this process's.
    pub(crate) fn has_made(&self, start: u64) -> bool {
        usize::try_from(start).is_ok_and(|start| self.window.contains(&start))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        for pid in [self.pid, self.sharer].into_iter().filter(|&pid| pid > 0) {
            // SAFETY: a child that has not been waited for keeps its number.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            // SAFETY: a null pointer, as the status is not wanted. `__WALL`, since its end is not
            // signalled.
            unsafe { libc::waitpid(pid, null_mut(), libc::__WALL) };
        }
    }
}

/// Makes the mappings at `start` and a process that shares their pages, and sleeps.
///
/// It tells the number of that process, and sleeps until it is asked or killed.
///
/// # Safety
/// The process has one thread, and its memory at `start..start + WINDOW` is not in use.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "system calls, one after the other")]
unsafe fn sleep_with_shapes(
    start: usize,
    asked: libc::c_int,
    tell: libc::c_int,
    parent: u32,
    anon_file: libc::c_int,
) -> ! {
    // SAFETY: makes system calls alone, on memory that the caller vouches for.
    unsafe {
        let end_with_parent = || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // It may have ended before. In a new PID namespace it has no number.
            let now = libc::getppid().cast_unsigned();
            if now != parent && now != 0 {
                libc::_exit(0);
            }
        };
        end_with_parent();
        let written = map_shapes(start, anon_file);
        // The copies of a program with rights of its own (setcap) are hidden even from the program,
        // and a process that has such rights is hidden from one that has not.
        libc::syscall(libc::SYS_capset, [0x2008_0522_u32, 0].as_ptr(), [0_u32; 6].as_ptr());
        libc::prctl(libc::PR_SET_DUMPABLE, 1);
        // A process that waits for the end of one of this process's pipes must not wait for the
        // child.
        let (low, high) = (asked.min(tell), asked.max(tell));
        for (first, last) in [(0, low - 1), (low + 1, high - 1), (high + 1, libc::c_int::MAX)] {
            if first <= last {
                libc::syscall(libc::SYS_close_range, first, last, 0);
            }
        }
        let sharer = libc::syscall(libc::SYS_clone, libc::CLONE_PARENT, 0, 0, 0, 0) as libc::pid_t;
        if sharer == 0 {
            // The end of the pipe is the end of the child.
            libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
            end_with_parent();
        } else {
            // Some of what was shared is the child's own again.
            for page in 0..5 {
                written.add(page * PAGE).write_volatile(2);
            }
            libc::write(tell, (&raw const sharer).cast(), size_of::<libc::pid_t>());
            let mut word = 0_u8;
            while libc::read(asked, (&raw mut word).cast(), 1) == 1 {
                let flags = MAP_PRIVATE | MAP_ANONYMOUS;
                let page = libc::mmap(null_mut(), PAGE, PROT_NONE, flags, -1, 0);
                libc::munmap(page, PAGE);
                libc::write(tell, (&raw const word).cast(), 1);
            }
        }
        loop {
            libc::pause();
        }
    }
}

/// Makes the mappings; returns the address of five pages that are written.
///
/// # Safety
/// As [`sleep_with_shapes`].
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "system calls on memory of our own, one after the other"
)]
unsafe fn map_shapes(start: usize, anon_file: libc::c_int) -> *mut u8 {
    const PRIVATE: libc::c_int = MAP_PRIVATE | MAP_ANONYMOUS;
    const RW: libc::c_int = PROT_READ | PROT_WRITE;
    let mut next = start;
    // SAFETY: the caller vouches for the memory; the file descriptors are the child's own.
    unsafe {
        let mut map = |pages: usize, prot, flags, fd, page: usize| {
            let at = std::ptr::with_exposed_provenance_mut::<libc::c_void>(next);
            next += (pages + 1) * PAGE;
            libc::mmap(
                at,
                pages * PAGE,
                prot,
                flags | MAP_FIXED,
                fd,
                (page * PAGE) as libc::off_t,
            )
            .cast::<u8>()
        };
        let touch = |at: *mut u8, pages: Range<usize>| {
            for page in pages {
                at.add(page * PAGE).write_volatile(1);
            }
        };
        let read = |at: *mut u8, pages: usize| {
            for page in 0..pages {
                at.add(page * PAGE).read_volatile();
            }
        };
        // Written, read alone, and neither; with pages that may not be accessed any more.
        let written = map(20, RW, PRIVATE, -1, 0);
        touch(written, 3..17);
        read(map(20, PROT_READ, PRIVATE, -1, 0), 20);
        map(3, PROT_NONE, PRIVATE, -1, 0);
        let hidden = map(10, RW, PRIVATE, -1, 0);
        touch(hidden, 0..10);
        libc::mprotect(hidden.cast(), 5 * PAGE, PROT_NONE);
        // Freed lazily, locked, advised.
        let lazy = map(10, RW, PRIVATE, -1, 0);
        touch(lazy, 0..10);
        libc::madvise(lazy.cast(), 4 * PAGE, libc::MADV_FREE);
        let locked = map(4, RW, PRIVATE, -1, 0);
        touch(locked, 0..4);
        libc::mlock(locked.cast(), 4 * PAGE);
        libc::madvise(map(3, RW, PRIVATE, -1, 0).cast(), 3 * PAGE, libc::MADV_DONTDUMP);
        // With a name, where the kernel has such.
        let named = map(3, RW, PRIVATE, -1, 0);
        touch(named, 0..2);
        libc::prctl(0x5356_4d41, 0, named, 3 * PAGE, c"vmaple".as_ptr());
        // Shared, with a file and without; a private one with pages of its own.
        touch(map(10, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 2..8);
        let file = libc::memfd_create(c"vmaple self-test".as_ptr(), 0);
        libc::ftruncate(file, 20 * PAGE as libc::off_t);
        touch(map(20, RW, MAP_SHARED, file, 0), 5..15);
        let own = map(8, RW, MAP_PRIVATE, file, 8);
        read(own, 8);
        touch(own, 0..3);
        // Paths over mount points, where there are such.
        let zero = libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY);
        map(2, PROT_READ, MAP_PRIVATE, zero, 0);
        let unlinked = libc::open(c"/dev/shm".as_ptr(), libc::O_TMPFILE | libc::O_RDWR, 0o600);
        libc::ftruncate(unlinked, 2 * PAGE as libc::off_t);
        map(2, RW, MAP_SHARED, unlinked, 0);
        map(1, PROT_READ, MAP_SHARED, anon_file, 0);
        let (exe, last) = last_page_of_program();
        read(map(1, PROT_READ | PROT_EXEC, MAP_PRIVATE, exe, last), 1);
        // Huge pages where they are on: whole, split, and only read.
        next = next.next_multiple_of(HUGE);
        for kind in 0..3 {
            let at = std::ptr::with_exposed_provenance_mut::<libc::c_void>(next);
            next += 2 * HUGE;
            let huge = libc::mmap(at, HUGE, RW, PRIVATE | MAP_FIXED, -1, 0);
            libc::madvise(huge, HUGE, libc::MADV_HUGEPAGE);
            if kind == 2 {
                read(huge.cast(), 1);
            } else {
                touch(huge.cast(), 0..1);
            }
            if kind == 1 {
                libc::munmap(huge.cast::<u8>().add(100 * PAGE).cast(), PAGE);
            }
        }
        // A heap, and what touches it.
        libc::sbrk(3 * PAGE as libc::intptr_t);
        let after = libc::sbrk(0).map_addr(|addr| addr.next_multiple_of(PAGE));
        let flags = PRIVATE | libc::MAP_FIXED_NOREPLACE;
        libc::mmap(after, PAGE, PROT_NONE, flags, -1, 0);
        written.add(3 * PAGE)
    }
}

/// Opens this program's file; returns it with the number of its last page.
///
/// Sections for debuggers stand there, which other processes that run the program do not map.
fn last_page_of_program() -> (libc::c_int, usize) {
    // SAFETY: the path outlives the call.
    let exe = unsafe { libc::open(c"/proc/self/exe".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    // SAFETY: asks for the length of a file of our own.
    let bytes = unsafe { libc::lseek(exe, 0, libc::SEEK_END) };
    (exe, usize::try_from(bytes).unwrap_or(0).saturating_sub(1) / PAGE)
}

/// Maps that page, reads it, and unmaps it after a while.
///
/// The while is as long as a look at a process may take; it returns after as long again.
#[cfg(test)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "system calls, one after the other")]
pub(crate) fn map_last_page_of_program() {
    let (exe, last) = last_page_of_program();
    let offset = (last * PAGE) as libc::off_t;
    // SAFETY: the mapping is made here, and not used after this.
    unsafe {
        let page = libc::mmap(null_mut(), PAGE, PROT_READ, MAP_PRIVATE, exe, offset);
        page.cast::<u8>().read_volatile();
        libc::usleep(300);
        libc::munmap(page, PAGE);
        libc::close(exe);
        libc::usleep(300);
    }
}
