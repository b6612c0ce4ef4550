//! Parses /proc/PID/status: lines of a name and a value.
//!
//! It is bytes and not text: the process's own name stands there, and may be any bytes.

use std::fs;
use std::io;

/// The text of a status file.
pub(crate) struct Status(Vec<u8>);

impl Status {
    pub(crate) fn read(path: &str) -> io::Result<Self> {
        fs::read(path).map(Self::from)
    }

    pub(crate) fn from(text: Vec<u8>) -> Self {
        Self(text)
    }

    /// Returns the value of a line, without spaces around.
    pub(crate) fn line(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.0.split(|&byte| byte == b'\n');
        let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
        Some(value.trim_ascii())
    }

    /// Returns the value of a line as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.line(name)?).ok()
    }

    /// Returns the value of a line that is in kilobytes, in bytes.
    pub(crate) fn bytes(&self, name: &str) -> Option<u64> {
        let kilobytes: u64 = self.text(name)?.strip_suffix(" kB")?.trim_end().parse().ok()?;
        kilobytes.checked_mul(1024)
    }

    /// Returns whether the task has ended. It then exists only for its parent or its other threads.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.line("State"), Some([b'Z' | b'X', ..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_bytes_hides_no_line() {
        let status =
            Status::from(b"Name:\t\xd0\xbf\xd1\n\xffState:\tZ\nState:\tR (running)\nVmRSS:\t     12 kB\n".to_vec());
        assert_eq!(status.bytes("VmRSS"), Some(12 << 10));
        assert!(!status.has_ended());
        assert_eq!(status.line("VmSize"), None);
        assert_eq!(status.bytes("State"), None);
    }
}
