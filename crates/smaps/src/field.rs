//! The fields of smaps: one table of their labels, units, files, first kernels and counts.

use core::ops::AddAssign;

use crate::field_set::FieldSet;

/// The binary logarithm of the parts of a byte that proportional sizes are counted in, as in Linux.
pub const PSS_SHIFT: u32 = 12;

/// The unit of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, written in kB.
    Kilobytes,
    /// A number without a unit.
    Number,
    /// Letters of flags.
    Letters,
}

/// Which files have a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// smaps alone: the field has no sum.
    Mapping,
    /// smaps, and summed in smaps_rollup.
    Summed,
    /// smaps_rollup alone.
    SumAlone,
}

/// A row of the table.
struct Row {
    label: &'static str,
    template: Template,
    unit: Unit,
    scope: Scope,
    since: (u32, u32),
}

/// Where numbers begin, after label and colon.
pub(crate) const NUMBER_COLUMN: usize = 16;

/// The columns of a number, if it is not longer.
pub(crate) const NUMBER_WIDTH: usize = 8;

/// A line of zero kilobytes.
pub(crate) type ZeroLine = [u8; NUMBER_COLUMN + NUMBER_WIDTH + " kB\n".len()];

/// A field's line, with its label and no value.
struct Template {
    zero: ZeroLine,
    /// The length of label and colon, and of spaces up to the number's column.
    ///
    /// One label reaches the column; a space follows it nevertheless.
    prefix: usize,
}

impl Template {
    const fn new(label: &str) -> Self {
        let (label, mut zero) = (label.as_bytes(), *b"                       0 kB\n");
        let mut i = 0;
        while i < label.len() {
            zero[i] = label[i];
            i += 1;
        }
        zero[i] = b':';
        let is_long = label.len() + 1 == NUMBER_COLUMN;
        Self {
            zero,
            prefix: NUMBER_COLUMN + is_long as usize,
        }
    }
}

/// Makes [`Field`], its table and [`MemSizeStats`] from one list of rows.
///
/// The last column is the count of a field: bytes, or a share in parts of a byte.
macro_rules! fields {
    ($($field:ident $label:literal $unit:ident $scope:ident $since:tt $($kind:ident $count:ident)?;)+) => {
        /// A field of smaps or smaps_rollup, in the order of the files.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Field {
            $(#[doc = concat!("`", $label, "`")] $field,)+
        }

        const FIELDS: usize = [$(Field::$field),+].len();

        const TABLE: [Row; FIELDS] = [
            $(Row { label: $label, template: Template::new($label), unit: Unit::$unit, scope: Scope::$scope, since: $since },)+
        ];

        impl Field {
            /// All fields, in the order of smaps and its roll-up.
            pub const ALL: [Self; FIELDS] = [$(Self::$field),+];
        }

        /// What is resident of a mapping, or of all mappings.
        ///
        /// Counts are in bytes, proportional sizes in parts of a byte, shifted by [`PSS_SHIFT`].
        ///
        /// Source: `struct mem_size_stats` of Linux.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct MemSizeStats {
            $($(#[doc = concat!("`", $label, "`")] pub $count: u64,)?)+
            /// The counts that are not known. Their numbers mean nothing.
            pub unknown: FieldSet,
        }

        impl MemSizeStats {
            fn count(&self, field: Field) -> Option<(u64, u32)> {
                match field {
                    $($(Field::$field => Some((self.$count, shift!($kind))),)?)+
                    _ => None,
                }
            }

            fn count_mut(&mut self, field: Field) -> Option<(&mut u64, u32)> {
                match field {
                    $($(Field::$field => Some((&mut self.$count, shift!($kind))),)?)+
                    _ => None,
                }
            }
        }

        impl AddAssign<&Self> for MemSizeStats {
            fn add_assign(&mut self, other: &Self) {
                $($(self.$count = self.$count.saturating_add(other.$count);)?)+
                self.unknown = self.unknown.union(other.unknown);
            }
        }
    };
}

macro_rules! shift {
    (bytes) => {
        0
    };
    (share) => {
        PSS_SHIFT
    };
}

// Kernels: tags of the commits that brought the lines into fs/proc/task_mmu.c; proc_pid_smaps(5)
// has most of them.
fields! {
    Size            "Size"            Kilobytes  Mapping   (2, 6);
    KernelPageSize  "KernelPageSize"  Kilobytes  Mapping   (2, 6);
    MMUPageSize     "MMUPageSize"     Kilobytes  Mapping   (2, 6);
    Rss             "Rss"             Kilobytes  Summed    (2, 6)   bytes rss;
    Pss             "Pss"             Kilobytes  Summed    (2, 6)   share pss;
    PssDirty        "Pss_Dirty"       Kilobytes  Summed    (6, 0)   share pss_dirty;
    PssAnon         "Pss_Anon"        Kilobytes  SumAlone  (5, 4)   share pss_anon;
    PssFile         "Pss_File"        Kilobytes  SumAlone  (5, 4)   share pss_file;
    PssShmem        "Pss_Shmem"       Kilobytes  SumAlone  (5, 4)   share pss_shmem;
    SharedClean     "Shared_Clean"    Kilobytes  Summed    (2, 6)   bytes shared_clean;
    SharedDirty     "Shared_Dirty"    Kilobytes  Summed    (2, 6)   bytes shared_dirty;
    PrivateClean    "Private_Clean"   Kilobytes  Summed    (2, 6)   bytes private_clean;
    PrivateDirty    "Private_Dirty"   Kilobytes  Summed    (2, 6)   bytes private_dirty;
    Referenced      "Referenced"      Kilobytes  Summed    (2, 6)   bytes referenced;
    Anonymous       "Anonymous"       Kilobytes  Summed    (2, 6)   bytes anonymous;
    Ksm             "KSM"             Kilobytes  Summed    (6, 7)   bytes ksm;
    LazyFree        "LazyFree"        Kilobytes  Summed    (4, 12)  bytes lazy_free;
    AnonHugePages   "AnonHugePages"   Kilobytes  Summed    (2, 6)   bytes anon_huge_pages;
    ShmemPmdMapped  "ShmemPmdMapped"  Kilobytes  Summed    (4, 8)   bytes shmem_pmd_mapped;
    FilePmdMapped   "FilePmdMapped"   Kilobytes  Summed    (5, 4)   bytes file_pmd_mapped;
    SharedHugetlb   "Shared_Hugetlb"  Kilobytes  Summed    (4, 4)   bytes shared_hugetlb;
    PrivateHugetlb  "Private_Hugetlb" Kilobytes  Summed    (4, 4)   bytes private_hugetlb;
    Swap            "Swap"            Kilobytes  Summed    (2, 6)   bytes swap;
    SwapPss         "SwapPss"         Kilobytes  Summed    (4, 3)   share swap_pss;
    Locked          "Locked"          Kilobytes  Summed    (2, 6)   share locked;
    THPeligible     "THPeligible"     Number     Mapping   (5, 0);
    ProtectionKey   "ProtectionKey"   Number     Mapping   (4, 6);
    VmFlags         "VmFlags"         Letters    Mapping   (3, 8);
}

impl Field {
    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Its name in smaps.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.row().label
    }

    /// The unit of its value.
    #[must_use]
    pub const fn unit(self) -> Unit {
        self.row().unit
    }

    /// Which files have it.
    #[must_use]
    pub const fn scope(self) -> Scope {
        self.row().scope
    }

    /// Major and minor number of the first kernel that has it.
    #[must_use]
    pub const fn since(self) -> (u32, u32) {
        self.row().since
    }

    /// Returns what its line begins with: label, colon, and spaces up to the number's column.
    #[inline]
    pub(crate) const fn prefix(self) -> &'static [u8] {
        let Template { zero, prefix } = &self.row().template;
        zero.split_at(*prefix).0
    }

    /// Returns its line of zero kilobytes. The unit of any number that fits is at the same place.
    #[inline]
    pub(crate) const fn zero_line(self) -> &'static ZeroLine {
        &self.row().template.zero
    }

    /// Returns the field of a name as in smaps, in letters of any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|field| field.label().eq_ignore_ascii_case(name))
    }

    /// Returns the field of a label exactly as in smaps.
    #[must_use]
    pub(crate) fn of_label(label: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|field| field.label().as_bytes() == label)
    }
}

