//! Reads the kernel's own files.
//!
//! Each mapping is a read at real-time priority, or the files are read as they are.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::time::{Duration, Instant};

use vmaple_smaps::{Field, FieldSet, FlagLetters, Mapping, Parser, Scope};

use crate::boost::Boost;
use crate::error::{Error, Result};
use crate::method::Method;
use crate::options::Options;
use crate::process::Process;
use crate::record::{Line, Mappings, NamePlace, Rollup};
use crate::report::{Partial, Report};
use crate::source::{Content, Found, Source};
use crate::want::Want;

/// The bytes of a boosted read. They are less than a record of smaps, so the kernel shows no second
/// one under the same lock.
const ONE_RECORD: usize = 512;
/// The bytes of a plain read: as large as the buffer of cat(1).
const MANY: usize = 128 << 10;

/// The fields of a mapping's record in smaps.
const OF_MAPPING: FieldSet = scopes(&[Scope::Mapping, Scope::Summed]);
/// The fields of smaps_rollup.
const OF_SUM: FieldSet = scopes(&[Scope::Summed, Scope::SumAlone]);

/// The methods [`Method::Boosted`] and [`Method::Plain`].
pub(crate) struct Files {
    manner: Manner,
    letters: FlagLetters,
}

/// How the files are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// One record a read, each read at real-time priority.
    Boosted,
    /// Many records a read, at the caller's priority.
    Plain,
}

impl Files {
    /// Returns the source that reads at real-time priority, of a kernel whose flags have these
    /// letters.
    ///
    /// # Errors
    /// [`Error::NotPossible`] without CAP_SYS_NICE.
    pub(crate) fn boosted(letters: FlagLetters) -> Result<Self> {
        Boost::check().map_err(|e| Error::NotPossible(format!("real-time priority: {e}; it needs CAP_SYS_NICE")))?;
        Ok(Self {
            manner: Manner::Boosted,
            letters,
        })
    }

    /// Returns the source that reads the files as they are.
    pub(crate) fn plain(letters: FlagLetters) -> Self {
        Self {
            manner: Manner::Plain,
            letters,
        }
    }
}

impl Source for Files {
    fn method(&self) -> Method {
        match self.manner {
            Manner::Boosted => Method::Boosted,
            Manner::Plain => Method::Plain,
        }
    }

    fn scan(&mut self, process: &Process, options: &Options, room: Mappings) -> Result<Found> {
        // Not boosted: smaps_rollup is one lock for the whole process, which is what boosting is
        // there to avoid.
        if self.manner == Manner::Plain && options.sum_alone && options.want > Want::Ranges {
            self.sum(process)
        } else {
            self.mappings(process, options, room)
        }
    }
}

impl Files {
    /// Reads /proc/PID/maps or smaps.
    fn mappings(&self, process: &Process, options: &Options, mut room: Mappings) -> Result<Found> {
        let began = Instant::now();
        let (name, fields) = match options.want {
            Want::Counters => ("maps", FieldSet::NONE),
            Want::Ranges => ("maps", [Field::Size].into_iter().collect()),
            Want::Tables | Want::Pages => ("smaps", OF_MAPPING),
        };
        let mut reader = Reader::open(process, name, self.manner)?;
        room.lines.clear();
        room.stats.clear();
        room.ages.clear();
        room.names.clear();
        let mut parser = Parser::new(self.letters);
        let mut buffer = vec![
            0;
            if self.manner == Manner::Boosted {
                ONE_RECORD
            } else {
                MANY
            }
        ];
        let mut partial = None;
        loop {
            let text = reader.read(&mut buffer)?;
            if text.is_empty() {
                parser
                    .end(|mapping| room.add(mapping))
                    .map_err(|e| reader.not_smaps(e))?;
                break;
            }
            parser
                .take(text, |mapping| room.add(mapping))
                .map_err(|e| reader.not_smaps(e))?;
            // The values of the record that comes now may not all have come: it is left out, and
            // there is one before it.
            if let Some(last) = room.lines.last()
                && began.elapsed() > options.limit
            {
                partial = Some(Partial::OutOfTime(last.vma.end));
                break;
            }
        }
        let Some(last) = room.lines.last() else {
            return Err(Error::NoProcess(process.pid()));
        };
        room.own = room.lines.len() - usize::from(last.name(&room.names) == b"[vsyscall]");
        reader.check_whole()?;
        let report = Report {
            mappings: Some(room.own),
            runs: reader.reads,
            longest_run: reader.longest,
            in_runs: reader.together,
            unvalidated: Some(0),
            counted_later: Some(0),
            cut_names: Some(0),
            partial,
            ..Report::of_one_read(self.method(), began.elapsed())
        };
        Ok(Found {
            content: Content::Mappings(room),
            fields,
            report,
        })
    }

    /// Reads /proc/PID/smaps_rollup: the kernel adds up before it rounds.
    fn sum(&self, process: &Process) -> Result<Found> {
        let began = Instant::now();
        let pid = process.pid();
        let what = || format!("reading /proc/{pid}/smaps_rollup");
        let mut text = vec![];
        process
            .open_map("smaps_rollup")?
            .read_to_end(&mut text)
            .map_err(|e| Error::of_proc(pid, &what(), &e))?;
        process.check_alive()?;
        // One record, as if it were a mapping's.
        let mut sum = None;
        let mut found = |mapping: &Mapping<'_>| {
            sum = Some(Rollup {
                start: mapping.vma.start,
                end: mapping.vma.end,
                stats: mapping.stats,
                ..Rollup::default()
            });
        };
        let mut parser = Parser::new(self.letters);
        parser
            .take(&text, &mut found)
            .and_then(|()| parser.end(&mut found))
            .map_err(|e| Error::failed(what(), e))?;
        Ok(Found {
            content: Content::Sum(sum.ok_or(Error::NoProcess(pid))?),
            fields: OF_SUM,
            report: Report::of_one_read(self.method(), began.elapsed()),
        })
    }
}

