//! What the screen shows, and how the user has asked for it.

use std::collections::{HashMap, VecDeque};

use super::frame::{Frame, Group};

/// A column to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Pss,
    Uss,
    Rss,
    Swap,
    Mappings,
    Change,
}

impl Column {
    pub(super) const ALL: [Self; 7] = [
        Self::Name,
        Self::Pss,
        Self::Uss,
        Self::Rss,
        Self::Swap,
        Self::Mappings,
        Self::Change,
    ];
}

/// A line of the screen.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) group: Group,
    /// What Pss has grown by since the group was first seen, in bytes.
    pub(super) change: i64,
    /// Pss of the last rounds.
    pub(super) trend: Vec<u64>,
}

/// The state of the screen.
pub(super) struct Model {
    pub(super) frame: Frame,
    pub(super) sort: Column,
    pub(super) is_inverted: bool,
    /// Lines whose name has this; in letters of any case.
    pub(super) search: String,
    /// Whether keys go to the search.
    pub(super) is_searching: bool,
    pub(super) is_paused: bool,
    /// The line that is selected.
    pub(super) selected: usize,
    first: HashMap<String, u64>,
    trends: HashMap<String, VecDeque<u64>>,
}

/// How many rounds a trend has.
const TREND: usize = 40;

impl Model {
    pub(super) fn new() -> Self {
        Self {
            frame: Frame::default(),
            sort: Column::Pss,
            is_inverted: false,
            search: String::new(),
            is_searching: false,
            is_paused: false,
            selected: 0,
            first: HashMap::new(),
            trends: HashMap::new(),
        }
    }

    /// Shows a round. Groups of another kind begin with it.
    pub(super) fn show(&mut self, frame: Frame) {
        if frame.by != self.frame.by {
            self.first.clear();
            self.trends.clear();
        }
        let is_there = |name: &String| frame.groups.iter().any(|group| group.group == *name);
        self.trends.retain(|name, _| is_there(name));
        self.first.retain(|name, _| is_there(name));
        for group in &frame.groups {
            self.first.entry(group.group.clone()).or_insert(group.pss_bytes);
            let trend = self.trends.entry(group.group.clone()).or_default();
            if trend.len() == TREND {
                trend.pop_front();
            }
            trend.push_back(group.pss_bytes);
        }
        self.frame = frame;
    }

    /// Shows a recorded round, with the rounds before it as its trend.
    pub(super) fn show_recorded(&mut self, frames: &[Frame], at: usize) {
        self.first.clear();
        self.trends.clear();
        let before = frames[..=at].iter().skip((at + 1).saturating_sub(TREND).max(1));
        for frame in frames.first().into_iter().chain(before) {
            self.show(frame.clone());
        }
    }

    /// Returns the lines that match the search, in the order that was asked for.
    pub(super) fn rows(&self) -> Vec<Row> {
        let search = self.search.to_lowercase();
        let matching = self
            .frame
            .groups
            .iter()
            .filter(|group| group.group.to_lowercase().contains(&search));
        let row = |group: &Group| Row {
            group: group.clone(),
            change: group.pss_bytes.cast_signed() - self.first.get(&group.group).map_or(0, |first| first.cast_signed()),
            trend: self.trends.get(&group.group).into_iter().flatten().copied().collect(),
        };
        let mut rows: Vec<_> = matching.map(row).collect();
        let value = |row: &Row| -> i64 {
            match self.sort {
                Column::Name => 0,
                Column::Pss => row.group.pss_bytes.cast_signed(),
                Column::Uss => row.group.uss_bytes.cast_signed(),
                Column::Rss => row.group.rss_bytes.cast_signed(),
                Column::Swap => row.group.swap_bytes.cast_signed(),
                Column::Mappings => row.group.mappings.unwrap_or(0).cast_signed(),
                Column::Change => row.change,
            }
        };
        rows.sort_by(|a, b| value(b).cmp(&value(a)).then_with(|| a.group.group.cmp(&b.group.group)));
        if self.is_inverted {
            rows.reverse();
        }
        rows
    }

