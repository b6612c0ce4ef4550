//! Numbers as text: written in decimal, read in decimal and hexadecimal.

/// The digits of the largest number in decimal.
pub(crate) const MAX_DIGITS: usize = 20;

/// Returns how many digits a number has in decimal.
#[inline]
pub(crate) const fn decimal_len(number: u64) -> usize {
    match number.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

/// Fills `to` with the last digits of a number in decimal.
#[inline]
pub(crate) fn write_decimal(mut number: u64, to: &mut [u8]) {
    for place in to.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The value of each hexadecimal digit, and [`NO_DIGIT`] for all other bytes.
const HEX_DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};
const NO_DIGIT: u8 = 16;

/// Splits off the hexadecimal number of at most 16 digits that `text` begins with.
#[inline]
pub(crate) fn split_hex(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    let mut len = 0;
    for &byte in text {
        let digit = HEX_DIGITS[usize::from(byte)];
        if digit == NO_DIGIT {
            break;
        }
        value = value << 4 | u64::from(digit);
        len += 1;
    }
    (1..=16).contains(&len).then_some((value, &text[len..]))
}

/// Splits off the decimal number that `text` begins with.
pub(crate) fn split_decimal(text: &[u8]) -> Option<(u64, &[u8])> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(len);
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    (len > 0).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn numbers_are_written_and_read_back() {
        for number in [0, 1, 9, 10, 99, 100, 12_345_678, u64::MAX - 1, u64::MAX] {
            let mut to = vec![b' '; decimal_len(number)];
            write_decimal(number, &mut to);
            assert_eq!(to, number.to_string().as_bytes());
            assert_eq!(split_decimal(&to), Some((number, &b""[..])));
        }
        assert_eq!(split_decimal(b"12 kB"), Some((12, &b" kB"[..])));
        for wrong in ["", "x", "-1", "18446744073709551616"] {
            assert_eq!(split_decimal(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn hexadecimal_numbers_end_where_their_digits_do() {
        assert_eq!(split_hex(b"00ff-1"), Some((255, &b"-1"[..])));
        assert_eq!(split_hex(b"ffffffffffffffff"), Some((u64::MAX, &b""[..])));
        for wrong in ["", "-", "FF", "00000000000000000"] {
            assert_eq!(split_hex(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
