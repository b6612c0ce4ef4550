//! Frames: taken, returned, and in lists.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeSet;
use std::thread;

use vmaple_mm::pgtable::{FrameChain, FrameList, Frames, PageFlags, PageTables, Pfn, Pte, Ram, Step, UniqueFrame};
use vmaple_mm::{Kref, Machine, Soft, VirtAddr};

/// Frames that [`Ram`] takes at a time.
const CHUNK: usize = if cfg!(miri) { 128 } else { 512 };
const PAGE: usize = 4096;

fn ram(chunks: u64) -> Kref<Ram> {
    Ram::new(chunks * (CHUNK * PAGE) as u64).unwrap()
}

/// Returns the frames of a list, in the order of `pop`.
fn drain(ram: &Ram, mut list: FrameChain) -> Vec<Pfn> {
    let len = list.len();
    // SAFETY: frames of the one Ram, taken from it.
    let frames = std::iter::from_fn(|| unsafe { list.pop(ram) }).collect::<Vec<_>>();
    assert_eq!((frames.len(), list.is_empty()), (len, true));
    // SAFETY: as above.
    assert_eq!(unsafe { list.pop(ram) }, None);
    frames
}

fn list(ram: &Ram, frames: impl IntoIterator<Item = Pfn>) -> FrameChain {
    let mut list = FrameChain::new();
    // SAFETY: frames of the one Ram, taken from it.
    frames.into_iter().for_each(|pfn| unsafe { list.push(ram, pfn) });
    list
}

/// Takes all frames, one chunk after the other.
fn take_all(ram: &Ram) -> Vec<Pfn> {
    let lists = std::iter::from_fn(|| Some(ram.alloc(usize::MAX)).filter(|list| !list.is_empty()));
    lists.flat_map(|list| drain(ram, list)).collect()
}

