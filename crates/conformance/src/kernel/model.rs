//! A model, and what a test sees of it.

use std::io::Read;
use std::ops::Range;

use vmaple_mm::pgtable::{CountBy, Frames, PageCounts, PageFlags, Ram};
use vmaple_mm::{
    Kref, Layout, Limits, MapFlags, Mm, MmReader, MmThread, Prot, Soft, VirtAddr, VmFlags, VmaRead, VmaStore,
};
use vmaple_proc::{Maps, Pagemap, Smaps};

use super::memory::Pages;
use super::op::{Files, Op};
use super::refused::Refused;
use super::text::Objects;
use super::window::PAGE;

/// A mapping's addresses, its flags, and whether it is shared or of a file.
pub(super) type Mapping = (Range<u64>, VmFlags, bool);

/// A model, with any store.
pub(super) trait Space {
    fn name(&self) -> &'static str;

    fn set_limits(&mut self, limits: Limits);

    /// Makes a call, or an access.
    fn apply(&mut self, op: &Op) -> Result<u64, Refused>;

    /// Returns the mappings that have an address in `range`, and the next one.
    fn mappings(&self, range: &Range<u64>) -> Vec<Mapping>;

    /// Reads its maps. Returns whether they equal the kernel's.
    fn maps_agree(&mut self, window: &Range<u64>, kernel: &[u8]) -> bool;

    /// Does the same for smaps.
    fn smaps_agree(&mut self, window: &Range<u64>, kernel: &[u8]) -> bool;

    /// Returns what was read last.
    fn text(&self) -> &[u8];

    /// Reads which pages exist.
    fn pages(&mut self, window: &Range<u64>) -> &Pages;

    /// Returns the contents of a page that exists.
    fn memory(&self, addr: u64) -> [u8; PAGE as usize];

    /// Returns whether the page exists and is not the one of zeros.
    fn has_own_page(&self, addr: u64) -> bool;

    fn map_count(&self) -> usize;

    /// Returns the pages of address space.
    fn total_vm(&self) -> u64;

    /// As [`ProcFiles::vm_stat`](super::proc_files::ProcFiles::vm_stat).
    fn vm_stat(&self) -> [u64; 3];
}

/// An address space of which all but the window is mapped.
pub(super) struct Model<S: VmaStore> {
    name: &'static str,
    thread: MmThread<S>,
    reader: MmReader<S>,
    pagemap: Pagemap<S>,
    files: Vec<Kref<vmaple_mm::File>>,
    ram: Kref<Ram>,
    text: Vec<u8>,
    pages: Pages,
    objects: Objects,
}

impl<S: VmaStore> Model<S> {
    pub(super) fn new(name: &'static str, layout: Layout, window: &Range<u64>, files: &Files) -> Self {
        let ram = Ram::new(1 << 30).unwrap();
        let mm: Mm<S> = Mm::with_machine(layout, Limits::default(), Soft::new(ram.clone())).unwrap();
        // Mappings of a file of their own, which merge with none.
        let filler = vmaple_mm::File::new((0, 0), 0, &b"filler"[..]).unwrap();
        let gaps = [
            layout.min_addr..VirtAddr(window.start),
            VirtAddr(window.end)..layout.task_size,
        ];
        for gap in gaps.into_iter().filter(|gap| !gap.is_empty()) {
            let (flags, length) = (MapFlags::PRIVATE | MapFlags::FIXED, gap.end - gap.start);
            mm.mmap(gap.start, length, Prot::empty(), flags, Some(&filler), 0)
                .unwrap();
        }
        Self {
            name,
            thread: mm.thread().unwrap(),
            reader: mm.reader().unwrap(),
            pagemap: Pagemap::open(&mm).unwrap(),
            files: files.of_model(),
            ram,
            text: Vec::new(),
            pages: Pages::default(),
            objects: Objects::default(),
        }
    }

    fn mm(&self) -> &Mm<S> {
        self.thread.mm()
    }

    /// Checks that the counters of tables and a walk count the same pages.
    fn assert_counters(&self) {
        let count = |by| {
            let mut counts = PageCounts::default();
            self.reader
                .walker()
                .count(VirtAddr(0)..self.mm().layout().task_size, by, &mut counts);
            {
                let mut counts = counts;
                counts.leaves_by_counters = 0;
                counts.leaves_walked = 0;
                counts
            }
        };
        assert_eq!(count(CountBy::Counters), count(CountBy::Walk));
    }
}

impl<S: VmaStore> Space for Model<S> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn set_limits(&mut self, limits: Limits) {
        self.mm().set_limits(limits).unwrap();
    }

    fn apply(&mut self, op: &Op) -> Result<u64, Refused> {
        op.on_model(&self.thread, &self.files)
    }

    fn mappings(&self, range: &Range<u64>) -> Vec<Mapping> {
        let section = self.reader.read_lock().unwrap();
        let mut is_next = false;
        let met = section.iter_from(VirtAddr(range.start)).take_while(|vma| {
            let was_next = is_next;
            is_next = vma.range().start >= VirtAddr(range.end);
            !was_next
        });
        met.map(|vma| (vma.range().into(), vma.flags(), vma.file().is_some()))
            .collect()
    }

    fn maps_agree(&mut self, window: &Range<u64>, kernel: &[u8]) -> bool {
        self.text.clear();
        let mut maps = Maps::open(self.thread.mm()).unwrap();
        maps.read_to_end(&mut self.text).unwrap();
        let count = self.text.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(self.map_count(), count);
        self.objects.agree(kernel, &self.text, window)
    }

    fn smaps_agree(&mut self, window: &Range<u64>, kernel: &[u8]) -> bool {
        self.assert_counters();
        self.text.clear();
        let mut smaps = Smaps::open(self.thread.mm()).unwrap();
        smaps.read_to_end(&mut self.text).unwrap();
        self.objects.agree(kernel, &self.text, window)
    }

    fn text(&self) -> &[u8] {
        &self.text
    }

    fn pages(&mut self, window: &Range<u64>) -> &Pages {
        let pagemap = &mut self.pagemap;
        self.pages.fill(window, |offset, entries| {
            assert_eq!(pagemap.read_at(offset, entries), Ok(entries.len()));
        });
        &self.pages
    }

    fn memory(&self, addr: u64) -> [u8; PAGE as usize] {
        let pte = self.reader.walker().translate(VirtAddr(addr)).unwrap();
        let page = self.ram.page(pte.pfn);
        // SAFETY: the page is mapped, and no other code uses this address space.
        unsafe { page.cast().read() }
    }

    fn has_own_page(&self, addr: u64) -> bool {
        let pte = self.reader.walker().translate(VirtAddr(addr));
        pte.is_some_and(|pte| !pte.flags.contains(PageFlags::ZERO))
    }

    fn map_count(&self) -> usize {
        self.mm().map_count()
    }

    fn total_vm(&self) -> u64 {
        self.mm().total_vm()
    }

    fn vm_stat(&self) -> [u64; 3] {
        let stat = self.mm().vm_stat();
        [stat.data, stat.stack, stat.exec].map(|pages| pages * PAGE)
    }
}
