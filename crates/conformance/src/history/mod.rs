//! The log of an address space, version by version. What readers saw is checked against it.

pub mod check;
pub mod pages;
pub mod scan;
pub mod smaps_scan;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pages::PageLog;
use vmaple_mm::{Machine, Mm, MmReader, PAGE_SHIFT, PAGE_SIZE, Role, Soft, VirtAddr, VmFlags, Vma, VmaRead, VmaStore};

/// A VMA, or what a reader was shown of one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub start: u64,
    pub end: u64,
    pub perms: [u8; 4],
    pub offset: u64,
    pub dev: (u32, u32),
    pub inode: u64,
    /// As in maps, padded with zeros.
    pub name: [u8; 32],
}

impl Piece {
    pub fn of(vma: &Vma) -> Self {
        let range = vma.range();
        let letter = |flag, letter| if vma.flags().contains(flag) { letter } else { b'-' };
        let named = |kind: &str, name: &[u8]| format!("[{kind}:{}]", name.escape_ascii()).into_bytes();
        let name = match (vma.file(), vma.anon_name(), vma.role()) {
            (Some(_), Some(name), _) => named("anon_shmem", name),
            (Some(file), None, _) => file.path().to_vec(),
            (None, _, Role::Heap) => b"[heap]".to_vec(),
            (None, _, Role::Stack) => b"[stack]".to_vec(),
            (None, Some(name), _) => named("anon", name),
            (None, None, _) => Vec::new(),
        };
        Self {
            start: range.start.0,
            end: range.end.0,
            perms: [
                letter(VmFlags::READ, b'r'),
                letter(VmFlags::WRITE, b'w'),
                letter(VmFlags::EXEC, b'x'),
                if vma.flags().contains(VmFlags::SHARED) {
                    b's'
                } else {
                    b'p'
                },
            ],
            offset: vma.file().map_or(0, |_| vma.pgoff() << PAGE_SHIFT),
            dev: vma.file().map_or((0, 0), |file| file.dev()),
            inode: vma.file().map_or(0, |file| file.inode()),
            name: padded(&name),
        }
    }

    /// Returns the part of it at and above `cursor`.
    pub fn part(self, cursor: u64) -> Self {
        let skipped = cursor.saturating_sub(self.start);
        Self {
            start: self.start + skipped,
            offset: if self.inode == 0 { 0 } else { self.offset + skipped },
            ..self
        }
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (perms, name) = (self.perms.escape_ascii(), self.name.escape_ascii().to_string());
        let name = name.trim_end_matches("\\x00");
        write!(
            f,
            "{:x}-{:x} {perms} {:x} {} {name}",
            self.start, self.end, self.offset, self.inode
        )
    }
}

pub fn padded(name: &[u8]) -> [u8; 32] {
    let mut padded = [0; 32];
    padded[..name.len()].copy_from_slice(name);
    padded
}

thread_local! {
    /// Whether this thread is inside the library; read by a signal handler.
    pub static IS_READING: Cell<bool> = const { Cell::new(false) };
}

/// The versions so far: a reader looks at them before and after a read.
#[derive(Default)]
pub struct Clock {
    begun: AtomicUsize,
    done: AtomicUsize,
    /// How far some reader has come.
    cursor: AtomicU64,
}

impl Clock {
    /// Runs `read` and returns the versions that its result may show, bounds included.
    pub fn during<T>(&self, read: impl FnOnce() -> T) -> (T, (usize, usize)) {
        let first = self.done.load(Ordering::SeqCst);
        IS_READING.set(true);
        let result = read();
        IS_READING.set(false);
        (result, (first, self.begun.load(Ordering::SeqCst)))
    }

    /// Returns how far some reader has come, for writers that want to meet it.
    pub fn cursor(&self) -> u64 {
        self.cursor.load(Ordering::Relaxed)
    }
}

/// A VMA with the version that brought it and the first version without it.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub piece: Piece,
    pub born: usize,
    pub died: usize,
}

/// All that ever was in the address space.
#[derive(Default)]
pub struct History {
    pub lives: Vec<Life>,
    /// The lives of VMAs that end at an address.
    pub by_end: HashMap<u64, Vec<usize>>,
    /// For each version, its lives, ascending.
    pub versions: Vec<Vec<usize>>,
    /// For each version, which pages from `base` on were mapped, 64 to a word.
    pub mapped: Vec<Vec<u64>>,
    base: u64,
}

impl History {
    pub fn new(base: u64) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// Returns whether this ever was a VMA as a whole.
    pub fn has(&self, piece: &Piece) -> bool {
        let lives = self.by_end.get(&piece.end).into_iter().flatten();
        lives.into_iter().any(|&life| self.lives[life].piece == *piece)
    }

    /// Logs the next version.
    pub fn push(&mut self, pieces: impl Iterator<Item = Piece>) {
        let version = self.versions.len();
        let before = self.versions.last().cloned().unwrap_or_default();
        for &life in &before {
            self.lives[life].died = version;
        }
        let (mut now, mut mapped) = (Vec::new(), Vec::new());
        for piece in pieces {
            let same = before.binary_search_by_key(&piece.start, |&life| self.lives[life].piece.start);
            let kept = same
                .ok()
                .map(|i| before[i])
                .filter(|&life| self.lives[life].piece == piece);
            now.push(kept.unwrap_or_else(|| self.bring(piece, version)));
            self.lives[now[now.len() - 1]].died = usize::MAX;
            for page in (piece.start - self.base) / PAGE_SIZE..(piece.end - self.base) / PAGE_SIZE {
                let word = page as usize / 64;
                mapped.resize(mapped.len().max(word + 1), 0);
                mapped[word] |= 1 << (page % 64);
            }
        }
        self.versions.push(now);
        self.mapped.push(mapped);
    }

    fn bring(&mut self, piece: Piece, born: usize) -> usize {
        let life = self.lives.len();
        self.lives.push(Life {
            piece,
            born,
            died: usize::MAX,
        });
        self.by_end.entry(piece.end).or_default().push(life);
        life
    }
}

/// The writers' log. Each change of the address space goes through it, so that the log has the
/// order of publication.
pub struct Recorder<'a, S: VmaStore, M: Machine = Soft> {
    reader: MmReader<S, M>,
    clock: &'a Clock,
    pub history: History,
    /// The pages at the end of each version.
    pub pages: PageLog,
}

impl<'a, S: VmaStore, M: Machine> Recorder<'a, S, M> {
    /// Begins with the address space as it is, which has nothing below `base`.
    pub fn new(mm: &Mm<S, M>, clock: &'a Clock, base: u64) -> Self {
        let mut recorder = Self {
            reader: mm.reader().unwrap(),
            clock,
            history: History::new(base),
            pages: PageLog::new(base),
        };
        recorder.log();
        recorder
    }

    /// Makes a change of the address space that is published once.
    pub fn change(&mut self, change: impl FnOnce()) {
        self.change_all(|_| change());
    }

    /// Makes a change of several publications; no reader sees the mappings in between.
    pub fn change_all(&mut self, change: impl FnOnce(&mut Self)) {
        self.clock.begun.fetch_add(1, Ordering::SeqCst);
        change(self);
        self.log();
        self.clock.done.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes which pages exist in the middle of a change of several publications.
    pub fn note_pages(&mut self) {
        self.pages.note(self.reader.walker());
    }

    fn log(&mut self) {
        self.pages.push(self.reader.walker());
        let section = self.reader.read_lock().unwrap();
        self.history.push(section.iter_from(VirtAddr(0)).map(Piece::of));
    }
}
