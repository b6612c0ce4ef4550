//! How long the memory of a process has not been used: by kind, and the mappings with most of it.

use std::collections::HashMap;

use vmaple_scan::{Ages, Field, Scan};

use super::{Kind, LARGEST, is_vsyscall, name, sorted_by};
use crate::cmd::scan::forms::table::{aligned, size};

/// Resident bytes by age, and those without one.
#[derive(Clone, Copy, Debug, Default)]
struct Resident {
    ages: Ages,
    ageless: u64,
}

impl Resident {
    fn add(&mut self, other: &Self) {
        for (to, bytes) in self.ages.iter_mut().zip(other.ages) {
            *to += bytes;
        }
        self.ageless += other.ageless;
    }

    /// Returns what is of the two oldest generations, which reclaim takes from.
    fn old(&self) -> u64 {
        self.ages[2] + self.ages[3]
    }
}

/// Returns the tables; nothing of a scan without ages.
pub(super) fn text(scan: &Scan, is_for_people: bool) -> String {
    let mut kinds: HashMap<Kind, Resident> = HashMap::new();
    let mut names: HashMap<String, Resident> = HashMap::new();
    let mut all = Resident::default();
    for record in scan.records().filter(|record| !is_vsyscall(&record.mapping)) {
        let Some(ages) = record.ages else {
            return String::new();
        };
        let rss = record.mapping.stats.bytes(Field::Rss).unwrap_or(0);
        let resident = Resident {
            ages,
            ageless: rss.saturating_sub(ages.iter().sum()),
        };
        kinds.entry(Kind::of(&record.mapping)).or_default().add(&resident);
        names.entry(name(&record.mapping)).or_default().add(&resident);
        all.add(&resident);
    }
    let size = |bytes| size(bytes, is_for_people);
    let row = |name: &str, resident: &Resident| {
        let [youngest, second, third, oldest] = resident.ages.map(size);
        [name.to_owned(), youngest, second, third, oldest, size(resident.ageless)]
    };
    let mut rows = vec![["RESIDENT", "YOUNGEST", "2ND", "3RD", "OLDEST", "NO AGE"].map(str::to_owned)];
    let kinds = sorted_by(kinds, |kind| kind.name(), Resident::old);
    rows.extend(kinds.iter().map(|(kind, resident)| row(kind.name(), resident)));
    rows.push(row("all", &all));
    let mut text = format!("\n{}", aligned(&rows));
    if all.old() > 0 {
        let mut largest = vec![["LEAST USED", "3RD AND OLDEST"].map(str::to_owned)];
        let names = sorted_by(names, Clone::clone, Resident::old);
        let old = names.into_iter().filter(|(_, resident)| resident.old() > 0);
        largest.extend(old.take(LARGEST).map(|(name, resident)| [name, size(resident.old())]));
        text += &format!("\n{}", aligned(&largest));
    }
    text
}
