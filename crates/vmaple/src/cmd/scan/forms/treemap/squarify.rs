//! Divides a rectangle in proportion to values, into parts that are as square as can be.
//!
//! Source: Bruls, Huizing and van Wijk, Squarified Treemaps, 2000.

/// A rectangle, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    fn shorter(&self) -> f64 {
        self.width.min(self.height)
    }

    /// Cuts a strip off the longer side, and returns it.
    fn cut(&mut self, area: f64) -> Self {
        let mut strip = *self;
        if self.width >= self.height {
            strip.width = (area / self.height.max(f64::MIN_POSITIVE)).min(self.width);
            self.x += strip.width;
            self.width -= strip.width;
        } else {
            strip.height = (area / self.width.max(f64::MIN_POSITIVE)).min(self.height);
            self.y += strip.height;
            self.height -= strip.height;
        }
        strip
    }
}

/// Returns a rectangle for each value, in the order of the values. Descending values look best.
pub(super) fn squarify(values: &[f64], mut within: Rect) -> Vec<Rect> {
    let sum: f64 = values.iter().sum();
    let scale = if sum > 0.0 {
        within.width * within.height / sum
    } else {
        0.0
    };
    let mut rects = vec![];
    let mut rest = values;
    while !rest.is_empty() {
        let side = within.shorter();
        // As many in a row as make the worst of them more square.
        let mut count = 1;
        while count < rest.len() && worst(&rest[..=count], scale, side) <= worst(&rest[..count], scale, side) {
            count += 1;
        }
        let (row, others) = rest.split_at(count);
        lay(row, scale, &mut within, &mut rects);
        rest = others;
    }
    rects
}

/// Returns the worst ratio of the sides of the values in a row along this side.
fn worst(row: &[f64], scale: f64, side: f64) -> f64 {
    let area: f64 = row.iter().sum::<f64>() * scale;
    let depth = area / side.max(f64::MIN_POSITIVE);
    let ratio = |value: &f64| {
        let length = value * scale / depth.max(f64::MIN_POSITIVE);
        (length / depth).max(depth / length)
    };
    row.iter().map(ratio).fold(0.0, f64::max)
}

/// Lays the values of a row side by side.
fn lay(row: &[f64], scale: f64, within: &mut Rect, rects: &mut Vec<Rect>) {
    let sum: f64 = row.iter().sum();
    // A strip stands where the rest is wide, and lies where it is high.
    let stands = within.width >= within.height;
    let strip = within.cut(sum * scale);
    let mut before = 0.0;
    for &value in row {
        let (from, part) = if sum > 0.0 {
            (before / sum, value / sum)
        } else {
            (0.0, 0.0)
        };
        rects.push(if stands {
            Rect {
                y: strip.y + strip.height * from,
                height: strip.height * part,
                ..strip
            }
        } else {
            Rect {
                x: strip.x + strip.width * from,
                width: strip.width * part,
                ..strip
            }
        });
        before += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Rect = Rect {
        x: 10.0,
        y: 20.0,
        width: 600.0,
        height: 400.0,
    };

    fn overlap(a: &Rect, b: &Rect) -> f64 {
        let along = |a: f64, a_size: f64, b: f64, b_size: f64| (a + a_size).min(b + b_size) - a.max(b);
        let (x, y) = (along(a.x, a.width, b.x, b.width), along(a.y, a.height, b.y, b.height));
        if x > 0.0 && y > 0.0 { x * y } else { 0.0 }
    }

    #[test]
    fn areas_are_as_the_values_fill_the_whole_and_never_overlap() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..200 {
            let mut values: Vec<_> = (0..random.usize(1..40))
                .map(|_| 1.0 + random.f64().powi(4) * 1000.0)
                .collect();
            values.sort_by(|a, b| b.total_cmp(a));
            let sum: f64 = values.iter().sum();
            let rects = squarify(&values, ALL);
            assert_eq!(rects.len(), values.len());
            for (i, (rect, value)) in rects.iter().zip(&values).enumerate() {
                let area = rect.width * rect.height;
                assert!(
                    (area - value / sum * ALL.width * ALL.height).abs() < 1e-6 * area.max(1.0),
                    "{rect:?}"
                );
                assert!((overlap(rect, &ALL) - area).abs() < 1e-6 * area.max(1.0), "{rect:?}");
                assert!(
                    rects[i + 1..].iter().all(|other| overlap(rect, other) < 1e-6),
                    "{rect:?}"
                );
            }
        }
    }

    #[test]
    fn equal_values_are_nearly_square() {
        for rect in squarify(&[1.0; 24], ALL) {
            assert!((0.4..2.5).contains(&(rect.width / rect.height)), "{rect:?}");
        }
    }

    #[test]
    fn nothing_has_no_area() {
        assert_eq!(squarify(&[], ALL), []);
        assert!(
            squarify(&[0.0, 0.0], ALL)
                .iter()
                .all(|rect| rect.width * rect.height == 0.0)
        );
    }
}
