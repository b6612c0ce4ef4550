//! What all forms of a saved report have in common.

use crate::error::Result;

use super::Report;

/// A form in which a report is saved.
pub trait Exporter {
    /// Returns the whole report in this form.
    ///
    /// # Errors
    /// Fails if the form cannot show this report, or memory runs out.
    fn export(&self, report: &Report) -> Result<String>;
}
