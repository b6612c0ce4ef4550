//! The commands of bpf(2) that make maps and load, attach and start programs.

#![allow(unsafe_code)] // system calls that take pointers

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A command that the kernel refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What the command was to do.
    pub(crate) what: &'static str,
    pub(crate) error: io::Error,
    /// The log of the verifier; empty if it was not asked.
    pub(crate) log: String,
}

/// The numbers of the commands.
mod command {
    pub(super) const MAP_CREATE: libc::c_int = 0;
    pub(super) const PROG_LOAD: libc::c_int = 5;
    pub(super) const BTF_LOAD: libc::c_int = 18;
    pub(super) const LINK_CREATE: libc::c_int = 28;
    pub(super) const ITER_CREATE: libc::c_int = 33;
}

/// `BPF_TRACE_ITER`.
const TRACE_ITER: u32 = 28;
/// `BPF_OBJ_NAME_LEN`.
const NAME_LEN: usize = 16;

/// Describes a program's own types to the kernel.
pub(crate) fn load_btf(btf: &[u8]) -> Result<OwnedFd, Refused> {
    #[repr(C)]
    struct LoadBtf {
        btf: u64,
        log: u64,
        btf_bytes: u32,
        log_bytes: u32,
        log_level: u32,
        unused: u32,
    }

    let mut attr = LoadBtf {
        btf: address(btf),
        log: 0,
        btf_bytes: btf.len() as u32,
        log_bytes: 0,
        log_level: 0,
        unused: 0,
    };
    bpf(command::BTF_LOAD, &mut attr).map_err(|error| Refused::of("describing its types", error))
}

/// Makes an array of `entries` values.
pub(crate) fn create_array(name: &str, value_bytes: u32, entries: u32, flags: u32) -> Result<OwnedFd, Refused> {
    /// `BPF_MAP_TYPE_ARRAY`.
    const ARRAY: u32 = 2;
    #[repr(C)]
    struct CreateMap {
        map_type: u32,
        key_bytes: u32,
        value_bytes: u32,
        entries: u32,
        flags: u32,
        inner_map_fd: u32,
        numa_node: u32,
        name: [u8; NAME_LEN],
    }

    let mut attr = CreateMap {
        map_type: ARRAY,
        key_bytes: 4,
        value_bytes,
        entries,
        flags,
        inner_map_fd: 0,
        numa_node: 0,
        name: object_name(name),
    };
    // Not which of them: the first is an accident.
    bpf(command::MAP_CREATE, &mut attr).map_err(|error| Refused::of("creating its maps", error))
}

/// A program of an iterator, as the kernel takes it.
pub(crate) struct Text<'a> {
    pub(crate) name: &'a str,
    pub(crate) instructions: &'a [u64],
    /// Array of `struct bpf_func_info`.
    pub(crate) functions: &'a [u8],
    pub(crate) function_bytes: u32,
    pub(crate) btf: BorrowedFd<'a>,
    /// The kernel's function to which it attaches.
    pub(crate) attaches_to: u32,
}

