//! setrlimit(2).

use crate::error::Error;
use crate::machine::Machine;
use crate::mm::{Limits, Mm};
use crate::store::VmaStore;

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// Sets the limits of later calls.
    ///
    /// # Errors
    /// `ENOMEM` if there is no memory.
    #[doc(alias = "setrlimit")]
    pub fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        self.transact(|transaction| {
            transaction.set_limits(limits);
            Ok(())
        })
    }
}
