//! Edits that replace the whole content, from sorted ranges.

use core::ops::RangeBounds;

use lock_api::RawMutex;
use vmaple_rcu::{AllocError, Reclaim};

use crate::entry::{Divide, Entry};
use crate::error::BuildError;
use crate::range::first_last;
use crate::tree::State;
use crate::view::View;
use crate::write::Write;

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Write<'_, E, R, L, FANOUT> {
    /// Replaces the whole content by ranges that ascend and do not overlap. O(n).
    ///
    /// # Errors
    /// [`BuildError`]; nothing has changed then, and the entries that came are dropped.
    pub fn build<B: RangeBounds<u64>>(&mut self, ranges: impl IntoIterator<Item = (B, E)>) -> Result<(), BuildError> {
        self.try_build(ranges.into_iter().map(|(range, entry)| Ok((first_last(&range), entry))))
    }

    /// Replaces the whole content by a copy of another tree's version. O(n).
    ///
    /// Each of its entries is divided ([`Divide::divide`]).
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory; nothing has changed then.
    #[doc(alias = "__mt_dup")]
    pub fn build_copy(&mut self, view: &View<E>) -> Result<(), AllocError>
    where
        E: Divide,
    {
        let copies = view
            .iter()
            .map(|(range, entry)| Ok((Some(range.into_inner()), E::divide(entry)?)));
        // Ranges of a tree are sorted.
        self.try_build(copies).map_err(|_| AllocError)
    }

    fn try_build(
        &mut self,
        ranges: impl Iterator<Item = Result<(Option<(u64, u64)>, E), BuildError>>,
    ) -> Result<(), BuildError> {
        let State { edit, update } = self.state();
        edit.build(update, ranges)
    }
}
