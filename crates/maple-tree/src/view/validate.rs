//! Checks of the invariants in [`node`](crate::node).

use core::fmt;

use crate::entry::Entry;
use crate::node::{Kind, MOST, NodeRef, fewest};
use crate::stamp::Stamp;
use crate::view::View;

/// The parts of a valid tree.
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

/// A broken rule, and the place.
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

/// The place of a node: the range that it answers for, and whether it is at the right edge.
struct Place {
    lower: u64,
    upper: u64,
    is_edge: bool,
    depth: usize,
}

/// Counts all below a node and returns its largest gap.
fn check<S: Stamp>(node: NodeRef<'_, S>, place: &Place, fanout: usize, census: &mut Census) -> Result<u64, Invalid> {
    let invalid = |rule| {
        Err(Invalid {
            rule,
            index: place.lower,
            depth: place.depth,
        })
    };
    let (len, is_leaf) = (node.len(), node.is_leaf());
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
        let last = node.last(i);
        let Some(lower) = next.filter(|&next| next <= last) else {
            return invalid("slots do not ascend");
        };
        if node.pointer(i).is_null() {
            return invalid("a slot is empty");
        }
        match node.kind() {
            Kind::Leaf(leaf) => {
                let first = leaf.first(i);
                if first < lower || first > last {
                    return invalid("an entry does not begin after the one before it, or ends before it begins");
                }
                census.entries += 1;
                gap = gap.max(first - lower);
            }
            Kind::Inner(inner) => {
                let place = Place {
                    lower,
                    upper: last,
                    is_edge: place.is_edge && i + 1 == len,
                    depth: place.depth + 1,
                };
                if check(inner.child(i), &place, fanout, census)? != inner.gap(i) {
                    return invalid("a slot's gap is not the largest below it");
                }
                gap = gap.max(inner.gap(i));
            }
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
    /// Checks every invariant of every node of the version, which was made with a fan-out of
    /// `fanout`, and counts its parts.
    ///
    /// O(n).
    ///
    /// # Errors
    /// The first broken rule: a bug of this crate, or memory that other code has written to.
    #[doc(alias = "mt_validate")]
    pub fn validate(&self, fanout: usize) -> Result<Census, Invalid> {
        let mut census = Census::default();
        if let Some(root) = self.root() {
            let place = Place {
                lower: 0,
                upper: u64::MAX,
                is_edge: true,
                depth: 0,
            };
            check(root, &place, fanout, &mut census)?;
        }
        Ok(census)
    }
}
