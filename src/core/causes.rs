//! Why a mirror does not respond, in the host's words: each cause is counted, so that it is logged now and then, not each time.

use std::borrow::Cow;

/// How many causes are told apart.
const MOST: usize = 16;

/// The most characters of a cause.
const MOST_CHARACTERS: usize = 200;

/// Why a mirror did not respond: in the host's words, or in our own.
pub type Cause = Cow<'static, str>;

/// The causes of one mirror's failures, with how often each came.
#[derive(Debug)]
pub struct Causes {
    known: Vec<(Cause, u64)>,
    others: u64,
}

impl Default for Causes {
    fn default() -> Self {
        // Requests do not let it grow.
        Self { known: Vec::with_capacity(MOST), others: 0 }
    }
}

impl Causes {
    /// Counts a cause. Returns what to log, and how often it came, at its 1st, 2nd, 4th, 8th … time. Those that come when
    /// enough are known count as one.
    pub fn count(&mut self, cause: &Cause) -> Option<(&str, u64)> {
        let is_known = self.known.iter().any(|(known, _)| known == cause);
        if !is_known && self.known.len() < MOST {
            self.known.push((cause.clone(), 0));
        }
        let known = self.known.iter_mut().find(|(known, _)| known == cause);
        let (cause, count) = known.map_or(("other", &mut self.others), |(known, count)| (&**known, count));
        *count = count.saturating_add(1);
        count.is_power_of_two().then_some((cause, *count))
    }
}

/// Makes a cause of the first of the host's words, as far as they can stand in a log.
pub fn in_words(words: &[u8]) -> Cause {
    let is_printable = |byte: &&u8| matches!(byte, b' '..=b'~');
    let text: String = words.iter().filter(is_printable).take(MOST_CHARACTERS).map(|byte| char::from(*byte)).collect();
    if text.is_empty() { Cause::Borrowed("Envoy does not say why") } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_due_at_powers_of_two() {
        let mut causes = Causes::default();
        for expected in [Some(1), Some(2), None, Some(4), None, None, None, Some(8)] {
            for cause in ["refused", "TLS"] {
                assert_eq!(causes.count(&cause.into()), expected.map(|count| (cause, count)));
            }
        }
    }

    #[test]
    fn causes_beyond_the_sixteenth_are_others() {
        let mut causes = Causes::default();
        for number in 1..=MOST {
            let cause = Cause::from(number.to_string());
            assert_eq!(causes.count(&cause), Some((&*cause, 1)));
        }
        for (cause, expected) in [
            ("a", Some(("other", 1))),
            ("b", Some(("other", 2))),
            ("a", None),
            ("16", Some(("16", 2))),
            ("c", Some(("other", 4))),
        ] {
            assert_eq!(causes.count(&cause.into()), expected, "{cause}");
        }
    }

    #[test]
    fn what_cannot_stand_in_a_log_is_left_out() {
        assert_eq!(in_words(b"reset\r\n\x1b[31m reason: \xff\0\xc3\xa4~"), "reset[31m reason: ~");
        assert_eq!(in_words(&[b'x'; 201]).len(), 200);
        assert_eq!(in_words(b"\n"), "Envoy does not say why");
    }
}
