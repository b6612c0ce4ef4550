//! Accesses to memory: threads, and the faults that bring pages in.

mod copy;
mod fault;
mod handle;
mod thread;

pub use fault::{Fault, FaultCause};
pub use thread::MmThread;
