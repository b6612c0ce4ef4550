//! Makes the names of mappings from what the program found.
//!
//! Source: `get_vma_name()` in Linux's fs/proc/task_mmu.c, `d_path()`, and the `d_dname` of files
//! without a path.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::io::Write;

use serde::{Deserialize, Serialize};
use vmaple_smaps::NameKind;

use crate::bpf::abi::{NAME_DNAME, NAME_PATH, NAME_SPECIAL, NAME_UNLINKED, RECORD_ANON_NAME, RECORD_NAME_CUT, Record};
use crate::record::NamePlace;

/// File systems whose files have no path, by the numbers in linux/magic.h.
mod magic {
    pub(super) const ANON_INODE_FS: u32 = 0x0904_1934;
    pub(super) const SOCKFS: u32 = 0x534f_434b;
    pub(super) const PIPEFS: u32 = 0x5049_5045;
    pub(super) const DMA_BUF: u32 = 0x444d_4142;
}

/// The addresses of heap and stack.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Places {
    pub(crate) start_brk: u64,
    pub(crate) brk: u64,
    pub(crate) start_stack: u64,
    pub(crate) heap: HeapRule,
}

/// The kernel's rule for which mappings are called `[heap]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HeapRule {
    /// Those that share a page with the heap.
    #[default]
    Overlaps,
    /// Those that only touch it too, as in older kernels.
    Touches,
}

/// A name's kind, and the place of its text.
pub(crate) type Placed = (NameKind, NamePlace);

/// The beginning of a name that is not whole.
pub(crate) const CUT: &[u8] = b"(cut)";

/// The most bytes that all names may have together.
///
/// A process that maps files by tens of thousands of long paths must not fill the scanner's memory.
const MAX_TEXT: usize = 64 << 20;

/// The places of the names that are in the text already, by their hashes.
pub(crate) type Known = HashMap<u64, NamePlace>;

/// The text of all names of a scan, each once.
#[derive(Debug, Default)]
pub(crate) struct NameText {
    pub(crate) text: Vec<u8>,
    pub(crate) known: Known,
    /// The last path: what it was made from, and its place.
    last: Option<([u32; 3], Placed)>,
}

impl NameText {
    /// Returns an empty text with the memory of another.
    pub(crate) fn with_room(mut text: Vec<u8>, mut known: Known) -> Self {
        text.clear();
        known.clear();
        Self {
            text,
            known,
            last: None,
        }
    }

    /// Begins a run, which has other names at the same places.
    pub(crate) fn begin_run(&mut self) {
        self.last = None;
    }

    /// Adds the name of a record. `found` is the names of its run.
    pub(crate) fn add(&mut self, record: &Record, found: &[u8], places: &Places) -> Placed {
        let anon_name = record.flags & RECORD_ANON_NAME != 0;
        if record.file != 0 {
            return if anon_name {
                self.put(
                    NameKind::AnonShmem,
                    slice(found, record.anon_name_at, record.anon_name_bytes),
                )
            } else {
                self.path(record, found)
            };
        }
        if record.name == NAME_SPECIAL {
            return self.put(
                NameKind::Path,
                without_nul(slice(found, record.name_at, record.name_bytes)),
            );
        }
        let kind = if places.is_heap(record) {
            NameKind::Heap
        } else if (record.start..=record.end).contains(&places.start_stack) {
            NameKind::Stack
        } else if anon_name {
            return self.put(
                NameKind::Anon,
                slice(found, record.anon_name_at, record.anon_name_bytes),
            );
        } else {
            NameKind::None
        };
        (kind, NamePlace::default())
    }

    fn path(&mut self, record: &Record, found: &[u8]) -> Placed {
        let key = [record.name, record.name_at, record.name_bytes];
        if let Some((_, placed)) = self.last.filter(|(last, _)| *last == key) {
            return placed;
        }
        let at = self.text.len();
        let name = slice(found, record.name_at, record.name_bytes);
        if at > MAX_TEXT {
            return self.put(NameKind::Path, CUT);
        }
        if record.flags & RECORD_NAME_CUT != 0 {
            self.text.extend(CUT);
        }
        match record.name {
            NAME_PATH | NAME_UNLINKED => {
                // From the last component to the first.
                let mut components: Vec<_> = name.split(|&byte| byte == 0).collect();
                components.pop(); // after the last NUL
                if components.is_empty() {
                    self.text.push(b'/');
                }
                for component in components.iter().rev() {
                    self.text.push(b'/');
                    self.text.extend(*component);
                }
                if record.name == NAME_UNLINKED {
                    self.text.extend(b" (deleted)");
                }
            }
            NAME_DNAME => put_dname(&mut self.text, record, without_nul(name)),
            _ => {}
        }
        let placed = self.once(NameKind::Path, at);
        self.last = Some((key, placed));
        placed
    }

    fn put(&mut self, kind: NameKind, text: &[u8]) -> Placed {
        let at = self.text.len();
        self.text.extend(text);
        self.once(kind, at)
    }

