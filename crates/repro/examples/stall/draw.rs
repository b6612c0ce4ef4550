//! The picture: two time lines above each other, in colours for a light or a dark page.

use std::fmt::Write;

use crate::{Lines, Stall};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 316.0;
/// Where the time lines begin and how long they are.
const LEFT: f64 = 104.0;
const LENGTH: f64 = WIDTH - LEFT - 16.0;

struct Theme {
    text: &'static str,
    faint: &'static str,
    /// The monitor has its CPU.
    runs: &'static str,
    /// The application's calls return.
    works: &'static str,
    /// A call of the application has not returned for a millisecond or more.
    stalls: &'static str,
    on_stall: &'static str,
}

const LIGHT: Theme = Theme {
    text: "#1f2328",
    faint: "#d0d7de",
    runs: "#0969da",
    works: "#2da44e",
    stalls: "#cf222e",
    on_stall: "#ffffff",
};
const DARK: Theme = Theme {
    text: "#e6edf3",
    faint: "#3d444d",
    runs: "#58a6ff",
    works: "#3fb950",
    stalls: "#f85149",
    on_stall: "#0d1117",
};

struct Picture<'a> {
    svg: String,
    theme: &'a Theme,
    window_us: u64,
}

/// Returns the picture of `stall` as SVG.
pub(crate) fn svg(stall: &Stall, is_dark: bool) -> String {
    let mut picture = Picture {
        svg: String::new(),
        theme: if is_dark { &DARK } else { &LIGHT },
        window_us: stall.window_us,
    };
    let _ = writeln!(
        picture.svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13" fill="{}" role="img">"#,
        picture.theme.text,
    );
    let _ = writeln!(
        picture.svg,
        "<title>{} One second of an application next to a monitor. Reading /proc/PID/smaps: {} calls, the longest {}. vmaple scan: {} calls, the longest {}.</title>",
        stall.machine,
        stall.smaps.calls,
        milliseconds(stall.smaps.longest_us),
        stall.scan.calls,
        milliseconds(stall.scan.longest_us),
    );
    let kernel = stall.machine.split('-').next().unwrap_or(&stall.machine);
    let smaps = format!("{kernel}: the monitor reads /proc/PID/smaps");
    picture.lines(8.0, &smaps, &stall.smaps);
    picture.lines(136.0, "the same kernel: the monitor runs vmaple scan PID", &stall.scan);
    picture.axis(258.0);
    picture.legend(302.0);
    picture.svg.push_str("</svg>\n");
    picture.svg
}

fn milliseconds(us: u64) -> String {
    let ms = us as f64 / 1000.0;
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

impl Picture<'_> {
    fn x(&self, us: u64) -> f64 {
        LEFT + LENGTH * us as f64 / self.window_us as f64
    }

    fn text(&mut self, x: f64, y: f64, attributes: &str, text: &str) {
        let _ = writeln!(self.svg, r#"<text x="{x:.1}" y="{y:.1}" {attributes}>{text}</text>"#);
    }

    fn bar(&mut self, (begin, end): (f64, f64), y: f64, height: f64, colour: &str) {
        // A moment is visible: half a unit at least.
        let width = (end - begin).max(0.5);
        let _ = writeln!(
            self.svg,
            r#"<rect x="{begin:.1}" y="{y}" width="{width:.1}" height="{height}" fill="{colour}"/>"#
        );
    }

    /// Draws one monitor's two time lines under a heading.
    fn lines(&mut self, y: f64, heading: &str, lines: &Lines) {
        let theme = self.theme;
        self.text(LEFT, y + 16.0, r#"font-weight="600""#, heading);
        let sum = format!("{} calls, the longest {}", lines.calls, milliseconds(lines.longest_us));
        self.text(WIDTH - 16.0, y + 16.0, r#"text-anchor="end""#, &sum);

        let (monitor, application) = (y + 28.0, y + 64.0);
        self.text(LEFT - 10.0, monitor + 18.0, r#"text-anchor="end""#, "monitor");
        self.text(LEFT - 10.0, application + 22.0, r#"text-anchor="end""#, "application");
        self.bar((LEFT, LEFT + LENGTH), monitor, 26.0, theme.runs);
        for &(begin, end) in &lines.busy {
            self.bar((self.x(begin), self.x(end)), monitor, 26.0, theme.faint);
        }
        self.bar((LEFT, LEFT + LENGTH), application, 34.0, theme.works);
        for &(begin, end) in &lines.stalls {
            let (left, right) = (self.x(begin), self.x(end));
            self.bar((left, right), application, 34.0, theme.stalls);
            if right - left > 44.0 {
                let attributes = format!(r#"text-anchor="middle" fill="{}" font-size="12""#, theme.on_stall);
                self.text(
                    (left + right) / 2.0,
                    application + 21.0,
                    &attributes,
                    &milliseconds(end - begin),
                );
            }
        }
    }

    fn axis(&mut self, y: f64) {
        for tenth in 0..=10 {
            let us = self.window_us * tenth / 10;
            let x = self.x(us);
            self.bar((x, x + 1.0), y - 12.0, 5.0, self.theme.text);
            if tenth % 2 == 0 {
                let anchor = match tenth {
                    0 => "start",
                    10 => "end",
                    _ => "middle",
                };
                let attributes = format!(r#"text-anchor="{anchor}" font-size="12""#);
                self.text(x, y + 8.0, &attributes, &format!("{} ms", us / 1000));
            }
        }
    }

    fn legend(&mut self, y: f64) {
        let theme = self.theme;
        let mut x = LEFT;
        for (colour, text, width) in [
            (theme.runs, "runs", 60.0),
            (theme.faint, "kept from its CPU by another task", 236.0),
            (theme.works, "mmap() and munmap() return", 202.0),
            (theme.stalls, "one call has not returned", 0.0),
        ] {
            self.bar((x, x + 12.0), y - 11.0, 12.0, colour);
            self.text(x + 18.0, y, r#"font-size="12""#, text);
            x += width + 18.0;
        }
    }
}
