//! Building a whole tree from sorted ranges, from its leaves up: each node is written once.

use alloc::vec::Vec;

use vmaple_rcu::{AllocError, Update};

use crate::edit::{Edit, Mark};
use crate::entry::Entry;
use crate::error::BuildError;
use crate::node::{HEIGHT, Item, Node, Version};
use crate::stamp::Stamp;

/// The last node of a level, still being filled.
struct Open<S> {
    node: *mut Node<S>,
    /// The first index that it answers for.
    lower: u64,
}

/// Undoes what was built if it does not become whole: it fails, or the caller's iterator unwinds.
struct Building<'e, E: Entry, const FANOUT: usize> {
    edit: &'e mut Edit<E, FANOUT>,
    mark: Option<Mark<E>>,
}

impl<E: Entry, const FANOUT: usize> Drop for Building<'_, E, FANOUT> {
    fn drop(&mut self) {
        if let Some(mark) = self.mark.take() {
            self.edit.undo_to(mark);
        }
    }
}

impl<E: Entry, const FANOUT: usize> Edit<E, FANOUT> {
    /// Replaces all that the version holds by `ranges`; changes nothing if they are not sorted.
    pub(crate) fn build(
        &mut self,
        update: &mut impl Update,
        ranges: impl Iterator<Item = Result<(Option<(u64, u64)>, E), BuildError>>,
    ) -> Result<(), BuildError> {
        let mut building = Building {
            mark: Some(self.mark()),
            edit: self,
        };
        let mut levels = Vec::new();
        building.edit.build_levels(update, ranges, &mut levels)?;
        building.mark = None;
        drop(building);
        self.displace_all();
        self.close(levels);
        Ok(())
    }

    fn build_levels(
        &mut self,
        update: &mut impl Update,
        ranges: impl Iterator<Item = Result<(Option<(u64, u64)>, E), BuildError>>,
        levels: &mut Vec<Open<E::Stamp>>,
    ) -> Result<(), BuildError> {
        // The present content, which is to go.
        let (entries, nodes) = self.weigh(0, u64::MAX);
        levels.try_reserve(HEIGHT).map_err(|_| AllocError)?;
        self.reserve(update, 0, entries, nodes)?;
        let mut next = Some(0);
        for range in ranges {
            let (range, entry) = range?;
            let (first, last) = range.ok_or(BuildError::Empty)?;
            let Some(lower) = next.filter(|&next| next <= first) else {
                return Err(BuildError::Unsorted(first..=last));
            };
            next = last.checked_add(1);
            // A new node on each level, now and when they are closed.
            self.reserve(update, 2 * levels.len() + 2, entries, nodes)?;
            let item = self.new_item(update, (first, last), entry.into_raw());
            self.append(levels, 0, item, lower);
        }
        Ok(())
    }

    /// Appends `item`, which answers for the indexes from `lower` on, to its level.
    fn append(&mut self, levels: &mut Vec<Open<E::Stamp>>, level: usize, item: Item<E::Stamp>, lower: u64) {
        match levels.get_mut(level) {
            Some(open) => {
                // SAFETY: made by this transaction, and no other code has a reference to it.
                let node = unsafe { &mut *open.node };
                if node.len() < FANOUT {
                    return node.splice(node.len(), node.len(), &[item]);
                }
                let full = core::mem::replace(
                    open,
                    Open {
                        node: self.make(),
                        lower,
                    },
                );
                // SAFETY: just made.
                unsafe { &mut *open.node }.fill(&[item]);
                self.append(levels, level + 1, full.item(level), full.lower);
            }
            None => {
                let node = self.make();
                // SAFETY: just made.
                unsafe { &mut *node }.fill(&[item]);
                levels.push(Open { node, lower });
            }
        }
    }

    /// Makes the levels the version: every open node goes into the one above.
    fn close(&mut self, mut levels: Vec<Open<E::Stamp>>) {
        let mut level = 0;
        while level + 1 < levels.len() {
            let (item, lower) = (levels[level].item(level), levels[level].lower);
            self.append(&mut levels, level + 1, item, lower);
            level += 1;
        }
        if let Some(top) = levels.last() {
            self.view.version = Version {
                node: top.node,
                height: levels.len(),
            };
            self.mend_edge();
        }
    }
}

impl<S: Stamp> Open<S> {
    /// Returns the slot of this node for the node above.
    fn item(&self, level: usize) -> Item<S> {
        let version = Version {
            node: self.node,
            height: level + 1,
        };
        // SAFETY: made by the transaction that builds, which fills it no further.
        let node = unsafe { version.typed() };
        Item::of(
            node.end(),
            node.largest_gap(self.lower, 0),
            self.node.cast(),
            S::default(),
        )
    }
}
