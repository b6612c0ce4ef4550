//! Parses lines of maps that the library or the kernel has written.

/// The fields of a line, with the name as the text has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub start: u64,
    pub end: u64,
    pub perms: String,
    pub offset: u64,
    pub dev: (u32, u32),
    pub inode: u64,
    pub name: Vec<u8>,
}

impl Line {
    /// Parses a line without its newline.
    pub fn parse(line: &[u8]) -> Self {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let mut next = || std::str::from_utf8(fields.next().unwrap()).unwrap();
        let hex = |text| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = next().split_once('-').unwrap();
        let (perms, offset) = (next().to_owned(), hex(next()));
        let (major, minor) = next().split_once(':').unwrap();
        Self {
            start: hex(start),
            end: hex(end),
            perms,
            offset,
            dev: (hex(major) as u32, hex(minor) as u32),
            inode: next().parse().unwrap(),
            name: fields.next().unwrap().trim_ascii_start().to_vec(),
        }
    }

    /// Parses all lines of a text, whose last line must be complete.
    pub fn parse_all(text: &[u8]) -> Vec<Self> {
        let Some(lines) = text.strip_suffix(b"\n") else {
            assert!(text.is_empty(), "half a line");
            return Vec::new();
        };
        lines.split(|&byte| byte == b'\n').map(Self::parse).collect()
    }
}