/// Loads a program.
pub(crate) fn load(text: &Text<'_>) -> Result<OwnedFd, Refused> {
    /// Bytes for the log of the verifier. It is long, and its reason stands at its end.
    const LOG_BYTES: usize = 16 << 20;

    let mut log = vec![];
    load_logged(text, &mut log).or_else(|error| {
        // Says why, which takes longer.
        log = vec![0; LOG_BYTES];
        let again = load_logged(text, &mut log);
        again.map_err(|_| Refused {
            log: String::from_utf8_lossy(log.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned(),
            ..Refused::of("the kernel refuses it", error)
        })
    })
}

fn load_logged(text: &Text<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    /// `BPF_PROG_TYPE_TRACING`.
    const TRACING: u32 = 26;
    /// Attempts: a signal that comes during the verification ends it.
    const ATTEMPTS: u32 = 10;
    #[repr(C)]
    struct LoadProgram {
        program_type: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_bytes: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; NAME_LEN],
        ifindex: u32,
        attach_type: u32,
        btf_fd: u32,
        function_bytes: u32,
        functions: u64,
        function_count: u32,
        line_bytes: u32,
        lines: u64,
        line_count: u32,
        attaches_to: u32,
    }

    let mut attr = LoadProgram {
        program_type: TRACING,
        instruction_count: text.instructions.len() as u32,
        instructions: address(text.instructions),
        license: address(c"Dual MIT/GPL".to_bytes_with_nul()),
        log_level: u32::from(!log.is_empty()),
        log_bytes: log.len() as u32,
        log: if log.is_empty() { 0 } else { address(log) },
        kernel_version: 0,
        flags: 0,
        name: object_name(text.name),
        ifindex: 0,
        attach_type: TRACE_ITER,
        btf_fd: text.btf.as_raw_fd().cast_unsigned(),
        function_bytes: text.function_bytes,
        functions: address(text.functions),
        function_count: (text.functions.len() / text.function_bytes.max(1) as usize) as u32,
        line_bytes: 0,
        lines: 0,
        line_count: 0,
        attaches_to: text.attaches_to,
    };
    let mut attempts = 0;
    loop {
        attempts += 1;
        match bpf(command::PROG_LOAD, &mut attr) {
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) && attempts < ATTEMPTS => {}
            result => return result,
        }
    }
}

/// Attaches an iterator to the task `pid`, of the caller's PID namespace.
pub(crate) fn link(program: BorrowedFd<'_>, pid: u32) -> io::Result<OwnedFd> {
    /// `bpf_iter_link_info.task`.
    #[repr(C)]
    struct TaskInfo {
        tid: u32,
        pid: u32,
        pid_fd: u32,
        unused: u32,
    }
    #[repr(C)]
    struct CreateLink {
        program_fd: u32,
        target_fd: u32,
        attach_type: u32,
        flags: u32,
        iter_info: u64,
        iter_info_bytes: u32,
        unused: u32,
    }

    let task = TaskInfo {
        tid: pid,
        pid: 0,
        pid_fd: 0,
        unused: 0,
    };
    let mut attr = CreateLink {
        program_fd: program.as_raw_fd().cast_unsigned(),
        target_fd: 0,
        attach_type: TRACE_ITER,
        flags: 0,
        iter_info: address(std::slice::from_ref(&task)),
        iter_info_bytes: size_of::<TaskInfo>() as u32,
        unused: 0,
    };
    bpf(command::LINK_CREATE, &mut attr)
}

/// Makes a file whose reads run an iterator.
pub(crate) fn iterator(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct CreateIterator {
        link_fd: u32,
        flags: u32,
    }

    let mut attr = CreateIterator {
        link_fd: link.as_raw_fd().cast_unsigned(),
        flags: 0,
    };
    bpf(command::ITER_CREATE, &mut attr)
}

/// Returns the address of what a command reads or writes.
fn address<T>(values: &[T]) -> u64 {
    values.as_ptr().expose_provenance() as u64
}

/// Returns a name of a map or a program, cut to what the kernel takes.
fn object_name(name: &str) -> [u8; NAME_LEN] {
    let mut bytes = [0; NAME_LEN];
    // The last byte stays 0.
    for (to, from) in bytes[..NAME_LEN - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// Calls a command of bpf(2) that returns a file descriptor.
fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<OwnedFd> {
    let bytes = size_of::<T>() as libc::c_uint;
    // SAFETY: `attr` is a prefix of `union bpf_attr`, of the length that is passed, and what it
    // points to lives on; the log alone is written, whose slice the caller has mutably.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), bytes) };
    let fd = libc::c_int::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: bpf(2) has just made it, and no other value owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Refused {
    fn of(what: &'static str, error: io::Error) -> Self {
        Self {
            what,
            error,
            log: String::new(),
        }
    }
}
