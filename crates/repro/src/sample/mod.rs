//! One run as it is saved, and the latencies in it.

mod latency;
#[allow(clippy::module_inception)] // the sample itself
mod sample;

pub use latency::Latencies;
pub(crate) use latency::Recorder;
pub use sample::{Faults, Inside, Sample, Seen, Timeline};
