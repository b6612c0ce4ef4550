//! Keeps what a start has learnt of this kernel for the starts after it.
//!
//! A first start reads the kernel's types, links the program and compares with the kernel's text,
//! which takes most of its time. All of that stays as it is until the machine starts again. So a
//! file keeps it, under the machine's start and the program's object. It holds addresses of the
//! kernel and instructions that the kernel will run: only root writes it, and only root reads it.
//! Whatever is wrong with it, or with its place, makes it a file that is not there.

use std::fs::{DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, linkat, open, openat, unlinkat};
use serde::{Deserialize, Serialize};

use crate::bpf::load::layout::Layout;
use crate::bpf::load::linked::{BUILT, Linked};
use crate::bpf::scan::name::HeapRule;
use crate::bpf::scan::thp::ThpRule;

/// What a start has learnt of the running kernel.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Learnt {
    pub(crate) linked: Linked,
    pub(crate) layout: Layout,
    pub(crate) heap: HeapRule,
    pub(crate) thp: ThpRule,
    pub(crate) flag_names: Vec<(String, u32)>,
}

/// The files of what was learnt, in a directory of root's.
pub(crate) struct Cache {
    directory: PathBuf,
    key: Key,
}

/// What was learnt is true of one start of one kernel, and of one object.
#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Key {
    boot: String,
    kernel: String,
    /// Hash of what the objects were built from and by.
    object: u64,
    crate_version: String,
}

/// More than what is ever learnt.
const MOST_BYTES: u64 = 1 << 20;
const CHECKSUM_BYTES: usize = 8;

impl Cache {
    /// Returns the cache of this kernel in a directory; `None` if the caller is not root.
    pub(crate) fn of_root(directory: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        Some(Self {
            directory: directory.to_owned(),
            key: Key::of_this_machine()?,
        })
    }

    /// Returns what was learnt of this kernel; `None` if nothing was, or if the file or its place
    /// is not as this process would have made it.
    pub(crate) fn read(&self) -> Option<Learnt> {
        let directory = self.open().ok()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&directory, self.name(), flags, Mode::empty()).ok()?;
        let status = fstat(&file).ok()?;
        let is_ours = is_roots_alone(&status, FileType::RegularFile) && status.st_size as u64 <= MOST_BYTES;
        if !is_ours {
            return None;
        }
        // One more byte, and the end is found without more room.
        let mut bytes = Vec::with_capacity(status.st_size as usize + 1);
        let file = File::from(file).take(MOST_BYTES);
        { file }.read_to_end(&mut bytes).ok()?;
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
        if hash(content).to_le_bytes() != *checksum {
            return None;
        }
        let (key, learnt): (Key, Learnt) = postcard::from_bytes(content).ok()?;
        (key == self.key).then_some(learnt)
    }

    /// Keeps what was learnt. Another process sees the whole file or none.
    ///
    /// # Errors
    /// If the directory cannot be made or is not root's alone, or if it is full.
    pub(crate) fn write(&self, learnt: &Learnt) -> io::Result<()> {
        let mut bytes = postcard::to_allocvec(&(&self.key, learnt)).map_err(io::Error::other)?;
        bytes.extend(hash(&bytes).to_le_bytes());
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let directory = self.open()?;
        // It has no name until it is whole, so nothing is left of it if this process is killed.
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let mut file = File::from(openat(&directory, ".", flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(&bytes)?;
        let name = self.name();
        let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
        let give_name = || linkat(CWD, &unnamed, &directory, &name, AtFlags::SYMLINK_FOLLOW);
        match give_name() {
            Err(rustix::io::Errno::EXIST) => {
                // It could not be used, or another process has just written the same.
                let _ = unlinkat(&directory, &name, AtFlags::empty());
                Ok(give_name()?)
            }
            named => Ok(named?),
        }
    }

    /// Opens the directory, if no other user could have put anything there.
    fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = open(&self.directory, flags, Mode::empty())?;
        if !is_roots_alone(&fstat(&directory)?, FileType::Directory) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        Ok(directory)
    }

    fn name(&self) -> String {
        format!("scan-{:016x}", self.key.object)
    }
}

