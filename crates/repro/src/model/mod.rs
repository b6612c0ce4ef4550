//! Models of address spaces: three designs, one process each, whose threads are the roles.

mod address_space;
mod counted_lock;
mod design;
mod process;
mod scan;

pub(crate) use process::ModelTask;
