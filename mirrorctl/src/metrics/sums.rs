//! Whether the counters add up, from one reading or several.
//!
//! Envoy reads its counters one by one while others count. So a count is known only to lie between the first reading's and the
//! last's, and counters do not add up only if nothing in between adds up.

use super::counters::{Counters, Mirror};

/// Where a count lies.
#[derive(Debug, Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn minus(self, other: Self) -> Self {
        Self { low: self.low - other.high, high: self.high - other.low }
    }

    fn plus(self, other: Self) -> Self {
        Self { low: self.low + other.low, high: self.high + other.high }
    }

    fn meets(self, other: Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// Returns what does not add up between the first and the last of these readings.
pub(crate) fn mismatches(first: &Counters, last: &Counters) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = Range { low: 0.0, high: 0.0 };
    let none = Mirror::default();
    for (name, _, target, mirror) in last.pairs() {
        let before = first.rules.get(name).and_then(|rule| rule.mirrors.get(target)).unwrap_or(&none);
        let range = |count: fn(&Mirror) -> f64| Range { low: count(before), high: count(mirror) };
        let outcomes = range(|mirror| mirror.outcomes.sum());
        let (sent, answers) = (range(Mirror::sent), range(|mirror| mirror.classes.sum()));
        let pairs = range(|mirror| mirror.results.sum());
        if let Some(decided) = mirror.decided {
            let waiting = Range { low: before.waiting.min(mirror.waiting), high: before.waiting.max(mirror.waiting) };
            let without = Range { low: before.decided.unwrap_or_default(), high: decided }.minus(outcomes);
            if !without.meets(waiting) {
                let (outcomes, waiting) = (outcomes.high, mirror.waiting);
                found.push(format!(
                    "{name} → {target}: {outcomes} outcomes and {waiting} waiting of {decided} requests"
                ));
            }
        } else if outcomes.high > 0.0 {
            found.push(format!("{name} → {target}: no decided_total: counted by a module older than 0.2"));
        }
        if answers.low > sent.high {
            found.push(format!("{name} → {target}: {} responses to {} copies sent", answers.low, sent.high));
        }
        if pairs.low > sent.high {
            found.push(format!("{name} → {target}: {} pairs compared of {} copies sent", pairs.low, sent.high));
        }
        open = open.plus(sent.minus(answers));
    }
    let in_flight = Range { low: first.in_flight.min(last.in_flight), high: first.in_flight.max(last.in_flight) };
    if !open.meets(in_flight) {
        let (open, in_flight) = (open.high, in_flight.high);
        found.push(format!("all rules: {open} copies sent and without a response, but {in_flight} in flight"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(
        decided: u32,
        waiting: u32,
        sent: u32,
        unsampled: u32,
        answers: u32,
        pairs: u32,
        in_flight: u32,
    ) -> Counters {
        // More requests than the mirror has decided: it was added later.
        Counters::read(&format!(
            "traffic_mirror_requests_total{{rule=\"r\"}} 1000\n\
             traffic_mirror_decided_total{{rule=\"r\",mirror=\"m\"}} {decided}\n\
             traffic_mirror_waiting{{rule=\"r\",mirror=\"m\"}} {waiting}\n\
             traffic_mirror_copies_total{{rule=\"r\",mirror=\"m\",outcome=\"sent\"}} {sent}\n\
             traffic_mirror_copies_total{{rule=\"r\",mirror=\"m\",outcome=\"unsampled\"}} {unsampled}\n\
             traffic_mirror_responses_total{{rule=\"r\",mirror=\"m\",class=\"2xx\"}} {answers}\n\
             traffic_mirror_compared_total{{rule=\"r\",mirror=\"m\",result=\"same\"}} {pairs}\n\
             traffic_mirror_in_flight{{}} {in_flight}\n"
        ))
        .unwrap()
    }

    fn alone(counters: &Counters) -> Vec<String> {
        mismatches(counters, counters)
    }

    #[test]
    fn one_reading_adds_up_or_says_what_does_not() {
        assert_eq!(alone(&counters(5, 0, 4, 1, 3, 2, 1)), [""; 0]);
        assert_eq!(alone(&counters(7, 2, 4, 1, 3, 2, 1)), [""; 0]);
        assert_eq!(alone(&counters(0, 0, 0, 0, 0, 0, 0)), [""; 0]);
        assert_eq!(alone(&counters(5, 0, 4, 0, 4, 4, 0)), ["r → m: 4 outcomes and 0 waiting of 5 requests"]);
        assert_eq!(alone(&counters(5, 1, 4, 1, 4, 4, 0)), ["r → m: 5 outcomes and 1 waiting of 5 requests"]);
        assert_eq!(
            alone(&counters(5, 0, 4, 1, 3, 3, 0)),
            ["all rules: 1 copies sent and without a response, but 0 in flight"]
        );
        assert_eq!(alone(&counters(5, 0, 4, 1, 4, 5, 0)), ["r → m: 5 pairs compared of 4 copies sent"]);
        assert_eq!(alone(&counters(5, 0, 4, 1, 5, 4, 0))[0], "r → m: 5 responses to 4 copies sent");
    }

    #[test]
    fn counters_of_an_older_module_are_named_as_such() {
        let text = "traffic_mirror_copies_total{rule=\"r\",mirror=\"m\",outcome=\"sent\"} 1\n\
                    traffic_mirror_responses_total{rule=\"r\",mirror=\"m\",class=\"2xx\"} 1\n";
        let older = Counters::read(text).unwrap();
        assert_eq!(alone(&older), ["r → m: no decided_total: counted by a module older than 0.2"]);
    }

    #[test]
    fn what_is_counted_while_it_is_read_adds_up() {
        // Alone, neither adds up: the outcomes were read a moment after the requests.
        let (first, last) = (counters(10, 0, 11, 0, 11, 11, 0), counters(14, 0, 15, 0, 15, 15, 0));
        assert_eq!([alone(&first).len(), alone(&last).len()], [1, 1]);
        assert_eq!(mismatches(&first, &last), [""; 0]);
        // But one that stays while nothing is counted is.
        assert_eq!(mismatches(&first, &first).len(), 1);
    }
}
