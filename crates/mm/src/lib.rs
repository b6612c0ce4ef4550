//! An address space with Linux's semantics that a monitor reads without ever delaying it.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod addr;
mod anon_name;
mod brk;
mod change;
mod error;
mod file;
mod flags;
mod kref;
mod layout;
mod limits;
mod mm;
mod mmap;
mod modify;
mod mprotect;
mod munmap;
mod primitive;
mod slab;
mod state;
pub mod store;
mod transaction;
mod unmapped_area;
mod vma;

pub use addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
pub use error::{Errno, Error};
pub use file::File;
pub use flags::{MapFlags, Prot, VmFlags};
pub use kref::Kref;
pub use layout::Layout;
pub use limits::Limits;
pub use mm::{Mm, MmReader, MmRef, MmSnapshot, SNAPSHOTS_MAX};
pub use state::MmState;
#[cfg(feature = "std")]
pub use store::RbStore;
pub use store::{MapleStore, SnapshotStore, VmaRead, VmaStore};
pub use vma::{ANON_NAME_MAX, Role, Vma, VmaState};
