//! Strings in the memory of a process.

/// The arguments or the environment of a process, each string with a NUL at its end, as in
/// /proc/PID/cmdline and /proc/PID/environ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_whole: bool,
}

impl Strings {
    /// Returns the bytes, which need not be UTF-8.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns whether these are all. They end where a page is swapped out, and after 4 MiB.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }
}
