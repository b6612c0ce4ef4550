//! How the child accesses memory, and survives a refused access.
//!
//! An access is one instruction, with a register that holds the address after it. The handler of
//! SIGSEGV stores the signal's code and address in two other registers and resumes there. The
//! instructions for bytes stop at the first refused byte, after all bytes before it, as the model
//! does.

use std::arch::asm;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};

use super::window::PAGE;

/// The most bytes of one access.
pub(super) const MOST: u64 = 3 * PAGE;

/// In a register while an access may fail; no `si_code`.
const TRYING: u64 = 0x7472_7969_6e67;

/// What the executed zeros add to. It is no canonical address, so the kernel reports neither MAPERR
/// nor ACCERR.
const NOWHERE: u64 = 1 << 63;
const SI_KERNEL: u64 = 128;

/// An access by the child to itself.
#[derive(Clone, Copy)]
pub enum Access {
    /// Reads bytes; returns their [`hash`].
    Load = 0,
    /// Writes bytes of this value; returns 0.
    Store = 1,
    /// Replaces a word by another if it is this one; returns the old word.
    CompareExchange = 2,
    /// Jumps to zeros; returns 0. If they are executable, they are an instruction that is refused
    /// in another way.
    Fetch = 3,
}

/// The buffer for reads.
struct Buffer(UnsafeCell<[u8; MOST as usize]>);

// SAFETY: used by the one thread of a child, and each child has its own copy.
unsafe impl Sync for Buffer {}

static BUFFER: Buffer = Buffer(UnsafeCell::new([0; MOST as usize]));

/// Hashes the bytes of a read, to compare them.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Makes accesses survivable from now on.
///
/// # Safety
/// The process has no other handler of SIGSEGV that it needs.
pub(super) unsafe fn survive() {
    // SAFETY: all bytes zero are a value: no flags, no signals blocked.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_segv as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler changes registers of an access only.
    unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()) };
}

extern "C" fn on_segv(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid one, which belongs to the handler until it
    // returns.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: as above.
    let info = unsafe { &*info };
    let registers = &mut context.uc_mcontext.gregs;
    if registers[libc::REG_R9 as usize] as u64 != TRYING {
        // No access: the next fault, which is immediate, ends the process.
        // SAFETY: the default handler always exists.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    registers[libc::REG_RIP as usize] = registers[libc::REG_R8 as usize];
    registers[libc::REG_R9 as usize] = i64::from(info.si_code);
    // SAFETY: SIGSEGV has an address.
    registers[libc::REG_R10 as usize] = unsafe { info.si_addr() } as i64;
}

/// Makes an access. Returns its result, or `si_code` and `si_addr`.
///
/// # Safety
/// [`survive`] was called. This program uses nothing at the addresses. A load has at most [`MOST`]
/// bytes. A fetch is of zeros, if it can be executed.
pub(super) unsafe fn access(what: u64, addr: u64, count: u64, value: u64) -> Result<u64, (u64, u64)> {
    let mut code = TRYING;
    let mut at = 0_u64;
    let mut result = 0;
    if what == Access::Load as u64 {
        // SAFETY: reads what the caller chose, into a buffer of that length; a fault resumes after
        // the instruction.
        unsafe {
            asm!(
                "lea r8, [rip + 2f]", "rep movsb", "2:",
                inout("rdi") BUFFER.0.get() => _, inout("rsi") addr => _, inout("rcx") count => _,
                out("r8") _, inout("r9") code, inout("r10") at, options(nostack),
            );
        }
    } else if what == Access::Store as u64 {
        // SAFETY: writes where the caller chose; a fault resumes after the instruction.
        unsafe {
            asm!(
                "lea r8, [rip + 2f]", "rep stosb", "2:",
                inout("rdi") addr => _, inout("rcx") count => _, in("al") value as u8,
                out("r8") _, inout("r9") code, inout("r10") at, options(nostack),
            );
        }
    } else if what == Access::Fetch as u64 {
        // SAFETY: the target is not executable, or is zeros: `add [rax], al`. Both resume after the
        // jump.
        unsafe {
            asm!(
                "lea r8, [rip + 2f]", "jmp rdi", "2:",
                in("rdi") addr, in("rax") NOWHERE,
                out("r8") _, inout("r9") code, inout("r10") at, options(nostack),
            );
        }
        // It was executed.
        if code == SI_KERNEL {
            code = TRYING;
        }
    } else {
        // SAFETY: as above.
        unsafe {
            asm!(
                "lea r8, [rip + 2f]", "lock cmpxchg [rdi], rsi", "2:",
                in("rdi") addr, in("rsi") value, inout("rax") count => result,
                out("r8") _, inout("r9") code, inout("r10") at, options(nostack),
            );
        }
    }
    if code != TRYING {
        return Err((code, at));
    }
    if what == Access::Load as u64 {
        // SAFETY: no other code uses it.
        let buffer = unsafe { &*BUFFER.0.get() };
        result = hash(&buffer[..count as usize]);
    }
    Ok(result)
}
