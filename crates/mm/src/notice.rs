//! Notices to the notifier: the start of a range, and its end.

use crate::addr::VirtRange;
use crate::machine::MmuNotifier;

/// A range whose start the notifier has been told. Dropped, it tells the end.
///
/// Made before anything is changed, and dropped after everything is. Both with no lock held and in
/// no section.
#[doc(alias = "mmu_notifier_range")]
pub(crate) struct Notice<'n, N: MmuNotifier> {
    notifier: &'n N,
    range: VirtRange,
}

impl<'n, N: MmuNotifier> Notice<'n, N> {
    pub(crate) fn start(notifier: &'n N, range: VirtRange) -> Self {
        if N::IS_TOLD {
            notifier.invalidate_range_start(range);
        }
        Self { notifier, range }
    }

    /// Returns the range, grown to cover another one too.
    pub(crate) fn with(&self, range: VirtRange) -> VirtRange {
        VirtRange::new(self.range.start.min(range.start), self.range.end.max(range.end))
    }
}

impl<N: MmuNotifier> Drop for Notice<'_, N> {
    fn drop(&mut self) {
        if N::IS_TOLD {
            self.notifier.invalidate_range_end(self.range);
        }
    }
}

/// Returns whether translations in `range` may be ended: its start has been told, or there is no
/// notifier.
pub(crate) fn is_told<N: MmuNotifier>(notice: Option<&Notice<'_, N>>, range: VirtRange) -> bool {
    !N::IS_TOLD || range.is_empty() || notice.is_some_and(|notice| notice.range.covers(range))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Somebody;

    impl MmuNotifier for Somebody {
        fn invalidate_range_start(&self, _: VirtRange) {}
        fn invalidate_range_end(&self, _: VirtRange) {}
    }

    #[test]
    fn a_range_is_told_that_lies_whole_in_a_notice() {
        let notice = Notice::start(&Somebody, (10..20).into());
        let told = [10..20, 12..15, 9..11, 19..21, 0..0].map(|range| is_told(Some(&notice), range.into()));
        assert_eq!(told, [true, true, false, false, true]);
        let range = VirtRange::from(0..1);
        assert!(!is_told(None::<&Notice<'_, Somebody>>, range) && is_told(None::<&Notice<'_, ()>>, range));
    }
}
