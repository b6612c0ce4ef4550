//! The text of a scan, and how much of such text there may be.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The text of a scan. Clones share it.
#[derive(Clone)]
pub(super) struct Text(Arc<Kept>);

struct Kept {
    bytes: Vec<u8>,
    all: Arc<AtomicUsize>,
}

/// The bytes of all texts.
#[derive(Clone, Default)]
pub(super) struct Texts(Arc<AtomicUsize>);

/// Above this many bytes of text no open file keeps its own. A reader may open many files of large
/// processes, and never read on.
const MOST_BYTES: usize = 256 << 20;

impl Texts {
    pub(super) fn add(&self, bytes: Vec<u8>) -> Text {
        // Relaxed: a number, by which nothing else is read.
        self.0.fetch_add(bytes.len(), Relaxed);
        Text(Arc::new(Kept {
            bytes,
            all: Arc::clone(&self.0),
        }))
    }

    /// Returns whether there are more bytes than should be kept.
    pub(super) fn are_too_many(&self) -> bool {
        self.0.load(Relaxed) > MOST_BYTES
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes.len(), Relaxed);
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_too_many_until_enough_of_them_are_gone() {
        let texts = Texts::default();
        let first = texts.add(vec![1; MOST_BYTES / 2]);
        let (second, third) = (texts.add(vec![2; MOST_BYTES / 2]), texts.add(vec![3; 1]));
        assert!(texts.are_too_many() && second[0] == 2);
        let again = first.clone();
        drop(first);
        assert!(texts.are_too_many());
        drop(again);
        assert!(!texts.are_too_many());
        drop((second, third));
        assert_eq!(texts.0.load(Relaxed), 0);
    }
}
