//! What can be mounted.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use fuser::{BackgroundSession, Config, Filesystem, INodeNo, Session};

use crate::guests::{GuestTree, Guests};
use crate::live::Live;

/// A tree that can be mounted: [`Live`], or [`&Guests`](crate::Guests). Sealed.
pub trait Tree: sealed::Serve {}

impl<T: sealed::Serve> Tree for T {}

/// Finds the directories that the kernel had better forget, as each is an open file here.
pub(crate) type Excess = Box<dyn Fn() -> Vec<(INodeNo, OsString)> + Send>;

pub(crate) mod sealed {
    use super::*;

    pub trait Serve {
        /// Answers the kernel by a device, or mounts by fusermount3 if there is none.
        #[doc(hidden)]
        fn serve(self, device: Option<OwnedFd>, at: &Path, config: &Config) -> io::Result<(BackgroundSession, Excess)>;
    }

    impl Serve for Live {
        fn serve(self, device: Option<OwnedFd>, at: &Path, config: &Config) -> io::Result<(BackgroundSession, Excess)> {
            let excess = self.excess();
            Ok((spawn(self, device, at, config)?, Box::new(excess)))
        }
    }

    impl Serve for &Guests {
        fn serve(self, device: Option<OwnedFd>, at: &Path, config: &Config) -> io::Result<(BackgroundSession, Excess)> {
            Ok((spawn(GuestTree::of(self), device, at, config)?, Box::new(Vec::new)))
        }
    }
}

fn spawn(tree: impl Filesystem, device: Option<OwnedFd>, at: &Path, config: &Config) -> io::Result<BackgroundSession> {
    let session = match device {
        Some(device) => Session::from_fd(tree, device, config.acl, config.clone()),
        None => Session::new(tree, at, config),
    };
    session?.spawn()
}
