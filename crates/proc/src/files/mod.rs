//! The files of /proc/PID, one a file.

pub(crate) mod maps;
pub(crate) mod pagemap;
pub(crate) mod query;
pub(crate) mod smaps;
pub(crate) mod smaps_record;
pub(crate) mod smaps_rollup;
pub(crate) mod statm;
pub(crate) mod status;
