//! Where the running kernel keeps the generation of a page, by which it knows how old it is.
//!
//! The kernel has it in the flags of a page, at a place that its configuration decides and its
//! types do not say. The widths of what lies above it are known, and pages of our own show whether
//! the sum is right.
//!
//! Source: include/linux/page-flags-layout.h and mm_inline.h of Linux.

#![allow(unsafe_code)] // mapped pages

use std::fs;
use std::ptr::null_mut;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::bpf::abi::{Control, WANT_AGES, WANT_PAGES, WANT_TABLES};
use crate::bpf::load::layout::Layout;
use crate::bpf::load::marked_page::MarkedPage;
use crate::bpf::load::program::{Entry, Program};
use crate::error::{Error, Result};
use crate::record::PAGE;

/// Where it is in the flags of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generations {
    pub(crate) shift: u32,
    /// Where the node's number is; 64 if there is one node.
    pub(crate) node_shift: u32,
}

/// The bits of a generation.
const WIDTH: u32 = 3;
/// The pages that are looked at, and those that are mapped for them: the kernel puts new pages on
/// their lists some at a time, so the last ones are on none.
const SEEN: u64 = 256;
const MAPPED: u64 = 512;

impl Generations {
    /// Finds out where it is.
    ///
    /// # Errors
    /// [`Error::NotPossible`] if the kernel has no generations, does not use them, or keeps them
    /// elsewhere.
    pub(crate) fn find(program: &mut Program, layout: &Layout) -> Result<Self> {
        const ENABLED: &str = "/sys/kernel/mm/lru_gen/enabled";
        let not = |why: &str| Error::NotPossible(format!("ages of pages: {why}"));
        let enabled = fs::read_to_string(ENABLED)
            .map_err(|_| not("this kernel has no multi-gen LRU (it is built without CONFIG_LRU_GEN)"))?;
        let enabled = u32::from_str_radix(enabled.trim().trim_start_matches("0x"), 16).unwrap_or(0);
        if enabled & 1 == 0 {
            return Err(not(&format!("the multi-gen LRU is off: echo y > {ENABLED}")));
        }
        let found = Self::of_widths(&widths(program, layout)?)
            .ok_or_else(|| not("where this kernel keeps the generation of a page cannot be told from its types"))?;
        let seen = found.youngest_of_our_own(program, layout)?;
        if seen < SEEN - SEEN / 16 {
            return Err(not(&format!(
                "{seen} of {SEEN} new pages of our own are young by what is found of this kernel"
            )));
        }
        Ok(found)
    }

    /// Adds up the widths of what lies above it; `None` if one is not known.
    fn of_widths(control: &Control) -> Option<Self> {
        // What the types tell is rounded up to whole words.
        let exact_log2 = |count: u32| (count > 64 && count.is_power_of_two()).then(|| count.ilog2());
        let nodes = exact_log2(control.nodes)?;
        let zones = match control.zones {
            2 => 1,
            3 | 4 => 2,
            5..=8 => 3,
            _ => return None,
        };
        let cpu = match control.cpus {
            0 => 0,
            cpus => 8 + exact_log2(cpus)?,
        };
        // Where there is no room for the last CPU it lies elsewhere.
        let has_room = nodes + zones + cpu + WIDTH <= 64 - control.page_flags;
        let above = nodes + zones + if has_room { cpu } else { 0 };
        Some(Self {
            shift: 64 - above - WIDTH,
            node_shift: 64 - nodes,
        })
    }

    /// Returns how many new pages of our own are of the two youngest generations, and all of one.
    fn youngest_of_our_own(self, program: &mut Program, layout: &Layout) -> Result<u64> {
        let failed = |e: rustix::io::Errno| Error::failed("mapping pages", e);
        let bytes = |pages: u64| (pages * PAGE) as usize;
        // SAFETY: the kernel chooses the address.
        let memory = unsafe {
            mmap_anonymous(
                null_mut(),
                bytes(MAPPED),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let memory = memory.map_err(failed)?.cast::<u8>();
        // SAFETY: advice on what was mapped.
        let _ = unsafe { libc::madvise(memory.cast(), bytes(MAPPED), libc::MADV_NOHUGEPAGE) };
        for page in 0..MAPPED {
            let at = memory.wrapping_add(bytes(page));
            // SAFETY: within what was mapped.
            unsafe { at.write_volatile(1) };
        }
        let asked = Control {
            start: memory.addr() as u64,
            max_records: 1,
            want: WANT_TABLES | WANT_PAGES | WANT_AGES,
            generation_shift: self.shift,
            node_shift: self.node_shift,
            ..layout.asked()
        };
        let mut look = || {
            // SAFETY: the second part of what was mapped, which nothing uses any more.
            unsafe { munmap(memory.wrapping_add(bytes(SEEN)).cast(), bytes(MAPPED - SEEN)) }.map_err(failed)?;
            let link = program.link(Entry::Scan, std::process::id())?;
            let mut control = asked;
            program.run(&link, &mut control)?;
            let record = program.records(&control).first().copied().unwrap_or_default();
            Ok(record.age0.max(record.age1))
        };
        let seen = look();
        // SAFETY: what is left of it, which nothing uses any more.
        let _ = unsafe { munmap(memory.cast(), bytes(SEEN)) };
        seen
    }
}

/// Returns what the kernel's types tell of its size.
fn widths(program: &mut Program, layout: &Layout) -> Result<Control> {
    let page = MarkedPage::new()?;
    let link = program.link(Entry::Calibrate, std::process::id())?;
    let mut control = Control {
        start: page.address(),
        ..layout.asked()
    };
    program.run(&link, &mut control)?;
    Ok(control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_below_what_the_kernels_types_tell() {
        let of = |nodes, zones, cpus, page_flags| {
            Generations::of_widths(&Control {
                nodes,
                zones,
                cpus,
                page_flags,
                ..Control::default()
            })
        };
        // Node 10, zone 3, last CPU 8 + 13, generation 3.
        let found = of(1024, 5, 8192, 24).unwrap();
        assert_eq!((found.shift, found.node_shift), (64 - 10 - 3 - 21 - 3, 54));
        // No room for the last CPU; no last CPU at all.
        assert_eq!(of(1024, 5, 8192, 28).unwrap().shift, 64 - 10 - 3 - 3);
        assert_eq!(of(1024, 5, 0, 24).unwrap().shift, 64 - 10 - 3 - 3);
        assert_eq!(of(64, 5, 8192, 24), None);
        assert_eq!(of(1024, 0, 8192, 24), None);
    }
}
