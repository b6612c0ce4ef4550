//! Addresses and pages.

use core::fmt;
use core::ops::{Add, Sub};

/// Binary logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// A virtual address of the address space, any number.
///
/// ```
/// use vmaple_mm::VirtAddr;
/// assert_eq!(VirtAddr(0x1234).page_floor(), VirtAddr(0x1000));
/// assert_eq!(VirtAddr(0x1234).to_string(), "0x1234");
/// assert_eq!(VirtAddr(0x1234) + 0x10 - VirtAddr(0x1000), 0x244);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VirtAddr(pub u64);

impl VirtAddr {
    /// The first address of its page.
    #[doc(alias = "PAGE_ALIGN_DOWN")]
    #[must_use]
    pub const fn page_floor(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }

    /// Whether it is the first address of a page.
    #[doc(alias = "offset_in_page")]
    #[must_use]
    pub const fn is_page_aligned(self) -> bool {
        self.0.is_multiple_of(PAGE_SIZE)
    }
}

/// Overflows as numbers do.
impl Add<u64> for VirtAddr {
    type Output = Self;

    fn add(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
}

/// Overflows as numbers do.
impl Sub<u64> for VirtAddr {
    type Output = Self;

    fn sub(self, bytes: u64) -> Self {
        Self(self.0 - bytes)
    }
}

/// The bytes from another address up to this one. Overflows as numbers do.
impl Sub for VirtAddr {
    type Output = u64;

    fn sub(self, other: Self) -> u64 {
        self.0 - other.0
    }
}

impl From<u64> for VirtAddr {
    fn from(address: u64) -> Self {
        Self(address)
    }
}

impl fmt::Display for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::LowerHex for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// The length in whole pages, in bytes; 0 if that overflows, as the kernel's PAGE_ALIGN gives.
pub(crate) const fn page_align(len: u64) -> u64 {
    len.wrapping_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1)
}
