//! Reads what the kernel describes of its types (BTF), as far as a linker of BPF programs does not.
//!
//! Source: Documentation/bpf/btf.rst of Linux.

use std::fs;

/// The kinds of types that are looked at.
const ENUM: u32 = 6;
const FUNC: u32 = 12;

/// The description of types.
pub(crate) struct Btf(Vec<u8>);

/// A type that is described.
struct Type<'a> {
    name: &'a [u8],
    kind: u32,
    /// How many parts it has, as an enum has values.
    parts: usize,
    /// What follows the three words that each type has.
    rest: &'a [u8],
}

impl Btf {
    /// Reads that of the running kernel; `None` if it has none.
    pub(crate) fn of_this_kernel() -> Option<Self> {
        fs::read("/sys/kernel/btf/vmlinux").ok().map(Self)
    }

    /// Returns the values of enums whose names begin with `prefix` and end with `suffix`: what is
    /// between, and the value.
    pub(crate) fn enumerators<'a>(
        &'a self,
        prefix: &'a str,
        suffix: &'a str,
    ) -> impl Iterator<Item = (&'a str, u32)> + use<'a> {
        let values = self.types().filter(|found| found.kind == ENUM).flat_map(|found| {
            let (values, _) = found.rest.as_chunks::<8>();
            values.iter().take(found.parts)
        });
        values.filter_map(move |value| {
            let name = self.text(word(value, 0)?)?;
            let name = str::from_utf8(name).ok()?.strip_prefix(prefix)?.strip_suffix(suffix)?;
            Some((name, word(value, 4)?))
        })
    }

    /// Returns whether the kernel has a function of this name.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.types()
            .any(|found| found.kind == FUNC && found.name == name.as_bytes())
    }

    /// Returns the types, up to the first of an unknown kind.
    fn types(&self) -> impl Iterator<Item = Type<'_>> {
        let section = |from: usize| {
            let at = word(&self.0, 4)?.checked_add(word(&self.0, from)?)? as usize;
            self.0.get(at..)?.get(..word(&self.0, from + 4)? as usize)
        };
        let mut rest = section(8).unwrap_or_default();
        std::iter::from_fn(move || {
            let (name, info) = (word(rest, 0)?, word(rest, 4)?);
            let (kind, parts) = (info >> 24 & 31, info as usize & 0xffff);
            let after = rest.get(12..)?;
            let found = Type {
                name: self.text(name)?,
                kind,
                parts,
                rest: after,
            };
            rest = after.get(bytes_after(kind, parts)?..)?;
            Some(found)
        })
    }

    /// Returns a text by its place among the texts.
    fn text(&self, at: u32) -> Option<&[u8]> {
        let texts = word(&self.0, 4)?.checked_add(word(&self.0, 16)?)?;
        let text = self.0.get(texts.checked_add(at)? as usize..)?;
        text.split(|&byte| byte == 0).next()
    }
}

/// Returns the bytes that a type of this kind has after its first three words; `None` if the kind
/// is not known.
fn bytes_after(kind: u32, parts: usize) -> Option<usize> {
    Some(match kind {
        // Pointers, names and qualifiers of types, functions, floats.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables, tags.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Enums, functions' types.
        6 | 13 => 8 * parts,
        // Structures, unions, sections, wide enums.
        4 | 5 | 15 | 19 => 12 * parts,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A description of an integer, an enum of two values, and a function.
    fn example() -> Vec<u8> {
        let texts = b"\0int\0VMA_READ_BIT\0VMA_OTHER\0run\0";
        let types = [
            [1, 1 << 24, 4].as_slice(),
            &[32],
            &[0, 6 << 24 | 2, 4],
            &[5, 7, 18, 9],
            &[28, 12 << 24, 1],
        ]
        .concat();
        let bytes = types.len() as u32 * 4;
        let header = [0x1_eb9f, 24, 0, bytes, bytes, texts.len() as u32];
        let words = header.into_iter().chain(types).flat_map(u32::to_ne_bytes);
        words.chain(*texts).collect()
    }

    #[test]
    fn values_of_enums_and_functions_are_found_by_their_names() {
        let btf = Btf(example());
        assert_eq!(btf.enumerators("VMA_", "_BIT").collect::<Vec<_>>(), [("READ", 7)]);
        assert_eq!(
            btf.enumerators("VMA_", "").collect::<Vec<_>>(),
            [("READ_BIT", 7), ("OTHER", 9)]
        );
        assert!(btf.has_function("run") && !btf.has_function("int") && !btf.has_function(""));
    }

    #[test]
    fn a_description_that_is_cut_or_damaged_is_read_without_a_panic() {
        let whole = example();
        for length in 0..whole.len() {
            let cut = Btf(whole[..length].to_vec());
            let _ = (cut.enumerators("VMA_", "").count(), cut.has_function("run"));
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let damaged = Btf(damaged);
                let _ = (damaged.enumerators("VMA_", "").count(), damaged.has_function("run"));
            }
        }
    }

    #[test]
    fn the_types_of_this_kernel_are_all_read() {
        let Some(btf) = Btf::of_this_kernel() else {
            return eprintln!("skipped: this kernel does not describe its types");
        };
        assert!(btf.has_function("bpf_iter_task"));
        let last = btf.types().last().unwrap();
        let after = bytes_after(last.kind, last.parts).unwrap();
        assert_eq!(last.rest.len(), after, "a kind of types that is not known");
    }
}
