//! What to run, on what, how confined and where: all that is checked before anything starts.

mod checked;
mod placement;
#[allow(clippy::module_inception)] // the plan itself
mod plan;
mod proc_file;
mod reading;
mod slice;
mod target;

pub use placement::{Placement, PlacementRequest};
pub use plan::{Cell, HANG_GRACE_NS, Plan, Preset, SETTLE_NS};
pub use proc_file::ProcFile;
pub use reading::{Listing, Reading, Scanner};
pub use slice::Slice;
pub use target::Target;
