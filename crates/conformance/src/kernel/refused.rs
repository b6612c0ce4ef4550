//! Why something was not done.

use std::fmt;

/// An error, or a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// The error of a call.
    Errno(i32),
    /// The SIGSEGV of an access: `si_code` and `si_addr`.
    Segv { code: i32, addr: u64 },
}

impl Refused {
    /// Returns the same without the address.
    pub fn without_addr(self) -> Self {
        match self {
            Self::Segv { code, .. } => Self::Segv { code, addr: 0 },
            refused => refused,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Errno(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(errno)),
            Self::Segv { code, addr } => {
                let name = match code {
                    1 => "SEGV_MAPERR",
                    2 => "SEGV_ACCERR",
                    _ => "SIGSEGV of another kind",
                };
                write!(f, "{name}")?;
                if addr > 0 { write!(f, " at {addr:#x}") } else { Ok(()) }
            }
        }
    }
}
