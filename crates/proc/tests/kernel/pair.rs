//! The kernel and the models side by side.

use std::fmt::Write;
use std::ops::Range;

use vmaple_mm::{Layout, Limits, MapleStore, RbStore};

use super::child::range;
use super::model::{Model, lines};
use super::op::{Files, Op};
use super::window::{Free, PAGE, Window};

/// What of an address space is limited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setting {
    Unlimited,
    /// Pages of RLIMIT_AS and of RLIMIT_DATA.
    Rlimits {
        address_space: u64,
        data: u64,
    },
    /// How many mappings there may be.
    MapCount(u64),
}

/// What a call came to.
pub(crate) enum Outcome {
    Same(Result<u64, i32>),
    /// The model's error.
    LeftOut(i32),
}

/// A child and two models, to which the same is done.
pub(crate) struct Pair<'a> {
    pub(crate) free: Free,
    files: &'a Files,
    pub(crate) window: Range<u64>,
    maple: Model<MapleStore>,
    rb: Model<RbStore>,
    text: Vec<u8>,
    /// Pages that the child has and the models do not have.
    more_pages: i64,
}

impl<'a> Pair<'a> {
    pub(crate) fn new(window: &Window, files: &'a Files, setting: Setting) -> Self {
        let mut free = window.child();
        let within = window.range();
        let mapped = free.task_size - free.min_addr - (within.end - within.start);
        let child_pages = free.child.total_vm();
        // Where they are not in the window, they are where there is a file's mapping, which is never named after them.
        let elsewhere = (free.min_addr, free.min_addr);
        let (start_brk, start_stack) = if free.has_brk {
            window.brk_and_stack()
        } else {
            elsewhere
        };
        let layout = Layout {
            min_addr: free.min_addr,
            mmap_base: free.task_size,
            task_size: free.task_size,
            start_brk,
            start_stack,
            ..Layout::default()
        };
        let maple = Model::new(layout, &within, files);
        let mut limits = Limits {
            // More than fit into a window.
            max_map_count: usize::MAX,
            ..Limits::default()
        };
        match setting {
            Setting::Unlimited => {}
            Setting::Rlimits { address_space, data } => {
                free.child.limit(libc::RLIMIT_AS, (child_pages + address_space) * PAGE);
                free.child.limit(libc::RLIMIT_DATA, free.child.data_vm() + data * PAGE);
                limits.address_space = mapped + address_space * PAGE;
                limits.data = data * PAGE;
            }
            Setting::MapCount(count) => {
                free.leave_mappings(within.end, count);
                limits.max_map_count = maple.mm.map_count() + count as usize;
            }
        }
        let rb = Model::new(layout, &within, files);
        maple.mm.set_limits(limits).unwrap();
        rb.mm.set_limits(limits).unwrap();
        Self {
            maple,
            rb,
            more_pages: child_pages.cast_signed() - (mapped / PAGE).cast_signed(),
            free,
            files,
            window: within,
            text: Vec::new(),
        }
    }

    /// What is mapped in the window.
    pub(crate) fn mapped(&self) -> impl Iterator<Item = Range<u64>> {
        lines(&self.text, &self.window).map(range)
    }

    /// Does it to all. What they said; or that it was left out, since the kernel leaves mappings split when it fails; or in what
    /// they differ.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<Outcome, String> {
        let maple = op.on_model(&self.maple.mm, &self.maple.files);
        let rb = op.on_model(&self.rb.mm, &self.rb.files);
        if let Err(error) = &maple
            && op.leaves_splits(error, self.mapped())
        {
            return Ok(Outcome::LeftOut(error.errno.code()));
        }
        let [maple, rb] = [maple, rb].map(|result| result.map_err(|error| error.errno.code()));
        let kernel = op.on_kernel(&mut self.free, self.files);
        let child = &mut self.free.child;
        child.maps(self.window.end, &mut self.text);
        let pages = (child.total_vm().cast_signed() - self.more_pages).cast_unsigned();
        let agree = self.maple.agrees(&self.window, &self.text) & self.rb.agrees(&self.window, &self.text);
        let have = [self.maple.mm.total_vm(), self.rb.mm.total_vm()];
        if agree && [maple, rb] == [kernel; 2] && have == [pages; 2] {
            return Ok(Outcome::Same(kernel));
        }
        let kernel_lines: Vec<_> = lines(&self.text, &self.window).collect();
        let mut report = format!("kernel: {}\n", self.outcome(kernel, pages));
        for (who, result, pages, text) in [
            ("MapleStore", maple, have[0], &self.maple.text),
            ("RbStore", rb, have[1], &self.rb.text),
        ] {
            writeln!(report, "{who}: {}", self.outcome(result, pages)).unwrap();
            let model_lines: Vec<_> = lines(text, &self.window).collect();
            for (has, hasnt, sign) in [(&kernel_lines, &model_lines, '-'), (&model_lines, &kernel_lines, '+')] {
                for line in has.iter().filter(|line| !hasnt.contains(line)) {
                    let (range, line) = (range(line), String::from_utf8_lossy(line));
                    let [start, end] = [range.start, range.end].map(|addr| addr - self.window.start);
                    let rest = line.split_once(' ').unwrap().1;
                    writeln!(report, "  {sign} w + {start:#x}..{end:#x} {rest}").unwrap();
                }
            }
        }
        Err(report)
    }

    /// Does it to the kernel alone, with which nothing can be compared any more.
    pub(crate) fn last(mut self, op: &Op) -> Result<u64, i32> {
        op.on_kernel(&mut self.free, self.files)
    }

    fn outcome(&self, result: Result<u64, i32>, pages: u64) -> String {
        let result = match result {
            Ok(addr) if self.window.contains(&addr) => format!("w + {:#x}", addr - self.window.start),
            Ok(value) => format!("{value:#x}"),
            Err(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
        };
        format!("{result}; {pages} pages")
    }
}
