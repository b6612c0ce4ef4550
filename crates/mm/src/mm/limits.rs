//! The limits of an address space, and the effects of calls that fail at one.

/// The limits of an address space. Start from the [default](Self::default), as fields may be added:
///
/// ```
/// let mut limits = vmaple_mm::Limits::default();
/// limits.max_map_count = 1000;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    /// The most mappings (`vm.max_map_count`).
    pub max_map_count: usize,
    /// The most mapped bytes (RLIMIT_AS).
    pub address_space: u64,
    /// The most bytes of private, writable mappings (RLIMIT_DATA).
    pub data: u64,
    /// The effects of a call that fails at one of these.
    pub partial_effects: PartialEffects,
}

/// The effects of a call that fails at a limit.
///
/// Calls that work on one mapping after the other (mprotect(2), names) always keep what they did
/// before the mapping that failed, as their manual says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartialEffects {
    /// No effects. The default: a split is of no use, and brings the next limit nearer.
    #[default]
    None,
    /// Those of Linux 6.18, so that a recorded run of a program comes to the same mappings.
    ///
    /// Where a call would have replaced or changed a part of a mapping, the mapping may stay split
    /// at the start or the end of it.
    AsLinux,
}

impl Default for Limits {
    /// Returns Linux's limits: 65530 mappings, and no other. Calls that fail have no effects.
    fn default() -> Self {
        Self {
            max_map_count: 65_530,
            address_space: u64::MAX,
            data: u64::MAX,
            partial_effects: PartialEffects::None,
        }
    }
}

/// The state that the writers' lock protects next to the VMAs.
#[derive(Clone, Copy, Debug)]
pub struct MmState {
    pub(crate) limits: Limits,
}
