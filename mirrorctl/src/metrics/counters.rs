//! The counters of one reading: what is counted for each rule and each of its mirrors.

use super::histogram::Histogram;
use super::text::{Sample, samples};
use std::collections::BTreeMap;

/// The labels of the filter's metrics.
pub(crate) const LABELS: [&str; 8] = ["rule", "mirror", "outcome", "class", "reason", "result", "plugin", "field"];

/// Counts by a label's value.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counts(pub(crate) BTreeMap<String, f64>);

impl Counts {
    pub(crate) fn get(&self, label: &str) -> f64 {
        self.0.get(label).copied().unwrap_or_default()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.0.values().sum()
    }

    /// Returns the sum of some of them.
    pub(crate) fn some(&self, labels: &[&str]) -> f64 {
        labels.iter().map(|label| self.get(label)).sum()
    }

    fn plus(&mut self, other: &Self) {
        other.0.iter().for_each(|(label, count)| *self.0.entry(label.clone()).or_default() += count);
    }

    /// `None` where a count went back.
    fn since(&self, earlier: &Self) -> Option<Self> {
        let since = |(label, count): (&String, &f64)| Some((label.clone(), risen(*count, earlier.get(label))?));
        self.0.iter().map(since).collect::<Option<_>>().map(Self)
    }
}

/// What is counted for a mirror of a rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Mirror {
    /// Requests that its rule decided while it was one of the rule's mirrors; `None` of a module older than 0.2.
    pub(crate) decided: Option<f64>,
    /// Those of them that have no outcome yet.
    pub(crate) waiting: f64,
    pub(crate) outcomes: Counts,
    pub(crate) classes: Counts,
    /// Empty where the rule does not compare.
    pub(crate) results: Counts,
    /// In how many pairs each field differed.
    pub(crate) fields: Counts,
    pub(crate) response_time: Histogram,
    pub(crate) slower: Histogram,
    pub(crate) faster: Histogram,
}

impl Mirror {
    pub(crate) fn sent(&self) -> f64 {
        self.outcomes.get("sent")
    }

    /// Returns the copies that were sent and got no response, or an error.
    pub(crate) fn failures(&self) -> f64 {
        ["5xx", "failed", "timeout"].iter().map(|class| self.classes.get(class)).sum()
    }

    /// Adds what another counts; what waits is of the other.
    pub(crate) fn plus(&mut self, other: &Self) {
        self.decided = sum_if_known(self.decided, other.decided);
        self.waiting = other.waiting;
        self.outcomes.plus(&other.outcomes);
        self.classes.plus(&other.classes);
        self.results.plus(&other.results);
        self.fields.plus(&other.fields);
        self.response_time.plus(&other.response_time);
        self.slower.plus(&other.slower);
        self.faster.plus(&other.faster);
    }

    fn histograms(&self) -> [&Histogram; 3] {
        [&self.response_time, &self.slower, &self.faster]
    }

    /// Tells whether its rule compares.
    pub(crate) fn compares(&self) -> bool {
        !self.results.0.is_empty()
    }

    fn since(&self, earlier: &Self) -> Option<Self> {
        Some(Self {
            decided: risen_if_known(self.decided, earlier.decided)?,
            waiting: self.waiting,
            outcomes: self.outcomes.since(&earlier.outcomes)?,
            classes: self.classes.since(&earlier.classes)?,
            results: self.results.since(&earlier.results)?,
            fields: self.fields.since(&earlier.fields)?,
            response_time: self.response_time.since(&earlier.response_time),
            slower: self.slower.since(&earlier.slower),
            faster: self.faster.since(&earlier.faster),
        })
    }
}

/// What is counted for a rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rule {
    pub(crate) requests: f64,
    /// How the primary responded to the requests that made a pair; empty where the rule does not compare.
    pub(crate) primary: Counts,
    pub(crate) primary_time: Histogram,
    pub(crate) mirrors: BTreeMap<String, Mirror>,
}

impl Rule {
    fn plus(&mut self, other: &Self) {
        self.requests += other.requests;
        self.primary.plus(&other.primary);
        self.primary_time.plus(&other.primary_time);
        for (target, mirror) in &other.mirrors {
            self.mirrors.entry(target.clone()).or_default().plus(mirror);
        }
    }

