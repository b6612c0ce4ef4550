//! Files that are open.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use fuser::Errno;
use rustix::io::pread;
use vmaple_scan::Process;

use crate::live::answer::Answer;
use crate::live::caller::Caller;
use crate::live::node::Directory;
use crate::live::scans::{Question, Scans, Unanswered};
use crate::live::text::Text;

/// A file or directory that is open.
pub(super) enum Open {
    /// The kernel's file, which was opened in the place of the caller.
    Kernel {
        file: File,
        may_wait: bool,
    },
    Directory(Mutex<File>),
    Scanned(Scanned),
}

impl Open {
    /// Returns whether a read may wait for a process, or for a scan.
    pub(super) fn may_wait(&self, offset: u64) -> bool {
        match self {
            Self::Kernel { may_wait, .. } => *may_wait,
            Self::Directory(_) => false,
            Self::Scanned(scanned) => !scanned.has_text(offset),
        }
    }
}

/// A file that a scan answers.
pub(super) struct Scanned {
    answer: Answer,
    task: u32,
    directory: Arc<Directory>,
    inode: u64,
    /// The kernel's, which was opened in the place of the caller: so the caller may.
    kernels: File,
    /// What the last read from the beginning found.
    content: Mutex<Option<Content>>,
}

#[derive(Clone)]
enum Content {
    Text(Text),
    Kernels,
}

impl Scanned {
    pub(super) fn new(
        answer: Answer,
        task: u32,
        directory: &Arc<Directory>,
        kernels: File,
    ) -> rustix::io::Result<Self> {
        Ok(Self {
            answer,
            task,
            inode: rustix::fs::fstat(&directory.fd)?.st_ino,
            directory: Arc::clone(directory),
            kernels,
            content: Mutex::new(None),
        })
    }

    /// Returns whether a read has its text already.
    fn has_text(&self, offset: u64) -> bool {
        let content = self.content.try_lock();
        offset > 0 && content.is_ok_and(|content| matches!(*content, Some(Content::Text(_))))
    }

    /// Reads at most `size` bytes from `offset` on.
    ///
    /// As of the kernel's file, a read from the beginning sees the process as it is now.
    ///
    /// # Errors
    /// `EACCES`, `ESRCH`, and what the kernel says.
    pub(super) fn read(&self, caller: &Caller, scans: &Scans, offset: u64, size: usize) -> Result<Vec<u8>, Errno> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let known = content.take().filter(|_| offset > 0);
        let now = match known {
            Some(known) => known,
            None => self.scan(caller, scans)?,
        };
        // Else a further read is of another scan, as the kernel's may be of another instant.
        if !scans.keeps_too_much() {
            *content = Some(now.clone());
        }
        drop(content);
        match now {
            Content::Text(text) => {
                let from = usize::try_from(offset).map_or(text.len(), |offset| offset.min(text.len()));
                let upto = from.saturating_add(size).min(text.len());
                Ok(text[from..upto].to_vec())
            }
            Content::Kernels => read_at(&self.kernels, caller, offset, size),
        }
    }

    fn scan(&self, caller: &Caller, scans: &Scans) -> Result<Content, Errno> {
        // A process may always read its own.
        let is_own = caller.process == self.task || caller.thread == self.task;
        let question = Question {
            answer: self.answer,
            is_own,
            task: self.task,
            directory: self.inode,
            credentials: caller.credentials.clone(),
        };
        let open = || {
            let process = Process::open(self.task)?;
            // It has its number still: so the process that was opened by the number is its own.
            rustix::fs::statat(&self.directory.fd, "stat", rustix::fs::AtFlags::empty())
                .map_err(|_| vmaple_scan::Error::NoProcess(self.task))?;
            Ok(if is_own || self.answer.is_public() {
                process
            } else {
                process.for_caller(caller.credentials.clone())
            })
        };
        match scans.answer(&question, open) {
            Ok(text) => Ok(Content::Text(text)),
            Err(Unanswered::AskTheKernel) => Ok(Content::Kernels),
            Err(Unanswered::Refused) => Err(Errno::EACCES),
        }
    }
}

/// Reads from a file of the kernel's in the place of the caller.
///
/// # Errors
/// What read(2) says.
pub(super) fn read_at(file: &File, caller: &Caller, offset: u64, size: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; size];
    let read = caller.act(|| match pread(file, &mut bytes, offset) {
        // One that has no places, as /proc/kmsg.
        Err(rustix::io::Errno::SPIPE) => rustix::io::read(file, &mut bytes),
        read => read,
    })?;
    bytes.truncate(read);
    Ok(bytes)
}
