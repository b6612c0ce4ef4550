//! Protections and flags, with Linux's bits.

use bitflags::bitflags;

bitflags! {
    /// What may be done with a mapping: the `prot` of mmap(2) and mprotect(2). Any bits can be given, as to the system call.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Prot: u32 {
        /// Read it.
        const READ = 0x1;
        /// Write it.
        const WRITE = 0x2;
        /// Execute it.
        const EXEC = 0x4;
        /// Atomic operations: accepted, without effect, as on x86.
        const SEM = 0x8;
        /// mprotect: from the beginning of a mapping that grows down.
        const GROWSDOWN = 0x0100_0000;
        /// mprotect: to the end of a mapping that grows up, of which there are none.
        const GROWSUP = 0x0200_0000;
        const _ = !0;
    }

    /// How to map: the `flags` of mmap(2). Any bits can be given; those that mean nothing here are ignored, as by Linux.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct MapFlags: u32 {
        /// Writes go to the object.
        const SHARED = 0x1;
        /// Writes stay in the address space.
        const PRIVATE = 0x2;
        /// As `SHARED`, of a file, and with known flags only.
        const SHARED_VALIDATE = 0x3;
        /// As `PRIVATE`, of no file, and the pages may be dropped when memory is short: they read as zeros then. Here they never are.
        const DROPPABLE = 0x8;
        /// At this address, whatever is there.
        const FIXED = 0x10;
        /// Of no file.
        const ANONYMOUS = 0x20;
        /// In the low 2 GiB, if no address is given: as low as there is room ([`Arch::LOW`](crate::pgtable::Arch::LOW)).
        const MAP_32BIT = 0x40;
        /// Above 4 GiB, if no address is given.
        const ABOVE4G = 0x80;
        /// Grows down; a gap is kept below it.
        const GROWSDOWN = 0x100;
        /// Locked: refused with `EPERM`, as where RLIMIT_MEMLOCK is 0.
        const LOCKED = 0x2000;
        /// Not accounted.
        const NORESERVE = 0x4000;
        /// With all its pages, at once.
        const POPULATE = 0x8000;
        /// `POPULATE` without waiting, which is without effect.
        const NONBLOCK = 0x1_0000;
        /// For a stack: never in huge pages.
        const STACK = 0x2_0000;
        /// In huge pages: refused with `EINVAL`, as by a kernel without them.
        const HUGETLB = 0x4_0000;
        /// The file's metadata are in step with what is written: marks the mapping, and nothing else.
        const SYNC = 0x8_0000;
        /// At this address, if nothing is there.
        const FIXED_NOREPLACE = 0x10_0000;
        const _ = !0;
    }

    /// What a VMA is: `vm_flags`, by Linux's names and bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct VmFlags: u64 {
        /// May be read now.
        const READ = 0x1;
        /// May be written now.
        const WRITE = 0x2;
        /// May be executed now.
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
        /// Is not to be counted.
        const NORESERVE = 0x20_0000;
        /// In step with the file's metadata.
        const SYNC = 0x80_0000;
        /// Zeros in a child of fork.
        const WIPEONFORK = 0x200_0000;
        /// Not in a core dump.
        const DONTDUMP = 0x400_0000;
        /// Never in huge pages.
        const NOHUGEPAGE = 0x4000_0000;
        /// Its pages may be dropped.
        const DROPPABLE = 0x100_0000_0000;
    }
}

/// `VM_READ`, `VM_WRITE` and `VM_EXEC` alone.
pub(crate) const ACCESS: VmFlags = VmFlags::READ.union(VmFlags::WRITE).union(VmFlags::EXEC);

/// What mprotect may add, which stands four bits above [`ACCESS`].
pub(crate) const MAY_ACCESS: VmFlags = VmFlags::MAYREAD.union(VmFlags::MAYWRITE).union(VmFlags::MAYEXEC);

impl From<Prot> for VmFlags {
    /// `calc_vm_prot_bits`.
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
