//! The line VmFlags of smaps.

use vmaple_mm::VmFlags;

use crate::text::Text;

/// The letters of each flag, by its bit.
///
/// Source: `mnemonics` in `show_smap_vma_flags()` of Linux.
const LETTERS: [&[u8; 2]; 44] = [
    b"rd", b"wr", b"ex", b"sh", b"mr", b"mw", b"me", b"ms", b"gd", b"um", b"pf", b"gu", b"uw", b"lo", b"io", b"sr",
    b"rr", b"dc", b"de", b"lf", b"ac", b"nr", b"ht", b"sf", b"ar", b"wf", b"dd", b"sd", b"mm", b"hg", b"nh", b"mg",
    b"??", b"??", b"??", b"??", b"??", b"??", b"ss", b"??", b"dp", b"ui", b"sl", b"ur",
];

/// The letters of flags, in the order of their bits.
fn letters(flags: VmFlags) -> impl Iterator<Item = &'static [u8; 2]> {
    let bits = (0..64).filter(move |bit| flags.bits() >> bit & 1 == 1);
    bits.map(|bit| LETTERS.get(bit).copied().unwrap_or(b"??"))
}

/// Writes the letters of flags, each followed by a space.
pub(crate) fn put_letters(text: &mut Text<'_>, flags: VmFlags) {
    for letters in letters(flags) {
        text.put(letters);
        text.put(b" ");
    }
}

/// Flags as text: `rd mr`.
#[cfg(feature = "serde")]
pub(crate) fn serialize<S: serde::Serializer>(flags: &VmFlags, serializer: S) -> Result<S::Ok, S::Error> {
    struct Letters(VmFlags);

    impl core::fmt::Display for Letters {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            for (i, &[first, second]) in letters(self.0).enumerate() {
                let space = if i > 0 { " " } else { "" };
                write!(f, "{space}{}{}", char::from(first), char::from(second))?;
            }
            Ok(())
        }
    }

    serializer.collect_str(&Letters(*flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(flags: VmFlags) -> [u8; 2] {
        let mut letters = letters(flags);
        let only = letters.next().copied().unwrap_or_default();
        assert!(letters.next().is_none(), "{flags:?}");
        only
    }

    #[test]
    fn flags_have_linux_s_letters() {
        for (bit, expected) in [
            (0, b"rd"),
            (7, b"ms"),
            (8, b"gd"),
            (11, b"gu"),
            (13, b"lo"),
            (20, b"ac"),
            (21, b"nr"),
            (31, b"mg"),
            (38, b"ss"),
            (40, b"dp"),
            (41, b"ui"),
            (42, b"sl"),
            (43, b"ur"),
            (44, b"??"),
            (63, b"??"),
        ] {
            assert_eq!(only(VmFlags::from_bits_retain(1 << bit)), *expected, "bit {bit}");
        }
        for (flags, expected) in [
            (VmFlags::SYNC, b"sf"),
            (VmFlags::WIPEONFORK, b"wf"),
            (VmFlags::DONTDUMP, b"dd"),
            (VmFlags::NOHUGEPAGE, b"nh"),
            (VmFlags::DROPPABLE, b"dp"),
        ] {
            assert_eq!(only(flags), *expected, "{flags:?}");
        }
    }
}
