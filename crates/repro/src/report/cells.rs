//! Figures as the tables print them.

use crate::machine::NS_PER_MS;

use super::spread::{Spread, Worst};

/// Writes a time in milliseconds in the talk's nine columns, with three decimals; a lower bound
/// with `>=` and fewer decimals.
pub(super) fn worst_cell(worst: Option<Worst>) -> String {
    let Some(worst) = worst else {
        return "none".to_owned();
    };
    let ms = worst.ns / NS_PER_MS;
    if !worst.at_least {
        return format!("{ms:.3}");
    }
    (0..=3)
        .rev()
        .map(|decimals| format!(">={ms:.decimals$}"))
        .find(|text| text.len() <= 9)
        .unwrap_or_else(|| format!(">={ms:.0}"))
}

/// Writes median, minimum and maximum as [`worst_cell`]s.
pub(super) fn spread_cells(spread: Option<Spread>) -> [String; 3] {
    let of = |pick: fn(Spread) -> Worst| worst_cell(spread.map(pick));
    [of(|s| s.median), of(|s| s.min), of(|s| s.max)]
}

/// Writes the number of hangs as in the talk: `*23`, or nothing.
pub(super) fn hangs_cell(hangs: usize) -> String {
    if hangs == 0 { String::new() } else { format!("*{hangs}") }
}

/// Writes nanoseconds as microseconds with two decimals, or `-`.
pub(super) fn us_cell(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.2}", ns as f64 / 1e3))
}

/// Writes how many there are in a thousand scans, or `-` without scans.
pub(super) fn per_1000_cell(count: u64, scans: u64) -> String {
    match scans {
        0 => "-".to_owned(),
        scans => format!("{:.1}", count as f64 * 1e3 / scans as f64),
    }
}

/// Writes nanoseconds as milliseconds with three decimals, or `-`.
pub(super) fn ms_cell(ns: Option<f64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.3}", ns / NS_PER_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worst_case_fits_the_talks_nine_columns() {
        let cell = |ms: f64, at_least| worst_cell(Some(Worst { ns: ms * 1e6, at_least }));
        assert_eq!(cell(0.0964, false), "0.096");
        assert_eq!(cell(12_020.7, false), "12020.700");
        assert_eq!(cell(8.5, true), ">=8.500");
        assert_eq!(cell(10_013.914, true), ">=10013.9");
        assert_eq!(cell(123_456.7, true), ">=123457");
        assert_eq!(worst_cell(None), "none");
    }
}
