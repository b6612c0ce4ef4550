//! The calls that change an address space: each is a transaction.

mod brk;
mod madvise;
mod mmap;
mod modify;
mod mprotect;
mod munmap;
mod prctl;
mod setrlimit;
mod transaction;
mod unmapped_area;

pub use madvise::Advice;
