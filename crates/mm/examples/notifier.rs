//! An emulator that keeps translations, and is told when one ends.
//!
//!     cargo run -p vmaple-mm --example notifier

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmaple_mm::pgtable::{Ram, X86_64};
use vmaple_mm::{
    Access, Fault, Kref, Layout, Limits, MapFlags, MapleStore, Mm, MmThread, MmuNotifier, PAGE_SIZE, Prot, Soft,
    VirtAddr, VirtRange,
};

type Emulated = Soft<X86_64, Kref<Ram>, Tlb>;

/// Pages of which the emulator knows the memory. It keeps none while any range is open.
#[derive(Clone, Default)]
struct Tlb(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    open: usize,
    /// By page: the exposed address of its memory.
    pages: BTreeMap<VirtAddr, usize>,
    misses: usize,
}

impl Tlb {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MmuNotifier for Tlb {
    fn invalidate_range_start(&self, range: VirtRange) {
        let kept = &mut *self.kept();
        kept.open += 1;
        kept.pages.retain(|&page, _| !range.contains(page));
    }

    fn invalidate_range_end(&self, _: VirtRange) {
        self.kept().open -= 1;
    }
}

/// The guest's load of a byte.
fn load(thread: &MmThread<MapleStore, Emulated>, tlb: &Tlb, addr: VirtAddr) -> Result<u8, Fault> {
    let page = addr.page_floor();
    let offset = addr.page_offset() as usize;
    {
        // The lock is held during the access: a start waits for it.
        let kept = tlb.kept();
        if let Some(&memory) = kept.pages.get(&page) {
            return Ok(byte(NonNull::new(std::ptr::with_exposed_provenance_mut(
                memory + offset,
            ))));
        }
    }
    thread.with_page(page, Access::Read, |memory| {
        let kept = &mut *tlb.kept();
        kept.misses += 1;
        if kept.open == 0 {
            kept.pages.insert(page, memory.as_ptr().expose_provenance());
        }
        // SAFETY: in the page.
        byte(Some(unsafe { memory.add(offset) }))
    })
}

/// Reads a byte atomically, as other threads may write it.
fn byte(at: Option<NonNull<u8>>) -> u8 {
    let at = at.expect("memory is not at 0");
    // SAFETY: in a page whose translation has not ended, by the caller's lock; all accesses to it
    // are atomic.
    let byte = unsafe { AtomicU8::from_ptr(at.as_ptr()) };
    // Relaxed: nothing else is ordered by it.
    byte.load(Ordering::Relaxed)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tlb = Tlb::default();
    let machine = Emulated::with_notifier(Ram::new(16 << 20)?, tlb.clone());
    let mm: Mm<MapleStore, _> = Mm::with_machine(Layout::default(), Limits::default(), machine)?;
    let thread = mm.thread()?;

    let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    let at = mm.mmap(VirtAddr(0), PAGE_SIZE, Prot::READ | Prot::WRITE, private, None, 0)?;
    thread.write(at, b"maple")?;

    let text = (0..5)
        .map(|i| load(&thread, &tlb, at + i))
        .collect::<Result<Vec<_>, _>>()?;
    assert_eq!((&text[..], tlb.kept().misses), (&b"maple"[..], 1));

    // The unmapping ends the translation before the page goes. The next load finds nothing mapped.
    mm.munmap(at, PAGE_SIZE)?;
    assert!(tlb.kept().pages.is_empty());
    println!("{}", load(&thread, &tlb, at).expect_err("nothing is mapped there"));
    Ok(())
}
