//! What the running kernel is: its release, and the form of its smaps.

use std::fs;
use std::io::ErrorKind;

use vmaple_smaps::{FlagLetters, Form};

use crate::error::{Error, Result};

/// Returns major and minor number of the running kernel.
pub(crate) fn release() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(['.', '-', '+']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
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
