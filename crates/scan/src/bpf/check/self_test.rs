//! Compares a scan of a child process with the kernel's own text, before other scans.
//!
//! A field that was renamed, moved or has another meaning on this kernel shows here, and the method
//! is refused rather than wrong. Such a field is wrong each time. What only happens to differ, as
//! the machine changes the child's pages between two looks, is not: each mapping has to be right
//! once, and only one that is wrong in all of [`TRIES`] comparisons refuses the method.

use std::collections::HashSet;
use std::time::Duration;

use vmaple_smaps::{Field, Form};

use crate::bpf::check::comparison::{Comparison, compare};
use crate::bpf::check::identity;
use crate::bpf::check::shapes::Child;
use crate::bpf::engine::Engine;
use crate::bpf::scan::name::HeapRule;
use crate::bpf::scan::session;
use crate::bpf::scan::thp::ThpRule;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::process::Process;
use crate::record::Mappings;
use crate::report::Validation;
use crate::source::Content;

/// The number of comparisons in which a mapping may be wrong before it is no accident.
const TRIES: u32 = 16;
/// The first and the longest pause between comparisons: together a quarter of a second.
const PAUSES: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(32));
/// The most children. One may be killed from outside: for want of memory, or with all processes of
/// a group.
const CHILDREN: u32 = 3;

/// The longest time of a scan of the child. It is late, not wrong, where it hardly gets a CPU.
const LIMIT: Duration = Duration::from_secs(60);

/// Tests a program that was loaded.
///
/// # Errors
/// [`Error::NotPossible`] with a line that differs.
pub(crate) fn run(engine: &mut Engine, form: &Form) -> Result<()> {
    let mut children = 0;
    loop {
        children += 1;
        let mut child = Child::start(engine.anon_file())?;
        match all_right(engine, form, &mut child) {
            Err(Error::NotPossible(why)) => return Err(Error::NotPossible(why)),
            Err(_) if children < CHILDREN && Process::open(child.pid()).is_err() => {}
            result => return result,
        }
    }
}

fn all_right(engine: &mut Engine, form: &Form, child: &mut Child) -> Result<()> {
    numbers_writes(engine, child)?;
    identity::check(engine, &Process::open(child.pid())?)?;
    compares(engine, form, child)
}

