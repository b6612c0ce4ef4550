//! Addresses, ranges of them, and pages.

use core::fmt;
use core::ops::{Add, AddAssign, Range, Sub};

/// Binary logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// A virtual address of an address space: any number.
///
/// ```
/// use vmaple_mm::VirtAddr;
/// let addr = VirtAddr(0x1234);
/// assert_eq!((addr.page_floor(), addr.page_offset()), (VirtAddr(0x1000), 0x234));
/// assert_eq!(addr.to_string(), "0x1234");
/// assert_eq!(addr + 0x10 - VirtAddr(0x1000), 0x244);
/// assert_eq!(VirtAddr(u64::MAX).checked_add(1), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VirtAddr(pub u64);

impl VirtAddr {
    /// Returns the first address of the page.
    #[doc(alias = "PAGE_ALIGN_DOWN")]
    #[inline]
    #[must_use]
    pub const fn page_floor(self) -> Self {
        self.align_down(PAGE_SIZE)
    }

    /// Returns the first address of the next page, or this one if it is the first of a page; 0 if
    /// that overflows.
    #[doc(alias = "PAGE_ALIGN")]
    #[inline]
    pub(crate) const fn page_ceil(self) -> Self {
        Self(page_align(self.0))
    }

    /// Returns the offset in the page.
    #[doc(alias = "offset_in_page")]
    #[inline]
    #[must_use]
    pub const fn page_offset(self) -> u64 {
        self.0 & (PAGE_SIZE - 1)
    }

    /// Returns whether this is the first address of a page.
    #[inline]
    #[must_use]
    pub const fn is_page_aligned(self) -> bool {
        self.page_offset() == 0
    }

    /// Returns the sum, or `None` if it overflows.
    #[inline]
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(addr) => Some(Self(addr)),
            None => None,
        }
    }

    /// Returns the difference, or `None` if it is below 0.
    #[inline]
    #[must_use]
    pub const fn checked_sub(self, bytes: u64) -> Option<Self> {
        match self.0.checked_sub(bytes) {
            Some(addr) => Some(Self(addr)),
            None => None,
        }
    }

    /// Returns the difference, at least 0.
    #[inline]
    #[must_use]
    pub const fn saturating_sub(self, bytes: u64) -> Self {
        Self(self.0.saturating_sub(bytes))
    }

    /// Returns the sum, at most the highest address.
    #[inline]
    #[must_use]
    pub const fn saturating_add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Returns the range of `len` bytes from here on, or `None` if it overflows.
    #[inline]
    #[must_use]
    pub const fn checked_range(self, len: u64) -> Option<VirtRange> {
        match self.checked_add(len) {
            Some(end) => Some(VirtRange::new(self, end)),
            None => None,
        }
    }

    /// Returns the number of the page.
    #[doc(alias = "PHYS_PFN")]
    #[inline]
    #[must_use]
    pub const fn page_number(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }

    /// Returns the lowest multiple of `align`, a power of two, that is not below the address;
    /// `None` if that overflows.
    #[cfg(feature = "std")]
    pub(crate) fn checked_align_up(self, align: u64) -> Option<Self> {
        self.0.checked_next_multiple_of(align).map(Self)
    }

    /// Returns the highest multiple of `align`, a power of two, that is not above the address.
    #[inline]
    pub(crate) const fn align_down(self, align: u64) -> Self {
        Self(self.0 & !(align - 1))
    }
}

/// Overflows as numbers do.
impl Add<u64> for VirtAddr {
    type Output = Self;

    #[inline]
    fn add(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
}

/// Overflows as numbers do.
impl AddAssign<u64> for VirtAddr {
    #[inline]
    fn add_assign(&mut self, bytes: u64) {
        self.0 += bytes;
    }
}

/// Overflows as numbers do.
impl Sub<u64> for VirtAddr {
    type Output = Self;

    #[inline]
    fn sub(self, bytes: u64) -> Self {
        Self(self.0 - bytes)
    }
}

/// The bytes from another address up to this one. Overflows as numbers do.
impl Sub for VirtAddr {
    type Output = u64;

    #[inline]
    fn sub(self, other: Self) -> u64 {
        self.0 - other.0
    }
}

impl From<u64> for VirtAddr {
    fn from(address: u64) -> Self {
        Self(address)
    }
}

impl From<VirtAddr> for u64 {
    fn from(address: VirtAddr) -> Self {
        address.0
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

/// A range of addresses, `end` excluded. Empty if `end` is not above `start`.
///
/// ```
/// use vmaple_mm::{VirtAddr, VirtRange};
/// let range = VirtRange::from(0x1000..0x3000);
/// assert_eq!((range.len(), range.pages().count()), (0x2000, 2));
/// assert!(range.contains(VirtAddr(0x2fff)) && !range.contains(range.end));
/// assert!(range.overlaps(0x2000..0x5000) && range.covers(0x2000..0x3000));
/// assert_eq!(range.intersection(0x2000..0x5000), VirtRange::from(0x2000..0x3000));
/// assert_eq!(range.to_string(), "0x1000..0x3000");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct VirtRange {
    /// The first address.
    pub start: VirtAddr,
    /// One past the last address.
    pub end: VirtAddr,
}

impl VirtRange {
    /// Creates a range.
    #[inline]
    #[must_use]
    pub const fn new(start: VirtAddr, end: VirtAddr) -> Self {
        Self { start, end }
    }

    /// Returns the number of bytes.
    #[inline]
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Returns whether there is no address in it.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end.0 <= self.start.0
    }

    /// Returns whether `addr` is in it.
    #[inline]
    #[must_use]
    pub const fn contains(self, addr: VirtAddr) -> bool {
        self.start.0 <= addr.0 && addr.0 < self.end.0
    }

    /// Returns whether `other` starts and ends in it.
    #[inline]
    #[must_use]
    pub fn covers(self, other: impl Into<Self>) -> bool {
        let other = other.into();
        self.start <= other.start && other.end <= self.end
    }

    /// Returns whether each begins before the other ends.
    #[inline]
    #[must_use]
    pub fn overlaps(self, other: impl Into<Self>) -> bool {
        let other = other.into();
        self.start < other.end && other.start < self.end
    }

    /// Returns the addresses that are in both.
    #[inline]
    #[must_use]
    pub fn intersection(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// Returns `start`, and every address that is whole pages above it.
    #[inline]
    pub fn pages(self) -> impl Iterator<Item = VirtAddr> {
        (self.start.0..self.end.0).step_by(PAGE_SIZE as usize).map(VirtAddr)
    }
}

impl From<Range<VirtAddr>> for VirtRange {
    #[inline]
    fn from(range: Range<VirtAddr>) -> Self {
        Self::new(range.start, range.end)
    }
}

impl From<Range<u64>> for VirtRange {
    #[inline]
    fn from(range: Range<u64>) -> Self {
        Self::new(VirtAddr(range.start), VirtAddr(range.end))
    }
}

impl From<VirtRange> for Range<u64> {
    #[inline]
    fn from(range: VirtRange) -> Self {
        range.start.0..range.end.0
    }
}

impl fmt::Display for VirtRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl fmt::Debug for VirtRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the length in whole pages, in bytes; 0 if that overflows, as the kernel's PAGE_ALIGN
/// does.
pub(crate) const fn page_align(len: u64) -> u64 {
    len.wrapping_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1)
}
