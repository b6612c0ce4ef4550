//! A version as text, to look at.

use core::fmt;

use crate::entry::Entry;
use crate::root::Version;
use crate::view::View;

/// A version as indented text, from [`View::dump`]: a line for each slot.
pub struct Dump<'v, E: Entry>(&'v View<E>);

/// A version in the language of Graphviz, from [`View::dump_dot`].
pub struct DumpDot<'v, E: Entry>(&'v View<E>);

impl<E: Entry> View<E> {
    /// The nodes as indented text: of a child the last index that it answers for and its largest gap, of an entry its range.
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

    /// The nodes as a graph: `dot -Tsvg` draws it.
    #[must_use]
    pub fn dump_dot(&self) -> DumpDot<'_, E> {
        DumpDot(self)
    }
}

impl<E: Entry> fmt::Display for Dump<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("empty\n");
        }
        text::<E>(f, self.0.version, 0)
    }
}

fn text<E: Entry>(f: &mut fmt::Formatter<'_>, version: Version<E::Stamp>, indent: usize) -> fmt::Result {
    // SAFETY: the view that is shown keeps its nodes.
    let node = unsafe { &*version.node };
    let (len, inner) = (node.len(), indent + 2);
    if version.height == 1 {
        let noun = if len == 1 { "entry" } else { "entries" };
        writeln!(f, "{:indent$}leaf, {len} {noun}", "")?;
        return (0..len).try_for_each(|i| writeln!(f, "{:inner$}{:#x}..={:#x}", "", node.slot(i).word, node.last(i)));
    }
    writeln!(f, "{:indent$}node, {len} children", "")?;
    (0..len).try_for_each(|i| {
        let (node, height, last, gap) = (node.child(i), version.height - 1, node.last(i), node.slot(i).word);
        writeln!(f, "{:inner$}up to {last:#x}, gap {gap:#x}", "")?;
        text::<E>(f, Version { node, height }, inner + 2)
    })
}

impl<E: Entry> fmt::Display for DumpDot<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("digraph maple_tree {\n  node [shape=record, fontname=monospace];\n")?;
        if !self.0.is_empty() {
            dot::<E>(f, self.0.version, &mut 0)?;
        }
        f.write_str("}\n")
    }
}

/// Draws a node and what is below it; `count` numbers the nodes.
fn dot<E: Entry>(f: &mut fmt::Formatter<'_>, version: Version<E::Stamp>, count: &mut usize) -> fmt::Result {
    // SAFETY: the view that is shown keeps its nodes.
    let node = unsafe { &*version.node };
    let me = *count;
    *count += 1;
    write!(f, "  n{me} [label=\"")?;
    for i in 0..node.len() {
        let (bar, word, last) = (if i > 0 { "|" } else { "" }, node.slot(i).word, node.last(i));
        if version.height == 1 {
            write!(f, "{bar}{word:#x}\\n{last:#x}")?;
        } else {
            write!(f, "{bar}<s{i}>{last:#x}\\ngap {word:#x}")?;
        }
    }
    f.write_str("\"];\n")?;
    if version.height > 1 {
        for i in 0..node.len() {
            writeln!(f, "  n{me}:s{i} -> n{count};")?;
            let (node, height) = (node.child(i), version.height - 1);
            dot::<E>(f, Version { node, height }, count)?;
        }
    }
    Ok(())
}
