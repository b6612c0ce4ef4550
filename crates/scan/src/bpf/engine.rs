//! The loaded program, with what it has to be told of this kernel.

use std::os::fd::BorrowedFd;

use vmaple_smaps::Form;

use crate::boost::Boost;
use crate::bpf::abi::{Control, Stop, VALIDATION_INT, VALIDATION_SEQCOUNT};
use crate::bpf::load::cache::Learnt;
use crate::bpf::load::generations::Generations;
use crate::bpf::load::layout::Layout;
use crate::bpf::load::program::{Entry, Program};
use crate::bpf::scan::name::{HeapRule, Known};
use crate::bpf::scan::thp::{ThpRule, ThpSizes};
use crate::bpf::scan::vsyscall::Vsyscall;
use crate::error::Result;
use crate::kernel::flag_names;
use crate::report::Validation;

/// The loaded program, with what it has to be told of this kernel.
pub(crate) struct Engine {
    pub(crate) program: Program,
    pub(crate) layout: Layout,
    /// Which mappings are called `[heap]`.
    pub(crate) heap: HeapRule,
    /// Whether this kernel's rule for THPeligible is known.
    pub(crate) thp: ThpRule,
    pub(crate) thp_sizes: ThpSizes,
    pub(crate) vsyscall: Option<Vsyscall>,
    /// Where a page's generation is, if it was looked for.
    pub(crate) generations: Option<Generations>,
    /// The names of the bits of a mapping's flags, if the kernel describes them.
    flag_names: Vec<(String, u32)>,
    /// Whether runs are made at real-time priority. The kernel may be preemptible, and the caller
    /// has the right.
    pub(crate) may_boost: bool,
    /// Memory that is used again.
    pub(crate) known: Known,
}

impl Engine {
    /// Loads the program.
    ///
    /// # Errors
    /// [`Error::NotPossible`](crate::Error::NotPossible) without the rights, BTF, or on a kernel
    /// that the program does not understand.
    pub(crate) fn load() -> Result<Self> {
        Ok(Self {
            flag_names: flag_names(),
            ..Self::with(Program::load()?)?
        })
    }

    /// Finds out what a loaded program has to be told.
    pub(crate) fn with(mut program: Program) -> Result<Self> {
        let layout = Layout::find(&mut program)?;
        Ok(Self::of(program, layout))
    }

    /// Loads a program with what an earlier start has learnt.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn of_learnt(learnt: Learnt) -> Result<Self> {
        Ok(Self {
            heap: learnt.heap,
            thp: learnt.thp,
            flag_names: learnt.flag_names,
            ..Self::of(Program::load_linked(learnt.linked)?, learnt.layout)
        })
    }

    fn of(program: Program, layout: Layout) -> Self {
        Self {
            program,
            layout,
            heap: HeapRule::default(),
            thp: ThpRule::Known,
            thp_sizes: ThpSizes::of_this_kernel(),
            vsyscall: Vsyscall::of_this_kernel(),
            generations: None,
            flag_names: vec![],
            may_boost: Boost::keeps_runs(),
            known: Known::new(),
        }
    }

    /// Returns what it has learnt of this kernel.
    pub(crate) fn learnt(&self) -> Learnt {
        Learnt {
            linked: self.program.linked().clone(),
            layout: self.layout,
            heap: self.heap,
            thp: self.thp,
            flag_names: self.flag_names.clone(),
        }
    }

    /// Returns a form with the letters of the flags that this kernel names.
    pub(crate) fn named(&self, form: Form) -> Form {
        let names = self.flag_names.iter().map(|(name, bit)| (name.as_str(), *bit));
        let letters = form.letters().with_names(names);
        form.with_letters(letters)
    }

    /// As [`Program::anon_file`].
    pub(crate) fn anon_file(&self) -> Option<BorrowedFd<'_>> {
        self.program.anon_file()
    }

    /// Reads what tells a process from others, and at most `max_records` of its mappings.
    pub(crate) fn look(&mut self, pid: u32, max_records: u32) -> Result<(Control, Stop)> {
        let link = self.program.link(Entry::Scan, pid)?;
        let mut control = Control {
            max_records,
            ..self.layout.asked()
        };
        let stop = self.program.run(&link, &mut control)?;
        Ok((control, stop))
    }

    /// Returns how lines are validated, and the number of the process's address space.
    ///
    /// The number is `None` if the kernel has none, or a writer stays inside.
    pub(crate) fn lock_seq(&mut self, pid: u32) -> Result<(Validation, Option<u32>)> {
        let (control, stop) = self.look(pid, 1)?;
        let validation = validation(&control);
        let is_number = stop == Stop::Budget && validation != Validation::Structure;
        Ok((validation, is_number.then_some(control.seq)))
    }
}

/// Returns how a run validated its lines.
pub(crate) fn validation(control: &Control) -> Validation {
    match control.validation {
        VALIDATION_SEQCOUNT => Validation::Seqcount,
        VALIDATION_INT => Validation::Counter,
        _ => Validation::Structure,
    }
}
