//! Files of guests that are open.

use std::io::{self, Read};
use std::sync::Arc;

use fuser::Errno;
use vmaple_mm::Error;

use crate::guests::Guest;
use crate::guests::guest::{Entries, Memory, TextFile};
use crate::guests::number::File;
use crate::guests::text;

/// A file that is open.
pub(super) enum Open {
    /// Its text was made when it was opened.
    Whole(Vec<u8>),
    /// Its text is made as it is read, a page of whole lines at a time.
    Text(Sequence),
    Entries(Box<dyn Entries>),
}

/// A file of text, with the place that its reader has come to.
pub(super) struct Sequence {
    guest: Arc<Guest>,
    begin: fn(&dyn Memory) -> Result<TextFile, Error>,
    file: TextFile,
    at: u64,
}

impl Open {
    /// Opens a file of a guest.
    ///
    /// # Errors
    /// `ESRCH` if its address space is gone, `ENOMEM`.
    pub(super) fn new(guest: &Arc<Guest>, file: File) -> Result<Self, Errno> {
        let status = || guest.memory().status().ok();
        let begin: fn(&dyn Memory) -> Result<TextFile, Error> = match file {
            File::Maps => |memory| memory.maps(),
            File::Smaps => |memory| memory.smaps(),
            File::Rollup => |memory| memory.rollup(),
            File::Statm => |memory| memory.statm(),
            File::Pagemap => return guest.memory().pagemap().map(Self::Entries).map_err(errno),
            File::Status => return Ok(Self::Whole(text::status(guest, status().as_ref()))),
            File::Stat => return Ok(Self::Whole(text::stat(guest, status().as_ref()))),
            File::Cmdline => return Ok(Self::Whole(guest.cmdline().to_vec())),
            File::Comm => return Ok(Self::Whole(format!("{}\n", guest.name()).into_bytes())),
            _ => return Ok(Self::Whole(vec![])),
        };
        Ok(Self::Text(Sequence {
            guest: Arc::clone(guest),
            begin,
            file: begin(guest.memory()).map_err(errno)?,
            at: 0,
        }))
    }

    /// Reads at most `size` bytes from `offset` on.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM`, and what the file says.
    pub(super) fn read(&mut self, offset: u64, size: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; size];
        let read = match self {
            Self::Whole(text) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| text.get(offset..));
                return Ok(rest.map_or(vec![], |rest| rest[..rest.len().min(size)].to_vec()));
            }
            Self::Text(sequence) => sequence.read_at(offset, &mut bytes)?,
            Self::Entries(entries) => entries.read_at(offset, &mut bytes).map_err(|e| of_io(&e))?,
        };
        bytes.truncate(read);
        Ok(bytes)
    }
}

impl Sequence {
    /// Reads on; from another place than the last read has come to, it begins again, as the kernel
    /// does.
    fn read_at(&mut self, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
        if offset != self.at {
            self.file = (self.begin)(self.guest.memory()).map_err(errno)?;
            self.at = 0;
            let skipped = io::copy(&mut (&mut self.file).take(offset), &mut io::sink()).map_err(|e| of_io(&e))?;
            self.at = skipped;
            if skipped < offset {
                return Ok(0);
            }
        }
        let read = self.file.read(to).map_err(|e| of_io(&e))?;
        self.at += read as u64;
        Ok(read)
    }
}

fn errno(error: Error) -> Errno {
    Errno::from_i32(error.errno.code())
}

pub(super) fn of_io(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_i32)
}
