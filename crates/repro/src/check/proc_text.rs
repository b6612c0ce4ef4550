//! The text of maps and smaps, in pieces: no allocation, and any bytes may come.

use std::ops::Range;

/// The addresses of a line of maps, or of a header of smaps, and what comes behind them.
pub(crate) fn vma(line: &[u8]) -> Option<(Range<u64>, &[u8])> {
    let (start, rest) = hex(line)?;
    let (end, tail) = hex(rest.strip_prefix(b"-")?)?;
    tail.starts_with(b" ").then_some((start..end, tail))
}

/// The value of each digit, and of all other signs one that is none.
const DIGITS: [u8; 256] = {
    let mut values = [16; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// The hexadecimal number at the beginning, and the rest.
fn hex(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    let mut len = 0;
    for &byte in text {
        let digit = DIGITS[usize::from(byte)];
        if digit == 16 {
            break;
        }
        value = value << 4 | u64::from(digit);
        len += 1;
    }
    (1..=16).contains(&len).then_some((value, &text[len..]))
}

/// The key and the value of another line of smaps.
pub(crate) fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    line[0]
        .is_ascii_uppercase()
        .then(|| (&line[..colon], &line[colon + 1..]))
}

/// The number in a value such as `     132 kB`.
pub(crate) fn kilobytes(value: &[u8]) -> Option<u64> {
    let digits = value.strip_suffix(b" kB")?.trim_ascii_start();
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written_and_nothing_else_is() {
        assert_eq!(vma(b"1000-2f00 rw-p x"), Some((0x1000..0x2f00, &b" rw-p x"[..])));
        for wrong in [
            "",
            "1000",
            "1000-",
            "-2000 ",
            "1000-2000",
            "1000-2000rw-p",
            "1000 2000 ",
            "Rss-1 ",
        ] {
            assert_eq!(vma(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(field(b"Rss:    4 kB"), Some((&b"Rss"[..], &b"    4 kB"[..])));
        for wrong in ["", ":", "rss: 4 kB", "Rss 4 kB"] {
            assert_eq!(field(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(kilobytes(b"      12 kB"), Some(12));
        for wrong in ["12", " kB", "1 2 kB", "-1 kB", "99999999999999999999 kB"] {
            assert_eq!(kilobytes(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