impl MemSizeStats {
    /// Returns the field's value in bytes; `None` if the field is no count of pages, or not known.
    #[must_use]
    #[inline]
    pub fn bytes(&self, field: Field) -> Option<u64> {
        if self.unknown.contains(field) {
            return None;
        }
        let (count, shift) = self.count(field)?;
        Some(count >> shift)
    }

    /// Sets the field's value in bytes; does nothing if the field is no count of pages.
    pub fn set_bytes(&mut self, field: Field, bytes: u64) {
        if let Some((count, shift)) = self.count_mut(field) {
            *count = bytes.saturating_mul(1 << shift);
            self.unknown.remove(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn fields_are_found_by_the_names_of_smaps() {
        for field in Field::ALL {
            assert_eq!(Field::parse(field.label()), Some(field));
            assert_eq!(Field::parse(&field.label().to_lowercase()), Some(field));
            assert_eq!(Field::of_label(field.label().as_bytes()), Some(field));
        }
        assert_eq!(Field::parse("Pss_"), None);
        assert_eq!(Field::of_label("rss".to_string().as_bytes()), None);
    }

    #[test]
    fn every_count_is_set_read_and_added() {
        for (i, field) in Field::ALL.into_iter().enumerate() {
            let mut stats = MemSizeStats::default();
            let bytes = (i as u64 + 1) << 10;
            stats.set_bytes(field, bytes);
            let is_count = field.scope() != Scope::Mapping;
            assert_eq!(stats.bytes(field), is_count.then_some(bytes), "{field:?}");
            assert_eq!(stats != MemSizeStats::default(), is_count, "{field:?}");
            let mut sum = stats;
            sum += &stats;
            assert_eq!(sum.bytes(field), is_count.then_some(2 * bytes), "{field:?}");
            let others = Field::ALL.into_iter().filter(|other| *other != field);
            assert_eq!(others.filter_map(|other| sum.bytes(other)).sum::<u64>(), 0, "{field:?}");
        }
    }

    #[test]
    fn what_is_not_known_of_a_part_is_not_known_of_the_sum() {
        let mut part = MemSizeStats::default();
        part.unknown.insert(Field::Swap);
        let mut sum = MemSizeStats::default();
        sum.set_bytes(Field::Swap, 4096);
        sum += &part;
        assert_eq!((sum.bytes(Field::Swap), sum.bytes(Field::SwapPss)), (None, Some(0)));
        sum.set_bytes(Field::Swap, 4096);
        assert_eq!(sum.bytes(Field::Swap), Some(4096));
    }
}
