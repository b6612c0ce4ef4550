//! The machine and its kernel: facts, clock, scheduler, noise floor.

pub mod cgroup;
mod clock;
mod facts;
pub(crate) mod mmap_lock;
pub mod noise;
pub mod sched;

pub use clock::NS_PER_MS;
pub(crate) use clock::{now_ns, timespec};
pub use facts::Machine;
pub(crate) use facts::{meminfo_bytes, read_number, steal_ns};
