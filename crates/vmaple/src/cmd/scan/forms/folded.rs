//! A scan as folded stacks, of which flame graphs are made: where a process belongs, the process,
//! the kind of memory, the mapping, and its Pss in kilobytes.

use std::collections::BTreeMap;
use std::fmt::Write;

use vmaple_scan::{Field, Scan};

use crate::cmd::scan::forms::summary::{Kind, is_vsyscall, name};
use crate::cmd::scan::forms::table::shown;
use crate::cmd::scan::processes::identity::Identity;

/// The values that it is made of.
pub(in crate::cmd::scan) const FIELDS: [Field; 1] = [Field::Pss];

/// Returns a line for each kind and name of mappings. Memory without a name is one.
pub(in crate::cmd::scan) fn text(scan: &Scan, identity: &Identity<'_>) -> String {
    let place = identity.unit().or_else(|| identity.cgroup()).unwrap_or("/");
    let process = format!("{} {}", identity.name(), identity.pid());
    let mut stacks: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for record in scan.records().filter(|record| !is_vsyscall(&record.mapping)) {
        let mapping = &record.mapping;
        let name = match mapping.vma.name {
            vmaple_scan::Name::None => "no name".to_owned(),
            _ => name(mapping),
        };
        let pss = mapping.stats.bytes(Field::Pss).unwrap_or(0);
        *stacks.entry((Kind::of(mapping).name(), name)).or_default() += pss;
    }
    let mut text = String::new();
    for ((kind, name), pss) in stacks {
        let kilobytes = pss.div_ceil(1024);
        if kilobytes > 0 {
            let [place, process, name] = [place, &process, &name].map(frame);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{place};{process};{kind};{name} {kilobytes}");
        }
    }
    text
}

/// Returns a name without what separates frames.
fn frame(name: &str) -> String {
    shown(name).replace(';', ":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_frame() {
        assert_eq!(frame("/tmp/a;b\n"), "/tmp/a:b\u{fffd}");
    }
}
