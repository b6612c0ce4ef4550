//! One run as it is saved, and the latencies in it.

mod histogram;
mod latency;
#[allow(clippy::module_inception)] // the sample itself
mod sample;

pub(crate) use histogram::{BUCKETS, bucket_of};
pub use latency::Latencies;
pub(crate) use latency::Recorder;
pub use sample::{Faults, Inside, Sample, Seen, Timeline};
