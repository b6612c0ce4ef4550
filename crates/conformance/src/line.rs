//! Parses lines of maps that the library or the kernel has written, and keeps them.

use vmaple_smaps::{Name, VmaRecord};

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
        VmaRecord::parse(line).unwrap().into()
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

impl From<VmaRecord<'_>> for Line {
    fn from(record: VmaRecord<'_>) -> Self {
        let name = match record.name {
            Name::None => Vec::new(),
            Name::Path(path) => path.to_vec(),
            Name::Heap => b"[heap]".to_vec(),
            Name::Stack => b"[stack]".to_vec(),
            Name::Anon(name) => [b"[anon:", name, b"]"].concat(),
            Name::AnonShmem(name) => [b"[anon_shmem:", name, b"]"].concat(),
        };
        Self {
            start: record.start,
            end: record.end,
            perms: record.perms.to_string(),
            offset: record.offset,
            dev: record.dev,
            inode: record.inode,
            name,
        }
    }
}