    /// Moves the selection by some lines.
    pub(super) fn select(&mut self, by: isize) {
        let last = self.rows().len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(by).min(last);
    }

    /// Sorts by the column after this one, or before it.
    pub(super) fn sort_by_next(&mut self, by: isize) {
        let all = Column::ALL.len();
        let at = Column::ALL.iter().position(|&column| column == self.sort).unwrap_or(0);
        self.sort = Column::ALL[(at + all).wrapping_add_signed(by) % all];
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn group(name: &str, pss: u64, mappings: u64) -> Group {
        Group {
            group: name.to_owned(),
            processes: 1,
            pss_bytes: pss,
            uss_bytes: pss / 2,
            rss_bytes: pss * 2,
            swap_bytes: 0,
            pss_margin_bytes: 0,
            mappings: Some(mappings),
            max_map_count_ratio: Some(mappings as f64 / 65530.0),
        }
    }

    pub(in super::super) fn frame(groups: &[Group]) -> Frame {
        Frame {
            time: "2026-11-29T10:00:00.000Z".to_owned(),
            by: "pid".to_owned(),
            groups: groups.to_vec(),
        }
    }

    fn names(model: &Model) -> Vec<String> {
        model.rows().into_iter().map(|row| row.group.group).collect()
    }

    #[test]
    fn lines_are_sorted_searched_and_inverted() {
        let mut model = Model::new();
        model.show(frame(&[
            group("1 Redis", 10, 1),
            group("2 nginx", 30, 9),
            group("3 redis", 20, 5),
        ]));
        assert_eq!(names(&model), ["2 nginx", "3 redis", "1 Redis"]);
        model.is_inverted = true;
        assert_eq!(names(&model), ["1 Redis", "3 redis", "2 nginx"]);
        model.search = "REDIS".to_owned();
        assert_eq!(names(&model), ["1 Redis", "3 redis"]);
        model.select(5);
        assert_eq!(model.selected, 1);
        model.select(-9);
        assert_eq!(model.selected, 0);
    }

    #[test]
    fn every_column_can_be_reached_both_ways() {
        let mut model = Model::new();
        for _ in Column::ALL {
            model.sort_by_next(1);
        }
        assert_eq!(model.sort, Column::Pss);
        for _ in Column::ALL {
            model.sort_by_next(-1);
        }
        assert_eq!(model.sort, Column::Pss);
    }

    #[test]
    fn a_recorded_round_looks_the_same_from_either_side() {
        let frames: Vec<_> = (1..100).map(|pss| frame(&[group("a", pss, 1)])).collect();
        let mut model = Model::new();
        let mut shown = |at| {
            model.show_recorded(&frames, at);
            let row = model.rows().remove(0);
            (row.change, row.trend)
        };
        let before = shown(60);
        shown(90);
        assert_eq!(shown(60), before);
        assert_eq!((before.0, before.1.len(), before.1.last()), (60, TREND, Some(&61)));
        assert_eq!(shown(0), (0, vec![1]));
    }

    #[test]
    fn change_is_since_the_first_round_and_another_grouping_begins_again() {
        let mut model = Model::new();
        model.show(frame(&[group("a", 10, 1)]));
        model.show(frame(&[group("a", 4, 1), group("b", 7, 1)]));
        let rows = model.rows();
        assert_eq!((rows[0].change, rows[1].change), (0, -6));
        assert_eq!(rows[1].trend, [10, 4]);
        let other = Frame {
            by: "name".to_owned(),
            ..frame(&[group("a", 9, 1)])
        };
        model.show(other);
        assert_eq!(model.rows()[0].change, 0);
        // A process that has ended is forgotten.
        model.show(frame(&[]));
        assert!(model.rows().is_empty() && model.trends.is_empty());
    }
}
