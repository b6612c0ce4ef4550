//! The flags of a mapping, and the letters that smaps shows them as.

use alloc::string::String;

/// May be read.
pub const VM_READ: u64 = 1;
/// May be written.
pub const VM_WRITE: u64 = 2;
/// May be executed.
pub const VM_EXEC: u64 = 4;
/// Writes reach the file, or the other mappings of the same memory.
pub const VM_SHARED: u64 = 8;
/// Mapped as shared; without [`VM_SHARED`] the file was not open for writing.
pub const VM_MAYSHARE: u64 = 0x80;
/// Locked in memory.
pub const VM_LOCKED: u64 = 0x2000;
/// Of hugetlbfs.
pub const VM_HUGETLB: u64 = 0x0040_0000;
/// `MADV_HUGEPAGE` was asked for.
pub const VM_HUGEPAGE: u64 = 0x2000_0000;
/// `MADV_NOHUGEPAGE` was asked for.
pub const VM_NOHUGEPAGE: u64 = 0x4000_0000;
/// The lowest of the four bits of the protection key.
pub const VM_PKEY_SHIFT: u32 = 32;

/// The kernel's letters of a flag that has none.
const NO_LETTERS: [u8; 2] = *b"??";

/// The letters of the lower flags, by their bits.
const LOW: [&[u8; 2]; 32] = [
    b"rd", b"wr", b"ex", b"sh", b"mr", b"mw", b"me", b"ms", b"gd", b"um", b"pf", b"gu", b"uw", b"lo", b"io", b"sr",
    b"rr", b"dc", b"de", b"lf", b"ac", b"nr", b"ht", b"sf", b"ar", b"wf", b"dd", b"sd", b"mm", b"hg", b"nh", b"mg",
];

/// The letters of flags by the names of their bits, as x86-64 has them.
const NAMES: [(&str, &[u8; 2]); 37] = [
    ("READ", b"rd"),
    ("WRITE", b"wr"),
    ("EXEC", b"ex"),
    ("SHARED", b"sh"),
    ("MAYREAD", b"mr"),
    ("MAYWRITE", b"mw"),
    ("MAYEXEC", b"me"),
    ("MAYSHARE", b"ms"),
    ("GROWSDOWN", b"gd"),
    ("UFFD_MISSING", b"um"),
    ("PFNMAP", b"pf"),
    ("MAYBE_GUARD", b"gu"),
    ("UFFD_WP", b"uw"),
    ("LOCKED", b"lo"),
    ("IO", b"io"),
    ("SEQ_READ", b"sr"),
    ("RAND_READ", b"rr"),
    ("DONTCOPY", b"dc"),
    ("DONTEXPAND", b"de"),
    ("LOCKONFAULT", b"lf"),
    ("ACCOUNT", b"ac"),
    ("NORESERVE", b"nr"),
    ("HUGETLB", b"ht"),
    ("SYNC", b"sf"),
    ("ARCH_1", b"ar"),
    ("WIPEONFORK", b"wf"),
    ("DONTDUMP", b"dd"),
    ("SOFTDIRTY", b"sd"),
    ("MIXEDMAP", b"mm"),
    ("HUGEPAGE", b"hg"),
    ("NOHUGEPAGE", b"nh"),
    ("MERGEABLE", b"mg"),
    ("SHADOW_STACK", b"ss"),
    ("DROPPABLE", b"dp"),
    ("UFFD_MINOR", b"ui"),
    ("SEALED", b"sl"),
    ("UFFD_RWP", b"ur"),
];

/// The letters of flags in the line VmFlags, for one kernel.
///
/// Source: `mnemonics` in `show_smap_vma_flags()` of Linux, and the bits in include/linux/mm.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagLetters {
    /// By bit; `None` for a bit that is not shown.
    letters: [Option<[u8; 2]>; 64],
}

impl FlagLetters {
    /// Returns the letters of a release of Linux, by its major and minor number.
    ///
    /// They are those of x86-64 with protection keys.
    #[must_use]
    pub const fn of_release(release: (u32, u32)) -> Self {
        let mut letters = [Some(NO_LETTERS); 64];
        let mut bit = 0;
        while bit < LOW.len() {
            letters[bit] = Some(*LOW[bit]);
            bit += 1;
        }
        if is_before(release, (5, 15)) {
            letters[11] = Some(*b"dw");
        }
        // The key of protected memory has a line of its own.
        let mut bit = VM_PKEY_SHIFT as usize;
        while bit < 37 {
            letters[bit] = None;
            bit += 1;
        }
        letters[37] = Some(if is_before(release, (6, 6)) { *b"ui" } else { *b"ss" });
        letters[38] = Some(*b"ui");
        letters[40] = Some(*b"dp");
        letters[41] = Some(*b"ui");
        letters[42] = Some(*b"sl");
        letters[43] = Some(*b"ur"); // from 7.3 on
        if is_before(release, (6, 16)) {
            letters[63] = Some(*b"sl"); // from 6.10 on
        }
        Self { letters }
    }

