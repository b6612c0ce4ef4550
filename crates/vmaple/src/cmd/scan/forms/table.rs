//! Tables as text.

use bytesize::ByteSize;

/// Returns the rows as lines: the first column to the left, the others to the right.
pub(in crate::cmd::scan) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(i, (cell, width))| {
            if i == 0 {
                format!("{cell:width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Returns a number of bytes: with a unit for people, else as it is.
pub(in crate::cmd) fn size(bytes: u64, is_for_people: bool) -> String {
    if is_for_people {
        ByteSize(bytes).display().iec_short().to_string()
    } else {
        bytes.to_string()
    }
}

/// Returns a name that a process has chosen, with U+FFFD for what a terminal would obey.
pub(in crate::cmd) fn shown(name: &str) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    name.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bb", ""], ["äöü", "1", "2"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "a    bb\näöü   1  2\n");
    }

    #[test]
    fn a_name_moves_no_cursor() {
        assert_eq!(shown("a\x1b[2Jb\u{9b}\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
    }
}
