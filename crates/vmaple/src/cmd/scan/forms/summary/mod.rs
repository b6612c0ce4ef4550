//! What uses the memory of a process, on one screen.

mod age;
mod kind;

use std::collections::HashMap;

use vmaple_scan::{Field, Mapping, Name, Scan};

pub(in crate::cmd::scan) use self::kind::Kind;
use crate::cmd::scan::forms::table::{aligned, shown, size};
use crate::cmd::scan::processes::identity::Identity;

/// The values that a summary is made of.
pub(in crate::cmd::scan) const FIELDS: [Field; 10] = [
    Field::Rss,
    Field::Pss,
    Field::PrivateClean,
    Field::PrivateDirty,
    Field::Swap,
    Field::AnonHugePages,
    Field::ShmemPmdMapped,
    Field::FilePmdMapped,
    Field::SharedHugetlb,
    Field::PrivateHugetlb,
];

/// How many of the largest mappings are listed.
const LARGEST: usize = 8;

/// The sums over some mappings, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    pss: u64,
    /// Pages of this process alone.
    uss: u64,
    rss: u64,
    swap: u64,
    /// Of huge pages, also those of hugetlbfs, which count as nothing above.
    huge: u64,
    mappings: u64,
}

impl Use {
    fn of(mapping: &Mapping<'_>) -> Self {
        let bytes = |field| mapping.stats.bytes(field).unwrap_or(0);
        let sum = |fields: &[Field]| fields.iter().map(|&field| bytes(field)).sum();
        Self {
            pss: bytes(Field::Pss),
            uss: sum(&[Field::PrivateClean, Field::PrivateDirty]),
            rss: bytes(Field::Rss),
            swap: bytes(Field::Swap),
            huge: sum(&FIELDS[5..]),
            mappings: 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.pss += other.pss;
        self.uss += other.uss;
        self.rss += other.rss;
        self.swap += other.swap;
        self.huge += other.huge;
        self.mappings += other.mappings;
    }

    /// Returns what decides the order: what is nowhere else, in memory or swapped out.
    fn weight(&self) -> u64 {
        self.pss + self.swap + self.huge.saturating_sub(self.rss)
    }
}

/// Returns the summary of a scan: human units for people, else bytes.
pub(in crate::cmd::scan) fn text(scan: &Scan, identity: &Identity<'_>, is_for_people: bool) -> String {
    let mut kinds: HashMap<Kind, Use> = HashMap::new();
    let mut names: HashMap<String, Use> = HashMap::new();
    let mut all = Use::default();
    for record in scan.records().filter(|record| !is_vsyscall(&record.mapping)) {
        let used = Use::of(&record.mapping);
        kinds.entry(Kind::of(&record.mapping)).or_default().add(used);
        names.entry(name(&record.mapping)).or_default().add(used);
        all.add(used);
    }
    let size = |bytes| size(bytes, is_for_people);
    let row = |name: &str, used: &Use| {
        [
            name.to_owned(),
            size(used.pss),
            size(used.uss),
            size(used.rss),
            size(used.swap),
            size(used.huge),
            used.mappings.to_string(),
        ]
    };
    let mut rows = vec![["", "PSS", "USS", "RSS", "SWAP", "HUGE", "MAPPINGS"].map(str::to_owned)];
    rows.extend(
        sorted(kinds, |kind| kind.name())
            .iter()
            .map(|(kind, used)| row(kind.name(), used)),
    );
    rows.push(row("all", &all));
    let mut largest = vec![["LARGEST", "PSS", "SWAP", "MAPPINGS"].map(str::to_owned)];
    for (name, used) in sorted(names, Clone::clone).into_iter().take(LARGEST) {
        if used.weight() > 0 {
            largest.push([name, size(used.pss), size(used.swap), used.mappings.to_string()]);
        }
    }
    format!(
        "{}\n\n{}\n{}{}",
        heading(identity),
        aligned(&rows),
        aligned(&largest),
        age::text(scan, is_for_people)
    )
}

/// Returns which process it is, and whose.
fn heading(identity: &Identity<'_>) -> String {
    let mut text = format!("{}, process {}", shown(&identity.name()), identity.pid());
    if let Some(user) = identity.user() {
        text += &format!(", user {user}");
    }
    if let Some(unit) = identity.unit() {
        text += &format!(", {}", shown(unit));
    }
    if let Some(container) = identity.container() {
        text += &format!(", container {container}");
    }
    text
}

/// Sorts by what is used, the most first, and then by name.
fn sorted<K, N: Ord>(uses: HashMap<K, Use>, name: impl Fn(&K) -> N) -> Vec<(K, Use)> {
    sorted_by(uses, name, Use::weight)
}

/// Sorts by a weight, the most first, and then by name.
fn sorted_by<K, V, N: Ord>(uses: HashMap<K, V>, name: impl Fn(&K) -> N, weight: impl Fn(&V) -> u64) -> Vec<(K, V)> {
    let mut uses: Vec<_> = uses.into_iter().collect();
    uses.sort_by(|(a, x), (b, y)| weight(y).cmp(&weight(x)).then_with(|| name(a).cmp(&name(b))));
    uses
}

/// Returns what a mapping is listed as: all mappings of a file are one, memory without a name is
/// each mapping by itself.
pub(in crate::cmd::scan) fn name(mapping: &Mapping<'_>) -> String {
    let text = |bytes| shown(&String::from_utf8_lossy(bytes));
    match mapping.vma.name {
        Name::None => format!("{:x}-{:x}", mapping.vma.start, mapping.vma.end),
        Name::Heap => "[heap]".to_owned(),
        Name::Stack => "[stack]".to_owned(),
        Name::Anon(name) => format!("[anon:{}]", text(name)),
        Name::AnonShmem(name) => format!("[anon_shmem:{}]", text(name)),
        Name::Path(path) => text(path),
    }
}

/// Returns whether it is the one page that every process has, and no sum counts.
pub(in crate::cmd::scan) fn is_vsyscall(mapping: &Mapping<'_>) -> bool {
    matches!(mapping.vma.name, Name::Path(b"[vsyscall]"))
}
