#![doc = include_str!("../README.md")]
#![deny(unsafe_code)] // but in the files that say why

mod check;
#[cfg(test)]
mod counting_alloc;
pub mod error;
pub mod machine;
mod model;
pub mod plan;
pub mod report;
mod role;
pub mod run;
pub mod sample;

pub use error::{Error, Result};
