//! Files for results: checked before the work, replaced as a whole after it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{Access, access};
use vmaple_repro::Error;

use crate::cli::is_stdout;
use crate::cmd::print_bytes;

/// A file, or standard output, that can be written.
#[derive(Debug)]
pub(crate) struct Export {
    path: PathBuf,
}

impl Export {
    /// Checks that `path` can be written, without touching what is there.
    pub(crate) fn check(path: &Path) -> anyhow::Result<Self> {
        let export = Self { path: path.to_owned() };
        if export.is_stdout() {
            return Ok(export);
        }
        let bad = |why: String| Error::Usage(format!("cannot write to {}: {why}", path.display()));
        let writable = |path: &Path, how| access(path, how).map_err(|e| bad(format!("{}: {e}", path.display())));
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Err(bad("it is a directory".to_owned()))?,
            Ok(meta) => {
                writable(path, Access::WRITE_OK)?;
                if meta.is_file() && fs::canonicalize(dir_of(path))?.starts_with("/proc") {
                    Err(bad(
                        "a file that is open already would be replaced; take - and a redirection".to_owned(),
                    ))?;
                }
                if meta.is_file() {
                    // A new file next to it will replace it.
                    writable(dir_of(&fs::canonicalize(path)?), Access::WRITE_OK | Access::EXEC_OK)?;
                }
            }
            Err(_) if path.is_symlink() => Err(bad("it is a link to nothing".to_owned()))?,
            Err(_) => writable(dir_of(path), Access::WRITE_OK | Access::EXEC_OK)?,
        }
        Ok(export)
    }

    /// Checks that no two of `exports` are the same. One would overwrite the other, or both would
    /// mix on standard output.
    pub(crate) fn check_distinct<'a>(exports: impl IntoIterator<Item = &'a Self>) -> anyhow::Result<()> {
        let paths: Vec<_> = exports.into_iter().map(|export| &export.path).collect();
        match (1..paths.len()).find(|&i| paths[..i].contains(&paths[i])) {
            Some(i) => Err(Error::Usage(format!(
                "two exports to {}: give each its own file",
                paths[i].display()
            )))?,
            None => Ok(()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_stdout(&self) -> bool {
        is_stdout(&self.path)
    }

    /// Writes `text`; a regular file appears or changes as a whole or not at all.
    pub(crate) fn write(&self, text: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let text = text.as_ref();
        let context = || format!("writing {}", self.path.display());
        if self.is_stdout() {
            return print_bytes(text).map(drop).with_context(context);
        }
        let old = fs::metadata(&self.path).ok();
        // A pipe or device is written to, not replaced.
        if old.as_ref().is_some_and(|meta| !meta.is_file()) {
            return fs::write(&self.path, text).with_context(context);
        }
        // A link's target is replaced, not the link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let mut new = path.clone().into_os_string();
        new.push(format!(".{}.new", std::process::id()));
        // Left by an earlier process of this number, or another user's link, which is not followed.
        let _ = fs::remove_file(&new);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(old.as_ref().map_or(0o666, |old| old.mode() & 0o666))
            .open(&new)
            .and_then(|mut file| {
                if let Some(old) = &old {
                    // Its permissions stay.
                    let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
                    file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
                }
                file.write_all(text)
            })
            .and_then(|()| fs::rename(&new, &path))
            .inspect_err(|_| {
                let _ = fs::remove_file(&new);
            })
            .with_context(context)
    }
}

/// Returns the directory that holds `path`.
fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}
