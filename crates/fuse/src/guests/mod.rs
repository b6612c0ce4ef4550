//! A /proc of processes that an emulator has.
//!
//! [`guest`] is what a tree shows of one, [`number`] how its files are numbered, [`text`] what the
//! files say that vmaple-proc does not write, and [`filesystem`] answers the kernel's requests.

mod filesystem;
mod guest;
mod number;
mod open;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::filesystem::GuestTree;
pub use self::guest::Guest;

/// The processes of an emulator, kernel or sandbox, to be mounted as a /proc of their own.
///
/// They may come and go while it is mounted. Clones are the same.
///
/// ```no_run
/// use std::path::Path;
/// use vmaple_fuse::{Guest, Guests, Mounted, Users};
/// use vmaple_mm::{Layout, Limits, Mm};
///
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let guests = Guests::new();
/// guests.add(Guest::new(1, "init", &mm));
/// let mounted = Mounted::new(&guests, Path::new("/run/guests/proc"), Users::Owner)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `pmap`, psutil, gdb and others then read the guest's memory map, and delay no thread of it.
#[derive(Clone, Default)]
pub struct Guests(Arc<Mutex<BTreeMap<u32, Arc<Guest>>>>);

impl Guests {
    /// Returns none.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, in place of the one that has its number.
    pub fn add(&self, guest: Guest) {
        let before = self.lock().insert(guest.pid(), Arc::new(guest));
        drop(before);
    }

    /// Removes the one of this number. Its files that are open stay open.
    pub fn remove(&self, pid: u32) {
        let removed = self.lock().remove(&pid);
        drop(removed);
    }

    pub(crate) fn get(&self, pid: u32) -> Option<Arc<Guest>> {
        self.lock().get(&pid).cloned()
    }

    /// Returns the numbers of all, ascending.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Guest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Guests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guests").field(&self.pids()).finish()
    }
}
