//! The kernel and the models, which make the same calls.

use std::fmt::Write;
use std::ops::Range;

use vmaple_mm::{Layout, Limits, MapleStore, PartialEffects, RbStore, VirtAddr, VmFlags, VmaLockStore};

use super::memory::Pages;
use super::model::{Model, Space};
use super::op::{Files, Op};
use super::refused::Refused;
use super::text::{lines, range};
use super::window::{Free, PAGE, Window};

/// How many calls come between two comparisons of counts and contents.
const EVERY: u64 = 32;

/// The limits of an address space.
#[derive(Clone, Copy, Debug)]
pub enum Setting {
    Unlimited,
    /// RLIMIT_AS and RLIMIT_DATA in bytes, on top of what is there at the beginning.
    Rlimits {
        address_space: u64,
        data: u64,
    },
    /// How many mappings may exist.
    MapCount(u64),
}

/// What a call or an access came to.
pub enum Outcome {
    Same(Result<u64, Refused>),
    /// Nothing was done.
    NotBuilt,
}

/// A child and models that make the same calls.
pub struct Pair<'a> {
    pub free: Free,
    files: &'a Files,
    pub window: Range<u64>,
    spaces: Vec<Box<dyn Space>>,
    text: Vec<u8>,
    pages: Pages,
    /// Pages that the child has and the models do not have.
    more_pages: i64,
    /// The same of [`ProcFiles::vm_stat`](super::proc_files::ProcFiles::vm_stat).
    vm_stat_before: [[u64; 3]; 2],
    /// How many calls come between two complete comparisons.
    every: u64,
    calls: u64,
}

impl<'a> Pair<'a> {
    pub fn new(window: &Window, files: &'a Files, setting: Setting) -> Self {
        let mut free = window.child();
        let within = window.range();
        let mapped = free.task_size - free.min_addr - (within.end - within.start);
        let child_pages = free.child.files.total_vm();
        // Outside the window they are in a file's mapping, which is never named after them.
        let elsewhere = (free.min_addr, free.min_addr);
        let (start_brk, start_stack) = if free.has_brk {
            window.brk_and_stack()
        } else {
            elsewhere
        };
        let mut layout = Layout::default();
        layout.min_addr = VirtAddr(free.min_addr);
        // The kernel looks for room below its base, and then from the bottom up.
        layout.mmap_base = if within.end == free.task_size {
            VirtAddr(within.start)
        } else {
            VirtAddr(free.task_size)
        };
        layout.task_size = VirtAddr(free.task_size);
        layout.start_brk = VirtAddr(start_brk);
        layout.start_stack = VirtAddr(start_stack);
        let mut spaces: Vec<Box<dyn Space>> = vec![
            Box::new(Model::<MapleStore>::new("MapleStore", layout, &within, files)),
            Box::new(Model::<RbStore>::new("RbStore", layout, &within, files)),
            Box::new(Model::<VmaLockStore>::new("VmaLockStore", layout, &within, files)),
        ];
        let mut limits = Limits::default();
        // More than fit into a window.
        limits.max_map_count = usize::MAX;
        limits.partial_effects = PartialEffects::AsLinux;
        // Nothing can be locked.
        free.child.limit(libc::RLIMIT_MEMLOCK, 0);
        match setting {
            Setting::Unlimited => {}
            Setting::Rlimits { address_space, data } => {
                free.child.limit(libc::RLIMIT_AS, child_pages * PAGE + address_space);
                let child_data = free.child.files.vm_stat()[0];
                free.child.limit(libc::RLIMIT_DATA, child_data + data);
                limits.address_space = mapped + address_space;
                limits.data = data;
            }
            Setting::MapCount(count) => {
                free.leave_mappings(within.end, count);
                limits.max_map_count = spaces[0].map_count() + count as usize;
            }
        }
        for space in &mut spaces {
            space.set_limits(limits);
        }
        Self {
            more_pages: child_pages.cast_signed() - (mapped / PAGE).cast_signed(),
            vm_stat_before: [free.child.files.vm_stat(), spaces[0].vm_stat()],
            every: EVERY,
            calls: 0,
            spaces,
            free,
            files,
            window: within,
            text: Vec::new(),
            pages: Pages::default(),
        }
    }

    /// Compares everything after each call, not only now and then.
    pub fn look_always(mut self) -> Self {
        self.every = 1;
        self
    }

    /// Returns what is mapped in the window.
    pub fn mapped(&self) -> impl Iterator<Item = Range<u64>> {
        lines(&self.text, &self.window).filter_map(range)
    }

    /// Returns whether the models support what it needs.
    pub fn is_built(&self, op: &Op) -> bool {
        let Some(touched) = op.touched() else {
            return true;
        };
        let mappings = self.spaces[0].mappings(&touched);
        // Only zeros may be executed.
        let is_code = matches!(op, Op::Fetch { .. })
            && mappings
                .iter()
                .any(|(range, flags, _)| range.start < touched.end && flags.contains(VmFlags::EXEC))
            && self.spaces[0].has_own_page(touched.start);
        !is_code && op.is_built(&touched, &mappings)
    }

