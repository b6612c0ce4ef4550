//! The machine and its kernel: facts, clock, scheduler, noise floor.

mod clock;
mod facts;
pub mod noise;
pub mod sched;

pub use clock::NS_PER_MS;
pub(crate) use clock::{now_ns, timespec};
pub use facts::Machine;
pub(crate) use facts::{meminfo_bytes, read_number, steal_ns};