#[test]
fn every_frame_is_given_once_and_the_page_of_zeros_never() {
    let ram = ram(3);
    let all = take_all(&ram);
    let distinct = all.iter().map(|pfn| pfn.0).collect::<BTreeSet<_>>();
    assert_eq!((all.len(), distinct.len()), (3 * CHUNK - 1, 3 * CHUNK - 1));
    assert!(!all.contains(&ram.zero()));
    let pages = all
        .iter()
        .map(|&pfn| ram.page(pfn).as_ptr().addr())
        .collect::<BTreeSet<_>>();
    assert_eq!(pages.len(), all.len());
    assert!(pages.iter().all(|page| page.is_multiple_of(PAGE)));
    let metas = all.iter().map(|&pfn| std::ptr::from_ref(ram.meta(pfn)).addr());
    assert_eq!(metas.collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn there_are_no_more_frames_than_were_allowed_and_they_can_be_had_again() {
    let ram = ram(1);
    assert!(ram.alloc(0).is_empty());
    let (some, rest) = (ram.alloc(100), ram.alloc(usize::MAX));
    assert_eq!((some.len(), rest.len()), (100, CHUNK - 1 - 100));
    assert!(ram.alloc(1).is_empty());
    // SAFETY: they are from there.
    unsafe { ram.free(FrameChain::new()) };
    assert!(ram.alloc(1).is_empty());
    let frames = drain(&ram, some);
    // SAFETY: they are from there.
    unsafe { ram.free(list(&ram, frames.iter().copied())) };
    let again = drain(&ram, ram.alloc(usize::MAX));
    let numbers = |frames: Vec<Pfn>| frames.into_iter().map(|pfn| pfn.0).collect::<BTreeSet<_>>();
    assert_eq!(numbers(again), numbers(frames));
}

#[test]
#[cfg_attr(miri, ignore = "looks at the place of each of a million chunks")]
fn memory_is_taken_as_it_is_needed() {
    let ram = ram(1 << 20); // two tebibytes
    let first = ram.alloc(usize::MAX);
    assert_eq!(first.len(), CHUNK - 1);
    let more = ram.alloc(1);
    assert_eq!((more.len(), ram.alloc(usize::MAX).len()), (1, CHUNK - 1));
}

#[test]
fn what_was_reserved_is_there_at_once() {
    let ram = ram(4);
    ram.reserve(3 * CHUNK).unwrap();
    assert!(ram.alloc(usize::MAX).len() >= 3 * CHUNK);
    let ram = self::ram(2);
    assert!(ram.reserve(2 * CHUNK).is_err(), "one is the page of zeros");
    assert_eq!(take_all(&ram).len(), 2 * CHUNK - 1);
}

#[test]
fn the_page_of_zeros_is_zero_and_pages_are_memory() {
    let ram = ram(1);
    let zero = ram.page(ram.zero());
    // SAFETY: no thread writes it.
    let zeros = unsafe { std::slice::from_raw_parts(zero.as_ptr(), PAGE) };
    assert!(zeros.iter().all(|byte| *byte == 0));
    let all = ram.alloc(if cfg!(miri) { 2 } else { usize::MAX });
    let all = drain(&ram, all);
    for &pfn in &all {
        // SAFETY: the frame was taken.
        unsafe { ram.page(pfn).write_bytes(pfn.0 as u8, PAGE) };
    }
    for &pfn in &all {
        // SAFETY: as above, and written.
        let page = unsafe { std::slice::from_raw_parts(ram.page(pfn).as_ptr(), PAGE) };
        assert!(page.iter().all(|byte| *byte == pfn.0 as u8));
    }
    assert!(zeros.iter().all(|byte| *byte == 0));
}

/// Lists against vectors: the last of a vector is the first of a list.
#[test]
fn chains_are_joined_and_parted_as_vectors_are() {
    let ram = ram(1);
    let mut random = fastrand::Rng::with_seed(3);
    let mut free = take_all(&ram);
    let mut lists = [const { FrameChain::new() }; 3];
    let mut models = [const { Vec::new() }; 3];
    for _ in 0..if cfg!(miri) { 500 } else { 50_000 } {
        let (one, other) = (random.usize(0..3), random.usize(0..3));
        match random.u32(0..8) {
            0..3 => {
                if let Some(pfn) = free.pop() {
                    // SAFETY: frames of the one Ram, taken from it.
                    unsafe { lists[one].push(&*ram, pfn) };
                    models[one].push(pfn);
                }
            }
            3..5 => {
                // SAFETY: frames of the one Ram, taken from it.
                let popped = unsafe { lists[one].pop(&*ram) };
                assert_eq!(popped, models[one].pop());
                free.extend(popped);
            }
            5 if one != other => {
                let taken = std::mem::take(&mut lists[other]);
                // SAFETY: frames of the one Ram, taken from it.
                unsafe { lists[one].append(&*ram, taken) };
                let taken = std::mem::take(&mut models[other]);
                models[one].extend(taken);
            }
            6 if one != other => {
                let count = random.usize(0..8);
                // SAFETY: frames of the one Ram, taken from it.
                let taken = unsafe { lists[one].split(&*ram, count) };
                let left = models[one].len().saturating_sub(count);
                let expected = models[one].split_off(left);
                assert_eq!(taken.len(), expected.len());
                // SAFETY: frames of the one Ram, taken from it.
                unsafe { lists[other].append(&*ram, taken) };
                models[other].extend(expected);
            }
            _ => {}
        }
        for (list, model) in lists.iter().zip(&models) {
            assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
        }
    }
    for (list, mut model) in lists.into_iter().zip(models) {
        model.reverse();
        assert_eq!(drain(&ram, list), model);
    }
}

/// The same without unsafe. The rest of a dropped list is free again.
#[test]
fn lists_are_joined_and_parted_as_chains_are_and_free_what_is_left() {
    let ram = ram(1);
    let frames: &Ram = &ram;
    let mut random = fastrand::Rng::with_seed(4);
    let mut free = take_all(&ram)
        .into_iter()
        // SAFETY: just taken.
        .map(|pfn| unsafe { UniqueFrame::from_pfn(frames, pfn) })
        .collect::<Vec<_>>();
    let mut lists = [0; 3].map(|_| FrameList::new(frames));
    let mut models = [const { Vec::new() }; 3];
    for _ in 0..if cfg!(miri) { 500 } else { 5_000 } {
        let (one, other) = (random.usize(0..3), random.usize(0..3));
        match random.u32(0..8) {
            0..3 => {
                if let Some(frame) = free.pop() {
                    models[one].push(frame.pfn());
                    lists[one].push(frame);
                }
            }
            3..5 => {
                let popped = lists[one].pop();
                assert_eq!(popped.as_ref().map(UniqueFrame::pfn), models[one].pop());
                free.extend(popped);
            }
            _ if one == other => {}
            kind => {
                let count = if kind == 5 { usize::MAX } else { random.usize(0..8) };
                let taken = lists[other].split(count);
                let left = models[other].len().saturating_sub(count);
                let expected = models[other].split_off(left);
                assert_eq!(taken.len(), expected.len());
                lists[one].append(taken);
                models[one].extend(expected);
            }
        }
        for (list, model) in lists.iter().zip(&models) {
            assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
        }
    }
    drop((free, lists));
    assert_eq!(take_all(&ram).len(), CHUNK - 1);
}

#[test]
#[should_panic(expected = "frames of another allocator")]
fn a_list_takes_no_frame_of_another_allocator() {
    let (one, other) = (ram(1), ram(1));
    let mut list = FrameList::new(&one);
    list.push(other.take(1).pop().unwrap());
}

#[test]
#[should_panic(expected = "frames of another allocator")]
fn a_list_is_not_joined_with_one_of_another_allocator() {
    let (one, other) = (ram(1), ram(1));
    one.take(1).append(other.take(1));
}

#[test]
fn no_frame_is_two_threads() {
    let ram = ram(4);
    let thread = |number: u64| {
        let ram = ram.clone();
        move || {
            let mut random = fastrand::Rng::with_seed(number);
            for _ in 0..if cfg!(miri) { 3 } else { 2_000 } {
                let frames = drain(&ram, ram.alloc(random.usize(1..40)));
                for &pfn in &frames {
                    // SAFETY: the frame belongs to this thread.
                    unsafe { ram.page(pfn).cast::<u64>().write_volatile(number) };
                }
                thread::yield_now();
                for &pfn in &frames {
                    // SAFETY: as above.
                    assert_eq!(unsafe { ram.page(pfn).cast::<u64>().read_volatile() }, number);
                }
                // SAFETY: they are from there.
                unsafe { ram.free(list(&ram, frames)) };
            }
        }
    };
    let threads = [1, 2, 3].map(|number| thread::spawn(thread(number)));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(take_all(&ram).len(), 4 * CHUNK - 1);
}

#[test]
fn what_is_no_frame_is_mapped_nowhere() {
    let ram = ram(1);
    for pfn in [CHUNK as u64, CHUNK as u64 + 1, 1 << 40, u64::MAX] {
        assert_eq!(ram.meta(Pfn(pfn)).mapcount(), 0);
    }
    let machine: Soft = Soft::new(ram);
    let tables = PageTables::new(machine).unwrap();
    let walker = tables.walker().unwrap();
    let frames = tables.machine().frames();
    let flags = PageFlags::READ;
    let pfn = frames.take(1).pop().unwrap().into_pfn();
    // SAFETY: just taken.
    unsafe { walker.map(VirtAddr(0), Pte { pfn, flags }) }.unwrap();
    let counts = walker.leaf(VirtAddr(0), |leaf| {
        [pfn, Pfn(u64::MAX)].map(|pfn| leaf.mapcount(Pte { pfn, flags }))
    });
    assert_eq!(counts, Step::Leaf([1, 0]));
}
