#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![deny(missing_debug_implementations)]

mod error;
mod live;
mod mount;

pub use error::{Error, Result};
pub use live::{Live, LiveOptions};
pub use mount::{Detached, Mounted, Users, unmount};