    fn since(&self, earlier: &Self) -> Option<Self> {
        let none = Mirror::default();
        let since = |(target, mirror): (&String, &Mirror)| {
            Some((target.clone(), mirror.since(earlier.mirrors.get(target).unwrap_or(&none))?))
        };
        let mirrors = self.mirrors.iter().map(since).collect::<Option<_>>()?;
        Some(Self {
            requests: risen(self.requests, earlier.requests)?,
            primary: self.primary.since(&earlier.primary)?,
            primary_time: self.primary_time.since(&earlier.primary_time),
            mirrors,
        })
    }
}

/// Returns by how much a counter has risen, which cannot fall.
fn risen(now: f64, before: f64) -> Option<f64> {
    (now >= before).then_some(now - before)
}

/// The same of a counter that older modules do not have: what is unknown stays unknown.
fn risen_if_known(now: Option<f64>, before: Option<f64>) -> Option<Option<f64>> {
    now.map_or(Some(None), |now| risen(now, before.unwrap_or_default()).map(Some))
}

fn sum_if_known(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.map_or(other, |one| Some(one + other.unwrap_or_default()))
}

/// Why the counters of an Envoy begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    Restart,
    /// Somebody asked Envoy for it: histograms stay.
    Reset,
}

/// All that one reading shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counters {
    pub(crate) rules: BTreeMap<String, Rule>,
    pub(crate) ignored: Counts,
    /// Requests that no rule matched; `None` of a module older than 0.2.
    pub(crate) unmatched: Option<f64>,
    /// By plugin: not 0 while the last configuration is wrong and an older one, or none, is at work.
    pub(crate) invalid: Counts,
    pub(crate) in_flight: f64,
    pub(crate) buffered_bytes: f64,
    /// For how many seconds this Envoy has been up, where the page says so.
    pub(crate) uptime: Option<f64>,
}

