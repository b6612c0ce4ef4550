//! One run as it is saved, and the latencies in it.

mod histogram;
mod latency;
mod misreads;
mod model_stats;
#[allow(clippy::module_inception)] // the sample itself
mod sample;

pub(crate) use histogram::{BUCKETS, bucket_of};
pub use latency::Latencies;
pub(crate) use latency::Recorder;
pub use misreads::Misreads;
pub use model_stats::ModelStats;
pub use sample::{Faults, Sample, Timeline};
