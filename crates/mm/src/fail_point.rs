//! Places in the code where a test makes something happen.

#[cfg(not(all(test, not(loom))))]
#[inline(always)]
pub(crate) fn reach(_: &str) {}

#[cfg(all(test, not(loom)))]
pub(crate) use testing::{at, reach};

#[cfg(all(test, not(loom)))]
mod testing {
    use std::cell::RefCell;

    type Action = Box<dyn FnOnce()>;

    std::thread_local! {
        static ACTIONS: RefCell<Vec<(&'static str, Action)>> = const { RefCell::new(Vec::new()) };
    }

    /// Runs `action` once, when this thread reaches the place.
    pub(crate) fn at(place: &'static str, action: impl FnOnce() + 'static) {
        ACTIONS.with_borrow_mut(|actions| actions.push((place, Box::new(action))));
    }

    pub(crate) fn reach(place: &str) {
        let action = ACTIONS.with_borrow_mut(|actions| {
            let found = actions.iter().position(|(name, _)| *name == place)?;
            Some(actions.remove(found).1)
        });
        if let Some(action) = action {
            action();
        }
    }
}
