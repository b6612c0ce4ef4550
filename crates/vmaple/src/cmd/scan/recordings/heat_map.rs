//! One address space over time, as a picture: from left to right the rounds, from top to bottom the
//! addresses, and in colours how much is resident.

mod grid;

use std::fmt::Write;
use std::time::{Duration, Instant};

use vmaple_scan::{Field, Scan};

use self::grid::{Column, Grid, Part, Strip};
use crate::cmd::export::Export;
use crate::cmd::scan::forms::summary::{is_vsyscall, name};
use crate::cmd::scan::forms::svg::{self, escaped};
use crate::cmd::scan::forms::table::shown;
use crate::cmd::scan::processes::identity::Identity;

/// The most columns. When there are more, every other one is left out, and from then on every
/// other round.
const COLUMNS: usize = 400;
/// The shortest time from one writing of the file to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// How many mappings are named, from the largest on.
const NAMED: usize = 256;

/// The sizes of the picture.
const WIDTH: f64 = 1200.0;
const LEFT: f64 = 330.0;
const HEAD: f64 = 64.0;
const FOOT: f64 = 28.0;
const ROW: f64 = 2.0;

/// The rounds so far.
pub(super) struct HeatMap {
    file: Export,
    began: Instant,
    process: String,
    columns: Vec<Column>,
    /// Begin, end and name of the largest mappings of the last column.
    names: Vec<(u64, u64, String)>,
    /// The number of rounds of which one is a column.
    stride: usize,
    rounds: usize,
    /// When the file was last written.
    written: Option<Instant>,
    /// Whether it has the last round.
    is_whole: bool,
}

impl HeatMap {
    pub(super) fn new(file: Export) -> Self {
        Self {
            file,
            began: Instant::now(),
            process: String::new(),
            columns: vec![],
            names: vec![],
            stride: 1,
            rounds: 0,
            written: None,
            is_whole: true,
        }
    }

    /// Adds a round.
    pub(super) fn add(&mut self, scan: &Scan, identity: &Identity<'_>) {
        self.rounds += 1;
        self.is_whole = false;
        if !(self.rounds - 1).is_multiple_of(self.stride) {
            return;
        }
        if self.columns.len() == COLUMNS {
            let mut at = 0;
            self.columns.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride *= 2;
        }
        self.process = format!("{} {}", shown(&identity.name()), identity.pid());
        let own = || scan.records().filter(|record| !is_vsyscall(&record.mapping));
        let parts = own().map(|record| {
            let vma = &record.mapping.vma;
            Part::new(
                vma.new_from..vma.end,
                record.mapping.stats.bytes(Field::Rss).unwrap_or(0),
            )
        });
        self.columns.push(Column::new(self.began.elapsed(), parts.collect()));
        let mut largest: Vec<_> = own().map(|record| record.mapping).collect();
        largest.sort_by_key(|mapping| std::cmp::Reverse(mapping.vma.end - mapping.vma.start));
        largest.truncate(NAMED);
        let named = largest
            .iter()
            .map(|mapping| (mapping.vma.start, mapping.vma.end, name(mapping)));
        self.names = named.collect();
    }

    /// Writes the file, unless it was written a moment ago.
    pub(super) fn end_round(&mut self) -> anyhow::Result<()> {
        if self.written.is_some_and(|written| written.elapsed() < PAUSE) {
            return Ok(());
        }
        self.write()
    }

    /// Writes the file, unless it is whole.
    pub(super) fn write(&mut self) -> anyhow::Result<()> {
        if self.is_whole {
            return Ok(());
        }
        self.is_whole = true;
        self.written = Some(Instant::now());
        self.file.write(self.svg(&self.columns))
    }

    fn svg(&self, columns: &[Column]) -> String {
        let grid = Grid::of(columns);
        let height = HEAD + grid.rows() as f64 * ROW + FOOT;
        let lasted = columns.last().map_or(Duration::ZERO, |column| column.when);
        let lasted = humantime::format_duration(Duration::from_secs(lasted.as_secs()));
        let mut svg = head(
            height,
            &format!(
                "{}: resident memory over {lasted}, {} rounds",
                self.process, self.rounds
            ),
        );
        let width = (WIDTH - LEFT - 10.0) / columns.len() as f64;
        for run in grid.runs() {
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<rect class=\"l{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                run.level,
                LEFT + run.columns.start as f64 * width,
                HEAD + run.rows.start as f64 * ROW,
                run.columns.len() as f64 * width,
                run.rows.len() as f64 * ROW
            );
        }
        self.label(&mut svg, grid.strips());
        let bottom = height - FOOT + 18.0;
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{bottom}\">0s</text><text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">{lasted}</text>\n</svg>",
            WIDTH - 10.0
        );
        svg
    }

    /// Writes what lies in each strip of addresses, where there is room.
    fn label(&self, svg: &mut String, strips: &[Strip]) {
        /// The height of a line of text, and the letters that it has room for.
        const LINE: f64 = 13.0;
        const LETTERS: usize = 44;

        let mut free = 0.0;
        for strip in strips {
            let (top, height) = (HEAD + strip.rows.start as f64 * ROW, strip.rows.len() as f64 * ROW);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{top:.1}\" y2=\"{top:.1}\"/>",
                WIDTH - 10.0
            );
            if top + height / 2.0 < free {
                continue;
            }
            let lies_there = |(start, end, _): &&(u64, u64, String)| *start < strip.end && *end > strip.start;
            let largest = self
                .names
                .iter()
                .filter(lies_there)
                .max_by_key(|(start, end, _)| end - start);
            let what = largest.map_or("", |(.., name)| name.as_str());
            let text = format!("{:x} {}", strip.start, shown(what));
            let text = match text.char_indices().nth(LETTERS) {
                Some((at, _)) => format!("{}...", &text[..at]),
                None => text,
            };
            let middle = (top + height / 2.0).max(free);
            let _ = writeln!(svg, "<text x=\"8\" y=\"{:.1}\">{}</text>", middle + 4.0, escaped(&text));
            free = middle + LINE;
        }
    }
}

/// Returns the beginning of the picture, with the legend. Its colours follow the reader's.
fn head(height: f64, title: &str) -> String {
    const LIGHT: [&str; 9] = [
        "#eeeeee", "#fee8c8", "#fdd49e", "#fdbb84", "#fc8d59", "#ef6548", "#d7301f", "#b30000", "#7f0000",
    ];
    const DARK: [&str; 9] = [
        "#2c2c2c", "#4a1c10", "#6b2412", "#8f2f14", "#b33e18", "#d5561f", "#ef7a35", "#f9a65a", "#fdd49e",
    ];

    let colours = |colours: [&str; 9]| {
        let mut text = String::new();
        for (level, colour) in colours.iter().enumerate() {
            let _ = write!(text, ".l{level} {{ fill: {colour} }} ");
        }
        text
    };
    let style = format!(
        "text {{ fill: #1a1a1a }} line {{ stroke: #999999; stroke-width: 0.5 }} .page {{ fill: #ffffff }}\n{}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #f0f0f0 }} .page {{ fill: #161616 }}\n{} }}",
        colours(LIGHT),
        colours(DARK)
    );
    let mut svg = svg::begin((WIDTH, height), &style, title);
    let legend = ["none", "", "", "", "half", "", "", "", "all of what is mapped"];
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"48\" text-anchor=\"end\">resident:</text>",
        LEFT - 8.0
    );
    for (level, text) in legend.into_iter().enumerate() {
        svg::legend(&mut svg, LEFT + 60.0 * level as f64, &format!("l{level}"), text);
    }
    svg
}
