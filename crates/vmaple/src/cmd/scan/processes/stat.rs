//! Parses /proc/PID/stat.

use std::time::Duration;

/// What /proc/PID/stat says of a process.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cmd::scan) struct Stat {
    /// Any bytes: the kernel cuts a name after 15 bytes, even within a letter.
    pub(in crate::cmd::scan) comm: Vec<u8>,
    pub(in crate::cmd::scan) parent: u32,
    pub(in crate::cmd::scan) is_kernel_thread: bool,
    /// The time from the machine's start. The kernel shows hundredths of a second.
    pub(in crate::cmd::scan) started: Duration,
}

impl Stat {
    /// Returns `None` for what is no such line.
    ///
    /// The second field is the name in parentheses. It may hold any bytes, and so parentheses.
    pub(in crate::cmd::scan) fn parse(stat: &[u8]) -> Option<Self> {
        const PF_KTHREAD: u64 = 0x0020_0000;
        let name = stat.iter().position(|&byte| byte == b'(')? + 1;
        let end = stat.iter().rposition(|&byte| byte == b')')?;
        let fields: Vec<_> = str::from_utf8(&stat[end + 1..]).ok()?.split_whitespace().collect();
        // The third field is the first after the name.
        let field = |number: usize| fields.get(number - 3);
        let flags: u64 = field(9)?.parse().ok()?;
        let ticks: u64 = field(22)?.parse().ok()?;
        let per_second = rustix::param::clock_ticks_per_second();
        let rest = ticks % per_second * 1_000_000_000 / per_second;
        Some(Self {
            comm: unescaped(stat.get(name..end)?),
            parent: field(4)?.parse().ok()?,
            is_kernel_thread: flags & PF_KTHREAD != 0,
            started: Duration::from_secs(ticks / per_second) + Duration::from_nanos(rest),
        })
    }
}

/// Returns a name as /proc/PID/comm has it. In stat a new line is `\n`, a backslash `\\`
/// (`proc_task_name`).
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            _ => (byte, after),
        };
        text.push(byte);
        rest = after;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_one_of_comm() {
        assert_eq!(unescaped(br"a\\nb\nc\\"), b"a\\nb\nc\\");
        assert_eq!(unescaped(b"\xff \\"), b"\xff \\");
    }

    #[test]
    fn a_name_of_any_bytes_moves_no_field() {
        let fields = "S 1 2 3 4 5 2097216 7 8 9 10 11 12 13 14 15 16 17 18 250 22";
        for name in ["sleep", "a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99", "(", ""] {
            let mut stat = format!("7 ({name}").into_bytes();
            stat.extend(b"\xff) ");
            stat.extend(fields.bytes());
            let mut comm = name.as_bytes().to_vec();
            comm.push(0xff);
            let expected = Stat {
                comm,
                parent: 1,
                is_kernel_thread: true,
                started: Duration::from_millis(2500),
            };
            assert_eq!(Stat::parse(&stat), Some(expected));
        }
        for text in ["7 (sleep) S 1", "7 )sleep( S", ""] {
            assert_eq!(Stat::parse(text.as_bytes()), None);
        }
    }
}
