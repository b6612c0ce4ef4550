//! A set of fields.

use core::fmt;

use crate::field::Field;

/// A set of fields.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FieldSet(u32);

const _: () = assert!(Field::ALL.len() < 32, "a field for each bit");

impl FieldSet {
    /// No field.
    pub const NONE: Self = Self(0);

    /// All fields.
    pub const ALL: Self = Self((1 << Field::ALL.len()) - 1);

    /// Whether the field is in the set.
    #[must_use]
    #[inline]
    pub const fn contains(self, field: Field) -> bool {
        self.0 >> field as u32 & 1 == 1
    }

    /// Adds a field.
    pub const fn insert(&mut self, field: Field) {
        self.0 |= 1 << field as u32;
    }

    /// Removes a field.
    pub const fn remove(&mut self, field: Field) {
        self.0 &= !(1 << field as u32);
    }

    /// Returns the fields of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether no field is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the fields, in the order of smaps.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(move |&field| self.contains(field))
    }
}

impl FromIterator<Field> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        let mut set = Self::NONE;
        fields.into_iter().for_each(|field| set.insert(field));
        set
    }
}

impl fmt::Debug for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let mut set: FieldSet = [Field::VmFlags, Field::Rss].into_iter().collect();
        assert!(set.contains(Field::Rss) && !set.contains(Field::Pss));
        assert!(set.iter().eq([Field::Rss, Field::VmFlags]));
        set.remove(Field::Rss);
        set.remove(Field::VmFlags);
        assert!(set.is_empty());
        assert!(FieldSet::ALL.iter().eq(Field::ALL));
    }
}
