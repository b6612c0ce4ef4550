//! What the kernel has opened, by handle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{Errno, FileHandle};

/// What the kernel has opened, by handle.
pub(crate) struct Handles<T> {
    open: Mutex<HashMap<u64, Arc<T>>>,
    next: AtomicU64,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }
}

impl<T> Handles<T> {
    pub(crate) fn add(&self, open: T) -> FileHandle {
        // Relaxed: only that no two are the same.
        let handle = self.next.fetch_add(1, Relaxed);
        self.lock().insert(handle, Arc::new(open));
        FileHandle(handle)
    }

    /// # Errors
    /// `EBADF` if it is not open.
    pub(crate) fn get(&self, handle: FileHandle) -> Result<Arc<T>, Errno> {
        self.lock().get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    pub(crate) fn close(&self, handle: FileHandle) {
        let closed = self.lock().remove(&handle.0);
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
