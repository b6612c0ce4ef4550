//! The error of the parser: a text that is not of maps or smaps.

use core::fmt;

/// The error of a text that is not of maps or smaps: the part of it that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSmaps(pub Part);

/// A part of a text of maps or smaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The addresses of a line of maps.
    Range,
    /// Its permissions.
    Perms,
    /// Its offset.
    Offset,
    /// Its device.
    Device,
    /// Its inode.
    Inode,
    /// The value of a field.
    Value,
    /// The line of maps that a field belongs to.
    Mapping,
    /// The end of the last line.
    End,
}

impl fmt::Display for NotSmaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Part::Range => "neither a line of maps nor a field of smaps: it begins with no addresses and no label",
            Part::Perms => "a line of maps without permissions such as rw-p",
            Part::Offset => "a line of maps without an offset in hexadecimal",
            Part::Device => "a line of maps without a device such as 08:02",
            Part::Inode => "a line of maps without an inode in decimal",
            Part::Value => "a field of smaps whose value is no number of its unit",
            Part::Mapping => "a field of smaps before the first line of maps",
            Part::End => "a text that ends within a line",
        })
    }
}

impl core::error::Error for NotSmaps {}