    /// Returns the place of the name that was put at the end, from `at` on. If it is there already,
    /// it is taken away again.
    fn once(&mut self, kind: NameKind, at: usize) -> Placed {
        let bytes = self.text.len() - at;
        let name = &self.text[at..];
        let hash = self.known.hasher().hash_one(name);
        let before = self.known.get(&hash).copied().unwrap_or(NamePlace { at, bytes });
        if before.at != at && self.text.get(before.at..before.at + before.bytes) == Some(name) {
            self.text.truncate(at);
            return (kind, before);
        }
        let place = NamePlace { at, bytes };
        self.known.insert(hash, place);
        (kind, place)
    }
}

impl Places {
    fn is_heap(&self, record: &Record) -> bool {
        match self.heap {
            HeapRule::Overlaps => record.start < self.brk && record.end > self.start_brk,
            HeapRule::Touches => record.start <= self.brk && record.end >= self.start_brk,
        }
    }
}

/// Writes the name of a file without a path, as its file system does.
fn put_dname(to: &mut Vec<u8>, record: &Record, name: &[u8]) {
    let (before, after): (&[u8], &[u8]) = match record.magic {
        magic::ANON_INODE_FS => (b"anon_inode:", b""),
        magic::DMA_BUF => (b"/", b":"),
        magic::SOCKFS | magic::PIPEFS => {
            let kind = if record.magic == magic::SOCKFS {
                "socket"
            } else {
                "pipe"
            };
            // Writing to a vector does not fail.
            let _ = write!(to, "{kind}:[{}]", record.ino);
            return;
        }
        // Shared memory, hugetlbfs, rings of aio, secretmem.
        _ => (b"/", b" (deleted)"),
    };
    to.extend(before);
    to.extend(name);
    to.extend(after);
}

fn slice(found: &[u8], at: u32, bytes: u32) -> &[u8] {
    let at = at as usize;
    found.get(at..at + bytes as usize).unwrap_or_default()
}

fn without_nul(text: &[u8]) -> &[u8] {
    text.strip_suffix(&[0]).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(record: &Record, found: &[u8], places: &Places) -> (NameKind, String) {
        let mut names = NameText::default();
        let (kind, place) = names.add(record, found, places);
        let text = &names.text[place.at..place.at + place.bytes];
        (kind, String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn a_path_is_put_in_order_and_says_that_the_file_is_deleted() {
        let found = b"libc.so\0lib\0usr\0";
        let mut record = Record {
            file: 1,
            name: NAME_PATH,
            name_bytes: found.len() as u32,
            ..Record::default()
        };
        let path = |text: &str| (NameKind::Path, text.to_owned());
        assert_eq!(name_of(&record, found, &Places::default()), path("/usr/lib/libc.so"));
        record.name = NAME_UNLINKED;
        assert_eq!(
            name_of(&record, found, &Places::default()),
            path("/usr/lib/libc.so (deleted)")
        );
        record.flags = RECORD_NAME_CUT;
        assert_eq!(
            name_of(&record, found, &Places::default()).1,
            "(cut)/usr/lib/libc.so (deleted)"
        );
        record.name_bytes = 0;
        record.flags = 0;
        record.name = NAME_PATH;
        assert_eq!(name_of(&record, found, &Places::default()), path("/"));
    }

    #[test]
    fn the_same_name_is_there_once() {
        let mut names = NameText::default();
        let mut record = Record {
            file: 1,
            name: NAME_PATH,
            name_bytes: 4,
            ..Record::default()
        };
        let found = b"abc\0def\0";
        let mut placed = vec![];
        for name_at in [0, 4, 0, 4, 0] {
            names.begin_run();
            record.name_at = name_at;
            let (_, name) = names.add(&record, found, &Places::default());
            placed.push(names.text[name.at..name.at + name.bytes].to_vec());
        }
        assert_eq!(placed, [b"/abc", b"/def", b"/abc", b"/def", b"/abc"]);
        assert_eq!(names.text.len(), 8);
    }

    #[test]
    fn files_without_a_path_are_called_as_their_file_system_calls_them() {
        for (magic, expected) in [
            (0, "/memfd:x (deleted)"),
            (magic::ANON_INODE_FS, "anon_inode:memfd:x"),
            (magic::SOCKFS, "socket:[77]"),
            (magic::PIPEFS, "pipe:[77]"),
            (magic::DMA_BUF, "/memfd:x:"),
        ] {
            let record = Record {
                file: 1,
                ino: 77,
                magic,
                name: NAME_DNAME,
                name_bytes: 8,
                ..Record::default()
            };
            assert_eq!(name_of(&record, b"memfd:x\0", &Places::default()).1, expected);
        }
    }

    #[test]
    fn what_touches_the_heap_is_part_of_it_on_old_kernels_alone() {
        let mut places = Places {
            start_brk: 0x2000,
            brk: 0x4000,
            start_stack: 0x9000,
            heap: HeapRule::Overlaps,
        };
        let record = |start, end| Record {
            start,
            end,
            ..Record::default()
        };
        assert_eq!(name_of(&record(0x2000, 0x4000), b"", &places).0, NameKind::Heap);
        assert_eq!(name_of(&record(0x4000, 0x5000), b"", &places).0, NameKind::None);
        assert_eq!(name_of(&record(0x8000, 0x9000), b"", &places).0, NameKind::Stack);
        places.heap = HeapRule::Touches;
        assert_eq!(name_of(&record(0x4000, 0x5000), b"", &places).0, NameKind::Heap);
    }
}
