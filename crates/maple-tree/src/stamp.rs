//! The place of an entry's birth era.

/// The place of an entry's birth era: with the entry in the leaf (`u64`), or in the entry itself
/// (`()`).
///
/// Sealed: there are these two.
pub trait Stamp: Copy + Default + Send + Sync + sealed::Sealed + 'static {
    /// Whether the entry itself notes the era: then at publication, otherwise when it is put into
    /// the leaf.
    #[doc(hidden)]
    const IS_ELSEWHERE: bool;
    #[doc(hidden)]
    fn note(birth: u64) -> Self;
    #[doc(hidden)]
    fn birth(self) -> u64;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for u64 {}
}

impl Stamp for () {
    const IS_ELSEWHERE: bool = true;
    fn note(_: u64) -> Self {}
    fn birth(self) -> u64 {
        0
    }
}

impl Stamp for u64 {
    const IS_ELSEWHERE: bool = false;
    fn note(birth: u64) -> Self {
        birth
    }
    fn birth(self) -> u64 {
        self
    }
}