    /// Makes the call in all of them. Returns the common outcome, or the difference.
    pub fn apply(&mut self, op: &Op) -> Result<Outcome, String> {
        if !self.is_built(op) {
            return Ok(Outcome::NotBuilt);
        }
        let done: Vec<_> = self.spaces.iter_mut().map(|space| space.apply(op)).collect();
        let kernel = op.on_kernel(&mut self.free, self.files);
        let mut report = String::new();
        for (space, done) in self.spaces.iter().zip(done) {
            if done != kernel {
                let (done, kernel) = (self.outcome(done), self.outcome(kernel));
                writeln!(report, "{}: {done}, kernel: {kernel}", space.name()).unwrap();
            }
        }
        self.compare_mappings(&mut report);
        self.compare_pages(&mut report);
        self.calls += 1;
        if self.calls.is_multiple_of(self.every) || !report.is_empty() {
            self.compare_counts(&mut report);
            self.compare_memory(&mut report);
        }
        if report.is_empty() {
            Ok(Outcome::Same(kernel))
        } else {
            Err(report)
        }
    }

    fn compare_mappings(&mut self, report: &mut String) {
        let files = &mut self.free.child.files;
        files.maps(self.window.end, &mut self.text);
        let pages = (files.total_vm().cast_signed() - self.more_pages).cast_unsigned();
        for space in &mut self.spaces {
            if !space.maps_agree(&self.window, &self.text) {
                describe(report, "maps", &**space, &self.text, &self.window);
            }
            let total_vm = space.total_vm();
            if total_vm != pages {
                writeln!(report, "{}: {total_vm} pages, kernel: {pages}", space.name()).unwrap();
            }
        }
    }

    fn compare_pages(&mut self, report: &mut String) {
        let files = &self.free.child.files;
        self.pages
            .fill(&self.window, |offset, entries| files.pagemap(offset, entries));
        for space in &mut self.spaces {
            if let Some((addr, [kernel, model])) = self.pages.difference(space.pages(&self.window)) {
                let page = addr - self.window.start;
                writeln!(
                    report,
                    "{}: page w + {page:#x} is {model}, kernel: {kernel}",
                    space.name()
                )
                .unwrap();
            }
        }
    }

    fn compare_counts(&mut self, report: &mut String) {
        let files = &mut self.free.child.files;
        let mut text = Vec::new();
        files.smaps(self.window.end, &mut text);
        let [kernel_before, models_before] = self.vm_stat_before;
        let grown = |now: [u64; 3], before: [u64; 3]| [0, 1, 2].map(|kind| now[kind].wrapping_sub(before[kind]));
        let kernel = grown(files.vm_stat(), kernel_before);
        for space in &mut self.spaces {
            if !space.smaps_agree(&self.window, &text) {
                describe(report, "smaps", &**space, &text, &self.window);
            }
            let model = grown(space.vm_stat(), models_before);
            if model != kernel {
                writeln!(
                    report,
                    "{}: data, stack, exec {model:?}, kernel: {kernel:?}",
                    space.name()
                )
                .unwrap();
            }
        }
    }

    /// Compares the contents of the pages that both have.
    fn compare_memory(&mut self, report: &mut String) {
        let mut bytes = [0; PAGE as usize];
        for addr in self.pages.own() {
            self.free.child.files.memory(addr, &mut bytes);
            for space in &self.spaces {
                let model = space.memory(addr);
                if bytes == model {
                    continue;
                }
                for (at, (kernel, model)) in (addr..).zip(bytes.iter().zip(&model)) {
                    if kernel != model {
                        let byte = at - self.window.start;
                        writeln!(
                            report,
                            "{}: byte w + {byte:#x} is {model:#x}, kernel: {kernel:#x}",
                            space.name()
                        )
                        .unwrap();
                        break;
                    }
                }
            }
        }
    }

    fn outcome(&self, result: Result<u64, Refused>) -> String {
        let near = |addr: u64| match self.window.contains(&addr) {
            true => format!("w + {:#x}", addr - self.window.start),
            false => format!("{addr:#x}"),
        };
        match result {
            Ok(value) => near(value),
            Err(Refused::Segv { code, addr }) => format!("SIGSEGV {code} at {}", near(addr)),
            Err(refused) => refused.to_string(),
        }
    }
}

/// Returns the lines that only one of the two has.
fn describe(report: &mut String, what: &str, space: &dyn Space, kernel: &[u8], window: &Range<u64>) {
    writeln!(report, "{}: {what} (- of the kernel, + of the model)", space.name()).unwrap();
    let numbered = |text| {
        let mut mapping = 0..0;
        let lines = lines(text, window).map(|line| {
            mapping = range(line).unwrap_or(mapping.clone());
            (mapping.clone(), line)
        });
        lines.collect::<Vec<_>>()
    };
    let [kernel, model] = [numbered(kernel), numbered(space.text())];
    for (has, hasnt, sign) in [(&kernel, &model, '-'), (&model, &kernel, '+')] {
        for (range, line) in has.iter().filter(|line| !hasnt.contains(line)) {
            let [start, end] = [range.start, range.end].map(|addr| addr - window.start);
            let rest = line.strip_prefix(format!("{:x}-{:x}", range.start, range.end).as_bytes());
            let line = String::from_utf8_lossy(rest.unwrap_or(line));
            writeln!(report, "  {sign} w + {start:#x}..{end:#x} {}", line.trim()).unwrap();
        }
    }
}
