//! The text of maps, smaps and smaps_rollup, and what its lines say.

pub(crate) mod field;
pub(crate) mod form;
pub(crate) mod parse;
pub(crate) mod record;
