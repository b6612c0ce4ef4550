//! The forms of what is printed.

pub(super) mod folded;
pub(super) mod group;
pub(super) mod json;
pub(super) mod prometheus;
pub(super) mod rollup;
pub(super) mod said;
pub(super) mod summary;
pub(super) mod svg;
pub(super) mod table;
pub(super) mod treemap;
