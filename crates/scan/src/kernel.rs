//! What the running kernel is: its release, and the form of its smaps.

use std::fs;
use std::io::ErrorKind;

use vmaple_smaps::{FlagLetters, Form};

use crate::btf::Btf;
use crate::error::{Error, Result};

/// Returns major and minor number of the running kernel.
pub(crate) fn release() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(['.', '-', '+']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Returns the names of the bits of a mapping's flags, such as `("READ", 0)`.
///
/// There are none where the kernel has no enum of them, as before Linux 7.
pub(crate) fn flag_names() -> Vec<(String, u32)> {
    let Some(btf) = Btf::of_this_kernel() else {
        return vec![];
    };
    let names = btf.enumerators("VMA_", "_BIT");
    names.map(|(name, bit)| (name.to_owned(), bit)).collect()
}

/// Returns whether this kernel frees page tables by RCU; `None` if it does not describe itself.
///
/// If it does, no run of the BPF program reads a table that is freed and used for something else
/// meanwhile. Linux on x86 does so since 6.14, where it is built to give empty tables back
/// (`CONFIG_PT_RECLAIM`), and always since 7.
///
/// Source: `__tlb_remove_table_one()` in Linux's mm/mmu_gather.c.
#[must_use]
pub fn frees_tables_by_rcu() -> Option<bool> {
    let btf = Btf::of_this_kernel()?;
    Some(btf.has_function("tlb_remove_table_rcu") && btf.has_function("__tlb_remove_table_one_rcu"))
}

/// Learns the form of smaps on the running kernel from this process's own smaps.
///
/// Lines that this version does not know are left out;
/// [`Report::left_out`](crate::Report::left_out) names them.
///
/// # Errors
/// [`Error::Failed`] without /proc/self/smaps.
pub fn kernel_form() -> Result<Form> {
    // Names of files are any bytes.
    let read = |path: &str| fs::read(path).map_err(|e| (e.kind(), Error::failed(format!("reading {path}"), e)));
    let smaps = read("/proc/self/smaps").map_err(|(_, e)| e)?;
    let rollup = match read("/proc/self/smaps_rollup") {
        Ok(text) => Some(text),
        // Before Linux 4.14 there is none.
        Err((ErrorKind::NotFound, _)) => None,
        Err((_, e)) => return Err(e),
    };
    let letters = FlagLetters::of_release(release());
    Ok(Form::of_text(&smaps, rollup.as_deref(), letters))
}

#[cfg(test)]
mod tests {
    use vmaple_smaps::Line;

    use super::*;

    #[test]
    fn the_names_of_flags_agree_with_what_the_release_is_known_for() {
        let of_release = FlagLetters::of_release(release());
        let names = flag_names();
        let named = of_release.with_names(names.iter().map(|(name, bit)| (name.as_str(), *bit)));
        println!("{} names", names.len());
        for bit in 0..u64::BITS {
            let (of_release, named) = (of_release.text(1 << bit), named.text(1 << bit));
            assert!(
                of_release == "??" || of_release == named,
                "bit {bit}: {of_release}, {named}"
            );
        }
    }

    #[test]
    fn every_line_of_our_own_smaps_is_known() {
        let form = kernel_form().unwrap();
        for (file, known) in [("smaps", form.fields()), ("smaps_rollup", form.rollup_fields())] {
            let text = fs::read_to_string(format!("/proc/self/{file}")).unwrap();
            let is_field = |line: &&str| !matches!(Line::parse(line.as_bytes()).unwrap(), Line::Vma(_));
            let labels = text.lines().skip(1).take_while(is_field).count();
            assert_eq!(known.iter().count(), labels, "{text}");
        }
    }
}
