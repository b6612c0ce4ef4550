//! How much may be mapped.

/// The limits of an address space. Made of the [default](Self::default), as limits may be added:
///
/// ```
/// let mut limits = vmaple_mm::Limits::default();
/// limits.max_map_count = 1000;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    /// Mappings (`vm.max_map_count`).
    pub max_map_count: usize,
    /// Mapped bytes (RLIMIT_AS).
    pub address_space: u64,
    /// Bytes of private, writable mappings (RLIMIT_DATA).
    pub data: u64,
}

impl Default for Limits {
    /// Linux's: 65530 mappings, and no other limit.
    fn default() -> Self {
        Self {
            max_map_count: 65_530,
            address_space: u64::MAX,
            data: u64::MAX,
        }
    }
}
