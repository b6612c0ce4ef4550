//! The kinds of mappings that a summary tells apart.

use vmaple_scan::{Mapping, Name};

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cmd::scan) enum Kind {
    Heap,
    Stack,
    /// Memory that is of no file, but for these two.
    Anonymous,
    /// Programs, libraries and data.
    Files,
    /// Files that have no place but in memory: of shm_open(3), memfd_create(2) and the like.
    SharedMemory,
    /// `[vdso]` and the like.
    Kernel,
}

impl Kind {
    pub(in crate::cmd::scan) const ALL: [Self; 6] = [
        Self::Heap,
        Self::Anonymous,
        Self::Files,
        Self::SharedMemory,
        Self::Stack,
        Self::Kernel,
    ];

    pub(in crate::cmd::scan) fn of(mapping: &Mapping<'_>) -> Self {
        match mapping.vma.name {
            Name::Heap => Self::Heap,
            Name::Stack => Self::Stack,
            Name::None | Name::Anon(_) => Self::Anonymous,
            Name::AnonShmem(_) => Self::SharedMemory,
            Name::Path(path) if is_in_memory(path) => Self::SharedMemory,
            Name::Path(path) if path.starts_with(b"[") => Self::Kernel,
            _ => Self::Files,
        }
    }

    pub(in crate::cmd::scan) const fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Stack => "stack",
            Self::Anonymous => "anonymous",
            Self::Files => "files",
            Self::SharedMemory => "shared memory",
            Self::Kernel => "kernel",
        }
    }
}

/// Returns whether the path is one of a file that lies in memory alone.
fn is_in_memory(path: &[u8]) -> bool {
    const PLACES: [&[u8]; 5] = [b"/dev/shm/", b"/memfd:", b"/SYSV", b"/dev/zero", b"/anon_hugepage"];
    PLACES.iter().any(|place| path.starts_with(place))
}