impl Key {
    fn of_this_machine() -> Option<Self> {
        let uname = rustix::system::uname();
        Some(Self {
            boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?,
            kernel: format!(
                "{} {}",
                uname.release().to_string_lossy(),
                uname.version().to_string_lossy()
            ),
            object: hash(BUILT.as_bytes()),
            crate_version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}

/// Returns whether a file is of this type, root's, and of no use to anyone else.
fn is_roots_alone(status: &Stat, file_type: FileType) -> bool {
    FileType::from_raw_mode(status.st_mode) == file_type && status.st_uid == 0 && status.st_mode & 0o077 == 0
}

/// Returns a hash that tells a damaged file; forging one is root's right.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn learnt() -> Learnt {
        Learnt {
            linked: Linked {
                btf: vec![1, 2, 3],
                maps: vec![],
                programs: vec![],
                attaches_to: 7,
            },
            layout: Layout::default(),
            heap: HeapRule::Touches,
            thp: ThpRule::Another,
            flag_names: vec![("SEALED".into(), 42)],
        }
    }

    /// Returns a cache in a directory that does not exist yet.
    fn cache() -> Option<(tempfile::TempDir, Cache)> {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::of_root(&place.path().join("vmaple"));
        if cache.is_none() {
            eprintln!("skipped: not root");
        }
        Some((place, cache?))
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_written_is_read_and_root_alone_can_read_it() {
        let Some((_place, cache)) = cache() else { return };
        assert_eq!(cache.read(), None);
        cache.write(&learnt()).unwrap();
        assert_eq!(cache.read(), Some(learnt()));
        assert_eq!(mode(&cache.directory), 0o700);
        let file = cache.directory.join(cache.name());
        assert_eq!(mode(&file), 0o600);
        // Once more, over the first.
        let other = Learnt {
            heap: HeapRule::Overlaps,
            ..learnt()
        };
        cache.write(&other).unwrap();
        assert_eq!(cache.read(), Some(other));
        assert_eq!(fs::read_dir(&cache.directory).unwrap().count(), 1);
    }

    #[test]
    fn what_another_kernel_start_or_object_has_left_is_not_read() {
        let Some((_place, mut cache)) = cache() else { return };
        cache.write(&learnt()).unwrap();
        let key = Key::of_this_machine().unwrap();
        for changed in [
            Key {
                boot: "another".into(),
                ..Key::of_this_machine().unwrap()
            },
            Key {
                kernel: "another".into(),
                ..Key::of_this_machine().unwrap()
            },
            Key {
                crate_version: "another".into(),
                ..Key::of_this_machine().unwrap()
            },
        ] {
            cache.key = changed;
            assert_eq!(cache.read(), None, "{:?}", cache.key);
        }
        // An object of the same hash is the same; another has another file.
        cache.key = Key {
            object: key.object ^ 1,
            ..key
        };
        assert_eq!(cache.read(), None);
    }

    #[test]
    fn a_file_with_any_byte_changed_or_cut_off_is_not_read() {
        let Some((_place, cache)) = cache() else { return };
        cache.write(&learnt()).unwrap();
        let path = cache.directory.join(cache.name());
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0x55;
            fs::write(&path, &broken).unwrap();
            assert_eq!(cache.read(), None, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(cache.read(), None, "{at} bytes");
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(cache.read(), Some(learnt()));
    }

    #[test]
    fn a_file_that_others_could_have_written_or_can_read_is_not_used() {
        let Some((place, cache)) = cache() else { return };
        cache.write(&learnt()).unwrap();
        let file = cache.directory.join(cache.name());
        for path in [&file, &cache.directory] {
            let right = mode(path);
            let set = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            for more in [0o040, 0o020, 0o004, 0o002] {
                set(right | more);
                assert_eq!(cache.read(), None, "{path:?} {more:o}");
            }
            set(right);
            chown(path, Some(1), None).unwrap();
            assert_eq!(cache.read(), None, "{path:?} of another user");
            chown(path, Some(0), None).unwrap();
            assert_eq!(cache.read(), Some(learnt()));
            // By another way.
            let moved = place.path().join("moved");
            fs::rename(path, &moved).unwrap();
            symlink(&moved, path).unwrap();
            assert_eq!(cache.read(), None, "{path:?} is a link");
            fs::remove_file(path).unwrap();
            fs::rename(&moved, path).unwrap();
        }
        fs::set_permissions(&cache.directory, fs::Permissions::from_mode(0o777)).unwrap();
        let error = cache.write(&learnt()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
}
