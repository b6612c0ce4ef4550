//! The name of a mapping.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

/// The kernel's escape of a newline in a path.
pub(crate) const NEWLINE: &[u8] = b"\\012";

/// The name of a mapping.
///
/// [`Display`](fmt::Display) is as in maps, but newlines stay as they are, and what is not UTF-8
/// becomes `U+FFFD`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Name<'a> {
    /// Nothing.
    #[default]
    None,
    /// The path of its file, or a name of the kernel's own such as `[vdso]`.
    Path(&'a [u8]),
    /// `[heap]`: what brk(2) moves.
    Heap,
    /// `[stack]`: of the first thread.
    Stack,
    /// `[anon:...]`: private anonymous memory that was given a name.
    Anon(&'a [u8]),
    /// `[anon_shmem:...]`: shared anonymous memory that was given a name.
    AnonShmem(&'a [u8]),
}

/// The kind of a name, without its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameKind {
    /// [`Name::None`]
    #[default]
    None,
    /// [`Name::Path`]
    Path,
    /// [`Name::Heap`]
    Heap,
    /// [`Name::Stack`]
    Stack,
    /// [`Name::Anon`]
    Anon,
    /// [`Name::AnonShmem`]
    AnonShmem,
}

impl NameKind {
    /// Returns the name of this kind with `text`, which is ignored if the kind has none.
    #[must_use]
    #[inline]
    pub const fn with(self, text: &[u8]) -> Name<'_> {
        match self {
            Self::None => Name::None,
            Self::Path => Name::Path(text),
            Self::Heap => Name::Heap,
            Self::Stack => Name::Stack,
            Self::Anon => Name::Anon(text),
            Self::AnonShmem => Name::AnonShmem(text),
        }
    }
}

impl<'a> Name<'a> {
    /// Returns the name that maps shows as `text`; newlines in it stay escaped ([`unescaped`]).
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Self {
        let inner = |before: &[u8]| text.strip_prefix(before)?.strip_suffix(b"]");
        match text {
            b"" => Self::None,
            b"[heap]" => Self::Heap,
            b"[stack]" => Self::Stack,
            _ => match (inner(b"[anon:"), inner(b"[anon_shmem:")) {
                (Some(text), _) => Self::Anon(text),
                (_, Some(text)) => Self::AnonShmem(text),
                _ => Self::Path(text),
            },
        }
    }

    /// Returns its kind.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> NameKind {
        match self {
            Self::None => NameKind::None,
            Self::Path(_) => NameKind::Path,
            Self::Heap => NameKind::Heap,
            Self::Stack => NameKind::Stack,
            Self::Anon(_) => NameKind::Anon,
            Self::AnonShmem(_) => NameKind::AnonShmem,
        }
    }

    /// Returns the bytes that it borrows.
    #[must_use]
    #[inline]
    pub const fn text(&self) -> &'a [u8] {
        match *self {
            Self::None | Self::Heap | Self::Stack => b"",
            Self::Path(text) | Self::Anon(text) | Self::AnonShmem(text) => text,
        }
    }

    /// Returns what maps shows before, as and after its text.
    #[inline]
    pub(crate) const fn parts(&self) -> [&'a [u8]; 3] {
        match *self {
            Self::None => [b"", b"", b""],
            Self::Path(path) => [b"", path, b""],
            Self::Heap => [b"[heap]", b"", b""],
            Self::Stack => [b"[stack]", b"", b""],
            Self::Anon(name) => [b"[anon:", name, b"]"],
            Self::AnonShmem(name) => [b"[anon_shmem:", name, b"]"],
        }
    }
}

/// Returns the text with the kernel's escapes of newlines undone.
///
/// The kernel does not escape backslashes: a path with a backslash and `012` in it reads the same
/// as one with a newline.
#[must_use]
pub fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.windows(NEWLINE.len()).any(|window| window == NEWLINE) {
        return Cow::Borrowed(text);
    }
    let mut to = Vec::with_capacity(text.len());
    unescape_into(text, &mut to);
    Cow::Owned(to)
}

pub(crate) fn unescape_into(text: &[u8], to: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(NEWLINE) {
            to.push(b'\n');
            rest = after;
        } else {
            to.push(byte);
            rest = after;
        }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.parts().iter().flat_map(|part| part.utf8_chunks()) {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Name<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn names_are_told_apart_and_put_together_again() {
        for (text, name) in [
            ("", Name::None),
            ("[heap]", Name::Heap),
            ("[stack]", Name::Stack),
            ("[anon:a b]", Name::Anon(b"a b")),
            ("[anon_shmem:]", Name::AnonShmem(b"")),
            ("[vdso]", Name::Path(b"[vdso]")),
            ("[anon:x", Name::Path(b"[anon:x")),
            ("/a (deleted)", Name::Path(b"/a (deleted)")),
        ] {
            assert_eq!(Name::parse(text.as_bytes()), name);
            assert_eq!(name.kind().with(name.text()), name);
            assert_eq!(format!("{name}"), text);
        }
        assert_eq!(format!("{}", Name::Path(b"/caf\xe9\n")), "/caf\u{fffd}\n");
    }

    #[test]
    fn newlines_come_back() {
        assert_eq!(*unescaped(b"a\\012b\\01\\012"), *b"a\nb\\01\n");
        assert!(matches!(unescaped(b"/bin/true"), Cow::Borrowed(b"/bin/true")));
    }
}
