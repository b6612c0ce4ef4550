//! A cgroup that a role can join.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A cgroup that a role can join, by its directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    pub(crate) dir: PathBuf,
}

impl Cgroup {
    /// Moves the calling process into the cgroup.
    pub(crate) fn join(&self) -> Result<()> {
        // 0 stands for the writer itself.
        self.write("cgroup.procs", "0")
    }

    /// Writes to a file of the cgroup.
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.dir.join(file);
        fs::write(&path, value).map_err(|e| Error::failed(format!("writing '{value}' to {}", path.display()), e))
    }
}
