//! Mappings: what a VMA is, and of what.

mod file;
mod flags;
mod vma;

pub use file::File;
pub(crate) use flags::{ACCESS, MAY_ACCESS};
pub use flags::{Access, MapFlags, Prot, VmFlags};
pub use vma::{ANON_NAME_MAX, Role, Vma, VmaState};
pub(crate) use vma::{AnonName, AnonVma, Mapping};
