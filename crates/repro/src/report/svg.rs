//! The plot: worst case against busy tasks, on a logarithmic axis, minimum to maximum with the
//! median marked.

use std::ops::Range;

use plotters::coord::combinators::LogCoord;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, Result};
use crate::machine::NS_PER_MS;

use super::series::{Series, levels, series};
use super::{Exporter, Report, Spread};

const SIZE: (u32, u32) = (860, 470);

/// Colours that all common kinds of colour vision can tell apart (Okabe and Ito), on white and on
/// black.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x80, 0x80, 0x80),
    RGBColor(0xb3, 0xa1, 0x00),
];

/// Text and lines as plotters writes them; [`DARK`] changes them on a dark page.
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const GRID: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
const DARK: &str = "<style>@media (prefers-color-scheme: dark) {\
 [fill=\"#24292F\"] { fill: #e6edf3 } [stroke=\"#24292F\"] { stroke: #e6edf3 }\
 [stroke=\"#D0D7DE\"] { stroke: #30363d } }</style>\n";

/// Draws a plot; its background is transparent.
#[derive(Clone, Copy, Debug)]
pub struct Svg;

impl Exporter for Svg {
    /// # Errors
    /// Fails if no run completed a call.
    fn export(&self, report: &Report) -> Result<String> {
        let title = format!("{TITLE}, Linux {}", report.machine.release);
        let series: Vec<_> = series(report).into_iter().map(|s| (s.label(), s)).collect();
        svg(&title, &series)
    }
}

impl Svg {
    /// Draws several series, each under its label.
    ///
    /// # Errors
    /// Fails if no run completed a call.
    pub fn compare(series: &[(String, Series)]) -> Result<String> {
        svg(TITLE, series)
    }
}

const TITLE: &str = "Worst case of mmap() and munmap() while others read the process's memory map";

fn svg(title: &str, series: &[(String, Series)]) -> Result<String> {
    let mut text = String::new();
    draw(title, series, &mut text).map_err(|e| Error::failed("drawing the plot", e))?;
    let body = text.find("<svg").and_then(|at| Some(at + text[at..].find('>')? + 1));
    if let Some(at) = body {
        text.insert_str(at, &format!("\n{DARK}"));
    }
    Ok(text)
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, LogCoord<f64>>>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn ms(ns: f64) -> f64 {
    (ns / NS_PER_MS).max(1e-6)
}

fn font(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// Returns the milliseconds that the axis covers, in whole decades; `None` if no run completed a
/// call.
fn range(series: &[(String, Series)]) -> Option<Range<f64>> {
    let spreads = || series.iter().flat_map(|(_, s)| s.rows.iter().filter_map(|r| r.worst));
    let lowest = spreads().map(|w| ms(w.min.ns)).fold(f64::INFINITY, f64::min);
    let highest = spreads().map(|w| ms(w.max.ns)).fold(0.0, f64::max);
    let from = 10_f64.powf((lowest * 0.9).log10().floor());
    let to = 10_f64.powf((highest * 1.5).log10().ceil());
    lowest.is_finite().then_some(from..to)
}

fn draw(title: &str, series: &[(String, Series)], out: &mut String) -> Drawn {
    let levels = levels(series);
    let range = range(series).ok_or("no run completed a call")?;
    let root = SVGBackend::with_string(out, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .caption(title, font(17))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(72)
        .build_cartesian_2d(-0.5..levels.len() as f64 - 0.5, range.log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .x_labels(2 * levels.len() + 1)
        .x_label_formatter(&|x| {
            let at = x.round();
            let level = (at >= 0.0 && (x - at).abs() < 1e-6).then(|| levels.get(at as usize));
            level.flatten().map_or(String::new(), ToString::to_string)
        })
        .y_label_formatter(&|y| format!("{y}"))
        .x_desc("scanners, and also busy tasks")
        .y_desc("worst mmap()/munmap() of a run, ms")
        .label_style(font(14))
        .axis_desc_style(font(15))
        .draw()?;
    let width = 0.8 / series.len() as f64;
    for (i, (label, series)) in series.iter().enumerate() {
        let offset = (i as f64 + 0.5) * width - 0.4;
        let points = levels.iter().enumerate().filter_map(|(x, &level)| {
            let row = series.row_at(level)?;
            Some((x as f64 + offset, row.worst?, row.hangs))
        });
        draw_series(
            &mut chart,
            label,
            COLOURS[i % COLOURS.len()],
            &points.collect::<Vec<_>>(),
        )?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(GRID)
        .background_style(TRANSPARENT)
        .label_font(font(14))
        .draw()?;
    root.present()?;
    Ok(())
}

/// Draws one series: its points are the place on the axis, the worst cases, and how many runs hung.
fn draw_series(chart: &mut Chart<'_, '_>, label: &str, colour: RGBColor, points: &[(f64, Spread, usize)]) -> Drawn {
    chart.draw_series(points.iter().map(|&(x, w, _)| {
        let (min, median, max) = (ms(w.min.ns), ms(w.median.ns), ms(w.max.ns));
        ErrorBar::new_vertical(x, min, median, max, colour.stroke_width(2), 8)
    }))?;
    let median = |&(x, w, _): &(f64, Spread, usize)| Circle::new((x, ms(w.median.ns)), 5, colour.filled());
    chart
        .draw_series(points.iter().map(median))?
        .label(label)
        .legend(move |(x, y)| Circle::new((x + 8, y), 5, colour.filled()));
    // A lower bound points up; hangs are marked as in the talk's table.
    let bounds = points.iter().filter(|(_, w, _)| w.max.at_least);
    chart.draw_series(bounds.map(|&(x, w, _)| TriangleMarker::new((x, ms(w.max.ns)), 7, colour.filled())))?;
    let above = font(13).pos(Pos::new(HPos::Center, VPos::Bottom));
    let hung = points.iter().filter(|(_, _, hangs)| *hangs > 0);
    chart.draw_series(hung.map(|&(x, w, hangs)| {
        EmptyElement::at((x, ms(w.max.ns))) + Text::new(format!("*{hangs}"), (0, -8), above.clone())
    }))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hung, report, sample};
    use super::*;
    use crate::plan::Reading;

    fn labelled(report: &Report) -> Vec<(String, Series)> {
        series(report).into_iter().map(|s| (s.label(), s)).collect()
    }

    #[test]
    fn the_plot_names_series_levels_and_hangs_and_follows_the_pages_colours() {
        let report = report(vec![
            sample(None, 0, &[0.1], 0),
            hung(sample(Some(Reading::MAPS), 100, &[10_000.0], 40)),
        ]);
        let text = svg("A <title>", &labelled(&report)).unwrap();
        for part in [
            ">\nkernel maps\n",
            "100\n",
            "*1",
            "A &lt;title&gt;",
            "prefers-color-scheme: dark",
            "</svg>",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert!(
            text.contains(&"#24292f".to_uppercase()),
            "the style would match nothing"
        );
    }

    #[test]
    fn without_a_single_call_there_is_no_plot() {
        assert!(svg("", &labelled(&report(vec![]))).is_err());
    }
}
