//! What one line of maps says, in plain fields.

use core::fmt;

use vmaple_mm::{PAGE_SHIFT, Role, VmFlags, Vma};

/// A VMA as a reader of maps sees it.
///
/// All fields are of one VMA of one instant. What it borrows is the section, the snapshot or the [`Maps`](crate::Maps) that it
/// came from; with the feature `serde` it can be serialized, with text for [`Perms`] and [`Name`].
///
/// ```
/// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr, VmaRead};
/// use vmaple_proc::VmaRecord;
///
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
/// mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ | Prot::WRITE, private, None, 0)?;
///
/// // Nothing is copied: the records lie in the section.
/// let reader = mm.reader()?;
/// let section = reader.read_lock().unwrap();
/// for record in section.iter_from(0).map(|vma| VmaRecord::new(vma, 0)) {
///     assert_eq!((record.start, record.end), (0x10000, 0x13000));
///     assert_eq!(record.perms.to_string(), "rw-p");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: `struct procmap_query` of Linux has the same fields but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct VmaRecord<'a> {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What may be done with it.
    pub perms: Perms,
    /// Where `start` is in the file, in bytes; 0 without a file.
    pub offset: u64,
    /// The file's device, major and minor; 0 and 0 without a file.
    pub dev: (u32, u32),
    /// The file's inode; 0 without a file.
    pub inode: u64,
    /// What it is called.
    pub name: Name<'a>,
    /// From here on it is new to this scan; `start`, but where the scan had come further when the VMA grew or was merged. A sum
    /// over `new_from..end` counts no address twice.
    pub new_from: u64,
}

/// What may be done with a VMA; [`Display`](fmt::Display) is as in maps: `rw-p`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Perms {
    /// `r`: reading.
    pub read: bool,
    /// `w`: writing.
    pub write: bool,
    /// `x`: execution.
    pub execute: bool,
    /// `s`: writes are seen by others that map the same; `p` (private) if not.
    pub shared: bool,
}

/// What a VMA is called; [`Display`](fmt::Display) is as in maps but for newlines, which are themselves, and for what is not
/// UTF-8, which becomes `U+FFFD`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Name<'a> {
    /// Nothing.
    #[default]
    None,
    /// The path of its file.
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

impl<'a> VmaRecord<'a> {
    /// The record of a VMA for a scan that has come to the address `cursor`, which is below the VMA's end.
    #[inline]
    #[must_use]
    pub fn new(vma: &'a Vma, cursor: u64) -> Self {
        let (offset, dev, inode) = match vma.file() {
            Some(file) => (vma.pgoff() << PAGE_SHIFT, file.dev(), file.inode()),
            None => (0, (0, 0), 0),
        };
        let range = vma.range();
        Self {
            start: range.start.0,
            end: range.end.0,
            perms: Perms::new(vma.flags()),
            offset,
            dev,
            inode,
            name: Name::new(vma),
            new_from: range.start.0.max(cursor),
        }
    }

    /// Where `new_from` is in the file.
    #[inline]
    pub(crate) fn offset_of_new(&self) -> u64 {
        match self.name {
            Name::Path(_) | Name::AnonShmem(_) => self.offset.wrapping_add(self.new_from - self.start),
            _ => 0,
        }
    }

    /// The same with another text in its name.
    pub(crate) fn over<'b>(&self, text: &'b [u8]) -> VmaRecord<'b> {
        VmaRecord {
            name: self.name.over(text),
            ..*self
        }
    }
}

impl Perms {
    #[inline]
    fn new(flags: VmFlags) -> Self {
        Self {
            read: flags.contains(VmFlags::READ),
            write: flags.contains(VmFlags::WRITE),
            execute: flags.contains(VmFlags::EXEC),
            shared: flags.contains(VmFlags::MAYSHARE),
        }
    }

    /// As in maps: `rw-p`.
    #[inline]
    pub(crate) fn letters(self) -> [u8; 4] {
        let letter = |is: bool, yes| if is { yes } else { b'-' };
        [
            letter(self.read, b'r'),
            letter(self.write, b'w'),
            letter(self.execute, b'x'),
            if self.shared { b's' } else { b'p' },
        ]
    }
}

impl<'a> Name<'a> {
    /// In the order in which the kernel asks (`get_vma_name()`).
    #[inline]
    fn new(vma: &'a Vma) -> Self {
        match (vma.file(), vma.anon_name(), vma.role()) {
            (Some(_), Some(name), _) => Self::AnonShmem(name),
            (Some(file), None, _) => Self::Path(file.path()),
            (None, _, Role::Heap) => Self::Heap,
            (None, _, Role::Stack) => Self::Stack,
            (None, Some(name), _) => Self::Anon(name),
            (None, None, _) => Self::None,
        }
    }

    /// What stands before, in, and behind it.
    #[inline]
    pub(crate) fn parts(&self) -> [&'a [u8]; 3] {
        match *self {
            Self::None => [b"", b"", b""],
            Self::Path(path) => [b"", path, b""],
            Self::Heap => [b"[heap]", b"", b""],
            Self::Stack => [b"[stack]", b"", b""],
            Self::Anon(name) => [b"[anon:", name, b"]"],
            Self::AnonShmem(name) => [b"[anon_shmem:", name, b"]"],
        }
    }

    /// The bytes that it borrows.
    pub(crate) fn text(&self) -> &'a [u8] {
        self.parts()[1]
    }

    fn over<'b>(&self, text: &'b [u8]) -> Name<'b> {
        match self {
            Self::None => Name::None,
            Self::Path(_) => Name::Path(text),
            Self::Heap => Name::Heap,
            Self::Stack => Name::Stack,
            Self::Anon(_) => Name::Anon(text),
            Self::AnonShmem(_) => Name::AnonShmem(text),
        }
    }
}

impl fmt::Display for Perms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letters()
            .iter()
            .try_for_each(|&letter| fmt::Write::write_char(f, letter.into()))
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
impl serde::Serialize for Perms {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Name<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
