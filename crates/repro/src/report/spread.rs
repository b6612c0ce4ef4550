//! Median, minimum and maximum of worst cases, some of which are lower bounds.

/// A worst case, or a statistic of several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Nanoseconds; halves come from means of two.
    pub ns: f64,
    /// Whether the true value is only known to be at least this.
    pub at_least: bool,
}

/// Median, minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle value, or the mean of the middle two.
    pub median: Worst,
    /// The smallest.
    pub min: Worst,
    /// The largest.
    pub max: Worst,
}

impl Spread {
    /// Returns the statistics of the runs' worst cases; `None` without any.
    ///
    /// Values that were cut short are lower bounds. A statistic is one too if it grows when such a
    /// value does: the minimum, if the smallest value is one; the median, if one is at or below
    /// the middle; the maximum, if any value is one.
    #[must_use]
    pub fn of(mut values: Vec<Worst>) -> Option<Self> {
        // Among equals the exact one first: it stays the minimum whatever the other becomes.
        values.sort_by(|a, b| a.ns.total_cmp(&b.ns).then(a.at_least.cmp(&b.at_least)));
        let (first, last) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let lower = (values.len() - 1) / 2;
        Some(Self {
            median: Worst {
                ns: f64::midpoint(values[lower].ns, values[upper].ns),
                at_least: values[..=upper].iter().any(|v| v.at_least),
            },
            min: first,
            max: Worst {
                ns: last.ns,
                at_least: values.iter().any(|v| v.at_least),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(ns: f64) -> Worst {
        Worst { ns, at_least: false }
    }

    fn cut(ns: f64) -> Worst {
        Worst { ns, at_least: true }
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        let of = |values: &[f64]| Spread::of(values.iter().map(|&v| exact(v)).collect()).unwrap();
        assert_eq!(of(&[3.0, 1.0, 2.0]).median, exact(2.0));
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]).median, exact(2.5));
        assert_eq!((of(&[4.0, 1.0]).min, of(&[4.0, 1.0]).max), (exact(1.0), exact(4.0)));
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn a_statistic_is_a_bound_exactly_when_a_cut_value_could_move_it() {
        let spread = Spread::of(vec![exact(1.0), exact(2.0), cut(3.0)]).unwrap();
        assert_eq!(
            (spread.min, spread.median, spread.max),
            (exact(1.0), exact(2.0), cut(3.0))
        );
        // The cut 2 may really be above 3: then 3 is the median.
        let spread = Spread::of(vec![exact(1.0), cut(2.0), exact(3.0)]).unwrap();
        assert_eq!(
            (spread.min, spread.median, spread.max),
            (exact(1.0), cut(2.0), cut(3.0))
        );
        let spread = Spread::of(vec![cut(1.0), exact(2.0), exact(3.0)]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (cut(1.0), cut(2.0), cut(3.0)));
    }
}
