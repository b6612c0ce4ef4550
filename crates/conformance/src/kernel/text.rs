//! The text of maps and smaps: the kernel's beside the model's.

use std::collections::HashMap;
use std::ops::Range;

/// The addresses of a mapping's first line; nothing of other lines.
pub(super) fn range(line: &[u8]) -> Option<Range<u64>> {
    line.first().filter(|byte| !byte.is_ascii_uppercase())?;
    let addresses = line.split(|&byte| byte == b' ').next()?;
    let (start, end) = std::str::from_utf8(addresses).ok()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some(hex(start)?..hex(end)?)
}

/// The lines of what is mapped in a window, without those that are not compared.
pub(super) fn lines<'t>(text: &'t [u8], window: &Range<u64>) -> impl Iterator<Item = &'t [u8]> {
    let mut is_within = false;
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.filter(move |line| {
        if let Some(range) = range(line) {
            is_within = range.end > window.start && range.start < window.end;
        }
        is_within && !NOT_COMPARED.iter().any(|name| line.starts_with(name))
    })
}

/// Lines of smaps: pages that something looked at to find out what to reclaim are not referenced any more; huge pages; there are
/// only where the processor has protection keys.
const NOT_COMPARED: [&[u8]; 3] = [b"Referenced:", b"THPeligible:", b"ProtectionKey:"];

/// Which number of the model stands for which of the kernel, and the other way round.
#[derive(Default)]
pub(super) struct Objects([HashMap<Vec<u8>, Vec<u8>>; 2]);

impl Objects {
    /// Whether two texts say the same of a window.
    pub(super) fn agree(&mut self, kernel: &[u8], model: &[u8], window: &Range<u64>) -> bool {
        let mut ours = lines(model, window);
        lines(kernel, window).all(|line| ours.next().is_some_and(|our| self.same(line, our))) && ours.next().is_none()
    }

    fn same(&mut self, kernel: &[u8], model: &[u8]) -> bool {
        let (Some(kernel), Some(model)) = (shared_anonymous(kernel), shared_anonymous(model)) else {
            return kernel == model || same_flags(kernel, model);
        };
        let [to, from] = &mut self.0;
        let known = |map: &mut HashMap<Vec<u8>, Vec<u8>>, key: &[u8], value: &[u8]| {
            map.entry(key.to_vec()).or_insert_with(|| value.to_vec()) == value
        };
        kernel.0 == model.0 && known(to, kernel.1, model.1) && known(from, model.1, kernel.1)
    }
}

/// Of a line of shared anonymous memory what stands before device and inode, and these.
fn shared_anonymous(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(b"/dev/zero (deleted)")?.trim_ascii_end();
    let mut spaces = line.iter().enumerate().filter(|(_, byte)| **byte == b' ');
    Some(line.split_at(spaces.nth(2)?.0))
}

/// Whether two lines list the same flags; a kernel may remember besides what was written (soft-dirty).
fn same_flags(kernel: &[u8], model: &[u8]) -> bool {
    let (Some(kernel), Some(model)) = (kernel.strip_prefix(b"VmFlags:"), model.strip_prefix(b"VmFlags:")) else {
        return false;
    };
    let kernel = kernel.split(|&byte| byte == b' ').filter(|flag| flag != b"sd");
    kernel.eq(model.split(|&byte| byte == b' '))
}
