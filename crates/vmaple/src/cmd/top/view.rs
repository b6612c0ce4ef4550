//! Draws the screen.

use std::time::Duration;

use ratatui::Frame as Screen;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, TableState};

use super::model::{Column, Model, Row};
use crate::cmd::scan::size;

/// What stands above and below the table.
pub(super) struct Around<'a> {
    /// The CPU time of the last round; `None` of a recorded one.
    pub(super) cpu: Option<Duration>,
    /// The CPU time that a round may take.
    pub(super) budget: Option<Duration>,
    pub(super) every: Duration,
    /// What the last round has said.
    pub(super) said: &'a str,
    /// Which of how many recorded rounds.
    pub(super) of_replay: Option<(usize, usize)>,
}

/// Widths from which a table has these columns.
const WITH_RSS: u16 = 90;
const WITH_TREND: u16 = 110;

/// The width of the bar of the budget.
const BAR: usize = 20;

const KEYS: &str = "q quit  ↑↓ select  ←→ sort  I invert  / search  g group  space pause";
const KEYS_OF_REPLAY: &str = "q quit  ←→ round  s sort  I invert  / search  space play";

/// Draws all of it.
pub(super) fn draw(screen: &mut Screen<'_>, model: &Model, around: &Around<'_>) {
    let [head, budget, table, said, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(screen.area());
    screen.render_widget(Paragraph::new(heading(model, around)), head);
    draw_budget(screen, around, budget);
    draw_table(screen, model, table);
    let dim = Style::new().add_modifier(Modifier::DIM);
    screen.render_widget(Paragraph::new(around.said).style(dim), said);
    let keys_line = match (model.is_searching, around.of_replay) {
        (true, _) => Line::from(format!("search: {}▏  enter keeps it, esc ends it", model.search)),
        (false, Some(_)) => Line::styled(KEYS_OF_REPLAY, dim),
        (false, None) => Line::styled(KEYS, dim),
    };
    screen.render_widget(Paragraph::new(keys_line), keys);
}

fn heading(model: &Model, around: &Around<'_>) -> Line<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let time = model.frame.time.get(11..19).unwrap_or("").to_owned();
    let processes: u64 = model.frame.groups.iter().map(|group| group.processes).sum();
    let of = match around.of_replay {
        Some((at, all)) => format!("  round {} of {all}", at + 1),
        None => format!("  every {}", humantime::format_duration(around.every)),
    };
    let mut line = vec![
        Span::styled("vmaple top", bold),
        Span::raw(format!("  {time} UTC  {processes} processes{of}")),
    ];
    if model.is_paused {
        line.push(Span::styled("  paused", bold));
    }
    if !model.search.is_empty() && !model.is_searching {
        line.push(Span::raw(format!("  search: {}", model.search)));
    }
    line.push(Span::raw("  held: nothing of them"));
    Line::from(line)
}

fn draw_budget(screen: &mut Screen<'_>, around: &Around<'_>, area: Rect) {
    let Some(cpu) = around.cpu else { return };
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let text = match around.budget.filter(|budget| !budget.is_zero()) {
        None => format!("CPU time of a round: {}", ms(cpu)),
        Some(budget) => {
            let part = cpu.as_secs_f64() / budget.as_secs_f64();
            let used = (part * BAR as f64).ceil().min(BAR as f64) as usize;
            let (used, left) = ("█".repeat(used), "░".repeat(BAR - used));
            format!("CPU time of a round: {} of {} {used}{left}", ms(cpu), ms(budget))
        }
    };
    screen.render_widget(Paragraph::new(text), area);
}

fn draw_table(screen: &mut Screen<'_>, model: &Model, area: Rect) {
    let columns = columns(area.width);
    let rows = model.rows();
    let largest = rows.iter().map(|row| row.group.pss_bytes).max().unwrap_or(0);
    let head = columns.iter().map(|(column, title, _)| {
        let text = match title {
            &"" => model.frame.by.to_uppercase(),
            title => (*title).to_owned(),
        };
        let style = match column {
            Some(column) if *column == model.sort => Modifier::REVERSED | Modifier::BOLD,
            _ => Modifier::BOLD,
        };
        cell(*column != Some(Column::Name) && *title != "TREND", text).style(Style::new().add_modifier(style))
    });
    let head = TableRow::new(head.collect::<Vec<_>>());
    let body = rows.iter().map(|row| {
        let cells = columns.iter().map(|(column, title, _)| {
            let is_right = *column != Some(Column::Name) && *title != "TREND";
            cell(is_right, text(row, *column, title, largest))
        });
        TableRow::new(cells.collect::<Vec<_>>())
    });
    let table = Table::new(body, columns.iter().map(|(_, _, width)| *width))
        .header(head)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(Some(model.selected));
    screen.render_stateful_widget(table, area, &mut state);
}

/// Returns the columns of a table of this width: what each is sorted by, its title (none is the
/// groups' own), and its width.
fn columns(width: u16) -> Vec<(Option<Column>, &'static str, Constraint)> {
    let mut columns = vec![
        (Some(Column::Name), "", Constraint::Fill(1)),
        (Some(Column::Pss), "PSS", Constraint::Length(14)),
        (Some(Column::Uss), "USS", Constraint::Length(8)),
    ];
    if width >= WITH_RSS {
        columns.push((Some(Column::Rss), "RSS", Constraint::Length(8)));
    }
    columns.extend([
        (Some(Column::Swap), "SWAP", Constraint::Length(8)),
        (Some(Column::Mappings), "MAPPINGS", Constraint::Length(8)),
        (None, "OF MAX", Constraint::Length(6)),
        (Some(Column::Change), "CHANGE", Constraint::Length(8)),
    ]);
    if width >= WITH_TREND {
        columns.push((None, "TREND", Constraint::Length(40)));
    }
    columns
}

fn cell(is_right: bool, text: String) -> Cell<'static> {
    let line = Line::from(text);
    Cell::new(if is_right { line.right_aligned() } else { line })
}

