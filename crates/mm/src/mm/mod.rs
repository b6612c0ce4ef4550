//! The address space: its users, references that look at it, monitors, and snapshots.

mod attached;
mod change;
mod layout;
mod limits;
mod mm_struct;
mod owner;
mod pending;
mod reader;
mod reference;
mod snapshot;
mod stat;

pub(crate) use attached::Attached;
#[cfg(feature = "std")]
pub(crate) use change::ChangeCounter;
pub use layout::Layout;
pub use limits::{Limits, MmState, PartialEffects};
pub(crate) use mm_struct::MmStruct;
pub use owner::Mm;
pub use reader::MmReader;
pub use reference::MmRef;
pub use snapshot::{MmSnapshot, SNAPSHOTS_MAX};
pub use stat::VmStat;
