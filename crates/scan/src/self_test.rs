//! Before the first scan: what the program says of a child process of our own must be what the kernel says. A field that was
//! renamed, moved or has another meaning on this kernel shows here, and the method is refused rather than wrong.

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use crate::bpf::{Bounds, Bpf};
use crate::error::{Error, Result};
use crate::form::{Field, Form, label};
use crate::identity;
use crate::layout::map_and_unmap;
use crate::name::HeapRule;
use crate::process::Process;
use crate::record::ScanRecord;
use crate::report::Validation;
use crate::scanner::{Raw, Want};
use crate::shapes::Child;

/// Times that texts may differ before it is no accident: pages are merged, split and moved at the kernel's will.
const TRIES: usize = 3;

const BOUNDS: Bounds = Bounds {
    run: Duration::from_micros(200),
    scan: Duration::from_secs(10),
};

/// # Errors
/// [`Error::NotPossible`] with the first line that differs.
pub(crate) fn run(bpf: &mut Bpf, form: &Form) -> Result<()> {
    if !numbers_writes(bpf)? {
        return Err(Error::NotPossible(
            "on this kernel the number by which lines are validated (mm_lock_seq) does not change as it should".into(),
        ));
    }
    let child = Child::start(bpf.anon_file())?;
    identity::check(bpf, &Process::open(child.pid())?)?;
    let mut difference = String::new();
    for _ in 0..TRIES {
        // Each of both is right on some kernels.
        for heap in [HeapRule::Overlaps, HeapRule::Touches] {
            bpf.heap = heap;
            match compare(bpf, form, &child)? {
                None => return Ok(()),
                // Which of the rules is meant is only clear if all else is right.
                Some(found) if difference.is_empty() || !found.contains("[heap]") => difference = found,
                Some(_) => {}
            }
        }
        if difference.contains(Field::THPeligible.label()) {
            // The rule is another on this kernel; nothing else depends on it.
            bpf.thp = false;
        }
    }
    Err(Error::NotPossible(format!(
        "on this kernel the BPF program is wrong about a process of our own: {difference}"
    )))
}