    /// Returns the same with the letters of bits that a kernel names, such as `("READ", 0)`.
    ///
    /// Linux 7 describes them as values of an enum (`VMA_READ_BIT`). A name that is not known
    /// changes nothing.
    #[must_use]
    pub fn with_names<'a>(mut self, names: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        for (name, bit) in names {
            let known = NAMES.iter().find(|(known, _)| *known == name);
            if let (Some((_, letters)), Some(place)) = (known, self.letters.get_mut(bit as usize)) {
                *place = Some(**letters);
            }
        }
        self
    }

    /// Returns the same with other letters for a bit, for a kernel of another configuration.
    ///
    /// # Panics
    /// If `bit` is 64 or more.
    #[must_use]
    pub const fn with(mut self, bit: usize, letters: &[u8; 2]) -> Self {
        self.letters[bit] = Some(*letters);
        self
    }

    /// Returns the letters of flags, in the order of their bits.
    pub fn of(&self, vm_flags: u64) -> impl Iterator<Item = [u8; 2]> {
        let mut rest = vm_flags;
        let bits = core::iter::from_fn(move || {
            let bit = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (bit < u64::BITS).then_some(bit as usize)
        });
        bits.filter_map(|bit| self.letters[bit])
    }

    /// Returns the letters of flags as one text: `rd wr mr`.
    #[must_use]
    pub fn text(&self, vm_flags: u64) -> String {
        let mut text = String::new();
        for letters in self.of(vm_flags) {
            let space = if text.is_empty() { None } else { Some(' ') };
            text.extend(space.into_iter().chain(letters.map(char::from)));
        }
        text
    }

    /// Whether a flag has no letters that are known, and is shown as `??`.
    #[must_use]
    pub fn lacks(&self, vm_flags: u64) -> bool {
        self.of(vm_flags).any(|letters| letters == NO_LETTERS)
    }

    /// Returns the flags of letters, and whether all letters are known.
    #[must_use]
    pub fn parse(&self, text: &[u8]) -> (u64, bool) {
        let bit = |letters: &[u8]| {
            let is_it = |known: &Option<[u8; 2]>| known.is_some_and(|known| known[..] == *letters);
            (letters != NO_LETTERS).then(|| self.letters.iter().position(is_it))?
        };
        let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (mut flags, mut all_known) = (0, true);
        for bit in words.map(bit) {
            flags |= bit.map_or(0, |bit| 1 << bit);
            all_known &= bit.is_some();
        }
        (flags, all_known)
    }
}

const fn is_before(release: (u32, u32), other: (u32, u32)) -> bool {
    release.0 < other.0 || release.0 == other.0 && release.1 < other.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_letters_and_letters_flags() {
        let letters = FlagLetters::of_release((6, 18));
        let text = letters.text(0x73 | 1 << 33);
        assert_eq!(text, "rd wr mr mw me");
        assert_eq!(letters.parse(text.as_bytes()), (0x73, true));
        assert_eq!(letters.parse(b" ur "), (1 << 43, true));
        // Letters of a later kernel become no flag, and the caller is told.
        assert_eq!(letters.parse(b"rd zz"), (1, false));
        assert_eq!(letters.parse(b"?? rd"), (1, false));
        assert!(letters.lacks(1 << 62) && !letters.lacks(0x73 | 0xf << 32));
        assert_eq!(letters.with(38, b"ss").parse(b"ss ui"), (1 << 37 | 1 << 41, true));
    }

    #[test]
    fn bits_that_a_kernel_names_have_the_letters_of_their_names() {
        let of_release = FlagLetters::of_release((6, 18));
        let letters = of_release.with_names([("SEALED", 50), ("NEW", 42), ("READ", 64)]);
        assert_eq!(letters.of(1 << 50).next(), Some(*b"sl"));
        assert_eq!(letters.of(1 << 42).next(), of_release.of(1 << 42).next());
        assert_eq!(letters.text(1), "rd");
    }

    #[test]
    fn each_kernel_has_its_letters_of_flags() {
        for (release, bit, expected) in [
            ((5, 10), 11, Some(b"dw")),
            ((6, 18), 11, Some(b"gu")),
            ((6, 18), 33, None),
            ((6, 1), 37, Some(b"ui")),
            ((6, 18), 37, Some(b"ss")),
            ((6, 18), 38, Some(b"ui")),
            ((6, 18), 40, Some(b"dp")),
            ((6, 18), 42, Some(b"sl")),
            ((6, 12), 63, Some(b"sl")),
            ((6, 16), 63, Some(b"??")),
            ((7, 3), 43, Some(b"ur")),
            ((7, 3), 44, Some(b"??")),
        ] {
            let letters = FlagLetters::of_release(release);
            assert_eq!(letters.of(1 << bit).next(), expected.copied(), "{release:?}, bit {bit}");
        }
    }
}
