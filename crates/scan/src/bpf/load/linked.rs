//! The object, linked for one kernel: what it says of the kernel's types is filled in.
//!
//! aya-obj parses it and works the relocations out. That takes most of the time of a first start,
//! as the kernel describes a hundred thousand types. So a [cache](super::cache) can keep the
//! result.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, OwnedFd};

use aya_obj::Object;
use aya_obj::btf::{Btf, BtfFeatures, BtfKind};
use aya_obj::generated::bpf_insn;
use serde::{Deserialize, Serialize};

use crate::bpf::load::refusal::unfit;
use crate::bpf::load::syscall::{self, Refused};
use crate::error::Result;

/// The object for kernels with `bpf_rdonly_cast()`, by which it reads kernel memory with loads.
pub(crate) static LOADS: &[u8] = &Aligned(*include_bytes!("../../../bpf/loads.bpf.o")).0;
/// The object for others. It copies what it reads, each time by a call.
static COPIES: &[u8] = &Aligned(*include_bytes!("../../../bpf/copies.bpf.o")).0;
/// What the objects were built from and by, with a hash of both.
pub(crate) const BUILT: &str = include_str!("../../../bpf/objects.sha256");

/// Aligned as an ELF file has to be.
#[repr(align(8))]
struct Aligned<T>(T);

/// The object, linked for one kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Linked {
    /// The description of the object's own types.
    pub(crate) btf: Vec<u8>,
    pub(crate) maps: Vec<Array>,
    pub(crate) programs: Vec<Code>,
    /// The kernel's function to which iterators over tasks attach, by its number among the types.
    pub(crate) attaches_to: u32,
}

/// A map of the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Array {
    pub(crate) name: String,
    pub(crate) value_bytes: u32,
    entries: u32,
    flags: u32,
}

/// A program of the object, with the functions that it calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Code {
    pub(crate) name: String,
    /// An instruction that loads a map has the map's place in [`Linked::maps`].
    instructions: Vec<u64>,
    /// Array of `struct bpf_func_info`, each of `function_bytes` bytes.
    pub(crate) functions: Vec<u8>,
    pub(crate) function_bytes: u32,
}

impl Linked {
    /// Links the object for a kernel with these types.
    ///
    /// # Errors
    /// [`Error::NotPossible`](crate::Error::NotPossible) if a type lacks what the program needs.
    pub(crate) fn new(kernel: &Btf) -> Result<Self> {
        let words = kernel.id_by_type_name_kind("bpf_rdonly_cast", BtfKind::Func).ok();
        let object = if words.is_some() { LOADS } else { COPIES };
        let mut object = Object::parse(object).map_err(|e| unfit(&e))?;
        // All that Linux 6.1 understands. There is no section of data.
        let features = BtfFeatures::new(true, true, true, false, true, true, true, true);
        let own = object.fixup_and_sanitize_btf(&features).map_err(|e| unfit(&e))?;
        let btf = own.map(Btf::to_bytes).unwrap_or_default();
        object.relocate_btf(kernel).map_err(|e| unfit(&e))?;
        let mut maps: Vec<_> = object.maps.drain().collect();
        maps.sort_by(|(a, _), (b, _)| a.cmp(b));
        let sections: HashSet<_> = object.functions.keys().map(|&(section, _)| section).collect();
        let places = (0..).zip(&maps).map(|(place, (name, map))| (name.as_str(), place, map));
        object.relocate_maps(places, &sections).map_err(|e| unfit(&e))?;
        object.relocate_calls(&sections).map_err(|e| unfit(&e))?;
        let programs = object.programs.iter().filter_map(|(name, program)| {
            let function = object.functions.get(&program.function_key())?;
            Some(Code {
                name: name.clone(),
                instructions: function.instructions.iter().map(word).collect(),
                functions: function.func_info.func_info_bytes(),
                function_bytes: function.func_info_rec_size as u32,
            })
        });
        let mut programs: Vec<_> = programs.collect();
        programs.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(words) = words {
            let instructions = programs.iter_mut().flat_map(|code| &mut code.instructions);
            instructions.for_each(|one| *one = with_words(*one, words));
        }
        let attaches_to = kernel.id_by_type_name_kind("bpf_iter_task", BtfKind::Func);
        Ok(Self {
            btf,
            programs,
            maps: maps
                .into_iter()
                .map(|(name, map)| Array {
                    name,
                    value_bytes: map.value_size(),
                    entries: map.max_entries(),
                    flags: map.map_flags(),
                })
                .collect(),
            attaches_to: attaches_to.map_err(|e| unfit(&e))?,
        })
    }
}

impl Array {
    /// Makes it.
    pub(crate) fn create(&self) -> Result<OwnedFd, Refused> {
        syscall::create_array(&self.name, self.value_bytes, self.entries, self.flags)
    }
}

impl Code {
    /// Returns the instructions, with these maps.
    pub(crate) fn with_maps(&self, maps: &[OwnedFd]) -> Vec<u64> {
        /// The code of an instruction that loads 64 bits, and the source that says which are a map.
        const LOAD: u64 = 0x18;
        const MAP: u64 = 1;

        let with_map = |&instruction: &u64| {
            let is_map = instruction & 0xff == LOAD && instruction >> 12 & 0xf == MAP;
            let fd = maps.get((instruction >> 32) as usize).filter(|_| is_map);
            fd.map_or(instruction, |fd| {
                instruction & 0xffff_ffff | u64::from(fd.as_raw_fd().cast_unsigned()) << 32
            })
        };
        self.instructions.iter().map(with_map).collect()
    }
}

/// Returns an instruction as the kernel reads it.
fn word(instruction: &bpf_insn) -> u64 {
    u64::from(instruction.code)
        | u64::from(instruction.dst_reg()) << 8
        | u64::from(instruction.src_reg()) << 12
        | u64::from(instruction.off.cast_unsigned()) << 16
        | u64::from(instruction.imm.cast_unsigned()) << 32
}

/// Returns an instruction; of a call of `as_words` in kernel.h one of this function of the
/// kernel.
fn with_words(instruction: u64, function: u32) -> u64 {
    const CALL: u64 = 0x85;
    const AS_WORDS: u64 = CALL | 0x766d_0001 << 32;
    /// The source of a call that makes it one of a function of the kernel.
    const FUNCTION: u64 = 2 << 12;

    if instruction == AS_WORDS {
        CALL | FUNCTION | u64::from(function) << 32
    } else {
        instruction
    }
}
