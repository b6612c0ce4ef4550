//! The calls of an address space. Each that changes mappings is one transaction.

mod brk;
mod madvise;
mod map_request;
mod mmap;
mod modify;
mod mprotect;
mod munmap;
mod prctl;
mod setrlimit;
mod transaction;
mod unmapped_area;

pub use madvise::Advice;
pub use map_request::MapRequest;
