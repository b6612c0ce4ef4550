//! The tests of vmaple-mm and vmaple-proc against the kernel and against histories.
//!
//! The tests are in `tests/`. This library holds what they share.
//!
//! | module | what it is for |
//! |---|---|
//! | [`kernel`] | the same calls in the running kernel and in the models, compared |
//! | [`history`] | what an address space was, version by version, and the check of what a reader saw against it |
//! | [`workload`] | an address space of some hundred mappings, and changes of every kind to it |
//! | [`stop`] | threads that stop at a point of a test's choice, and locks that count the threads that wait |
//! | [`signal`] | a signal that parks a thread at any instruction inside of the library |
//! | [`mod@line`], [`smaps_text`] | the text of maps and smaps, taken apart |

#![cfg(not(loom))]
#![allow(missing_docs, reason = "not published; a name says what a field is")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::missing_errors_doc, clippy::new_without_default, reason = "for tests")]

pub mod history;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod kernel;
pub mod line;
pub mod signal;
pub mod smaps_text;
pub mod stop;
pub mod workload;
