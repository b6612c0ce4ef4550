//! Makes random calls in the running kernel, in this process, and in the model: the records of
//! smaps and the entries of pagemap agree after each.
//!
//! `VMAPLE_CALLS` is how many (1,000), `VMAPLE_SEED` repeats a run. Only private anonymous memory
//! is mapped, the only one that has pages in the model.

#![cfg(all(not(loom), target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs::File;
use std::os::unix::fs::FileExt;

use vmaple_conformance::smaps_text::{Record, is_too_old};
use vmaple_mm::{Access, Advice, Layout, Limits, MapFlags, Mm, MmThread, PAGE_SIZE, Prot, VirtAddr};
use vmaple_proc::{Pagemap, Smaps};

/// Where the mappings are. Without an address the kernel places none so low (from the top down, or
/// from a third of the address space up), so that other threads put nothing into the holes.
const WINDOW: u64 = 0x2000_0000_0000;
/// More than two leaf tables.
const PAGES: u64 = 1200;
const ANONYMOUS: MapFlags = MapFlags::PRIVATE.union(MapFlags::FIXED).union(MapFlags::ANONYMOUS);

/// A call, on some pages of the window.
#[derive(Clone, Copy, Debug)]
enum Op {
    Map(Prot, MapFlags),
    Unmap,
    Protect(Prot),
    Advise(Advice),
    Name(Option<&'static std::ffi::CStr>),
    /// The processor accesses one page, if the mapping permits it.
    Touch(Access),
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

fn random_op(random: &mut fastrand::Rng) -> Op {
    let prot = Prot::from_bits_retain([3, 3, 3, 3, 1, 0, 5, 7][random.usize(..8)]);
    match random.u32(..20) {
        0..4 => {
            let more = [
                MapFlags::empty(),
                MapFlags::POPULATE,
                MapFlags::NORESERVE,
                MapFlags::STACK,
            ];
            Op::Map(prot, ANONYMOUS | more[random.usize(..4)])
        }
        4 => Op::Unmap,
        5..8 => Op::Protect(prot),
        8 => Op::Advise(Advice::PopulateRead),
        9 => Op::Advise(Advice::PopulateWrite),
        10..12 => Op::Advise(Advice::DontNeed),
        12 => Op::Name([None, Some(c"arena")][random.usize(..2)]),
        13..16 => Op::Touch(Access::Read),
        _ => Op::Touch(Access::Write),
    }
}

/// Makes a call in this process. Returns its result, or the error's number.
fn call_kernel(op: Op, at: u64, length: u64, may_touch: bool) -> Result<u64, i32> {
    let none = u64::MAX;
    let (number, arguments): (_, [u64; 6]) = match op {
        Op::Map(prot, flags) => (
            libc::SYS_mmap,
            [at, length, prot.bits().into(), flags.bits().into(), none, 0],
        ),
        Op::Unmap => (libc::SYS_munmap, [at, length, 0, 0, 0, 0]),
        Op::Protect(prot) => (libc::SYS_mprotect, [at, length, prot.bits().into(), 0, 0, 0]),
        Op::Advise(advice) => (libc::SYS_madvise, [at, length, advice as u64, 0, 0, 0]),
        Op::Name(name) => {
            let name = name.map_or(0, |name| name.as_ptr() as u64);
            let (what, which) = (libc::PR_SET_VMA as u64, libc::PR_SET_VMA_ANON_NAME as u64);
            (libc::SYS_prctl, [what, which, at, length, name, 0])
        }
        Op::Touch(access) => {
            if may_touch {
                let byte: *mut u8 = std::ptr::with_exposed_provenance_mut(at as usize);
                match access {
                    // SAFETY: a page of the window, which has no memory of this program and is
                    // writable, as the caller says.
                    Access::Write => unsafe { byte.write_volatile(1) },
                    // SAFETY: as above; it is readable.
                    _ => drop(unsafe { byte.read_volatile() }),
                }
            }
            return Ok(0);
        }
    };
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: changes mappings of the window only, where this program has nothing.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
        result => Ok(result as u64),
    }
}

fn call_model(op: Op, at: u64, length: u64, thread: &MmThread) -> Result<u64, i32> {
    let (mm, at) = (thread.mm(), VirtAddr(at));
    let result = match op {
        Op::Map(prot, flags) => mm.mmap(at, length, prot, flags, None, 0).map(|at| at.0),
        Op::Unmap => mm.munmap(at, length).map(|()| 0),
        Op::Protect(prot) => mm.mprotect(at, length, prot).map(|()| 0),
        Op::Advise(advice) => thread.madvise(at, length, advice).map(|()| 0),
        Op::Name(name) => mm
            .set_anon_vma_name(at, length, name.map(std::ffi::CStr::to_bytes))
            .map(|()| 0),
        Op::Touch(_) => Ok(0),
    };
    result.map_err(|error| error.errno.code())
}

/// Touches a page of the model; returns whether the mapping permits it.
fn touch_model(op: Op, at: u64, thread: &MmThread) -> bool {
    match op {
        Op::Touch(Access::Write) => thread.write(VirtAddr(at), &[1]).is_ok(),
        Op::Touch(_) => thread.read(VirtAddr(at), &mut [0]).is_ok(),
        _ => false,
    }
}

/// Returns the records of the window, without fields that only some configurations of the kernel
/// have.
fn records(text: &[u8]) -> Vec<String> {
    let records = Record::parse_all(text).into_iter();
    let inside = records.filter(|record| (WINDOW..WINDOW + PAGES * PAGE_SIZE).contains(&record.line.start));
    let common = inside.map(|record| {
        let text = String::from_utf8(record.text).unwrap().replace(" sd ", " ");
        text.lines()
            .filter(|line| !line.starts_with("ProtectionKey:"))
            .fold(String::new(), |text, line| text + line + "\n")
    });
    common.collect()
}

/// The kernel forgets accesses when it is short of memory: it may report less.
fn forget_accesses(kernel: &mut [String], model: &mut [String]) {
    let referenced = |text: &String| {
        let at = text.find("Referenced:").unwrap();
        let number: u64 = text[at + 11..].split_whitespace().next().unwrap().parse().unwrap();
        (at, number)
    };
    for (kernel, model) in kernel.iter_mut().zip(model) {
        let ((at, its), (of_model, more)) = (referenced(kernel), referenced(model));
        if its < more {
            kernel.replace_range(at..at + 28, "");
            model.replace_range(of_model..of_model + 28, "");
        }
    }
}

#[test]
fn random_calls_leave_the_pages_that_the_kernel_has() {
    if is_too_old() {
        return;
    }
    // SAFETY: takes numbers only. Turns huge pages off where the kernel would take some.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1_u64, 0_u64, 0_u64, 0_u64) };
    let seed = from_env("VMAPLE_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("VMAPLE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mm: Mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    let thread = mm.thread().unwrap();
    let kernel_pagemap = File::open("/proc/self/pagemap").unwrap();
    let mut smaps = Smaps::open(&mm).unwrap();
    let mut pagemap = Pagemap::open_with_frames(&mm).unwrap();
    let has_names = {
        call_kernel(Op::Map(Prot::READ, ANONYMOUS), WINDOW, PAGE_SIZE, false).unwrap();
        let named = call_kernel(Op::Name(Some(c"arena")), WINDOW, PAGE_SIZE, false);
        call_kernel(Op::Unmap, WINDOW, PAGE_SIZE, false).unwrap();
        named.is_ok()
    };
    let (mut most, mut errors, mut touched) = (0, 0, 0);
    for i in 0..from_env("VMAPLE_CALLS").unwrap_or(1_000) {
        let op = random_op(&mut random);
        if matches!(op, Op::Name(_)) && !has_names {
            continue;
        }
        // In the first pages, so that mappings meet; now and then across leaf tables.
        let (most_first, most_pages) = if random.u32(..8) == 0 { (PAGES, 700) } else { (40, 12) };
        let first = random.u64(..most_first);
        let pages = random.u64(1..most_pages).min(PAGES - first);
        let (at, length) = (WINDOW + first * PAGE_SIZE, pages * PAGE_SIZE);
        let may_touch = touch_model(op, at, &thread);
        let by_model = call_model(op, at, length, &thread);
        let by_kernel = call_kernel(op, at, length, may_touch);
        let what = format!("call {i}: {op:?} of pages {first} to {}", first + pages);
        assert_eq!(by_model, by_kernel, "{what}");
        errors += usize::from(by_model.is_err());
        touched += usize::from(may_touch);

        let mut text = Vec::new();
        smaps.rewind();
        std::io::Read::read_to_end(&mut smaps, &mut text).unwrap();
        let (mut model, mut kernel) = (records(&text), records(&std::fs::read("/proc/self/smaps").unwrap()));
        forget_accesses(&mut kernel, &mut model);
        assert_eq!(model.join(""), kernel.join(""), "{what}");
        most = most.max(model.len());

        let (mut ours, mut theirs) = (vec![0; PAGES as usize * 8], vec![0; PAGES as usize * 8]);
        let offset = WINDOW / PAGE_SIZE * 8;
        assert_eq!(pagemap.read_at(offset, &mut ours).unwrap(), ours.len());
        kernel_pagemap.read_exact_at(&mut theirs, offset).unwrap();
        for (page, (our, their)) in ours.chunks(8).zip(theirs.chunks(8)).enumerate() {
            // Not the frame, which only root sees, and not soft-dirty, which not every kernel has.
            let bits = |entry: &[u8]| u64::from_ne_bytes(entry.try_into().unwrap()) >> 56;
            assert_eq!(bits(our), bits(their), "page {page} after {what}");
        }
    }
    println!("at most {most} records, {errors} errors, {touched} touched");
    assert!(most > 5 && errors > 0 && touched > 0);
    call_kernel(Op::Unmap, WINDOW, PAGES * PAGE_SIZE, false).unwrap();
}
