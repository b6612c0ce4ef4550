//! An address space: calls, page faults, and what a reader sees.
//!
//!     cargo run -p vmaple-mm --example space

use vmaple_mm::{Advice, FaultCause, Layout, Limits, MapFlags, Mm, Prot, VirtAddr, VmaRead};

const PAGE: u64 = vmaple_mm::PAGE_SIZE;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS;

    // Four pages. The middle two become read-only, which splits the mapping in three.
    let at = mm.mmap(VirtAddr(0), 4 * PAGE, Prot::READ | Prot::WRITE, private, None, 0)?;
    mm.mprotect(at + PAGE, 2 * PAGE, Prot::READ)?;
    mm.set_anon_vma_name(at, PAGE, Some(b"first"))?;
    print(&mm)?;

    // A thread takes the page faults: the zero page for a read, a fresh page for a write.
    let thread = mm.thread()?;
    thread.write(at, b"maple")?;
    let mut byte = [0xff];
    thread.read(at + 3 * PAGE, &mut byte)?;
    assert_eq!(byte, [0]);

    // What the mapping does not permit is a fault, with the signal that a process would get.
    let fault = thread.write(at + PAGE, b"!").expect_err("the page is read-only");
    assert_eq!(fault.cause, FaultCause::AccErr);
    println!("{fault}");

    // Dropped pages read as zeros again.
    thread.madvise(at, PAGE, Advice::DontNeed)?;
    thread.read(at, &mut byte)?;
    assert_eq!(byte, [0]);

    mm.munmap(at, 4 * PAGE)?;
    assert_eq!(mm.map_count(), 0);
    Ok(())
}

/// Prints the mappings of one instant.
fn print(mm: &Mm) -> Result<(), vmaple_mm::Error> {
    let reader = mm.reader()?;
    let Some(section) = reader.read_lock() else {
        return Ok(());
    };
    for vma in section.iter_from(VirtAddr(0)) {
        let name = vma.anon_name().unwrap_or_default();
        println!("{} {:?} {}", vma.range(), vma.flags(), name.escape_ascii());
    }
    Ok(())
}
