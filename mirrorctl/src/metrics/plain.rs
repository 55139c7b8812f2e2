//! Envoy's own page of counters, `/stats`: a name and a number on each line.

use super::counters::Counters;
use super::text::Sample;
use std::collections::BTreeMap;

/// How the names of the filter's metrics begin; in a cluster's filters, something stands before it.
const PREFIX: &str = "wasmcustom.traffic_mirror.";

/// Counters and gauges by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stats(BTreeMap<String, f64>);

impl Stats {
    /// Reads the page; histograms have no number and are left out.
    pub(crate) fn read(text: &str) -> Self {
        let number = |line: &str| {
            let (name, number) = line.rsplit_once(": ")?;
            Some((name.to_owned(), number.trim().parse().ok()?))
        };
        Self(text.lines().filter_map(number).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a number; 0 where there is none.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.known(name).unwrap_or_default()
    }

    /// Returns a number, if there is one.
    pub(crate) fn known(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Adds up all whose names begin and end so.
    pub(crate) fn sum(&self, start: &str, end: &str) -> f64 {
        let from = self.0.range(start.to_owned()..).take_while(|(name, _)| name.starts_with(start));
        from.filter(|(name, _)| name.ends_with(end)).map(|(_, number)| number).sum()
    }

    /// Returns what is the filter's; `None` where there is nothing.
    pub(crate) fn counters(&self) -> Option<Counters> {
        let samples: Vec<_> = self.0.iter().filter_map(|(name, value)| sample(name, *value)).collect();
        (!samples.is_empty()).then(|| Counters::of(samples))
    }
}

/// Takes a name apart: `rule=.=R;.;mirror=.=M;.;decided_total`.
fn sample(name: &str, value: f64) -> Option<Sample<'_>> {
    let (_, rest) = name.split_once(PREFIX)?;
    let (labels, name) = rest.rsplit_once(";.;").unwrap_or(("", rest));
    let labels = labels.split(";.;").filter_map(|label| label.split_once("=.="));
    Some(Sample { name, labels: labels.map(|(key, value)| (key, value.to_owned())).collect(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_counters_are_those_of_the_page() {
        let stats = Stats::read(
            "cluster.m.wasmcustom.traffic_mirror.in_flight: 1\n\
             wasmcustom.traffic_mirror.in_flight: 2\n\
             wasmcustom.traffic_mirror.rule=.=r;.;mirror=.=outbound|80||a.b;.;outcome=.=sent;.;copies_total: 3\n\
             wasmcustom.traffic_mirror.rule=.=r;.;mirror=.=m;.;response_time_ms: No recorded values\n\
             wasmcustom.traffic_mirror.rule=.=r;.;requests_total: 4\n\
             http.front:8080.downstream_rq_total: 7\n",
        );
        let counters = stats.counters().unwrap();
        let (name, rule, target, mirror) = counters.pairs().next().unwrap();
        assert_eq!((name, rule.requests, target, mirror.sent()), ("r", 4.0, "outbound|80||a.b", 3.0));
        assert_eq!((counters.in_flight, stats.get("http.front:8080.downstream_rq_total")), (3.0, 7.0));
        assert_eq!((stats.sum("http.", "_total"), stats.known("x")), (7.0, None));
        assert_eq!(Stats::read("x: 1\n").counters(), None);
    }
}
