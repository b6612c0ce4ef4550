//! How much may be mapped, and what a call leaves behind that would be more.

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
    /// What a call leaves behind that fails at one of these.
    pub partial_effects: PartialEffects,
}

/// What a call leaves behind that fails at a limit.
///
/// Besides this, calls that work on one mapping after the other (mprotect(2), names) leave those done that came before the one
/// that failed: that is what their manual says, and so it is here, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartialEffects {
    /// Nothing. The default: what is left behind is of no use, and brings the next limit nearer.
    #[default]
    None,
    /// What Linux 6.18 leaves, so that a recorded run of a program comes to the same mappings: where a call would have replaced or
    /// changed a part of a mapping, the mapping may stay split at the beginning or the end of that part.
    AsLinux,
}

impl Default for Limits {
    /// Linux's: 65530 mappings, and no other limit; calls that fail leave nothing behind.
    fn default() -> Self {
        Self {
            max_map_count: 65_530,
            address_space: u64::MAX,
            data: u64::MAX,
            partial_effects: PartialEffects::None,
        }
    }
}

/// The state of an address space that only writers need: what the writers' lock protects beside the VMAs.
#[derive(Clone, Copy, Debug)]
pub struct MmState {
    pub(crate) limits: Limits,
}
