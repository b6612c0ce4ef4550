#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![warn(missing_debug_implementations)]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod field;
mod field_set;
mod form;
mod mapping;
mod maps_line;
mod name;
mod number;
mod parse;
mod perms;
mod text;
pub mod vm_flags;
pub mod walk;

pub use error::{NotSmaps, Part};
pub use field::{Field, MemSizeStats, PSS_SHIFT, Scope, Unit};
pub use field_set::FieldSet;
pub use form::Form;
pub use mapping::Mapping;
pub use maps_line::{VmaRecord, parse_range};
pub use name::{Name, NameKind, unescaped};
pub use parse::{Line, Parser};
pub use perms::Perms;
pub use text::{Text, TooShort, append};
pub use vm_flags::FlagLetters;
