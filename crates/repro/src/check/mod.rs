//! What scanners read, held against what the mapper did.

mod page_state;
mod proc_text;
mod scan_check;

pub(crate) use page_state::PageStates;
pub(crate) use scan_check::ScanCheck;
