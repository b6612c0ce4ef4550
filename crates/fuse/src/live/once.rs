//! Warnings that are logged once: what makes them comes again with each request.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Logs a warning, if it has not been.
pub(super) fn warn(what: String) {
    /// Messages may name processes. So more are not kept, nor logged.
    const MOST: usize = 1000;
    static LOGGED: Mutex<Option<HashSet<String>>> = Mutex::new(None);

    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    let logged = logged.get_or_insert_default();
    if logged.len() < MOST && !logged.contains(&what) {
        log::warn!("{what}");
        logged.insert(what);
    }
}
