//! What the program and the loader exchange, as in bpf/abi.h, which says what each field means.

/// The most records of one run.
pub(crate) const MAX_RECORDS: usize = 1024;
/// The most bytes of names of one run.
pub(crate) const NAME_BYTES: usize = 1 << 18;

pub(crate) const WANT_NAMES: u32 = 1;
pub(crate) const WANT_TABLES: u32 = 2;
pub(crate) const WANT_PAGES: u32 = 4;
pub(crate) const WANT_SUMS: u32 = 8;
pub(crate) const WANT_AGES: u32 = 16;

/// As [`Control::every`]: none.
pub(crate) const NO_TABLE: u32 = u32::MAX;

pub(crate) const VALIDATION_NONE: u32 = 0;
pub(crate) const VALIDATION_INT: u32 = 1;
pub(crate) const VALIDATION_SEQCOUNT: u32 = 2;

pub(crate) const RECORD_UNVALIDATED: u32 = 1;
pub(crate) const RECORD_COUNTS_LATER: u32 = 2;
pub(crate) const RECORD_ANONYMOUS: u32 = 4;
pub(crate) const RECORD_HUGE_FAULT: u32 = 8;
pub(crate) const RECORD_SHMEM: u32 = 16;
pub(crate) const RECORD_ANON_NAME: u32 = 32;
pub(crate) const RECORD_NAME_CUT: u32 = 64;
pub(crate) const RECORD_SWAP_SHARED: u32 = 128;
pub(crate) const RECORD_DRAWN: u32 = 256;
pub(crate) const RECORD_UNREAD: u32 = 512;

pub(crate) const NAME_PATH: u32 = 1;
pub(crate) const NAME_UNLINKED: u32 = 2;
pub(crate) const NAME_DNAME: u32 = 3;
pub(crate) const NAME_SPECIAL: u32 = 4;

/// The reason why a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The end of the address space was reached.
    End,
    /// Time, entries, records or names were used up.
    Budget,
    /// What was read did not fit together in any attempt.
    Rejected,
    /// There is no address space: a kernel thread, or a task that has exited.
    NoMm,
    /// It is another address space. The process has executed a program, or another process has its
    /// number.
    OtherMm,
    /// The process was executing a program at this moment.
    Exec,
}

impl Stop {
    /// All of them, each at its number in the program.
    const ALL: [Self; 6] = [
        Self::End,
        Self::Budget,
        Self::Rejected,
        Self::NoMm,
        Self::OtherMm,
        Self::Exec,
    ];

