//! How much may be mapped.

/// The limits of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