/// Compares until each mapping of the child was right once.
fn compares(engine: &mut Engine, form: &Form, child: &Child) -> Result<()> {
    let mut right = HashSet::new();
    let mut found = String::new();
    let mut pause = PAUSES.0;
    let mut other_rule = 0;
    for _ in 0..TRIES {
        let Comparison {
            right: more,
            differences,
            mappings,
        } = once(engine, form, child)?;
        right.extend(more);
        if right.len() == mappings {
            return Ok(());
        }
        let is_heap = |text: &str| text.contains("[heap]");
        if let Some(first) = differences.first() {
            found.clone_from(&differences.iter().find(|d| !is_heap(&d.text)).unwrap_or(first).text);
        }
        // Each of the two rules is right on some kernels.
        if differences.iter().any(|d| d.field.is_none() && is_heap(&d.text)) {
            engine.heap = match engine.heap {
                HeapRule::Overlaps => HeapRule::Touches,
                HeapRule::Touches => HeapRule::Overlaps,
            };
            right.clear();
        }
        if differences.iter().any(|d| d.field == Some(Field::THPeligible)) {
            other_rule += 1;
        }
        if other_rule == 3 {
            // This kernel has another rule; nothing else depends on it. Reports say that the line
            // is left out.
            engine.thp = ThpRule::Another;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
    Err(Error::NotPossible(format!(
        "on this kernel the BPF program is wrong about a process of our own: {found}"
    )))
}

/// Compares once.
fn once(engine: &mut Engine, form: &Form, child: &Child) -> Result<Comparison> {
    let process = Process::open(child.pid())?;
    let before = child.smaps()?;
    let found = session::scan(engine, &process, &Options::new().limit(LIMIT), Mappings::default())?;
    let after = child.smaps()?;
    let Content::Mappings(mappings) = found.content else {
        return Err(Error::failed("the self-test", "a scan without mappings"));
    };
    Ok(compare(&mappings, form, child, &before, &after))
}

/// Checks that the number of the child's address space goes up by two with each write.
///
/// Some kernels have no such number.
fn numbers_writes(engine: &mut Engine, child: &mut Child) -> Result<()> {
    // The child changes its mappings only when it is asked, but the kernel may do so by itself
    // (khugepaged, KSM).
    for _ in 0..TRIES {
        let (validation, before) = engine.lock_seq(child.pid())?;
        if validation == Validation::Structure {
            return Ok(());
        }
        child.map_and_unmap()?;
        if let (Some(before), (_, Some(after))) = (before, engine.lock_seq(child.pid())?) {
            let more = after.wrapping_sub(before);
            if more % 2 == 0 && (4..64).contains(&more) {
                return Ok(());
            }
        }
        std::thread::sleep(PAUSES.0);
    }
    Err(Error::NotPossible(
        "on this kernel the number by which lines are validated (mm_lock_seq) does not change as it should".into(),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

    use aya_obj::Object;
    use aya_obj::btf::Btf;

    use super::*;
    use crate::bpf::check::shapes;
    use crate::bpf::load::linked::{LOADS, Linked};
    use crate::bpf::load::program::Program;
    use crate::kernel::kernel_form;

    /// The kernel's description of its types, which tests break.
    struct Types {
        bytes: Vec<u8>,
        /// The place in `bytes` where each type begins.
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

        /// Returns those of this kernel; `None` where the method is not possible anyway.
        fn to_break() -> Option<Self> {
            let types = Self::of_this_kernel();
            if types.is_none() {
                eprintln!("skipped: this kernel does not describe its types");
            }
            let possible = Engine::load();
            if let Err(why) = &possible {
                eprintln!("skipped: {why}");
            }
            types.filter(|_| possible.is_ok())
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

        /// Returns the place of a member's offset. Members of a nameless structure inside count
        /// too.
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

        /// Returns the types with a field moved up by `bytes`.
        ///
        /// Returns `None` if there is no such field.
        fn with_moved(&self, structure: &str, field: &str, bytes: i32) -> Option<Btf> {
            let is_it = |&&at: &&usize| at > 0 && self.kind(at) == STRUCT && self.name(at) == structure.as_bytes();
            let at = self.types.iter().filter(is_it).find_map(|&at| self.member(at, field))?;
            let mut broken = self.bytes.clone();
            let offset = self.word(at).wrapping_add_signed(8 * bytes);
            broken[at..at + 4].copy_from_slice(&offset.to_ne_bytes());
            Some(parsed(&broken))
        }

        /// Returns the types with another name for what has this one.
        ///
        /// Returns `None` if nothing has.
        fn without(&self, name: &str) -> Option<Btf> {
            let name = format!("\0{name}\0");
            let mut names = self.bytes.windows(name.len()).skip(self.strings);
            let at = self.strings + names.position(|bytes| bytes == name.as_bytes())?;
            let mut broken = self.bytes.clone();
            broken[at + 1] = b'-';
            Some(parsed(&broken))
        }
    }

    fn parsed(types: &[u8]) -> Btf {
        Btf::parse(types, Object::parse(LOADS).unwrap().endianness).unwrap()
    }

    fn start(btf: &Btf) -> Result<()> {
        let mut engine = Engine::with(Program::load_for(btf)?)?;
        run(&mut engine, &kernel_form()?)
    }

    /// Runs `starts` self-tests next to threads of this process; returns the errors of those that
    /// refused.
    fn refused(starts: usize, others: &[&(dyn Fn() + Sync)]) -> Vec<Error> {
        let mut engine = match Engine::load() {
            Ok(engine) => engine,
            Err(why) => {
                eprintln!("skipped: {why}");
                return vec![];
            }
        };
        let form = kernel_form().unwrap();
        let is_over = AtomicBool::new(false);
        let mut refused = vec![];
        std::thread::scope(|scope| {
            for act in others {
                scope.spawn(|| {
                    while !is_over.load(Relaxed) {
                        act();
                    }
                });
            }
            for _ in 0..starts {
                refused.extend(run(&mut engine, &form).err());
            }
            is_over.store(true, Relaxed);
        });
        refused
    }

    #[test]
    fn a_page_that_others_map_and_unmap_meanwhile_refuses_nothing() {
        let other: &(dyn Fn() + Sync) = &shapes::map_last_page_of_program;
        let refused = refused(60, &[other; 3]);
        assert!(refused.is_empty(), "{} refused, such as: {}", refused.len(), refused[0]);
    }

    /// Minutes of CPU time, so it runs by `ci/deep/scan-starts.sh`.
    #[test]
    #[ignore = "a thousand self-tests next to a full load"]
    fn a_thousand_starts_on_a_busy_machine_refuse_none() {
        let starts = std::env::var("VMAPLE_STARTS").map_or(1_000, |n| n.parse().unwrap());
        let processes = AtomicUsize::new(0);
        let spin = || std::hint::spin_loop();
        // Of the same program, so that they share its pages and those of its libraries.
        let process = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg("--list").stdout(Stdio::null()).status().unwrap();
            processes.fetch_add(1, Relaxed);
        };
        let mut others: Vec<&(dyn Fn() + Sync)> = vec![&process, &process, &shapes::map_last_page_of_program];
        others.resize(3 + std::thread::available_parallelism().unwrap().get(), &spin);
        let refused = refused(starts, &others);
        eprintln!("{starts} starts next to {processes:?} processes that came and went");
        assert!(refused.is_empty(), "{} refused, such as: {}", refused.len(), refused[0]);
    }

    #[test]
    fn a_kernel_that_allows_no_loads_is_read_by_copies() {
        let Some(types) = Types::to_break() else { return };
        let Some(without) = types.without("bpf_rdonly_cast") else {
            eprintln!("this kernel allows none, so all tests are of copies");
            return;
        };
        let all = parsed(&types.bytes);
        assert_ne!(Linked::new(&without).unwrap(), Linked::new(&all).unwrap());
        start(&without).unwrap();
    }

    #[test]
    fn a_field_that_is_not_where_it_is_said_to_be_refuses_the_method() {
        let Some(types) = Types::to_break() else { return };
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
