//! What a kernel brings: its entry, its output and exit, memory, and a panic handler.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

// The stack is aligned to 16 here, and a call wants it so before the return address.
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "call {begin}", "ud2", begin = sym begin);

extern "C" fn begin() -> ! {
    exit(super::main());
}

/// Makes a system call of Linux; only this would differ in a kernel's own program.
fn system_call(number: usize, args: [usize; 3]) -> usize {
    let result;
    // SAFETY: the two calls below read memory that is theirs, or do not return.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            out("rcx") _, out("r11") _, options(nostack));
    }
    result
}

pub(crate) fn say(text: &[u8]) {
    system_call(1, [1, text.as_ptr() as usize, text.len()]);
}

fn exit(status: i32) -> ! {
    loop {
        system_call(231, [status as usize, 0, 0]);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    say(b"panicked\n");
    exit(101)
}

const MEMORY: usize = 64 << 20;

/// Memory that is handed out from one end to the other and never returned.
#[repr(C, align(0x20_0000))]
pub(crate) struct Bump {
    memory: UnsafeCell<[u8; MEMORY]>,
    used: AtomicUsize,
    calls: AtomicUsize,
}

// SAFETY: each piece is handed out once.
unsafe impl Sync for Bump {}

#[global_allocator]
pub(crate) static BUMP: Bump = Bump {
    memory: UnsafeCell::new([0; MEMORY]),
    used: AtomicUsize::new(0),
    calls: AtomicUsize::new(0),
};

impl Bump {
    /// How often it was called.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

// SAFETY: pieces are apart, inside of the memory and aligned, up to the memory's own alignment.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut at = 0;
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            at = used.checked_next_multiple_of(layout.align())?;
            at.checked_add(layout.size()).filter(|&end| end <= MEMORY)
        });
        if taken.is_err() || layout.align() > align_of::<Self>() {
            return null_mut();
        }
        // SAFETY: inside of the memory.
        unsafe { self.memory.get().cast::<u8>().add(at) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// The functions that the compiler expects on every machine. (For a target without an operating
/// system, compiler_builtins has them.)
mod runtime {
    use core::arch::asm;

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: the caller's memory.
        unsafe {
            asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack))
        };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        if to.addr().wrapping_sub(from.addr()) >= len {
            // SAFETY: going up, nothing is written before it is read.
            return unsafe { memcpy(to, from, len) };
        }
        let (last_to, last_from) = (
            to.wrapping_add(len).wrapping_sub(1),
            from.wrapping_add(len).wrapping_sub(1),
        );
        // SAFETY: the caller's memory, from its end down.
        unsafe {
            asm!("std", "rep movsb", "cld", inout("rcx") len => _, inout("rdi") last_to => _, inout("rsi") last_from => _,
                options(nostack));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
        // SAFETY: the caller's memory.
        unsafe {
            asm!("rep stosb", inout("rcx") len => _, inout("rdi") to => _, in("al") byte as u8, options(nostack))
        };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
        for i in 0..len {
            // SAFETY: the caller's memory. Volatile, or the loop would become a call of this
            // function.
            let (a, b) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
            if a != b {
                return i32::from(a) - i32::from(b);
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
        // SAFETY: the caller's memory.
        unsafe { memcmp(a, b, len) }
    }

    /// Named by the `core` of a target that unwinds; nothing does here.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}

    /// As above.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        super::exit(102)
    }
}
