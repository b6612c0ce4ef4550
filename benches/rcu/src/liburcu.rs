//! liburcu's flavours, by the loops of `liburcu.c`.

use std::time::{Duration, Instant};

use crate::peers::Peer;

macro_rules! flavour {
    ($name:ident, $text:literal, $enter:ident, $leave:ident, $read:ident, $nested:ident, $replace:ident, $freeze:ident, $thaw:ident, $barrier:ident) => {
        unsafe extern "C" {
            fn $enter();
            fn $leave();
            fn $read(n: u64) -> u64;
            fn $nested(n: u64) -> u64;
            fn $replace(n: u64);
            fn $freeze();
            fn $thaw();
            fn $barrier();
        }

        pub struct $name;

        impl Peer for $name {
            const NAME: &'static str = $text;
            type Reader<'p> = Thread;
            type Writer<'p> = Thread;

            fn new() -> Self {
                Self
            }

            fn reader(&self) -> Thread {
                // SAFETY: undone by the same thread in Thread's drop.
                unsafe { $enter() };
                Thread($leave)
            }

            fn writer(&self) -> Thread {
                self.reader()
            }

            fn read(_: &Thread, n: u32) -> u64 {
                // SAFETY: the thread is registered, and something was stored before.
                unsafe { $read(n.into()) }
            }

            fn nested(_: &Thread, n: u32) -> u64 {
                // SAFETY: as above.
                unsafe { $nested(n.into()) }
            }

            fn replace(_: &mut Thread, n: u32) {
                // SAFETY: one thread replaces.
                unsafe { $replace(n.into()) };
            }

            fn freeze(_: &Thread, work: impl FnOnce()) -> Duration {
                // SAFETY: the thread is registered; the section is left below.
                unsafe { $freeze() };
                work();
                let begin = Instant::now();
                // SAFETY: entered above.
                unsafe { $thaw() };
                begin.elapsed()
            }

            fn settle(_: &mut Thread) {
                // SAFETY: not in a section.
                unsafe { $barrier() };
            }
        }
    };
}

/// A registered thread.
pub struct Thread(unsafe extern "C" fn());

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: registered by the same thread.
        unsafe { (self.0)() };
    }
}

flavour!(
    Memb,
    "liburcu memb (C, inlined)",
    memb_enter_thread,
    memb_leave_thread,
    memb_read,
    memb_nested,
    memb_replace,
    memb_freeze,
    memb_thaw,
    memb_barrier
);
flavour!(
    Bp,
    "liburcu bp (C, inlined)",
    bp_enter_thread,
    bp_leave_thread,
    bp_read,
    bp_nested,
    bp_replace,
    bp_freeze,
    bp_thaw,
    bp_barrier
);
flavour!(
    Qsbr,
    "liburcu qsbr (C, inlined)",
    qsbr_enter_thread,
    qsbr_leave_thread,
    qsbr_read,
    qsbr_nested,
    qsbr_replace,
    qsbr_freeze,
    qsbr_thaw,
    qsbr_barrier
);
