#![doc = include_str!("../README.md")]
#![deny(unsafe_code)] // but in the files that say why
#![deny(missing_debug_implementations)]

mod boost;
mod bpf;
mod btf;
mod counters;
mod denied;
mod error;
mod kernel;
mod left_out;
mod method;
mod options;
mod proc;
mod process;
mod record;
mod report;
mod scan;
mod scanner;
mod source;
mod status;
mod strings;
mod want;

pub use counters::{Cgroup, Counter, Counters};
pub use denied::Denied;
pub use error::{Error, Result};
pub use kernel::{frees_tables_by_rcu, kernel_form};
pub use left_out::{LeftOut, Rounded, Why};
pub use method::{Method, NoSuchMethod};
pub use options::{Options, Sample};
pub use process::proc_mount::check as check_proc;
pub use process::{Credentials, Process};
pub use record::{Ages, Rollup, ScanRecord};
pub use report::{Acquisitions, Margin, Partial, Report, Sampled, Validation};
pub use scan::Scan;
pub use scanner::Scanner;
pub use strings::Strings;
pub use vmaple_smaps::{
    Field, FieldSet, Form, Mapping, MemSizeStats, Name, PSS_SHIFT, Perms, Scope, VmaRecord, append,
};
pub use want::Want;
