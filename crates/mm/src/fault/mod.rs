//! Accesses to memory: threads, and the page faults that they take.

mod copy;
mod fault;
mod handle;
mod thread;

pub use fault::{Fault, FaultCause};
pub use thread::MmThread;
