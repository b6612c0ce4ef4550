//! Whose address space is mapped and scanned: the running kernel's, or a model's of one design.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Whose address space is mapped and scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// Real processes on the running kernel.
    Kernel,
    /// A model of Linux 5.4: VMAs in an ordered tree under a read-write lock, which a reader of
    /// maps holds for each 4 KiB.
    V54,
    /// A model of Linux 6.17, and for smaps of the kernels of 2026: a reader holds the lock of the
    /// VMA that it looks at.
    V617,
    /// The cure: VMAs in a maple tree, whose readers hold nothing.
    Maple,
}

impl Target {
    /// Every variant, in the order in which help texts list them and runs are made.
    pub const ALL: [Self; 4] = [Self::Kernel, Self::V54, Self::V617, Self::Maple];

    /// Returns the name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::V54 => "v5.4",
            Self::V617 => "v6.17",
            Self::Maple => "maple",
        }
    }

    /// Says whether it is a model: threads of one process of vmaple, around an address space that
    /// the kernel does not know.
    #[must_use]
    pub fn is_model(self) -> bool {
        self != Self::Kernel
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|t| t.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Usage(format!("unknown target '{text}': use one of {names}"))
        })
    }
}

impl TryFrom<String> for Target {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(value: Target) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_written_as_they_are_read() {
        for target in Target::ALL {
            assert_eq!(target.name().parse::<Target>().unwrap(), target);
        }
        assert!("v6.18".parse::<Target>().is_err());
    }
}
