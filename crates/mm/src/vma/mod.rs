//! Mappings: what a VMA is and of what, and how VMAs merge and split.

mod accounts;
mod file;
mod flags;
mod merge;
mod role;
mod vma;

pub(crate) use accounts::Accounts;
pub use file::File;
pub(crate) use flags::{ACCESS, MAY_ACCESS};
pub use flags::{Access, MapFlags, Prot, VmFlags};
pub(crate) use merge::{Merge, Neighbours, Pages, Plan, Request};
pub(crate) use role::Landmarks;
pub use role::Role;
pub use vma::{ANON_NAME_MAX, Vma, VmaState};
pub(crate) use vma::{AnonName, AnonVma, Mapping};
