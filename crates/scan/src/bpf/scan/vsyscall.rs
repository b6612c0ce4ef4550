//! The page `[vsyscall]`, which is in no tree.
//!
//! The kernel shows it after the mappings of every process that may use it.

use vmaple_smaps::vm_flags::{VM_EXEC, VM_READ};
use vmaple_smaps::{Mapping, Name, VmaRecord};

use crate::record::{Line, NamePlace};

const NAME: &[u8] = b"[vsyscall]";

/// The page as this kernel shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vsyscall(Mapping<'static>);

impl Vsyscall {
    /// The bit of `mm->context.flags` that says whether a process has it
    /// (`MM_CONTEXT_HAS_VSYSCALL`).
    pub(crate) const CONTEXT_FLAG: u64 = 1 << 1;

    /// Returns it as in this process's own maps; `None` if it is not there.
    pub(crate) fn of_this_kernel() -> Option<Self> {
        let text = std::fs::read("/proc/self/maps").ok()?;
        let line = text.split(|&byte| byte == b'\n').rfind(|line| line.ends_with(NAME))?;
        let vma = VmaRecord::parse(line).ok()?;
        let mapping = Mapping::new(VmaRecord {
            name: Name::Path(b""),
            perms: vma.perms,
            ..VmaRecord::new(vma.start..vma.end)
        });
        Some(Self(Mapping {
            vm_flags: mapping.vm_flags & (VM_READ | VM_EXEC),
            thp_eligible: Some(false),
            ..mapping
        }))
    }

    /// Returns its line, whose name goes into the text of all names.
    pub(crate) fn line(&self, names: &mut Vec<u8>) -> Line {
        let name = NamePlace {
            at: names.len(),
            bytes: NAME.len(),
        };
        names.extend(NAME);
        Line::new(&self.0, name)
    }
}
