//! The object of a mapping: a file.

use alloc::borrow::Cow;
use core::sync::atomic::{AtomicU64, Ordering};

use vmaple_rcu::AllocError;

use crate::kref::Kref;

/// The object of a mapping, as /proc/PID/maps shows it: device, inode and path.
///
/// Two mappings have the same object if their references are the same ([`Kref::ptr_eq`]).
#[derive(Debug)]
pub struct File {
    dev: (u32, u32),
    inode: u64,
    path: Cow<'static, [u8]>,
    is_shmem: bool,
}

impl File {
    /// Makes an object with a device (major and minor number), an inode number, and a path of any
    /// bytes.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new(dev: (u32, u32), inode: u64, path: impl Into<Cow<'static, [u8]>>) -> Result<Kref<Self>, AllocError> {
        Kref::new(Self {
            dev,
            inode,
            path: path.into(),
            is_shmem: false,
        })
    }

    /// Makes the object of a shared anonymous mapping.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    #[doc(alias = "shmem_zero_setup")]
    pub(crate) fn shared_anonymous() -> Result<Kref<Self>, AllocError> {
        static INODE: AtomicU64 = AtomicU64::new(1);
        Kref::new(Self {
            dev: (0, 1),
            // Relaxed: it only has to be unique.
            inode: INODE.fetch_add(1, Ordering::Relaxed),
            path: Cow::Borrowed(b"/dev/zero (deleted)"),
            is_shmem: true,
        })
    }

    /// Returns the major and minor number of the device.
    #[must_use]
    pub fn dev(&self) -> (u32, u32) {
        self.dev
    }

    /// Returns the inode number.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Returns the path, as bytes.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Whether it belongs to a shared anonymous mapping, which may have a name as anonymous memory.
    #[doc(alias = "vma_is_anon_shmem")]
    #[must_use]
    pub fn is_anon_shmem(&self) -> bool {
        self.is_shmem
    }
}
