//! Whether a version is as the invariants in [`node`](crate::node) want it.

use core::fmt;

use crate::entry::Entry;
use crate::node::{MOST, fewest};
use crate::root::Version;
use crate::view::View;

/// What a valid tree consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Entries.
    pub entries: usize,
    /// Nodes that hold entries.
    pub leaves: usize,
    /// Nodes above them.
    pub inner: usize,
}

/// What is wrong with a tree, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalid {
    /// The rule that is broken.
    pub rule: &'static str,
    /// An index that the node answers for.
    pub index: u64,
    /// Levels below the root.
    pub depth: usize,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, index, depth } = self;
        write!(f, "{rule}: in the node for {index:#x}, {depth} levels below the root")
    }
}

impl core::error::Error for Invalid {}

/// Where a node is: what it answers for, and whether at the right edge.
struct Place {
    lower: u64,
    upper: u64,
    is_edge: bool,
    depth: usize,
}

/// Counts what is below a node and returns its largest gap.
fn check<E: Entry>(
    version: Version<E::Stamp>,
    place: &Place,
    fanout: usize,
    census: &mut Census,
) -> Result<u64, Invalid> {
    let invalid = |rule| {
        Err(Invalid {
            rule,
            index: place.lower,
            depth: place.depth,
        })
    };
    // SAFETY: the view that is checked keeps its nodes.
    let node = unsafe { &*version.node };
    let (len, is_leaf) = (node.len(), version.height == 1);
    let least = match (place.depth, place.is_edge, is_leaf) {
        (0, _, true) | (1.., true, _) => 1,
        (0, _, false) => 2,
        (1.., false, _) => fewest(fanout),
    };
    if len < least {
        return invalid("a node has too few slots");
    }
    if len > fanout {
        return invalid("a node has too many slots");
    }
    if node.keys[len..MOST].iter().any(|&key| key != u64::MAX) {
        return invalid("keys beyond the last slot are not padded");
    }
    let end = node.end();
    if if place.is_edge {
        !is_leaf && end != u64::MAX
    } else {
        end != place.upper
    } {
        return invalid("the last slot does not end where the node above says");
    }
    let (mut gap, mut next) = (0, Some(place.lower));
    for i in 0..len {
        let (slot, last) = (node.slot(i), node.last(i));
        let Some(lower) = next.filter(|&next| next <= last) else {
            return invalid("slots do not ascend");
        };
        if slot.ptr.is_null() {
            return invalid("a slot is empty");
        }
        if is_leaf {
            if slot.word < lower || slot.word > last {
                return invalid("an entry does not begin behind the one before it, or ends before it begins");
            }
            census.entries += 1;
            gap = gap.max(slot.word - lower);
        } else {
            let child = Version {
                node: node.child(i),
                height: version.height - 1,
            };
            let place = Place {
                lower,
                upper: last,
                is_edge: place.is_edge && i + 1 == len,
                depth: place.depth + 1,
            };
            if check::<E>(child, &place, fanout, census)? != slot.word {
                return invalid("a slot's gap is not the largest below it");
            }
            gap = gap.max(slot.word);
        }
        next = last.checked_add(1);
    }
    if is_leaf {
        census.leaves += 1;
        if place.is_edge {
            gap = gap.max(u64::MAX - end);
        }
    } else {
        census.inner += 1;
    }
    Ok(gap)
}

impl<E: Entry> View<E> {
    /// Checks every invariant of every node of the version, which was made with a fan-out of `fanout`, and counts what is
    /// there. O(n).
    ///
    /// # Errors
    /// The first rule that is found to be broken: a bug of this crate, or memory that somebody else has written to.
    #[doc(alias = "mt_validate")]
    pub fn validate(&self, fanout: usize) -> Result<Census, Invalid> {
        let mut census = Census::default();
        if !self.is_empty() {
            let place = Place {
                lower: 0,
                upper: u64::MAX,
                is_edge: true,
                depth: 0,
            };
            check::<E>(self.version, &place, fanout, &mut census)?;
        }
        Ok(census)
    }
}
