//! What a notifier is told: the start of a range, and its end.

use core::ops::Range;

use crate::machine::MmuNotifier;

/// A range of which the notifier has been told the start. Dropped, it tells the end.
///
/// To be made with no lock held and in no section, before anything is changed, and dropped when all is changed, likewise.
#[doc(alias = "mmu_notifier_range")]
pub(crate) struct Notice<'n, N: MmuNotifier> {
    notifier: &'n N,
    range: Range<u64>,
}

impl<'n, N: MmuNotifier> Notice<'n, N> {
    pub(crate) fn start(notifier: &'n N, range: Range<u64>) -> Self {
        if N::IS_TOLD {
            notifier.invalidate_range_start(range.clone());
        }
        Self { notifier, range }
    }

    /// Its range, made large enough for another one too.
    pub(crate) fn with(&self, range: &Range<u64>) -> Range<u64> {
        self.range.start.min(range.start)..self.range.end.max(range.end)
    }

    /// Whether all of `range` is in it.
    fn covers(&self, range: &Range<u64>) -> bool {
        self.range.start <= range.start && range.end <= self.range.end
    }
}

impl<N: MmuNotifier> Drop for Notice<'_, N> {
    fn drop(&mut self) {
        if N::IS_TOLD {
            self.notifier.invalidate_range_end(self.range.clone());
        }
    }
}

/// Whether translations in `range` may be ended: the start of it has been told, or there is nobody to tell.
pub(crate) fn is_told<N: MmuNotifier>(notice: Option<&Notice<'_, N>>, range: &Range<u64>) -> bool {
    !N::IS_TOLD || range.is_empty() || notice.is_some_and(|notice| notice.covers(range))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Somebody;

    impl MmuNotifier for Somebody {
        fn invalidate_range_start(&self, _: Range<u64>) {}
        fn invalidate_range_end(&self, _: Range<u64>) {}
    }

    #[test]
    fn a_range_is_told_that_lies_whole_in_a_notice() {
        let notice = Notice::start(&Somebody, 10..20);
        let told = [10..20, 12..15, 9..11, 19..21, 0..0].map(|range| is_told(Some(&notice), &range));
        assert_eq!(told, [true, true, false, false, true]);
        assert!(!is_told(None::<&Notice<'_, Somebody>>, &(0..1)) && is_told(None::<&Notice<'_, ()>>, &(0..1)));
    }
}
