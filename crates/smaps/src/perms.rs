//! The permissions of a mapping.

use core::fmt;

use crate::vm_flags::{VM_EXEC, VM_MAYSHARE, VM_READ, VM_WRITE};

/// The permissions of a mapping; [`Display`](fmt::Display) is as in maps: `rw-p`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Perms {
    /// `r`: reading.
    pub read: bool,
    /// `w`: writing.
    pub write: bool,
    /// `x`: execution.
    pub execute: bool,
    /// `s`: writes are visible to all that map the same memory; `p` (private) if not.
    pub shared: bool,
}

impl Perms {
    /// Returns the permissions that flags of Linux say (`vm_flags` of `struct vm_area_struct`).
    #[must_use]
    #[inline]
    pub const fn of_vm_flags(vm_flags: u64) -> Self {
        Self {
            read: vm_flags & VM_READ != 0,
            write: vm_flags & VM_WRITE != 0,
            execute: vm_flags & VM_EXEC != 0,
            shared: vm_flags & VM_MAYSHARE != 0,
        }
    }

    /// Returns the flags of Linux that the permissions say.
    #[must_use]
    pub const fn vm_flags(self) -> u64 {
        (if self.read { VM_READ } else { 0 })
            | (if self.write { VM_WRITE } else { 0 })
            | (if self.execute { VM_EXEC } else { 0 })
            | (if self.shared { VM_MAYSHARE } else { 0 })
    }

    /// Returns the letters of maps: `rw-p`.
    #[must_use]
    #[inline]
    pub const fn letters(self) -> [u8; 4] {
        [
            if self.read { b'r' } else { b'-' },
            if self.write { b'w' } else { b'-' },
            if self.execute { b'x' } else { b'-' },
            if self.shared { b's' } else { b'p' },
        ]
    }

    /// Returns the permissions that letters of maps say; `None` if they are no such letters.
    #[must_use]
    pub fn parse(letters: &[u8]) -> Option<Self> {
        let &[read, write, execute, shared] = letters else {
            return None;
        };
        let is = |letter, yes, no| match letter {
            _ if letter == yes => Some(true),
            _ if letter == no => Some(false),
            _ => None,
        };
        Some(Self {
            read: is(read, b'r', b'-')?,
            write: is(write, b'w', b'-')?,
            execute: is(execute, b'x', b'-')?,
            shared: is(shared, b's', b'p')?,
        })
    }
}

impl fmt::Display for Perms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = self.letters().into_iter();
        letters.try_for_each(|letter| fmt::Write::write_char(f, letter.into()))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Perms {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn permissions_become_letters_and_flags_and_are_read_back() {
        for vm_flags in (0..8).flat_map(|low| [low, low | VM_MAYSHARE]) {
            let perms = Perms::of_vm_flags(vm_flags);
            assert_eq!(perms.vm_flags(), vm_flags);
            assert_eq!(Perms::parse(&perms.letters()), Some(perms));
        }
        assert_eq!(Perms::of_vm_flags(3).to_string(), "rw-p");
        for wrong in ["", "rw-", "rw-px", "wr-p", "rw--"] {
            assert_eq!(Perms::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