/// Whether the number of our own address space goes on by two with each write, if there is one.
fn numbers_writes(bpf: &mut Bpf) -> Result<bool> {
    let pid = std::process::id();
    // Other threads of ours may map and unmap at the same time, and stay inside.
    for _ in 0..200 {
        let (validation, before) = bpf.lock_seq(pid)?;
        if validation == Validation::Structure {
            return Ok(true);
        }
        map_and_unmap()?;
        if let (Some(before), (_, Some(after))) = (before, bpf.lock_seq(pid)?) {
            let more = after.wrapping_sub(before);
            if more % 2 == 0 && (4..1 << 16).contains(&more) {
                return Ok(true);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(false)
}

/// The first difference between what the program and the kernel say.
fn compare(bpf: &mut Bpf, form: &Form, child: &Child) -> Result<Option<String>> {
    let path = format!("/proc/{}/smaps", child.pid());
    let theirs = fs::read(&path).map_err(|e| Error::failed(format!("reading {path}"), e))?;
    let scan = bpf.scan(&Process::open(child.pid())?, Want::Pages, BOUNDS, Raw::default())?;
    let theirs = String::from_utf8_lossy(&theirs);
    let mut theirs: VecDeque<&str> = theirs.lines().collect();
    let mut text = vec![];
    for line in &scan.lines {
        let record = line.record(&scan.names);
        text.clear();
        form.write_smaps(&record, |_| true, &mut text);
        let ours = String::from_utf8_lossy(&text);
        // Pages of what is a copy of our memory come and go while other threads of ours run.
        let compared = if child.has_made(line.start) { usize::MAX } else { 1 };
        for (i, ours) in ours.lines().enumerate() {
            while theirs.front().is_some_and(|line| i > 0 && is_left_out(line, &record)) {
                theirs.pop_front();
            }
            let theirs = theirs.pop_front().unwrap_or("(nothing)");
            if i < compared && ours != theirs {
                return Ok(Some(format!(
                    "\"{ours}\" instead of \"{theirs}\", in {:x}-{:x}",
                    line.start, line.end
                )));
            }
        }
        while theirs.front().is_some_and(|line| is_left_out(line, &record)) {
            theirs.pop_front();
        }
    }
    Ok(theirs.front().map(|line| format!("nothing instead of \"{line}\"")))
}

/// Whether a line of smaps is one that we do not write.
fn is_left_out(line: &str, record: &ScanRecord<'_>) -> bool {
    let is_unknown = |field: Field| field != Field::VmFlags && field.of(record).is_none();
    label(line).is_some_and(|label| Field::parse(label).is_none_or(is_unknown))
}

#[cfg(test)]
mod tests {
    use aya::{Btf, Endianness};

    use super::*;
    use crate::program::Program;

    /// The kernel's description of its types, to be broken on purpose.
    struct Types {
        bytes: Vec<u8>,
        /// Where in `bytes` each type begins.
        types: Vec<usize>,
        strings: usize,
    }

    const STRUCT: u32 = 4;
    const UNION: u32 = 5;

    impl Types {
        fn of_this_kernel() -> Option<Self> {
            let bytes = fs::read("/sys/kernel/btf/vmlinux").ok()?;
            let mut all = Self {
                bytes,
                types: vec![0], // type 0 is void
                strings: 0,
            };
            let header_bytes = all.word(4) as usize;
            let (begin, length) = (header_bytes + all.word(8) as usize, all.word(12) as usize);
            all.strings = header_bytes + all.word(16) as usize;
            let mut at = begin;
            while at < begin + length {
                all.types.push(at);
                let members = (all.word(at + 4) & 0xffff) as usize;
                at += 12
                    + match all.kind(at) {
                        1 | 14 | 17 => 4,
                        3 => 12,
                        STRUCT | UNION | 15 | 19 => 12 * members,
                        6 | 13 => 8 * members,
                        _ => 0,
                    };
            }
            Some(all)
        }

        fn word(&self, at: usize) -> u32 {
            u32::from_ne_bytes(self.bytes[at..at + 4].try_into().unwrap())
        }

        fn kind(&self, at: usize) -> u32 {
            self.word(at + 4) >> 24 & 31
        }

        fn name(&self, at: usize) -> &[u8] {
            let text = &self.bytes[self.strings + self.word(at) as usize..];
            text.split(|&byte| byte == 0).next().unwrap()
        }

        /// Where the offset of a member stands, also of one in a structure without a name inside.
        fn member(&self, structure: usize, name: &str) -> Option<usize> {
            let members = (self.word(structure + 4) & 0xffff) as usize;
            (0..members).map(|i| structure + 12 + 12 * i).find_map(|member| {
                let inside = self.types[self.word(member + 4) as usize];
                if self.name(member) == name.as_bytes() {
                    Some(member + 8)
                } else if self.name(member).is_empty() && matches!(self.kind(inside), STRUCT | UNION) {
                    self.member(inside, name)
                } else {
                    None
                }
            })
        }

        /// The types, with a field said to be `bytes` behind its place; nothing if there is no such field.
        fn with_moved(&self, structure: &str, field: &str, bytes: i32) -> Option<Btf> {
            let is_it = |&&at: &&usize| at > 0 && self.kind(at) == STRUCT && self.name(at) == structure.as_bytes();
            let at = self.types.iter().filter(is_it).find_map(|&at| self.member(at, field))?;
            let mut broken = self.bytes.clone();
            let offset = self.word(at).wrapping_add_signed(8 * bytes);
            broken[at..at + 4].copy_from_slice(&offset.to_ne_bytes());
            Some(Btf::parse(&broken, Endianness::default()).unwrap())
        }
    }

    fn start(btf: &Btf) -> Result<()> {
        let mut bpf = Bpf::with(Program::load_for(btf)?)?;
        run(&mut bpf, &Form::of_this_kernel()?)
    }

    #[test]
    fn a_field_that_is_not_where_it_is_said_to_be_refuses_the_method() {
        let Some(types) = Types::of_this_kernel() else {
            eprintln!("skipped: this kernel does not describe its types");
            return;
        };
        if let Err(why) = Bpf::load() {
            eprintln!("skipped: {why}");
            return;
        }
        for (structure, field, bytes) in [
            ("maple_tree", "ma_root", 8),
            ("mm_struct", "mm_mt", 8),
            ("mm_struct", "pgd", 8),
            ("mm_struct", "mm_lock_seq", 4),
            ("mm_struct", "start_brk", 8),
            ("mm_struct", "brk", 8),
            ("mm_struct", "start_stack", -8),
            ("vm_area_struct", "vm_start", 8),
            ("vm_area_struct", "vm_end", 8),
            ("vm_area_struct", "vm_mm", 8),
            ("vm_area_struct", "vm_flags", 8),
            ("vm_area_struct", "vm_ops", 8),
            ("vm_area_struct", "vm_pgoff", 8),
            ("vm_area_struct", "vm_file", 8),
            ("vm_area_struct", "vm_private_data", 8),
            ("file", "f_inode", 8),
            ("file", "f_mapping", 8),
            ("file", "f_path", 8),
            ("inode", "i_ino", 8),
            ("inode", "i_sb", 8),
            ("super_block", "s_dev", 4),
            ("super_block", "s_magic", 8),
            ("dentry", "d_parent", 8),
            ("dentry", "d_op", 8),
            ("mount", "mnt_parent", 8),
            ("mount", "mnt_mountpoint", 8),
            ("vm_operations_struct", "name", 8),
            ("task_struct", "self_exec_id", 8),
            ("task_struct", "start_boottime", 8),
            ("page", "compound_head", 8),
            ("page", "mapping", 8),
            ("page", "_mapcount", 4),
            ("folio", "_entire_mapcount", 4),
        ] {
            let Some(broken) = types.with_moved(structure, field, bytes) else {
                eprintln!("this kernel has no {structure}.{field}");
                continue;
            };
            let Err(error) = start(&broken) else {
                panic!("{structure}.{field} is at another place, which is not noticed")
            };
            eprintln!("{structure}.{field}: {error}");
            assert!(matches!(error, Error::NotPossible(_)), "{structure}.{field}: {error}");
        }
    }
}
