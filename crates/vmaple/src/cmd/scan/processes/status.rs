//! Parses lines of /proc/PID/status.

/// Returns the effective user of a process: the second number of the line `Uid:`.
pub(in crate::cmd::scan) fn effective_user(status: &[u8]) -> Option<u32> {
    let mut lines = status.split(|&byte| byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"Uid:"))?;
    str::from_utf8(line).ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the value of a line that is in kilobytes.
pub(in crate::cmd::scan) fn kilobytes(status: &[u8], name: &str) -> Option<u64> {
    let mut lines = status.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    let text = str::from_utf8(value).ok()?.trim();
    text.strip_suffix(" kB")?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_is_the_second_number() {
        assert_eq!(effective_user(b"Name:\tUid:\xff\nUid:\t1000\t33\t0\t0\n"), Some(33));
        assert_eq!(effective_user(b"Uid:\t1000\n"), None);
        assert_eq!(effective_user(b""), None);
    }
}
