#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![deny(missing_debug_implementations)]

mod error;
mod guests;
mod handles;
mod live;
mod mount;
mod tree;

pub use error::{Error, Result};
pub use guests::{Guest, Guests};
pub use live::{Live, LiveOptions};
pub use mount::{Detached, Mounted, Users, unmount};
pub use tree::Tree;