impl Counters {
    /// Reads the page that Prometheus would be shown.
    ///
    /// # Errors
    /// What to tell the user where the page is broken, or has nothing of the filter's.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let samples = samples(text)?;
        let is_unlabelled = |name: &str| LABELS.iter().any(|label| name.starts_with(&format!("{label}_")));
        if let Some(sample) = samples.iter().find(|sample| is_unlabelled(sample.name)) {
            let name = sample.name;
            return Err(format!("a label is still in a metric's name, {name}: stats_config or extraStatTags lacks it"));
        }
        let counters = Self { uptime: uptime(text), ..Self::of(samples) };
        if counters.rules.is_empty() {
            return Err("nothing of the filter's here: no series traffic_mirror_requests_total".into());
        }
        Ok(counters)
    }

    /// Takes samples, whatever there is.
    pub(crate) fn of<'a>(samples: impl IntoIterator<Item = Sample<'a>>) -> Self {
        let mut counters = Self::default();
        for sample in samples {
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            let add = |counts: &mut Counts, name| *counts.0.entry(label(name)).or_default() += sample.value;
            match sample.name {
                "in_flight" => counters.in_flight += sample.value,
                "buffered_bytes" => counters.buffered_bytes += sample.value,
                "ignored_total" => add(&mut counters.ignored, "reason"),
                "unmatched_total" => *counters.unmatched.get_or_insert_default() += sample.value,
                "invalid_configuration" => add(&mut counters.invalid, "plugin"),
                "requests_total" => counters.rules.entry(label("rule")).or_default().requests += sample.value,
                name => {
                    if !sample.labels.contains_key("rule") {
                        continue;
                    }
                    let rule = counters.rules.entry(label("rule")).or_default();
                    let bound = || label("le").parse().unwrap_or(f64::INFINITY);
                    match name {
                        "primary_responses_total" => add(&mut rule.primary, "class"),
                        "primary_response_time_ms_bucket" => rule.primary_time.add(bound(), sample.value),
                        _ => {}
                    }
                    let Some(mirror) = sample.labels.get("mirror") else { continue };
                    let mirror = rule.mirrors.entry(mirror.clone()).or_default();
                    match name {
                        "decided_total" => *mirror.decided.get_or_insert_default() += sample.value,
                        "waiting" => mirror.waiting += sample.value,
                        "copies_total" => add(&mut mirror.outcomes, "outcome"),
                        "responses_total" => add(&mut mirror.classes, "class"),
                        "compared_total" => add(&mut mirror.results, "result"),
                        "differences_total" => add(&mut mirror.fields, "field"),
                        "response_time_ms_bucket" => mirror.response_time.add(bound(), sample.value),
                        "slower_ms_bucket" => mirror.slower.add(bound(), sample.value),
                        "faster_ms_bucket" => mirror.faster.add(bound(), sample.value),
                        _ => {}
                    }
                }
            }
        }
        counters
    }

    /// Returns what has come since an earlier reading; what is in flight and held stays as it is now.
    ///
    /// # Errors
    /// What to tell the user where it is no earlier reading of the same Envoy.
    pub(crate) fn since(&self, earlier: &Self) -> Result<Self, String> {
        let none = Rule::default();
        let since = |(name, rule): (&String, &Rule)| {
            Some((name.clone(), rule.since(earlier.rules.get(name).unwrap_or(&none))?))
        };
        let counters = || {
            let rules = self.rules.iter().map(since).collect::<Option<_>>()?;
            let ignored = self.ignored.since(&earlier.ignored)?;
            let unmatched = risen_if_known(self.unmatched, earlier.unmatched)?;
            Some(Self { rules, ignored, unmatched, invalid: self.invalid.clone(), ..*self })
        };
        counters().ok_or_else(|| "the counters went back: this Envoy was started anew".into())
    }

    /// Returns what has come since an earlier reading, if need be of an Envoy that began to count anew.
    pub(crate) fn gained(&self, earlier: &Self) -> (Self, Option<Break>) {
        let is_younger = self.uptime.zip(earlier.uptime).is_some_and(|(now, before)| now < before);
        let fell = earlier.histograms().any(|(key, before)| {
            self.histograms().find(|(own, _)| *own == key).is_none_or(|(_, now)| now.fell(before))
        });
        match self.since(earlier) {
            Ok(gained) if !is_younger && !fell => (gained, None),
            // Counters alone fell.
            Err(_) if !is_younger && !fell && earlier.histograms().any(|(_, before)| before.count() > 0.0) => {
                let gained = self.since(&earlier.without_counts());
                (gained.unwrap_or_else(|_| self.clone()), Some(Break::Reset))
            }
            _ => (self.clone(), Some(Break::Restart)),
        }
    }

    /// Adds what another counts; gauges are of the other.
    pub(crate) fn plus(&mut self, other: &Self) {
        for (name, rule) in &other.rules {
            self.rules.entry(name.clone()).or_default().plus(rule);
        }
        self.ignored.plus(&other.ignored);
        self.unmatched = sum_if_known(self.unmatched, other.unmatched);
        self.invalid = other.invalid.clone();
        (self.in_flight, self.buffered_bytes) = (other.in_flight, other.buffered_bytes);
    }

    /// Returns each histogram and whose it is.
    fn histograms(&self) -> impl Iterator<Item = ((&str, &str, usize), &Histogram)> {
        let of_rules = self.rules.iter().map(|(name, rule)| ((&**name, "", 0), &rule.primary_time));
        let of_mirrors = self.pairs().flat_map(|(name, _, target, mirror)| {
            mirror.histograms().into_iter().enumerate().map(move |(index, one)| ((name, target, index), one))
        });
        of_rules.chain(of_mirrors)
    }

    fn without_counts(&self) -> Self {
        let mirror = |(target, mirror): (&String, &Mirror)| {
            let [response_time, slower, faster] = mirror.histograms().map(Clone::clone);
            (target.clone(), Mirror { response_time, slower, faster, ..Mirror::default() })
        };
        let rule = |(name, rule): (&String, &Rule)| {
            let mirrors = rule.mirrors.iter().map(mirror).collect();
            (name.clone(), Rule { primary_time: rule.primary_time.clone(), mirrors, ..Rule::default() })
        };
        Self { rules: self.rules.iter().map(rule).collect(), ..Self::default() }
    }

    /// Returns how many requests rules decided.
    pub(crate) fn decided(&self) -> f64 {
        self.rules.values().map(|rule| rule.requests).sum()
    }

    /// Returns how many requests the filter saw, each counted once; `None` of a module older than 0.2.
    pub(crate) fn seen(&self) -> Option<f64> {
        self.unmatched.map(|unmatched| self.decided() + self.ignored.sum() + unmatched)
    }

    /// Returns each rule's mirrors.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &Rule, &str, &Mirror)> {
        self.rules.iter().flat_map(|(name, rule)| {
            rule.mirrors.iter().map(move |(target, mirror)| (&**name, rule, &**target, mirror))
        })
    }
}

