//! A Prometheus that has scraped Envoys: what came in each step of a time that is past.
//!
//! `increase` goes on where a counter begins anew. It estimates what came between the edges of a step and its nearest scrapes, so
//! that counts are no whole numbers; what a proxy counted before its first scrape, nobody knows.

use super::counters::Counters;
use super::text::Sample;
use crate::admin;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ureq::Agent;

/// What is asked: a counter, or the buckets of a histogram, and the labels that matter.
const SERIES: [(&str, &[&str]); 13] = [
    ("requests_total", &["rule"]),
    ("ignored_total", &["reason"]),
    ("unmatched_total", &[]),
    ("decided_total", &["rule", "mirror"]),
    ("copies_total", &["rule", "mirror", "outcome"]),
    ("responses_total", &["rule", "mirror", "class"]),
    ("compared_total", &["rule", "mirror", "result"]),
    ("differences_total", &["rule", "mirror", "field"]),
    ("primary_responses_total", &["rule", "class"]),
    ("response_time_ms_bucket", &["rule", "mirror", "le"]),
    ("slower_ms_bucket", &["rule", "mirror", "le"]),
    ("faster_ms_bucket", &["rule", "mirror", "le"]),
    ("primary_response_time_ms_bucket", &["rule", "le"]),
];

/// A Prometheus, and which of its series are asked for.
pub(crate) struct Prometheus {
    base: String,
    selector: String,
    agent: Agent,
}

/// Steps of equal length, up to now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    pub(crate) end: SystemTime,
    pub(crate) step: Duration,
    pub(crate) count: u32,
}

impl Steps {
    /// Returns when the first begins.
    pub(crate) fn start(&self) -> SystemTime {
        self.end.checked_sub(self.step.saturating_mul(self.count)).unwrap_or(UNIX_EPOCH)
    }
}

/// A proxy that Prometheus scraped.
#[derive(Debug, PartialEq)]
pub(crate) struct Proxy {
    pub(crate) instance: String,
    pub(crate) restarts: f64,
    /// In which steps it was there, first and last; the last moment of each counts.
    pub(crate) seen: (u32, u32),
}