fn text(row: &Row, column: Option<Column>, title: &str, largest: u64) -> String {
    let group = &row.group;
    let size = |bytes| size(bytes, true);
    match (column, title) {
        (Some(Column::Name), _) => group.group.clone(),
        (Some(Column::Pss), _) if group.pss_margin_bytes > 0 => {
            let percent = 100.0 * group.pss_margin_bytes as f64 / group.pss_bytes.max(1) as f64;
            format!("{} ±{percent:.0}%", size(group.pss_bytes))
        }
        (Some(Column::Pss), _) => size(group.pss_bytes),
        (Some(Column::Uss), _) => size(group.uss_bytes),
        (Some(Column::Rss), _) => size(group.rss_bytes),
        (Some(Column::Swap), _) => size(group.swap_bytes),
        (Some(Column::Mappings), _) => group.mappings.map_or_else(|| "-".to_owned(), |n| n.to_string()),
        (Some(Column::Change), _) => match row.change {
            0 => "=".to_owned(),
            change => format!("{}{}", if change < 0 { '-' } else { '+' }, size(change.unsigned_abs())),
        },
        (None, "OF MAX") => {
            let ratio = group.max_map_count_ratio;
            ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1}%", 100.0 * ratio))
        }
        (None, _) => sparkline(&row.trend, largest),
    }
}

/// Returns a line of bars, each an eighth of the largest value or more.
fn sparkline(values: &[u64], largest: u64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    // Of its own largest, so that the change of a small one shows too.
    let largest = values.iter().copied().max().unwrap_or(0).max(largest / 64).max(1);
    let bar = |&value: &u64| BARS[((value * 7) / largest).min(7) as usize];
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::model::tests::{frame, group};
    use super::*;

    fn drawn(model: &Model, around: &Around<'_>, width: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, 9)).unwrap();
        terminal.draw(|screen| draw(screen, model, around)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y| {
            (0..width)
                .map(|x| buffer[(x, y)].symbol())
                .collect::<String>()
                .trim_end()
                .to_owned()
        };
        (0..9).map(line).collect()
    }

    fn live() -> Around<'static> {
        Around {
            cpu: Some(Duration::from_micros(31_400)),
            budget: Some(Duration::from_millis(50)),
            every: Duration::from_secs(2),
            said: "2 processes scanned",
            of_replay: None,
        }
    }

    fn model() -> Model {
        let mut model = Model::new();
        model.show(frame(&[group("812 redis-server", 1 << 20, 158)]));
        let mut grown = group("812 redis-server", 3 << 20, 160);
        grown.pss_margin_bytes = 1 << 18;
        model.show(frame(&[grown, group("7 nginx", 1 << 19, 90)]));
        model
    }

    #[test]
    fn eighty_columns_have_what_matters_and_more_have_all() {
        let lines = drawn(&model(), &live(), 80);
        assert!(
            lines[0].starts_with("vmaple top  10:00:00 UTC  2 processes  every 2s  held: nothing of them"),
            "{lines:#?}"
        );
        assert!(lines[1].contains("31.4 ms of 50.0 ms"), "{lines:#?}");
        assert!(lines[2].starts_with("PID") && !lines[2].contains("TREND"), "{lines:#?}");
        assert!(
            lines[3].contains("812 redis-server") && lines[3].contains("3.0M ±8%") && lines[3].ends_with("+2.0M"),
            "{lines:#?}"
        );
        assert!(lines[4].starts_with("7 nginx") && lines[4].ends_with('='), "{lines:#?}");
        assert_eq!(lines[7], "2 processes scanned");
        assert!(lines[8].starts_with("q quit"), "{lines:#?}");
        let lines = drawn(&model(), &live(), 200);
        assert!(
            lines[2].contains("RSS") && lines[2].ends_with("TREND") == lines[2].contains("TREND"),
            "{lines:#?}"
        );
        assert!(lines[3].ends_with("▃█"), "{lines:#?}");
    }

    #[test]
    fn a_recorded_round_says_which_it_is_and_a_search_is_shown() {
        let mut model = model();
        model.is_searching = true;
        model.search = "ngi".to_owned();
        let around = Around {
            cpu: None,
            of_replay: Some((1, 5)),
            ..live()
        };
        let lines = drawn(&model, &around, 80);
        assert!(lines[0].contains("round 2 of 5"), "{lines:#?}");
        assert!(lines[8].starts_with("search: ngi"), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("redis")), "{lines:#?}");
    }
}
