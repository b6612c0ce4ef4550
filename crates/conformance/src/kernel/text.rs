//! The text of maps and smaps: the kernel's and the model's compared.

use std::collections::HashMap;
use std::ops::Range;

/// Returns the addresses in a mapping's first line; `None` for other lines.
pub(super) fn range(line: &[u8]) -> Option<Range<u64>> {
    line.first().filter(|byte| !byte.is_ascii_uppercase())?;
    let addresses = line.split(|&byte| byte == b' ').next()?;
    let (start, end) = std::str::from_utf8(addresses).ok()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some(hex(start)?..hex(end)?)
}

/// Returns the lines of what is mapped in a window, without those that are not compared.
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

/// Lines of smaps that differ by nature: reclaim resets what was referenced; huge pages depend on
/// the machine; protection keys depend on the processor.
const NOT_COMPARED: [&[u8]; 3] = [b"Referenced:", b"THPeligible:", b"ProtectionKey:"];

/// Which number of the model stands for which of the kernel, and the other way round.
#[derive(Default)]
pub(super) struct Objects([HashMap<Vec<u8>, Vec<u8>>; 2]);

impl Objects {
    /// Returns whether two texts describe the window alike.
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

/// Splits a line of shared anonymous memory before the device and the inode.
fn shared_anonymous(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(b"/dev/zero (deleted)")?.trim_ascii_end();
    let mut spaces = line.iter().enumerate().filter(|(_, byte)| **byte == b' ');
    Some(line.split_at(spaces.nth(2)?.0))
}

/// Returns whether two lines list the same flags. A kernel may also remember writes (soft-dirty).
fn same_flags(kernel: &[u8], model: &[u8]) -> bool {
    let (Some(kernel), Some(model)) = (kernel.strip_prefix(b"VmFlags:"), model.strip_prefix(b"VmFlags:")) else {
        return false;
    };
    let kernel = kernel.split(|&byte| byte == b' ').filter(|flag| flag != b"sd");
    kernel.eq(model.split(|&byte| byte == b' '))
}
