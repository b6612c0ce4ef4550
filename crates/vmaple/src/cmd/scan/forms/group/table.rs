//! Groups as a table.

use super::{Margins, Sums, ratio};
use crate::cli::GroupBy;
use crate::cmd::scan::forms::table::{aligned, shown, size};

/// Returns the table: human units for people, else bytes.
pub(super) fn table(
    by: GroupBy,
    groups: &[(String, Sums)],
    others: &[(String, Sums)],
    max_map_count: Option<u64>,
    is_for_people: bool,
) -> String {
    let sum = |groups: &[(String, Sums)]| {
        let mut sum = Sums::default();
        groups.iter().for_each(|(_, sums)| sum.add(*sums));
        sum
    };
    let size = |bytes| size(bytes, is_for_people);
    let with_margin = |bytes, margins: Margins| match margins.bytes() {
        0 => size(bytes),
        margin if is_for_people => format!("{} ±{:.1}%", size(bytes), 100.0 * margin as f64 / bytes.max(1) as f64),
        margin => format!("{bytes} ±{margin}"),
    };
    let row = |name: &str, sums: Sums| -> [String; 8] {
        let of_mappings = |text: String| if sums.mappings == 0 { "-".to_owned() } else { text };
        [
            shown(name),
            sums.processes.to_string(),
            with_margin(sums.pss, sums.pss_margins),
            with_margin(sums.uss, sums.uss_margins),
            size(sums.rss),
            size(sums.swap),
            of_mappings(sums.mappings.to_string()),
            ratio(&sums, max_map_count).map_or_else(|| "-".to_owned(), |ratio| format!("{:.1}%", 100.0 * ratio)),
        ]
    };
    let heads = [
        by.name(),
        "PROCESSES",
        "PSS",
        "USS",
        "RSS",
        "SWAP",
        "MAPPINGS",
        "OF MAX",
    ];
    let mut rows = vec![heads.map(str::to_uppercase)];
    rows.extend(groups.iter().map(|(name, sums)| row(name, *sums)));
    if !others.is_empty() {
        rows.push(row(&format!("({} more)", others.len()), sum(others)));
    }
    let mut total = sum(groups);
    total.add(sum(others));
    rows.push(row("(all)", total));
    aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(pss: u64) -> Sums {
        Sums {
            processes: 2,
            rss: 3 << 30,
            pss,
            uss: 4096,
            swap: 0,
            pss_margins: Margins::default(),
            uss_margins: Margins::default(),
            mappings: 30,
            most_mappings: 20,
        }
    }

    #[test]
    fn the_table_ends_with_the_sum_of_all_and_those_below_the_top_stand_in_one_row() {
        let groups = [("nginx".to_owned(), sums(3 << 20)), ("é".to_owned(), sums(1 << 20))];
        let others = [("a".to_owned(), sums(1024)), ("b".to_owned(), sums(1024))];
        let text = table(GroupBy::Name, &groups, &others, Some(200), true);
        let expected = "\
NAME      PROCESSES   PSS    USS    RSS  SWAP  MAPPINGS  OF MAX
nginx             2  3.0M   4.0K   3.0G    0B        30   10.0%
é                 2  1.0M   4.0K   3.0G    0B        30   10.0%
(2 more)          4  2.0K   8.0K   6.0G    0B        60   10.0%
(all)             8  4.0M  16.0K  12.0G    0B       120   10.0%
";
        assert_eq!(text, expected, "{text}");
    }

    #[test]
    fn what_was_estimated_has_its_margin() {
        let estimated = Sums {
            pss_margins: Margins {
                squares: 9.0 * 1024.0 * 1024.0,
                missed: 7 << 10,
            },
            ..sums(1 << 20)
        };
        let of_one = [("a".to_owned(), estimated)];
        assert!(table(GroupBy::Name, &of_one, &[], None, true).contains(" 1.0M ±1.0%  4.0K "));
        assert!(table(GroupBy::Name, &of_one, &[], None, false).contains(" 1048576 ±10240  4096 "));
    }

    #[test]
    fn margins_of_processes_add_up_as_squares() {
        let of = |by_chance: f64, missed| Margins {
            squares: by_chance * by_chance,
            missed,
        };
        let mut all = Margins::default();
        for margins in [of(3.0, 1), of(4.0, 2), of(12.0, 0)] {
            all.add(margins);
        }
        assert_eq!(all.bytes(), 13 + 3);
    }

    #[test]
    fn a_pipe_gets_bytes_and_what_was_not_counted_is_a_dash() {
        let none = Sums {
            mappings: 0,
            most_mappings: 0,
            ..sums(1)
        };
        let text = table(GroupBy::User, &[("root".to_owned(), none)], &[], Some(200), false);
        assert!(
            text.contains("root           2    1  4096  3221225472     0         -       -\n"),
            "{text}"
        );
    }
}
