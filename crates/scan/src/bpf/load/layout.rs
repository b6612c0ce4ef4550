//! Finds out where the running kernel keeps physical memory and `struct page`.
//!
//! It does so with a marked page, and without symbols.
//!
//! The two addresses are random on many kernels, and a caller that may load BPF programs may not be
//! allowed to read /proc/kallsyms. A page of a file in shared memory that this process has mapped
//! tells both. The file leads to the page's `struct page`. The page's number stands in the page
//! tables, through which the page is found only with the right address of physical memory.

#![allow(unsafe_code)] // a look at the auxiliary vector

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::time::Duration;

use rustix::param::page_size;
use serde::{Deserialize, Serialize};

use crate::bpf::abi::{Control, Stop};
use crate::bpf::load::marked_page::{MAGIC, MarkedPage};
use crate::bpf::load::program::{Entry, Program};
use crate::error::{Error, Result};

/// The addresses and numbers of this kernel that the program has to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// The number of levels of page tables.
    pub(crate) levels: u32,
    /// The bits of an entry that are a page's physical address.
    pub(crate) physical_mask: u64,
    /// The address where physical memory begins.
    pub(crate) page_offset: u64,
    /// The address where the array of `struct page` begins.
    pub(crate) vmemmap: u64,
    /// The operations of files in shared memory.
    pub(crate) shmem_aops: u64,
    /// The function that names [vdso] and the like.
    pub(crate) special_mapping_name: u64,
    swap_info: SwapInfo,
}

/// The address of the array of swap areas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum SwapInfo {
    /// It was not looked for, as there was no swap area.
    #[default]
    NotSought,
    /// The kernel does not show it.
    Hidden,
    At(u64),
}

impl Layout {
    /// Finds out the layout of the running kernel.
    ///
    /// # Errors
    /// [`Error::NotPossible`] on another architecture, or if the page is not found.
    pub(crate) fn find(program: &mut Program) -> Result<Self> {
        if !cfg!(target_arch = "x86_64") {
            return Err(Error::NotPossible(
                "page tables of this architecture are not known".into(),
            ));
        }
        let mut layout = Self::of_processor()?;
        let page = MarkedPage::new()?;
        let link = program.link(Entry::Calibrate, std::process::id())?;
        let mut ask = |start, magic, is_found: fn(Stop, &Control) -> bool| {
            for tries in 0..TRIES {
                page.mark();
                let mut control = Control {
                    start,
                    magic,
                    // Other threads of this process may map and unmap all the time; what is found
                    // says whether it is the right one.
                    take_unvalidated: u32::from(tries > 0),
                    ..layout.asked()
                };
                let stop = program.run(&link, &mut control)?;
                if is_found(stop, &control) {
                    return Ok(Some(control));
                }
                // The kernel moves pages, and swaps them out; one that it has begun to move may be
                // on its way for a while. So may be a thread that maps.
                std::thread::sleep(PAUSE);
            }
            Ok(None)
        };
        let is_marked = |stop, control: &Control| stop == Stop::End && control.a_ops != 0;
        let control = ask(page.address(), MAGIC, is_marked)?.ok_or_else(|| {
            Error::NotPossible("a page of our own is not where the page tables of Linux on x86-64 would have it".into())
        })?;
        // Without it, lines would lack the names of such mappings.
        let special = match vdso() {
            Some(vdso) => ask(vdso, [0; 2], |_, control| control.name_fn != 0)?,
            None => None,
        };
        layout.page_offset = control.page_offset;
        layout.vmemmap = control.vmemmap;
        layout.shmem_aops = control.a_ops;
        layout.special_mapping_name = special.map_or(0, |control| control.name_fn);
        Ok(layout)
    }

    /// Looks for the array of swap areas, unless it was looked for.
    ///
    /// Looking for a symbol takes longer than all else.
    pub(crate) fn find_swap(&mut self) {
        if self.swap_info == SwapInfo::NotSought {
            self.swap_info = symbol("swap_info").map_or(SwapInfo::Hidden, SwapInfo::At);
        }
    }

    /// As [`find_swap`](Self::find_swap), once there is a swap area.
    pub(crate) fn find_swap_if_used(&mut self) {
        if self.swap_info == SwapInfo::NotSought && rustix::system::sysinfo().totalswap > 0 {
            self.find_swap();
        }
    }

    /// Returns what a run is asked for, with all that is known of this kernel.
    pub(crate) fn asked(&self) -> Control {
        Control {
            budget_ns: 100_000_000,
            levels: self.levels,
            physical_mask: self.physical_mask,
            page_offset: self.page_offset,
            vmemmap: self.vmemmap,
            shmem_aops: self.shmem_aops,
            special_mapping_name: self.special_mapping_name,
            swap_info: match self.swap_info {
                SwapInfo::NotSought | SwapInfo::Hidden => 0,
                SwapInfo::At(address) => address,
            },
            attempts: 256,
            max_entries: u32::MAX,
            ..Control::default()
        }
    }

    fn of_processor() -> Result<Self> {
        const CPUINFO: &str = "/proc/cpuinfo";
        let text = fs::read(CPUINFO).map_err(|e| Error::failed(format!("reading {CPUINFO}"), e))?;
        let text = String::from_utf8_lossy(&text);
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim())
        };
        let levels = if value("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "la57")) {
            5
        } else {
            4
        };
        // Less the bit that marks encrypted memory, where there is one.
        let bits = value("address sizes")
            .and_then(|sizes| sizes.split(' ').next()?.parse().ok())
            .filter(|bits| (32..=52).contains(bits))
            .unwrap_or(52);
        Ok(Self {
            levels,
            physical_mask: ((1 << bits) - 1) & !(page_size() as u64 - 1),
            ..Self::default()
        })
    }
}

/// The most looks for the page, and the pause between two.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// Returns the address of this process's own `[vdso]`.
fn vdso() -> Option<u64> {
    // SAFETY: only reads the auxiliary vector.
    let address = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    (address != 0).then_some(address)
}

/// Returns the address of a variable of the kernel, if /proc/kallsyms has variables and shows
/// addresses.
fn symbol(name: &str) -> Option<u64> {
    // Some ten megabytes, so line by line.
    let mut text = BufReader::with_capacity(1 << 16, File::open("/proc/kallsyms").ok()?);
    let mut line = vec![];
    while text.read_until(b'\n', &mut line).ok()? > 0 {
        let mut words = line.trim_ascii_end().split(|&byte| byte == b' ' || byte == b'\t');
        let address = words.next()?;
        if words.nth(1) == Some(name.as_bytes()) {
            let address = u64::from_str_radix(std::str::from_utf8(address).ok()?, 16).ok()?;
            return (address != 0).then_some(address);
        }
        line.clear();
    }
    None
}