/// A file of a process's mappings, whose reads are timed.
struct Reader<'a> {
    process: &'a Process,
    file: File,
    name: &'static str,
    manner: Manner,
    reads: u64,
    longest: Duration,
    together: Duration,
}

impl<'a> Reader<'a> {
    fn open(process: &'a Process, name: &'static str, manner: Manner) -> Result<Self> {
        Ok(Self {
            process,
            file: process.open_map(name)?,
            name,
            manner,
            reads: 0,
            longest: Duration::ZERO,
            together: Duration::ZERO,
        })
    }

    /// Reads the next piece of text; nothing at the end.
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
        loop {
            let boost = self.boost()?;
            let begin = Instant::now();
            let read = self.file.read(buffer);
            let length = begin.elapsed();
            drop(boost);
            self.longest = self.longest.max(length);
            self.together += length;
            self.reads += 1;
            match read {
                Ok(bytes) => return Ok(&buffer[..bytes]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed(&e)),
            }
        }
    }

    /// Checks that the address space is still there.
    ///
    /// The text of one that is gone ends early, as if that were its end.
    fn check_whole(&mut self) -> Result<()> {
        // This too is a read under the kernel's lock.
        let boost = self.boost()?;
        self.file.rewind().map_err(|e| self.failed(&e))?;
        let read = loop {
            match self.file.read(&mut [0]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        drop(boost);
        match read {
            Ok(0) => {
                self.process.check_alive()?;
                // Its memory is gone, and it is there: it has executed another program, or is about
                // to end.
                Err(Error::Executed(self.process.pid()))
            }
            Ok(_) => Ok(()),
            Err(e) => Err(self.failed(&e)),
        }
    }

    fn boost(&self) -> Result<Option<Boost>> {
        let boost = (self.manner == Manner::Boosted).then(Boost::begin).transpose();
        boost.map_err(|e| Error::failed("raising the priority", e))
    }

    fn what(&self) -> String {
        format!("reading /proc/{}/{}", self.process.pid(), self.name)
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::of_proc(self.process.pid(), &self.what(), error)
    }

    fn not_smaps(&self, error: vmaple_smaps::NotSmaps) -> Error {
        Error::failed(self.what(), error)
    }
}

impl Mappings {
    /// Adds a record of a text, at its end.
    fn add(&mut self, mapping: &Mapping<'_>) {
        let text = mapping.vma.name.text();
        let name = NamePlace {
            at: self.names.len(),
            bytes: text.len(),
        };
        self.names.extend(text);
        self.lines.push(Line::new(mapping, name));
        self.stats.push(mapping.stats);
    }
}

/// Returns the fields of these scopes.
const fn scopes(scopes: &[Scope]) -> FieldSet {
    let (mut set, mut i) = (FieldSet::NONE, 0);
    while i < Field::ALL.len() {
        let mut j = 0;
        while j < scopes.len() {
            if Field::ALL[i].scope() as u8 == scopes[j] as u8 {
                set.insert(Field::ALL[i]);
            }
            j += 1;
        }
        i += 1;
    }
    set
}

#[cfg(test)]
mod tests {
    use vmaple_smaps::append;

    use super::*;

    const TEXT: &str = "\
00400000-00452000 r-xp 00000000 08:02 173521                             /usr/bin/a b\\012c
Size:                328 kB
Rss:                  12 kB
Pss:                   7 kB
VmFlags: rd ex mr mw me 
7f0000000000-7f0000001000 rw-s 00001000 00:05 99                         [anon_shmem:x]
Size:                  4 kB
Rss:                   0 kB
";

    /// Reads a text in pieces of this length.
    fn read(text: &[u8], length: usize) -> Mappings {
        let mut mappings = Mappings::default();
        let mut parser = Parser::new(FlagLetters::of_release((6, 18)));
        for piece in text.chunks(length) {
            parser.take(piece, |mapping| mappings.add(mapping)).unwrap();
        }
        parser.end(|mapping| mappings.add(mapping)).unwrap();
        mappings
    }

    /// Writes the lines of maps.
    fn maps(mappings: &Mappings) -> String {
        let mut text = vec![];
        for record in mappings.records() {
            append(&mut text, 128, |to| record.mapping.vma.write_line(to));
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn text_that_comes_in_pieces_of_any_length_is_read_back() {
        for length in [1, 2, 7, 60, 4096] {
            let mappings = read(TEXT.as_bytes(), length);
            let [_, second] = mappings.lines.as_slice() else {
                panic!("{mappings:?}")
            };
            assert_eq!((mappings.stats[0].rss, second.vma.inode), (12 << 10, 99));
            let is_vma = |line: &&str| line.starts_with(|c: char| !c.is_ascii_uppercase());
            let expected: String = TEXT.lines().filter(is_vma).flat_map(|line| [line, "\n"]).collect();
            assert_eq!(maps(&mappings), expected);
        }
    }

    #[test]
    fn our_own_maps_are_written_as_they_were_read() {
        let text = std::fs::read("/proc/self/maps").unwrap();
        assert_eq!(maps(&read(&text, 4096)), String::from_utf8(text).unwrap());
    }
}