    /// Returns the reason of a number in [`Control::stop`].
    ///
    /// Returns `None` if the program has no such number.
    pub(crate) fn of(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

/// What is asked of a run, and what the run leaves.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Control {
    pub(crate) start: u64,
    pub(crate) budget_ns: u64,
    pub(crate) page_offset: u64,
    pub(crate) vmemmap: u64,
    pub(crate) physical_mask: u64,
    pub(crate) special_mapping_name: u64,
    pub(crate) shmem_aops: u64,
    pub(crate) swap_info: u64,
    pub(crate) mm: u64,
    pub(crate) exec_id: u64,
    pub(crate) started: u64,
    pub(crate) magic: [u64; 2],
    pub(crate) strings_start: u64,
    pub(crate) strings_end: u64,
    pub(crate) levels: u32,
    pub(crate) want: u32,
    pub(crate) max_records: u32,
    pub(crate) max_entries: u32,
    pub(crate) attempts: u32,
    pub(crate) take_unvalidated: u32,
    pub(crate) every: u32,
    pub(crate) seed: u32,
    pub(crate) generation_shift: u32,
    pub(crate) node_shift: u32,
    pub(crate) next: u64,
    pub(crate) ns: u64,
    pub(crate) found_mm: u64,
    pub(crate) found_exec_id: u64,
    pub(crate) found_started: u64,
    pub(crate) entries: u64,
    pub(crate) start_brk: u64,
    pub(crate) brk: u64,
    pub(crate) start_stack: u64,
    pub(crate) context_flags: u64,
    pub(crate) a_ops: u64,
    pub(crate) name_fn: u64,
    pub(crate) arg_start: u64,
    pub(crate) arg_end: u64,
    pub(crate) env_start: u64,
    pub(crate) env_end: u64,
    pub(crate) stop: u32,
    pub(crate) records: u32,
    pub(crate) name_bytes: u32,
    pub(crate) rejected: u32,
    pub(crate) validation: u32,
    pub(crate) seq: u32,
    pub(crate) one_seq: u32,
    pub(crate) cpus: u32,
    pub(crate) nodes: u32,
    pub(crate) zones: u32,
    pub(crate) page_flags: u32,
    pub(crate) unused: u32,
}

/// A VMA, or the part of it that was looked at in one run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) last: u64,
    pub(crate) before: u64,
    pub(crate) vm_flags: u64,
    pub(crate) pgoff: u64,
    pub(crate) ino: u64,
    pub(crate) file: u64,
    pub(crate) block_bytes: u64,
    pub(crate) i_size: u64,
    pub(crate) shmem_swapped: u64,
    pub(crate) dev: u32,
    pub(crate) magic: u32,
    pub(crate) flags: u32,
    pub(crate) name: u32,
    pub(crate) name_at: u32,
    pub(crate) name_bytes: u32,
    pub(crate) anon_name_at: u32,
    pub(crate) anon_name_bytes: u32,
    pub(crate) mappings: u32,
    pub(crate) tables: u32,
    pub(crate) every: u32,
    pub(crate) unused: u32,
    pub(crate) rss: u64,
    pub(crate) anonymous: u64,
    pub(crate) ksm: u64,
    pub(crate) lazyfree: u64,
    pub(crate) referenced: u64,
    pub(crate) shared_clean: u64,
    pub(crate) shared_dirty: u64,
    pub(crate) private_clean: u64,
    pub(crate) private_dirty: u64,
    pub(crate) anon_thp: u64,
    pub(crate) shmem_thp: u64,
    pub(crate) file_thp: u64,
    pub(crate) shared_hugetlb: u64,
    pub(crate) private_hugetlb: u64,
    pub(crate) swap: u64,
    pub(crate) pss: u64,
    pub(crate) pss_anon: u64,
    pub(crate) pss_shmem: u64,
    pub(crate) pss_dirty: u64,
    pub(crate) swap_pss: u64,
    pub(crate) age0: u64,
    pub(crate) age1: u64,
    pub(crate) age2: u64,
    pub(crate) age3: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `(field, bytes)` of a structure of a C header whose fields are u32 and u64.
    fn fields_of(header: &str, structure: &str, types: [&str; 2]) -> Vec<(String, usize)> {
        let begin = header.find(&format!("struct {structure} {{")).unwrap();
        let body = &header[begin..];
        let body = &body[body.find('{').unwrap() + 1..body.find("\n}").unwrap()];
        let mut fields = vec![];
        for line in body.lines().map(str::trim) {
            let line = line
                .split("/*")
                .next()
                .unwrap()
                .trim()
                .trim_start_matches("pub(crate) ");
            for (kind, bytes) in types.iter().zip([4, 8]) {
                // C: `u64 a, b[2];`, Rust: `a: u64,`.
                if let Some(names) = line.strip_prefix(kind) {
                    let names = names.trim().trim_end_matches(';').split(',');
                    fields.extend(names.map(|name| (name.trim().to_owned(), bytes)));
                } else if let Some(name) = line.strip_suffix(&format!(": {kind},")) {
                    fields.push((name.to_owned(), bytes));
                } else if let Some(name) = line.strip_suffix(&format!(": [{kind}; 2],")) {
                    fields.push((format!("{name}[2]"), bytes));
                }
            }
        }
        fields
    }

    #[test]
    fn the_program_and_the_loader_lay_their_structures_out_alike() {
        let (c, rust) = (include_str!("../../bpf/abi.h"), include_str!("abi.rs"));
        for (theirs, ours) in [("control", "Control"), ("record", "Record")] {
            let theirs = fields_of(c, theirs, ["u32", "u64"]);
            assert!(theirs.len() > 30);
            assert_eq!(theirs, fields_of(rust, ours, ["u32", "u64"]));
        }
    }

    #[test]
    fn the_program_and_the_loader_have_the_same_numbers() {
        let header = include_str!("../../bpf/abi.h");
        let stops = ["END", "BUDGET", "REJECTED", "NO_MM", "OTHER", "EXEC"];
        for (number, (name, stop)) in stops.iter().zip(Stop::ALL).enumerate() {
            assert!(header.contains(&format!("\tSTOP_{name} = {number},")), "{name}");
            assert_eq!(Stop::of(number as u32), Some(stop));
        }
        assert_eq!(header.matches("\tSTOP_").count(), stops.len());
        assert_eq!(Stop::of(stops.len() as u32), None);
        let validations = [
            ("NONE", VALIDATION_NONE),
            ("INT", VALIDATION_INT),
            ("SEQCOUNT", VALIDATION_SEQCOUNT),
        ];
        for (name, number) in validations {
            assert!(header.contains(&format!("\tVALIDATION_{name} = {number},")), "{name}");
        }
    }

    #[test]
    fn the_object_belongs_to_its_sources() {
        let check = std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/build-bpf.sh"))
            .arg("--check")
            .output()
            .unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}
