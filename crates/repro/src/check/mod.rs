//! Holds what scanners read against what the mapper did.

mod page_state;
mod record;
mod scan_check;

pub(crate) use page_state::PageStates;
pub(crate) use scan_check::ScanCheck;
