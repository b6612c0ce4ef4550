//! Ranges of indexes: given as `first..=last`, `start..end` or any other bounds, kept as first and
//! last.

use core::ops::{Bound, RangeBounds};

/// Returns the first and last index of `range`; `None` if it is empty.
pub(crate) fn first_last(range: &impl RangeBounds<u64>) -> Option<(u64, u64)> {
    let first = match range.start_bound() {
        Bound::Included(&first) => first,
        Bound::Excluded(&before) => before.checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let last = match range.end_bound() {
        Bound::Included(&last) => last,
        Bound::Excluded(&after) => after.checked_sub(1)?,
        Bound::Unbounded => u64::MAX,
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_every_kind_become_first_and_last() {
        assert_eq!(first_last(&(5..=9)), Some((5, 9)));
        assert_eq!(first_last(&(5..10)), Some((5, 9)));
        assert_eq!(first_last(&(..)), Some((0, u64::MAX)));
        assert_eq!(first_last(&(7..)), Some((7, u64::MAX)));
        assert_eq!(first_last(&(..=u64::MAX)), Some((0, u64::MAX)));
        assert_eq!(first_last(&(Bound::Excluded(3), Bound::Excluded(5))), Some((4, 4)));
    }

    #[test]
    fn empty_ranges_are_told() {
        assert_eq!(first_last(&(5..5)), None);
        assert_eq!(first_last(&(..0)), None);
        #[expect(clippy::reversed_empty_ranges)]
        let reversed = 9..=5;
        assert_eq!(first_last(&reversed), None);
        assert_eq!(first_last(&(Bound::Excluded(u64::MAX), Bound::Unbounded)), None);
    }
}
