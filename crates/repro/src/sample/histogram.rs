//! The buckets of every histogram of times: two significant digits, as HdrHistogram has them.
//!
//! Up to 256 each value has its own bucket; above, each power of two is divided into 128.

/// Buckets for each power of two, as their exponent.
const SUB_BITS: u32 = 7;

/// Longer times are counted as this: an hour.
const HIGHEST_NS: u64 = 3_600_000_000_000;

/// How many buckets there are.
pub(crate) const BUCKETS: usize = bucket_of(HIGHEST_NS) + 1;

/// Returns the bucket of a time.
pub(crate) const fn bucket_of(ns: u64) -> usize {
    let ns = if ns < HIGHEST_NS { ns } else { HIGHEST_NS };
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(SUB_BITS + 1);
    ((shift as usize) << SUB_BITS) + (ns >> shift) as usize
}

/// Returns the longest time in a bucket.
pub(crate) fn end_of(bucket: usize) -> u64 {
    let shift = (bucket >> SUB_BITS).saturating_sub(1);
    let within = bucket - (shift << SUB_BITS);
    ((within as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_end_within_two_digits() {
        for ns in (0..5_000).chain([1 << 20, (1 << 20) + 77_777, HIGHEST_NS]) {
            let bucket = bucket_of(ns);
            let end = end_of(bucket);
            assert_eq!(bucket_of(end), bucket, "{ns}");
            assert!(end >= ns && (end - ns) as f64 <= ns as f64 / 100.0, "{ns}: {end}");
            assert!(bucket_of(end.min(HIGHEST_NS - 1) + 1) <= bucket + 1, "{ns}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }
}
