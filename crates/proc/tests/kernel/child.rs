//! A process that does the system calls it is told to, and nothing else.

use std::ffi::c_long;
use std::fs::File;
use std::io::{Error, Read, Seek, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The number of a system call and its arguments.
type Request = [u64; 7];

/// A forked process that waits for system calls to do. Killed and reaped when this is dropped.
pub(crate) struct Child {
    pid: libc::pid_t,
    socket: UnixStream,
    /// The number of the child's end of it.
    theirs: RawFd,
    maps: File,
    statm: File,
}

impl Child {
    pub(crate) fn fork() -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        // A child that something unforeseen has stopped fails the test.
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let parent = std::process::id();
        // SAFETY: the child runs `serve` only, which allocates nothing and takes no lock that another thread could hold.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            serve(theirs.as_raw_fd(), parent);
        }
        assert!(pid > 0, "fork: {}", Error::last_os_error());
        let open = |name| File::open(format!("/proc/{pid}/{name}")).unwrap();
        Self {
            pid,
            socket,
            theirs: theirs.as_raw_fd(),
            maps: open("maps"),
            statm: open("statm"),
        }
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Has the child do a system call. Its result, or the number of the error.
    pub(crate) fn call(&mut self, number: c_long, arguments: &[u64]) -> Result<u64, i32> {
        self.request(number, arguments);
        self.result()
    }

    /// Puts words into the child's copy of memory that it does not use.
    pub(crate) fn store(&mut self, addr: u64, words: &[u64]) {
        let length = size_of_val(words) as u64;
        self.request(libc::SYS_read, &[self.theirs as u64, addr, length]);
        self.send(words);
        assert_eq!(self.result(), Ok(length));
    }

    fn request(&mut self, number: c_long, arguments: &[u64]) {
        let mut request: Request = [0; 7];
        request[0] = number as u64;
        request[1..=arguments.len()].copy_from_slice(arguments);
        self.send(&request);
    }

    fn send(&mut self, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.socket.write_all(&bytes).expect("the child is gone");
    }

    fn result(&mut self) -> Result<u64, i32> {
        let mut reply = [0; 8];
        self.socket.read_exact(&mut reply).expect("the child is gone");
        let value = i64::from_ne_bytes(reply);
        // How the kernel itself tells errors from results.
        if (-4095..0).contains(&value) {
            Err(-value as i32)
        } else {
            Ok(value as u64)
        }
    }

    /// As `setrlimit` in the child.
    pub(crate) fn limit(&self, resource: libc::__rlimit_resource_t, bytes: u64) {
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: the limit is read during the call, and the old one is not asked for.
        let done = unsafe { libc::prlimit(self.pid, resource, &raw const limit, std::ptr::null_mut()) };
        assert_eq!(done, 0, "prlimit: {}", Error::last_os_error());
    }

    /// The text of the child's maps, up to at least the first mapping that begins at `until` or above.
    pub(crate) fn maps(&mut self, until: u64, text: &mut Vec<u8>) {
        text.clear();
        self.maps.rewind().unwrap();
        loop {
            let begin = text.len();
            text.resize(begin + 8192, 0);
            let read = self.maps.read(&mut text[begin..]).unwrap();
            text.truncate(begin + read);
            let last = text
                .strip_suffix(b"\n")
                .and_then(|text| text.rsplit(|&byte| byte == b'\n').next());
            if read == 0 || last.is_some_and(|line| range(line).start >= until) {
                return;
            }
        }
    }

    /// Pages of address space.
    pub(crate) fn total_vm(&mut self) -> u64 {
        let mut text = [0; 256];
        self.statm.rewind().unwrap();
        let length = self.statm.read(&mut text).unwrap();
        let text = std::str::from_utf8(&text[..length]).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }

    /// Bytes of private writable memory that is no stack.
    pub(crate) fn data_vm(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
        line.trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: a child of this process that nobody else waits for: the number is its own until it is reaped.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: as above; no status is asked for.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// The addresses of a line of maps.
pub(crate) fn range(line: &[u8]) -> Range<u64> {
    let addresses = line.split(|&byte| byte == b' ').next().unwrap();
    let (start, end) = std::str::from_utf8(addresses).unwrap().split_once('-').unwrap();
    let hex = |text| u64::from_str_radix(text, 16).unwrap();
    hex(start)..hex(end)
}

/// What the child does until it is killed: no allocation, no lock, no panic.
fn serve(socket: RawFd, parent: u32) -> ! {
    // SAFETY: no argument is a pointer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: has no arguments.
    let is_orphan = unsafe { libc::getppid() } as u32 != parent;
    let mut request: Request = [0; 7];
    loop {
        // SAFETY: the buffer is as long as is said, and any bytes are a value of it.
        let read = unsafe { libc::read(socket, request.as_mut_ptr().cast(), size_of::<Request>()) };
        // The death of a parent that was gone before is not signalled.
        if is_orphan || read != size_of::<Request>() as isize {
            break;
        }
        let [number, a, b, c, d, e, f] = request;
        // SAFETY: the parent asks for calls that change addresses which nothing here uses.
        let result = unsafe { libc::syscall(number as c_long, a, b, c, d, e, f) };
        let reply = match result {
            -1 => -c_long::from(Error::last_os_error().raw_os_error().unwrap_or(0)),
            result => result,
        };
        // SAFETY: the buffer is as long as is said.
        unsafe { libc::write(socket, (&raw const reply).cast(), size_of_val(&reply)) };
    }
    // SAFETY: ends the process without what the parent has registered for its own end.
    unsafe { libc::_exit(1) }
}
