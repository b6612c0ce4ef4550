//! A round as a picture: each process an area of its Pss, divided by kinds of memory.

mod squarify;

use std::fmt::Write;

use vmaple_scan::{Field, Scan};

use self::squarify::{Rect, squarify};
use crate::cmd::scan::forms::summary::{Kind, is_vsyscall};
use crate::cmd::scan::forms::svg::{self, escaped};
use crate::cmd::scan::forms::table::{shown, size};
use crate::cmd::scan::processes::identity::Identity;

/// The values that it is made of.
pub(in crate::cmd::scan) const FIELDS: [Field; 1] = [Field::Pss];

/// The size of the picture, and what stands above the areas.
const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 720.0;
const HEAD: f64 = 60.0;
/// The height of a process's title.
const TITLE: f64 = 16.0;
/// The smallest share of the whole that is an area of its own.
const SMALLEST: f64 = 0.001;

/// The processes of a round.
#[derive(Default)]
pub(in crate::cmd::scan) struct Treemap {
    processes: Vec<Process>,
}

struct Process {
    name: String,
    pss: u64,
    kinds: Vec<(Kind, u64)>,
}

impl Treemap {
    /// Adds a process.
    pub(in crate::cmd::scan) fn add(&mut self, scan: &Scan, identity: &Identity<'_>) {
        let mut kinds: Vec<(Kind, u64)> = Kind::ALL.map(|kind| (kind, 0)).to_vec();
        for record in scan.records().filter(|record| !is_vsyscall(&record.mapping)) {
            let kind = Kind::of(&record.mapping);
            let pss = record.mapping.stats.bytes(Field::Pss).unwrap_or(0);
            kinds
                .iter_mut()
                .filter(|(other, _)| *other == kind)
                .for_each(|(_, sum)| *sum += pss);
        }
        kinds.retain(|(_, pss)| *pss > 0);
        kinds.sort_by_key(|(_, pss)| std::cmp::Reverse(*pss));
        self.processes.push(Process {
            name: format!("{} {}", shown(&identity.name()), identity.pid()),
            pss: kinds.iter().map(|(_, pss)| pss).sum(),
            kinds,
        });
    }

    /// Returns the picture, and forgets the processes; `None` if there was none.
    pub(in crate::cmd::scan) fn take_svg(&mut self) -> Option<String> {
        let mut processes = std::mem::take(&mut self.processes);
        if processes.is_empty() {
            return None;
        }
        let (count, sum) = (
            processes.len(),
            processes.iter().map(|process| process.pss).sum::<u64>(),
        );
        processes.sort_by_key(|process| std::cmp::Reverse(process.pss));
        let large = processes.partition_point(|process| process.pss as f64 >= SMALLEST * sum as f64);
        let small = processes.split_off(large);
        let mut values: Vec<_> = processes.iter().map(|process| process.pss as f64).collect();
        let of_small: u64 = small.iter().map(|process| process.pss).sum();
        if !small.is_empty() {
            values.push(of_small as f64);
        }
        let all = Rect {
            x: 0.0,
            y: HEAD,
            width: WIDTH,
            height: HEIGHT - HEAD,
        };
        let mut svg = head(&format!("{} of {count} processes (Pss)", size(sum, true)));
        let rects = squarify(&values, all);
        for (process, rect) in processes.iter().zip(&rects) {
            draw(&mut svg, process, rect);
        }
        if let (Some(rect), false) = (rects.get(processes.len()), small.is_empty()) {
            area(&mut svg, rect, "rest", &format!("{} more", small.len()), of_small);
        }
        svg += "</svg>\n";
        Some(svg)
    }
}

/// Returns the beginning of the picture, with the legend. Its colours follow the reader's.
fn head(title: &str) -> String {
    const STYLE: &str = "rect { stroke: #ffffff; stroke-width: 1 }\ntext { fill: #1a1a1a }\n.page { fill: #ffffff; stroke: none }\n\
         .heap { fill: #f4a582 }\n.anonymous { fill: #fddbc7 }\n.files { fill: #92c5de }\n.shared { fill: #b8e0a8 }\n\
         .stack { fill: #dcc8ea }\n.kernel, .rest { fill: #dddddd }\n.frame { fill: none; stroke: #1a1a1a }\n\
         @media (prefers-color-scheme: dark) { rect { stroke: #161616 } text { fill: #f0f0f0 } .page { fill: #161616 }\n\
         .heap { fill: #a3461f } .anonymous { fill: #7a4a35 } .files { fill: #2b5f7d } .shared { fill: #3f6b30 }\n\
         .stack { fill: #5b4470 } .kernel, .rest { fill: #444444 } .frame { stroke: #f0f0f0 } }";

    let mut svg = svg::begin((WIDTH, HEIGHT), STYLE, title);
    for (i, kind) in Kind::ALL.into_iter().enumerate() {
        svg::legend(&mut svg, 8.0 + 130.0 * i as f64, class(kind), kind.name());
    }
    svg
}

const fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Heap => "heap",
        Kind::Stack => "stack",
        Kind::Anonymous => "anonymous",
        Kind::Files => "files",
        Kind::SharedMemory => "shared",
        Kind::Kernel => "kernel",
    }
}

/// Draws a process: its kinds, and its name above them where there is room.
fn draw(svg: &mut String, process: &Process, rect: &Rect) {
    let has_title = rect.height > 2.5 * TITLE && rect.width > 60.0;
    let title = if has_title { TITLE } else { 0.0 };
    let inner = Rect {
        y: rect.y + title,
        height: rect.height - title,
        ..*rect
    };
    let values: Vec<_> = process.kinds.iter().map(|(_, pss)| *pss as f64).collect();
    for ((kind, pss), part) in process.kinds.iter().zip(squarify(&values, inner)) {
        area(
            svg,
            &part,
            class(*kind),
            &format!("{}: {}", process.name, kind.name()),
            *pss,
        );
    }
    let Rect { x, y, width, height } = rect;
    let _ = writeln!(
        svg,
        "<rect class=\"frame\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
    );
    if has_title {
        let text = format!("{} {}", process.name, size(process.pss, true));
        // A letter is about seven pixels wide.
        let fits: String = text.chars().take((width / 7.0) as usize).collect();
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 4.0,
            y + 12.0,
            escaped(&fits)
        );
    }
}

/// Draws an area, which says what it is when it is pointed at.
fn area(svg: &mut String, rect: &Rect, class: &str, what: &str, pss: u64) {
    let Rect { x, y, width, height } = rect;
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
         <title>{} {}</title></rect>",
        escaped(what),
        size(pss, true)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_processes_are_one_area_and_names_are_escaped() {
        let process = |name: &str, pss| Process {
            name: name.to_owned(),
            pss,
            kinds: vec![(Kind::Heap, pss)],
        };
        let mut map = Treemap {
            processes: vec![
                process("a<b&c 1", 1 << 30),
                process("small 2", 1),
                process("small 3", 1),
            ],
        };
        let svg = map.take_svg().unwrap();
        assert!(
            svg.contains("a&lt;b&amp;c 1") && svg.contains("2 more") && !svg.contains("small"),
            "{svg}"
        );
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(map.take_svg(), None);
    }
}
