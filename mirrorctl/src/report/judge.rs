//! Whether a mirror is as good as its primary, from the pairs of answers of one period.

use crate::metrics::agreement::{Interval, mends, no_worse};
use crate::metrics::counters::Mirror;
use crate::metrics::histogram::{above, difference, total};
use crate::metrics::words::{milliseconds, percent};
use std::fmt;

/// Fewer pairs with times than these tell nothing: the first copies wait for connections.
const FEWEST: f64 = 20.0;

/// What is asked of a mirror.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demands {
    /// The percentage of responses that are no worse by status that is good enough.
    pub(crate) agreement: f64,
    /// By how many milliseconds a response may be slower and still be as fast.
    pub(crate) tolerance: f64,
}

/// What a mirror is, compared with its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Better,
    AsGood,
    Worse,
    TooFew,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::AsGood => "as good",
            Self::Worse => "worse",
            Self::TooFew => "too few to say",
        })
    }
}

/// A word, and why.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) word: Word,
    pub(crate) reason: String,
}

/// Judges a mirror: first by status, then by time.
pub(crate) fn judge(mirror: &Mirror, demands: &Demands) -> Verdict {
    let verdict = |word, reason| Verdict { word, reason };
    let (status, trials) = no_worse(mirror);
    let (share, wanted) = (demands.agreement / 100.0, format!("{} %", demands.agreement));
    if status.high < share {
        return verdict(
            Word::Worse,
            format!("of {trials} pairs, {status} are no worse by status; wanted are {wanted}"),
        );
    }
    let bins = difference(&mirror.slower, &mirror.faster);
    let timed = total(&bins);
    let slower = Interval::new(above(&bins, demands.tolerance), timed);
    let faster = Interval::new(timed - above(&bins, -demands.tolerance), timed);
    let tolerance = milliseconds(demands.tolerance);
    let times =
        format!("more than {tolerance} slower in {}, faster in {}", percent(slower.share), percent(faster.share));
    // As sure as each interval is: they do not touch.
    if timed >= FEWEST && slower.low > faster.high {
        return verdict(Word::Worse, format!("of {timed} pairs, {times}"));
    }
    if status.low < share {
        let reason = format!("of {trials} pairs, {status} are no worse by status: that may be {wanted}, or less");
        return verdict(Word::TooFew, reason);
    }
    let alike = format!("of {trials} pairs, {status} are no worse by status");
    if timed < FEWEST {
        return verdict(Word::TooFew, format!("{alike}; of {timed} the times are known"));
    }
    let word = if faster.low > slower.high || mends(mirror) { Word::Better } else { Word::AsGood };
    verdict(word, format!("{alike}; {times}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMANDS: Demands = Demands { agreement: 99.0, tolerance: 5.0 };

    /// A mirror with so many results, and so many times by which it was slower and faster: up to 5 ms, up to 100 ms.
    fn mirror(same: f64, different: f64, primary_only: f64, slower: [f64; 2], faster: [f64; 2]) -> Mirror {
        let mut mirror = Mirror::default();
        for (result, count) in [("same", same), ("different", different), ("primary_only", primary_only)] {
            mirror.results.0.insert(result.into(), count);
        }
        for (histogram, [few, many]) in [(&mut mirror.slower, slower), (&mut mirror.faster, faster)] {
            histogram.add(5.0, few);
            histogram.add(100.0, few + many);
            histogram.add(f64::INFINITY, few + many);
        }
        mirror
    }

    #[test]
    fn errors_that_are_mended_are_no_fault() {
        let errors = |introduced: f64, mended: f64| {
            let mut mirror = mirror(900.0, 0.0, 0.0, [450.0, 0.0], [450.0, 0.0]);
            for (result, count) in [("mirror_error", introduced), ("primary_error", mended)] {
                mirror.results.0.insert(result.into(), count);
            }
            judge(&mirror, &DEMANDS).word
        };
        assert_eq!(errors(0.0, 100.0), Word::Better);
        // Two that fail equally often, not at the same requests.
        assert_eq!(errors(50.0, 50.0), Word::AsGood);
        assert_eq!(errors(100.0, 0.0), Word::Worse);
        assert_eq!(errors(100.0, 40.0), Word::Worse);
    }

    #[test]
    fn the_word_follows_from_status_and_then_from_time() {
        for (mirror, word) in [
            (mirror(1000.0, 0.0, 0.0, [500.0, 0.0], [500.0, 0.0]), Word::AsGood),
            // Noise on both sides is no difference.
            (mirror(1000.0, 0.0, 0.0, [200.0, 300.0], [200.0, 300.0]), Word::AsGood),
            (mirror(1000.0, 0.0, 0.0, [100.0, 100.0], [0.0, 800.0]), Word::Better),
            (mirror(1000.0, 0.0, 0.0, [0.0, 800.0], [100.0, 100.0]), Word::Worse),
            // However fast it is.
            (mirror(900.0, 100.0, 0.0, [0.0, 0.0], [0.0, 1000.0]), Word::Worse),
            (mirror(900.0, 0.0, 100.0, [0.0, 0.0], [0.0, 900.0]), Word::Worse),
            // Few may be enough to see that it is worse, and not that it is good.
            (mirror(10.0, 10.0, 0.0, [0.0, 0.0], [0.0, 20.0]), Word::Worse),
            (mirror(20.0, 0.0, 0.0, [0.0, 20.0], [0.0, 0.0]), Word::Worse),
            (mirror(19.0, 0.0, 0.0, [0.0, 19.0], [0.0, 0.0]), Word::TooFew),
            (mirror(1000.0, 0.0, 0.0, [0.0, 0.0], [0.0, 19.0]), Word::TooFew),
            (mirror(20.0, 0.0, 0.0, [0.0, 0.0], [0.0, 20.0]), Word::TooFew),
            (mirror(99.0, 1.0, 0.0, [0.0, 0.0], [0.0, 100.0]), Word::TooFew),
            (mirror(1000.0, 0.0, 0.0, [0.0, 0.0], [0.0, 0.0]), Word::TooFew),
            (mirror(0.0, 0.0, 0.0, [0.0, 0.0], [0.0, 0.0]), Word::TooFew),
        ] {
            let verdict = judge(&mirror, &DEMANDS);
            assert_eq!(verdict.word, word, "{}: {mirror:?}", verdict.reason);
        }
    }
}
