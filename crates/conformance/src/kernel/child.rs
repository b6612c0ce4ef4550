//! A process that only makes the system calls and accesses that it is told to make.

use std::ffi::c_long;
use std::io::{Error, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::access::{self, Access};
use super::proc_files::ProcFiles;
use super::refused::Refused;

/// The number of a system call and its arguments; an access has [`ACCESS`] added to its own number.
type Request = [u64; 7];
const ACCESS: u64 = 1 << 32;

/// What came of it, as below, and two values.
type Reply = [u64; 3];
const DONE: u64 = 0;
const ERRNO: u64 = 1;
const SEGV: u64 = 2;

/// A forked process that waits for requests. Dropping this kills and reaps it.
pub struct Child {
    pid: libc::pid_t,
    socket: UnixStream,
    /// The descriptor's number in the child.
    theirs: RawFd,
    pub files: ProcFiles,
}

impl Child {
    pub fn fork() -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        // A child that something unforeseen has stopped fails the test.
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let parent = std::process::id();
        // SAFETY: the child runs `serve` only, which allocates nothing and takes no lock that
        // another thread could hold.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            serve(theirs.as_raw_fd(), parent);
        }
        assert!(pid > 0, "fork: {}", Error::last_os_error());
        Self {
            pid,
            socket,
            theirs: theirs.as_raw_fd(),
            files: ProcFiles::open(pid),
        }
    }

    pub fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Makes the child do a system call. Returns its result, or the error's number.
    pub fn call(&mut self, number: c_long, arguments: &[u64]) -> Result<u64, i32> {
        self.request(number as u64, arguments);
        self.result().map_err(|refused| match refused {
            Refused::Errno(errno) => errno,
            Refused::Segv { .. } => panic!("a system call: {refused}"),
        })
    }

    /// Makes the child access `count` bytes of its memory. For `Access::CompareExchange`, `count`
    /// is the expected word.
    pub fn access(&mut self, access: Access, addr: u64, count: u64, value: u64) -> Result<u64, Refused> {
        self.request(ACCESS + access as u64, &[addr, count, value]);
        self.result()
    }

    /// Writes words into the child's copy of memory that it does not use.
    pub fn store(&mut self, addr: u64, words: &[u64]) {
        let length = size_of_val(words) as u64;
        self.request(libc::SYS_read as u64, &[self.theirs as u64, addr, length]);
        self.send(words);
        assert_eq!(self.result(), Ok(length));
    }

    fn request(&mut self, number: u64, arguments: &[u64]) {
        let mut request: Request = [0; 7];
        request[0] = number;
        request[1..=arguments.len()].copy_from_slice(arguments);
        self.send(&request);
    }

    fn send(&mut self, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.socket.write_all(&bytes).expect("the child is gone");
    }

    fn result(&mut self) -> Result<u64, Refused> {
        let mut reply = [0; size_of::<Reply>()];
        self.socket.read_exact(&mut reply).expect("the child is gone");
        let word = |at: usize| u64::from_ne_bytes(*reply[8 * at..].first_chunk().unwrap());
        match word(0) {
            DONE => Ok(word(1)),
            ERRNO => Err(Refused::Errno(word(1) as i32)),
            _ => Err(Refused::Segv {
                code: word(1) as i32,
                addr: word(2),
            }),
        }
    }

    /// Does `setrlimit` for the child.
    pub fn limit(&self, resource: libc::__rlimit_resource_t, bytes: u64) {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: no new limit is passed, and the old one is written during the call.
        let asked = unsafe { libc::prlimit(self.pid, resource, std::ptr::null(), &raw mut limit) };
        limit.rlim_cur = bytes;
        // SAFETY: the limit is read during the call, and the old one is not requested.
        let done = unsafe { libc::prlimit(self.pid, resource, &raw const limit, std::ptr::null_mut()) };
        assert_eq!((asked, done), (0, 0), "prlimit: {}", Error::last_os_error());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: a child of this process that no other code waits for: the number is its own until
        // it is reaped.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: as above; no status is requested.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// Serves requests until the child is killed: no allocation, no lock, no panic.
fn serve(socket: RawFd, parent: u32) -> ! {
    // SAFETY: no argument is a pointer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: has no arguments.
    let is_orphan = unsafe { libc::getppid() } as u32 != parent;
    // SAFETY: no argument is a pointer. Turns huge pages off for this process, even where a mapping
    // asks for them.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    // SAFETY: this process accesses memory where it is told to, and needs no other handler.
    unsafe { access::survive() };
    let mut request: Request = [0; 7];
    loop {
        // SAFETY: the buffer has this length, and any bytes are a value of it.
        let read = unsafe { libc::read(socket, request.as_mut_ptr().cast(), size_of::<Request>()) };
        // The death of a parent that was gone before is not signalled.
        if is_orphan || read != size_of::<Request>() as isize {
            break;
        }
        let [number, a, b, c, d, e, f] = request;
        let reply: Reply = if number < ACCESS {
            // SAFETY: the parent requests calls that change only addresses that nothing here uses.
            match unsafe { libc::syscall(number as c_long, a, b, c, d, e, f) } {
                -1 => [ERRNO, Error::last_os_error().raw_os_error().unwrap_or(0) as u64, 0],
                result => [DONE, result as u64, 0],
            }
        } else {
            // SAFETY: the same addresses, and the parent keeps to `access::MOST`.
            match unsafe { access::access(number - ACCESS, a, b, c) } {
                Ok(result) => [DONE, result, 0],
                Err((code, at)) => [SEGV, code, at],
            }
        };
        // SAFETY: the buffer has this length.
        unsafe { libc::write(socket, reply.as_ptr().cast(), size_of::<Reply>()) };
    }
    // SAFETY: ends the process without the handlers that the parent has registered for its own end.
    unsafe { libc::_exit(1) }
}
