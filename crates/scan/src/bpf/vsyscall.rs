//! The page `[vsyscall]`, which is in no tree: the kernel shows it behind the mappings of every process that may use it.

use crate::text::parse;
use crate::text::record::{Line, NameKind, VM_EXEC, VM_READ};

const NAME: &[u8] = b"[vsyscall]";

/// The page as this kernel shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vsyscall {
    start: u64,
    end: u64,
    vm_flags: u64,
}

impl Vsyscall {
    /// The bit of `mm->context.flags` that says whether a process has it (`MM_CONTEXT_HAS_VSYSCALL`).
    pub(crate) const CONTEXT_FLAG: u64 = 1 << 1;

    /// As in our own maps; nothing if it is not there.
    pub(crate) fn of_this_kernel() -> Option<Self> {
        let text = std::fs::read("/proc/self/maps").ok()?;
        let line = text.split(|&byte| byte == b'\n').rfind(|line| line.ends_with(NAME))?;
        let line = parse::parse_maps_line(line)?;
        Some(Self {
            start: line.start,
            end: line.end,
            vm_flags: line.vm_flags & (VM_READ | VM_EXEC),
        })
    }

    /// Its line, with its name in the text of all.
    pub(crate) fn line(&self, names: &mut Vec<u8>) -> Line {
        let name_at = names.len();
        names.extend(NAME);
        Line {
            start: self.start,
            end: self.end,
            from: self.start,
            vm_flags: self.vm_flags,
            name: NameKind::Path,
            name_at,
            name_bytes: NAME.len(),
            page_bytes: 4096,
            thp_eligible: Some(false),
            is_validated: true,
            ..Line::default()
        }
    }
}
