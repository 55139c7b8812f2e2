//! How often primary and mirror answered alike, and how sure that is.

use super::counters::Mirror;
use super::words::percent;
use std::fmt;

/// The standard normal's quantile that 95 % of all intervals stand on.
const Z: f64 = 1.959_963_985;

/// A share, and between what bounds it lies with a confidence of 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    pub(crate) share: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Interval {
    /// Wilson's interval for so many hits in so many trials: it holds for few trials too, and for all or none hit.
    pub(crate) fn new(hits: f64, trials: f64) -> Self {
        if trials <= 0.0 {
            return Self { share: 0.0, low: 0.0, high: 1.0 };
        }
        let (share, square) = (hits / trials, Z * Z);
        let centre = (share + square / (2.0 * trials)) / (1.0 + square / trials);
        let spread = Z / (1.0 + square / trials)
            * (share * (1.0 - share) / trials + square / (4.0 * trials * trials)).max(0.0).sqrt();
        // Exactly 0 and 1 where none or all are hit, whatever rounding says.
        let low = if hits <= 0.0 { 0.0 } else { centre - spread };
        let high = if hits >= trials { 1.0 } else { centre + spread };
        Self { share, low, high }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (95 % confidence: {} to {})", percent(self.share), percent(self.low), percent(self.high))
    }
}

/// Results of a pair in which both have the same status. Of one that is not compared this is not known: the status of a gRPC
/// call is not looked at.
const SAME_STATUS: [&str; 3] = ["same", "different_headers", "different_body"];

/// The others of the pairs to which the primary responded, with an error or without.
const OTHERS: [&str; 4] = ["different", "mirror_error", "primary_error", "primary_only"];

/// Tells how often the mirror had the primary's status, of the times that the primary responded.
pub(crate) fn agreement(mirror: &Mirror) -> (Interval, f64) {
    let same = mirror.results.some(&SAME_STATUS);
    let trials = same + mirror.results.some(&OTHERS);
    (Interval::new(same, trials), trials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        // From the literature: 81 of 263 gives 0.2553 to 0.3662; none of 10, 0 to 0.2775.
        for (hits, trials, low, high) in
            [(81.0, 263.0, 0.2553, 0.3662), (0.0, 10.0, 0.0, 0.2775), (10.0, 10.0, 0.7225, 1.0)]
        {
            let interval = Interval::new(hits, trials);
            assert!((interval.low - low).abs() < 5e-5 && (interval.high - high).abs() < 5e-5, "{interval:?}");
        }
        assert_eq!((Interval::new(0.0, 100.0).low, Interval::new(100.0, 100.0).high), (0.0, 1.0));
        assert_eq!(Interval::new(0.0, 0.0), Interval { share: 0.0, low: 0.0, high: 1.0 });
    }
}
