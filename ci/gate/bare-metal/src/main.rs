//! Uses the crates as a kernel would: no std, no libc, no start code, an allocator and a panic
//! handler of its own. On x86-64 Linux it runs, and exits with 0 if everything was as expected.

#![no_std]
#![no_main]

extern crate alloc;

mod machine;

use alloc::boxed::Box;

use machine::{BUMP, say};
use maple_tree::{MapleTree, RcuDomain};
use vmaple_mm::{Access, Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
use vmaple_proc::Maps;

/// Stores a thousand entries while readers keep what they began with; the allocator is not called
/// once the tree is warm.
fn tree() -> Option<()> {
    let tree = MapleTree::<Box<u64>>::new().ok()?;
    for i in 0..1_000 {
        tree.insert_range(i * 10..i * 10 + 5, Box::new(i)).ok()?;
    }
    tree.reserve(200).ok()?;
    let reader = tree.reader().ok()?;
    let view = reader.read_lock();
    let calls = BUMP.calls();
    for i in 0..1_000 {
        tree.erase(i * 10).ok()?;
    }
    let asked = BUMP.calls() - calls;
    let kept = view.iter().all(|(range, held)| *range.start() == held * 10) && view.iter().count() == 1_000;
    drop(view);
    (kept && asked < 100 && reader.read_lock().is_empty()).then_some(())
}

/// Opens sections of a domain, and retires objects during them.
fn rcu() -> Option<()> {
    let (domain, mut updater) = RcuDomain::with_fences(vmaple_rcu::Fences::Symmetric).ok()?;
    let word = vmaple_rcu::RcuPtr::null(&domain);
    word.assign(&mut updater, Some(vmaple_rcu::RcuBox::new(1_u64).ok()?))
        .ok()?;
    let reader = domain.reader().ok()?;
    let guard = reader.read_lock();
    let held = word.dereference(&guard)?;
    word.assign(&mut updater, Some(vmaple_rcu::RcuBox::new(2_u64).ok()?))
        .ok()?;
    (*held == 1 && word.dereference(&guard) == Some(&2)).then_some(())
}

/// Makes mappings, a fault in one, and their text.
fn address_space() -> Option<()> {
    let mm: Mm = Mm::new(Layout::default(), Limits::default()).ok()?;
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ | Prot::WRITE, flags, None, 0)
        .ok()?;
    mm.mprotect(VirtAddr(0x11000), 0x1000, Prot::READ).ok()?;
    let thread = mm.thread().ok()?;
    thread.write(VirtAddr(0x10ffe), &[7, 8]).ok()?;
    let mut found = [0; 2];
    thread.read(VirtAddr(0x10ffe), &mut found).ok()?;
    let refused = thread.fault(VirtAddr(0x11000), Access::Write).is_err();
    let mut maps = Maps::open(&mm).ok()?;
    let mut buffer = [0; 4096];
    let len = maps.read(&mut buffer).ok()?;
    say(&buffer[..len]);
    let expected = "\
00010000-00011000 rw-p 00000000 00:00 0 \n\
00011000-00012000 r--p 00000000 00:00 0 \n\
00012000-00013000 rw-p 00000000 00:00 0 \n";
    (found == [7, 8] && refused && &buffer[..len] == expected.as_bytes()).then_some(())
}

fn main() -> i32 {
    let parts: [(&str, fn() -> Option<()>); 3] = [("rcu", rcu), ("tree", tree), ("address space", address_space)];
    let mut failed = 0;
    for (name, part) in parts {
        let done = part().is_some();
        failed += i32::from(!done);
        say(name.as_bytes());
        say(if done { b": as expected\n" } else { b": FAILED\n" });
    }
    failed
}