impl Prometheus {
    /// Takes its URL, and a selector such as `{namespace="shop"}`.
    ///
    /// # Errors
    /// What to tell the user.
    pub(crate) fn new(url: &str, selector: Option<&str>) -> Result<Self, String> {
        let base = url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") {
            return Err(format!("{url}: not an http URL; TLS is for a port-forward or a proxy beside mirrorctl"));
        }
        let selector = selector.unwrap_or("{}");
        if !selector.starts_with('{') || !selector.ends_with('}') {
            return Err(format!("--selector {selector}: not {{label=\"value\", …}}"));
        }
        Ok(Self { base, selector: selector.to_owned(), agent: admin::agent() })
    }

    /// Returns what came in each step, in their order.
    ///
    /// # Errors
    /// What to tell the user where it cannot be asked, or has nothing.
    pub(crate) fn gains(&self, steps: Steps) -> Result<Vec<Counters>, String> {
        let mut found: Vec<Vec<Sample<'static>>> = (0..steps.count).map(|_| Vec::new()).collect();
        for (name, labels) in SERIES {
            let (by, seconds, selector) = (labels.join(", "), steps.step.as_secs(), &self.selector);
            let query = format!("sum by ({by}) (increase(traffic_mirror_{name}{selector}[{seconds}s]))");
            for series in self.range(&query, steps)? {
                let value = |label: &&'static str| (*label, series.labels.get(*label).cloned().unwrap_or_default());
                let labels: BTreeMap<_, _> = labels.iter().map(value).collect();
                for (index, value) in series.values {
                    if let Some(step) = found.get_mut(index as usize) {
                        step.push(Sample { name, labels: labels.clone(), value });
                    }
                }
            }
        }
        if found.iter().all(Vec::is_empty) {
            let selector = &self.selector;
            return Err(format!("{}: no series traffic_mirror_requests_total{selector} in that time", self.base));
        }
        Ok(found.into_iter().map(Counters::of).collect())
    }

    /// Returns the proxies that were there at any time.
    ///
    /// # Errors
    /// What to tell the user.
    pub(crate) fn proxies(&self, steps: Steps) -> Result<Vec<Proxy>, String> {
        let series = format!("traffic_mirror_requests_total{}", self.selector);
        let seconds = steps.step.saturating_mul(steps.count).as_secs();
        let resets = format!("max by (instance) (resets({series}[{seconds}s]))");
        let last = Steps { count: 1, ..steps };
        let mut restarts: BTreeMap<String, f64> = BTreeMap::new();
        for mut series in self.range(&resets, last)? {
            let count = series.values.last().map_or(0.0, |(_, count)| *count);
            restarts.insert(series.labels.remove("instance").unwrap_or_default(), count);
        }
        let seen = format!("count by (instance) (count_over_time({series}[{}s]))", steps.step.as_secs());
        let mut proxies = Vec::new();
        for mut series in self.range(&seen, steps)? {
            let instance = series.labels.remove("instance").unwrap_or_default();
            let restarts = restarts.get(&instance).copied().unwrap_or_default();
            let edge = |value: Option<&(u32, f64)>| value.map_or(0, |(index, _)| *index);
            let seen = (edge(series.values.first()), edge(series.values.last()));
            proxies.push(Proxy { instance, restarts, seen });
        }
        Ok(proxies)
    }

    fn range(&self, query: &str, steps: Steps) -> Result<Vec<Series>, String> {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let (end, step) = (seconds(steps.end), steps.step.as_secs_f64());
        let start = end - step * f64::from(steps.count.saturating_sub(1));
        let url = format!(
            "{}/api/v1/query_range?query={}&start={start:.3}&end={end:.3}&step={step}",
            self.base,
            encoded(query)
        );
        let text = admin::page(&self.agent, &url).map_err(|error| format!("{}: {query}: {error}", self.base))?;
        let none = || format!("{}: not a response of Prometheus to {query}", self.base);
        let value: Value = serde_json::from_str(&text).map_err(|_| none())?;
        let result = value.pointer("/data/result").and_then(Value::as_array).ok_or_else(none)?;
        Ok(result.iter().map(|series| Series::read(series, start, step)).collect())
    }
}

/// A series of a response: its labels, and a value for each step in which there is one.
struct Series {
    labels: BTreeMap<String, String>,
    values: Vec<(u32, f64)>,
}

impl Series {
    fn read(series: &Value, start: f64, step: f64) -> Self {
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let labels = series.get("metric").and_then(Value::as_object).into_iter().flatten().filter_map(text).collect();
        let value = |pair: &Value| {
            let index = ((pair.get(0)?.as_f64()? - start) / step).round() as u32;
            let value: f64 = pair.get(1)?.as_str()?.parse().ok()?;
            value.is_finite().then_some((index, value))
        };
        let values = series.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(value).collect();
        Self { labels, values }
    }
}

/// Writes a query as a part of a URL.
fn encoded(query: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    query.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_for_a_url() {
        assert_eq!(encoded("sum(x{a=\"b\"}[5s])"), "sum%28x%7Ba%3D%22b%22%7D%5B5s%5D%29");
    }

    #[test]
    fn values_are_entered_under_their_steps() {
        let value =
            serde_json::json!({ "metric": { "rule": "r" }, "values": [[100.0, "1"], [120.001, "NaN"], [130, "2.5"]] });
        let series = Series::read(&value, 100.0, 10.0);
        assert_eq!((series.labels.get("rule").unwrap().as_str(), series.values), ("r", vec![(0, 1.0), (3, 2.5)]));
    }

    #[test]
    fn what_is_no_prometheus_is_wrong_usage() {
        assert!(Prometheus::new("https://prometheus", None).is_err_and(|error| error.contains("not an http URL")));
        assert!(
            Prometheus::new("http://p:9090", Some("namespace=shop")).is_err_and(|error| error.contains("--selector"))
        );
        assert!(Prometheus::new("http://p:9090/", Some("{namespace=\"shop\"}")).is_ok());
    }
}
