//! A version as text or as a graph.

use core::fmt;

use crate::entry::Entry;
use crate::node::{Kind, NodeRef};
use crate::stamp::Stamp;
use crate::view::View;

/// A version as indented text, from [`View::dump`]: a line for each slot.
pub struct Dump<'v, E: Entry>(&'v View<E>);

/// A version in the language of Graphviz, from [`View::dump_dot`].
pub struct DumpDot<'v, E: Entry>(&'v View<E>);

impl<E: Entry> View<E> {
    /// Returns the nodes as indented text: a child's last index and largest gap, an entry's range.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// tree.insert_range(0x10..=0x1f, 1)?;
    /// assert_eq!(tree.snapshot()?.dump().to_string(), "leaf, 1 entry\n  0x10..=0x1f\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "mt_dump")]
    #[must_use]
    pub fn dump(&self) -> Dump<'_, E> {
        Dump(self)
    }

    /// Returns the nodes as a graph: `dot -Tsvg` draws it.
    #[must_use]
    pub fn dump_dot(&self) -> DumpDot<'_, E> {
        DumpDot(self)
    }
}

impl<E: Entry> fmt::Display for Dump<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.root() {
            None => f.write_str("empty\n"),
            Some(root) => text(f, root, 0),
        }
    }
}

fn text<S: Stamp>(f: &mut fmt::Formatter<'_>, node: NodeRef<'_, S>, indent: usize) -> fmt::Result {
    let inner = indent + 2;
    match node.kind() {
        Kind::Leaf(leaf) => {
            let len = leaf.len();
            let noun = if len == 1 { "entry" } else { "entries" };
            writeln!(f, "{:indent$}leaf, {len} {noun}", "")?;
            (0..len).try_for_each(|i| writeln!(f, "{:inner$}{:#x}..={:#x}", "", leaf.first(i), leaf.last(i)))
        }
        Kind::Inner(node) => {
            writeln!(f, "{:indent$}node, {} children", "", node.len())?;
            (0..node.len()).try_for_each(|i| {
                writeln!(f, "{:inner$}up to {:#x}, gap {:#x}", "", node.last(i), node.gap(i))?;
                text(f, node.child(i), inner + 2)
            })
        }
    }
}

impl<E: Entry> fmt::Display for DumpDot<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("digraph maple_tree {\n  node [shape=record, fontname=monospace];\n")?;
        if let Some(root) = self.0.root() {
            dot(f, root, &mut 0)?;
        }
        f.write_str("}\n")
    }
}

/// Draws a node and all below it; `count` numbers the nodes.
fn dot<S: Stamp>(f: &mut fmt::Formatter<'_>, node: NodeRef<'_, S>, count: &mut usize) -> fmt::Result {
    let me = *count;
    *count += 1;
    write!(f, "  n{me} [label=\"")?;
    let bar = |i| if i > 0 { "|" } else { "" };
    match node.kind() {
        Kind::Leaf(leaf) => {
            for i in 0..leaf.len() {
                write!(f, "{}{:#x}\\n{:#x}", bar(i), leaf.first(i), leaf.last(i))?;
            }
            f.write_str("\"];\n")
        }
        Kind::Inner(inner) => {
            for i in 0..inner.len() {
                write!(f, "{}<s{i}>{:#x}\\ngap {:#x}", bar(i), inner.last(i), inner.gap(i))?;
            }
            f.write_str("\"];\n")?;
            (0..inner.len()).try_for_each(|i| {
                writeln!(f, "  n{me}:s{i} -> n{count};")?;
                dot(f, inner.child(i), count)
            })
        }
    }
}
