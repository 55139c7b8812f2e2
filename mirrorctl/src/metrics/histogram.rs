//! Histograms: quantiles as Prometheus estimates them, and two histograms joined to one distribution.

/// Values between two bounds, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bin {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) count: f64,
}

/// A histogram of values that are not negative: upper bounds, and how many values are no larger.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Histogram {
    buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// Adds to the bucket with this upper bound.
    pub(crate) fn add(&mut self, bound: f64, count: f64) {
        match self.buckets.iter_mut().find(|bucket| bucket.0 == bound) {
            Some(bucket) => bucket.1 += count,
            None => {
                self.buckets.push((bound, count));
                self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
        }
    }

    /// Returns what has come since an earlier reading of the same histogram.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |bound| earlier.buckets.iter().find(|bucket| bucket.0 == bound).map_or(0.0, |bucket| bucket.1);
        Self { buckets: self.buckets.iter().map(|(bound, count)| (*bound, count - before(*bound))).collect() }
    }

    /// Adds another to it.
    pub(crate) fn plus(&mut self, other: &Self) {
        other.buckets.iter().for_each(|(bound, count)| self.add(*bound, *count));
    }

    /// Tells whether it has fewer values than an earlier reading, which cannot be of the same histogram then.
    pub(crate) fn fell(&self, earlier: &Self) -> bool {
        self.count() < earlier.count()
    }

    /// Returns the bounds of its buckets that are finite.
    pub(crate) fn bounds(&self) -> impl Iterator<Item = f64> {
        self.buckets.iter().map(|bucket| bucket.0).filter(|bound| bound.is_finite())
    }

    /// Returns how many values there are.
    pub(crate) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |bucket| bucket.1)
    }

    /// Takes the histogram apart.
    pub(crate) fn bins(&self) -> Vec<Bin> {
        let lower = std::iter::once((0.0, 0.0)).chain(self.buckets.iter().copied());
        let bin =
            |((low, below), (high, count)): ((f64, f64), &(f64, f64))| Bin { low, high: *high, count: count - below };
        lower.zip(&self.buckets).map(bin).collect()
    }
}

/// Joins two histograms, by how much something was slower and by how much it was faster: negative is faster.
pub(crate) fn difference(slower: &Histogram, faster: &Histogram) -> Vec<Bin> {
    let mirrored = |bin: Bin| Bin { low: -bin.high, high: -bin.low, count: bin.count };
    faster.bins().into_iter().rev().map(mirrored).chain(slower.bins()).collect()
}

/// Counts the values in bins.
pub(crate) fn total(bins: &[Bin]) -> f64 {
    bins.iter().map(|bin| bin.count).sum()
}

/// Estimates a quantile as Prometheus does: evenly spread in a bin, and of one without an end the end it has. `None` of nothing.
pub(crate) fn quantile(bins: &[Bin], q: f64) -> Option<f64> {
    let rank = q * total(bins);
    let mut below = 0.0;
    for bin in bins.iter().filter(|bin| bin.count > 0.0) {
        if below + bin.count >= rank {
            return Some(match (bin.low.is_finite(), bin.high.is_finite()) {
                (true, true) => bin.low + (bin.high - bin.low) * (rank - below) / bin.count,
                (true, false) => bin.low,
                _ => bin.high,
            });
        }
        below += bin.count;
    }
    None
}

/// Estimates how many values are above a bound.
pub(crate) fn above(bins: &[Bin], bound: f64) -> f64 {
    let part = |bin: &Bin| match (bin.high - bound) / (bin.high - bin.low) {
        part if part.is_nan() => f64::from(u8::from(bin.low >= bound)),
        part => part.clamp(0.0, 1.0),
    };
    bins.iter().filter(|bin| bin.count > 0.0).map(|bin| bin.count * part(bin)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(f64, f64)]) -> Histogram {
        let mut histogram = Histogram::default();
        buckets.iter().for_each(|(bound, count)| histogram.add(*bound, *count));
        histogram
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        // histogram_quantile of these buckets, by hand: rank 50 is the 25th of 50 in (10, 20].
        let bins = histogram(&[(f64::INFINITY, 100.0), (10.0, 25.0), (20.0, 75.0), (40.0, 95.0)]).bins();
        for (q, expected) in
            [(0.5, 15.0), (0.1, 4.0), (0.25, 10.0), (0.9, 35.0), (0.95, 40.0), (0.99, 40.0), (1.0, 40.0)]
        {
            assert_eq!(quantile(&bins, q), Some(expected), "{q}");
        }
        assert_eq!(quantile(&histogram(&[(10.0, 0.0), (f64::INFINITY, 0.0)]).bins(), 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_difference_is_one_distribution_on_both_sides_of_zero() {
        let slower = histogram(&[(1.0, 2.0), (5.0, 6.0), (f64::INFINITY, 6.0)]);
        let faster = histogram(&[(1.0, 0.0), (5.0, 3.0), (f64::INFINITY, 4.0)]);
        let bins = difference(&slower, &faster);
        let filled: Vec<_> =
            bins.iter().filter(|bin| bin.count > 0.0).map(|bin| (bin.low, bin.high, bin.count)).collect();
        assert_eq!(filled, [(f64::NEG_INFINITY, -5.0, 1.0), (-5.0, -1.0, 3.0), (0.0, 1.0, 2.0), (1.0, 5.0, 4.0)]);
        assert_eq!(quantile(&bins, 0.1), Some(-5.0));
        assert_eq!(quantile(&bins, 0.4), Some(-1.0));
        assert_eq!(quantile(&bins, 0.5), Some(0.5));
        assert_eq!(quantile(&bins, 0.8), Some(3.0));
    }

    #[test]
    fn values_above_a_bound_are_estimated_within_its_bin() {
        let bins = difference(
            &histogram(&[(1.0, 0.0), (5.0, 4.0), (f64::INFINITY, 6.0)]),
            &histogram(&[(1.0, 2.0), (f64::INFINITY, 3.0)]),
        );
        assert_eq!([-9.0, -1.0, -0.5, 0.0, 2.0, 5.0].map(|bound| above(&bins, bound)), [8.0, 8.0, 7.0, 6.0, 5.0, 2.0]);
    }

    #[test]
    fn what_came_since_is_what_was_not_there() {
        let now = histogram(&[(1.0, 5.0), (f64::INFINITY, 9.0)]);
        assert_eq!(
            now.since(&histogram(&[(1.0, 4.0), (f64::INFINITY, 7.0)]))
                .bins()
                .iter()
                .map(|bin| bin.count)
                .collect::<Vec<_>>(),
            [1.0, 1.0]
        );
        assert_eq!(now.since(&Histogram::default()), now);
        assert_eq!(now.count(), 9.0);
    }
}
