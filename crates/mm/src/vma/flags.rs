//! Protections and flags, with the bits of Linux.

use bitflags::bitflags;

bitflags! {
    /// A protection: the `prot` of mmap(2) and mprotect(2). Any bits are accepted, as by the system
    /// call.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Prot: u32 {
        /// Pages may be read.
        const READ = 0x1;
        /// Pages may be written.
        const WRITE = 0x2;
        /// Pages may be executed.
        const EXEC = 0x4;
        /// Pages may be used for atomic operations: without effect, as on x86.
        const SEM = 0x8;
        /// mprotect: start at the beginning of a mapping that grows down.
        const GROWSDOWN = 0x0100_0000;
        /// mprotect: end at the end of a mapping that grows up. There are none.
        const GROWSUP = 0x0200_0000;
        const _ = !0;
    }

    /// The `flags` of mmap(2). Any bits are accepted; those without a meaning are ignored, as by
    /// Linux.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct MapFlags: u32 {
        /// Writes go to the object.
        const SHARED = 0x1;
        /// Writes stay in the address space.
        const PRIVATE = 0x2;
        /// As `SHARED`, of a file, with known flags only.
        const SHARED_VALIDATE = 0x3;
        /// As `PRIVATE`, of no file. Linux may drop the pages when memory is short; here they are
        /// never dropped.
        const DROPPABLE = 0x8;
        /// At this address: replaces what is mapped there.
        const FIXED = 0x10;
        /// Of no file.
        const ANONYMOUS = 0x20;
        /// In the low 2 GiB, at the lowest room, if no address is given
        /// ([`Arch::LOW`](crate::pgtable::Arch::LOW)).
        const MAP_32BIT = 0x40;
        /// Above 4 GiB, if no address is given.
        const ABOVE4G = 0x80;
        /// Grows down, and keeps a guard gap below.
        const GROWSDOWN = 0x100;
        /// Locked in memory: refused with `EPERM`, as if RLIMIT_MEMLOCK were 0.
        const LOCKED = 0x2000;
        /// Not counted as committed memory.
        const NORESERVE = 0x4000;
        /// Populated when the call returns.
        const POPULATE = 0x8000;
        /// `POPULATE` without waiting: no page is populated.
        const NONBLOCK = 0x1_0000;
        /// For a stack: without huge pages.
        const STACK = 0x2_0000;
        /// Of huge pages: refused with `EINVAL`, as by a kernel without them.
        const HUGETLB = 0x4_0000;
        /// Keeps the file's metadata in step with writes: only marks the mapping.
        const SYNC = 0x8_0000;
        /// At this address: fails if something is mapped there.
        const FIXED_NOREPLACE = 0x10_0000;
        const _ = !0;
    }

    /// The flags of a VMA (`vm_flags`), with the names and bits of Linux.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct VmFlags: u64 {
        /// May be read.
        const READ = 0x1;
        /// May be written.
        const WRITE = 0x2;
        /// May be executed.
        const EXEC = 0x4;
        /// Writes go to the object.
        const SHARED = 0x8;
        /// mprotect may make it readable.
        const MAYREAD = 0x10;
        /// mprotect may make it writable.
        const MAYWRITE = 0x20;
        /// mprotect may make it executable.
        const MAYEXEC = 0x40;
        /// Shown as shared.
        const MAYSHARE = 0x80;
        /// Grows down.
        const GROWSDOWN = 0x100;
        /// Counts as committed memory.
        const ACCOUNT = 0x10_0000;
        /// Was mapped with `MapFlags::NORESERVE`.
        const NORESERVE = 0x20_0000;
        /// Keeps the file's metadata in step with writes.
        const SYNC = 0x80_0000;
        /// Reads as zeros in a child of fork.
        const WIPEONFORK = 0x200_0000;
        /// Is left out of a core dump.
        const DONTDUMP = 0x400_0000;
        /// Gets no huge pages.
        const NOHUGEPAGE = 0x4000_0000;
        /// Its pages may be dropped when memory is short.
        const DROPPABLE = 0x100_0000_0000;
    }
}

/// `VM_READ`, `VM_WRITE` and `VM_EXEC`.
pub(crate) const ACCESS: VmFlags = VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::EXEC);

/// The protections that mprotect may set: four bits above [`ACCESS`].
pub(crate) const MAY_ACCESS: VmFlags = VmFlags::MAYREAD.union(VmFlags::MAYWRITE).union(VmFlags::MAYEXEC);

impl From<Prot> for VmFlags {
    /// Converts a protection (`calc_vm_prot_bits`).
    fn from(prot: Prot) -> Self {
        Self::from_bits_truncate(u64::from(prot.bits())) & ACCESS
    }
}

impl VmFlags {
    /// Whether it commits memory of its own (`accountable_mapping`).
    pub(crate) fn is_accountable(self) -> bool {
        self & (Self::NORESERVE | Self::SHARED | Self::WRITE) == Self::WRITE
    }

    /// Whether it is code: executable, not writable, no stack.
    pub(crate) fn is_exec_mapping(self) -> bool {
        self & (Self::EXEC | Self::WRITE | Self::GROWSDOWN) == Self::EXEC
    }

    /// Whether it is a stack.
    pub(crate) fn is_stack_mapping(self) -> bool {
        self.contains(Self::GROWSDOWN)
    }

    /// Whether RLIMIT_DATA counts it: private, writable, no stack.
    pub(crate) fn is_data_mapping(self) -> bool {
        self & (Self::WRITE | Self::SHARED | Self::GROWSDOWN) == Self::WRITE
    }
}

/// An access to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// The fetch of an instruction.
    Exec,
}