/// Reads Envoy's own gauge beside the filter's.
fn uptime(text: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("envoy_server_uptime{"))?;
    rest.split_once("} ")?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
        traffic_mirror_requests_total{rule=\"r\"} 4\n\
        traffic_mirror_ignored_total{reason=\"marked\"} 2\n\
        traffic_mirror_copies_total{rule=\"r\",mirror=\"m\",outcome=\"sent\"} 3\n\
        traffic_mirror_copies_total{rule=\"r\",mirror=\"m\",outcome=\"unsampled\"} 1\n\
        traffic_mirror_response_time_ms_bucket{rule=\"r\",mirror=\"m\",le=\"5\"} 1\n\
        traffic_mirror_response_time_ms_bucket{rule=\"r\",mirror=\"m\",le=\"+Inf\"} 2\n\
        traffic_mirror_response_time_ms_sum{rule=\"r\",mirror=\"m\"} 20\n\
        traffic_mirror_in_flight{} 1\n";

    #[test]
    fn a_page_is_entered_under_rule_and_mirror() {
        let counters = Counters::read(PAGE).unwrap();
        let (name, rule, target, mirror) = counters.pairs().next().unwrap();
        assert_eq!((name, rule.requests, target, mirror.sent()), ("r", 4.0, "m", 3.0));
        assert_eq!((mirror.outcomes.sum(), mirror.response_time.count(), mirror.compares()), (4.0, 2.0, false));
        assert_eq!((counters.in_flight, counters.ignored.get("marked")), (1.0, 2.0));
    }

    #[test]
    fn a_page_without_the_filters_series_is_an_error() {
        assert!(Counters::read("envoy_x{} 1\n").unwrap_err().starts_with("nothing of the filter's here"));
        for unlabelled in ["rule___r____requests_total{}", "result___same____compared_total{rule=\"r\",mirror=\"m\"}"] {
            let page = format!("{PAGE}traffic_mirror_{unlabelled} 1\n");
            assert!(Counters::read(&page).unwrap_err().contains("stats_config"), "{unlabelled}");
        }
    }

    #[test]
    fn what_came_since_is_counted_alone() {
        let (before, now) = (Counters::read(PAGE).unwrap(), Counters::read(&PAGE.replace("} 4", "} 9")).unwrap());
        assert_eq!(now.since(&before).unwrap().rules.get("r").unwrap().requests, 5.0);
        assert!(before.since(&now).unwrap_err().contains("started anew"));
        // Of another life of the Envoy, in which the rule had more requests by now, and fewer copies were sent.
        let anew = Counters::read(&PAGE.replace("} 4", "} 9").replace("} 3", "} 2")).unwrap();
        assert!(anew.since(&before).unwrap_err().contains("started anew"));
    }

    #[test]
    fn an_envoy_that_counts_anew_is_gone_on_with() {
        let read = |page: &str| Counters::read(page).unwrap();
        let requests = |counters: &Counters| counters.rules.get("r").unwrap().requests;
        let times = |counters: &Counters| counters.pairs().next().unwrap().3.response_time.count();
        let before = read(PAGE);
        let (gained, breaks) = read(&PAGE.replace("} 4", "} 9")).gained(&before);
        assert_eq!((requests(&gained), times(&gained), breaks), (5.0, 0.0, None));
        // /reset_counters lets histograms be.
        let reset = PAGE.replace("} 4", "} 1").replace("le=\"+Inf\"} 2", "le=\"+Inf\"} 5");
        let (gained, breaks) = read(&reset).gained(&before);
        assert_eq!((requests(&gained), times(&gained), breaks), (1.0, 3.0, Some(Break::Reset)));
        let anew = PAGE.replace("} 4", "} 1").replace("le=\"+Inf\"} 2", "le=\"+Inf\"} 1");
        let (gained, breaks) = read(&anew).gained(&before);
        assert_eq!((requests(&gained), times(&gained), breaks), (1.0, 1.0, Some(Break::Restart)));
        // More of everything, in a shorter life.
        let lived = |seconds: u32| read(&format!("{PAGE}envoy_server_uptime{{}} {seconds}\n"));
        let (gained, breaks) = lived(3).gained(&lived(5));
        assert_eq!((requests(&gained), times(&gained), breaks), (4.0, 2.0, Some(Break::Restart)));
        let mut sum = gained.clone();
        sum.plus(&gained);
        assert_eq!((requests(&sum), times(&sum), sum.ignored.get("marked")), (8.0, 4.0, 4.0));
    }
}
