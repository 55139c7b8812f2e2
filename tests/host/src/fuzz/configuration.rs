//! Any bytes as a configuration: refused with a reason on each line, or taken, and then fit for work.

use crate::fuzz::given::Given;
use prost::Message;
use prost_types::value::Kind;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;
use traffic_mirror::config::{Config, HeaderEdits, Mirror, OnInvalid};
use traffic_mirror::core::copy::Draft;
use traffic_mirror::core::digest::Digest;
use traffic_mirror::core::header_map::HeaderMap;
use traffic_mirror::core::matcher::Matcher;
use traffic_mirror::core::outcome::{Class, Outcome};
use traffic_mirror::core::request::Request;
use traffic_mirror::envoy::ledger::Metrics;

/// Checks what becomes of the bytes.
pub fn check(bytes: &[u8]) {
    match Config::from_bytes(bytes) {
        Ok(config) => {
            is_within_bounds(&config);
            edits_name_each_header_once_and_never_the_marker(&config);
            names_come_out_of_metrics(&config);
            decides_and_rewrites(&config);
            means_the_same_as_a_struct(bytes, &config);
            assert_eq!(OnInvalid::of(bytes), config.on_invalid, "read by itself");
        }
        Err(violations) => {
            assert!(!violations.is_empty(), "refused without a word");
            OnInvalid::of(bytes);
            for line in violations.lines() {
                assert!(!line.contains(char::is_control), "more than a line of text: {line:?}");
            }
        }
    }
}

fn is_within_bounds(config: &Config) {
    let (body, buffered) = (config.limits.max_body_bytes, config.limits.max_buffered_bytes);
    assert!(body <= (64 << 20).min(buffered) && buffered <= 512 << 20, "{:?}", config.limits);
    assert!(config.limits.rate.is_none_or(|rate| rate.per_second >= 1 && rate.burst >= 1), "{:?}", config.limits);
    let names: BTreeSet<_> = config.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names.len(), config.rules.len(), "rules without names of their own");
    assert!(!names.is_empty(), "no rules");
    for rule in &config.rules {
        let labels: BTreeSet<_> = rule.mirrors.iter().map(|mirror| mirror.label.as_str()).collect();
        assert_eq!(labels.len(), rule.mirrors.len(), "mirrors without labels of their own");
        assert!(labels.iter().all(|label| !label.is_empty() && !label.ends_with('.')), "{labels:?}");
        let ranges = rule.matches.iter().flat_map(|entry| &entry.source_cidrs);
        assert!(
            ranges.map(|range| range.addr()).all(|address| address == address.to_canonical()),
            "a range that never holds"
        );
    }
    let allowed = Duration::from_millis(1)..=Duration::from_hours(1);
    let mut mirrors = config.rules.iter().flat_map(|rule| &rule.mirrors);
    assert!(mirrors.all(|mirror| allowed.contains(&mirror.timeout)), "a timeout out of bounds");
}

fn edits_name_each_header_once_and_never_the_marker(config: &Config) {
    for mirror in config.rules.iter().flat_map(|rule| &rule.mirrors) {
        let HeaderEdits { remove, set, add } = &mirror.headers;
        let values = [set, add].map(|edits| edits.iter().map(|(name, _)| name).collect::<Vec<_>>());
        for names in [remove.iter().collect()].into_iter().chain(values) {
            let distinct: BTreeSet<_> = names.iter().collect();
            assert_eq!(distinct.len(), names.len(), "{names:?}");
            assert!(names.iter().all(|name| Some(*name) != config.marker.as_ref()), "{names:?}");
        }
    }
}

/// Takes the labels out of the metrics' names as envoy.yaml and Istio tell Envoy to.
fn names_come_out_of_metrics(config: &Config) {
    let mut names: Vec<String> = Vec::new();
    let ledger = Metrics::default().ledger(config, |_, name| {
        names.push(name.to_owned());
        Ok::<_, Infallible>(u32::try_from(names.len() - 1).unwrap())
    });
    let ledger = ledger.unwrap();
    let label = |metric: u32, tag: &str| {
        let (_, rest) = names[metric as usize].split_once(&format!("{tag}=.=")).unwrap();
        rest.split_once(";.;").unwrap().0.to_owned()
    };
    for (rule, expected) in config.rules.iter().enumerate() {
        assert_eq!(label(ledger.requests(rule).unwrap().next(), "rule"), expected.name.as_str());
        assert_eq!(ledger.mirrors(rule).len(), expected.mirrors.len());
        for (books, expected) in ledger.mirrors(rule).iter().zip(&expected.mirrors) {
            for outcome in Outcome::ALL {
                let metric = books.outcome(*outcome).unwrap().next();
                let labels = [label(metric, "mirror"), label(metric, "outcome")];
                assert_eq!(labels, [expected.label.to_string(), outcome.label().to_owned()]);
            }
            for class in Class::ALL {
                assert_eq!(label(books.class(*class).unwrap().next(), "class"), class.label());
            }
        }
    }
}

/// Puts a request through every rule and every mirror.
fn decides_and_rewrites(config: &Config) {
    let headers = [(":authority", "host:80"), (":path", "/api/v1?v=2#f"), (":method", "GET"), ("cookie", "session=1")];
    let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let given = Given::new(HeaderMap::from_pairs(headers), Some("10.0.0.1:80"), (Some("default"), None));
    let decision = Matcher::new(&config.rules).decide(&Request::new(&given, false));
    let request = Digest::new(given.headers.clone(), config.marker.as_ref());
    let is_complete = |mirror: &Mirror, matched| {
        // What takes too many steps is not sent.
        Draft::new(mirror, &request, matched, || 1).ok().is_none_or(|draft| {
            let headers = draft.write(config.marker.as_ref(), Vec::new()).unwrap();
            headers.len() >= 3
        })
    };
    for (index, rule) in config.rules.iter().enumerate() {
        let matched = decision.filter(|decision| decision.rule == index).and_then(|decision| decision.matched_uri);
        assert!(rule.mirrors.iter().all(|mirror| is_complete(mirror, matched)), "a copy without its pseudo headers");
    }
}

/// Reads a configuration that came as JSON once more as a Struct, which knows no numbers but doubles.
fn means_the_same_as_a_struct(bytes: &[u8], config: &Config) {
    let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else { return };
    if let Some(message) = to_struct(&fields) {
        let from_struct = Config::from_bytes(&message.encode_to_vec()).unwrap();
        assert_eq!(format!("{config:?}"), format!("{from_struct:?}"));
    }
}

/// Makes the Struct that means the same; `None` where a number does not fit into a double.
pub fn to_struct(fields: &Map<String, Value>) -> Option<prost_types::Struct> {
    let fields = fields.iter().map(|(name, value)| Some((name.clone(), to_proto(value)?)));
    Some(prost_types::Struct { fields: fields.collect::<Option<_>>()? })
}

fn to_proto(value: &Value) -> Option<prost_types::Value> {
    let fits = |number: &i64| number.unsigned_abs() <= 1 << 53;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) if !number.is_f64() && !number.as_i64().as_ref().is_some_and(fits) => return None,
        Value::Number(number) => Kind::NumberValue(number.as_f64()?),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            let values = items.iter().map(to_proto).collect::<Option<_>>()?;
            Kind::ListValue(prost_types::ListValue { values })
        }
        Value::Object(fields) => Kind::StructValue(to_struct(fields)?),
    };
    Some(prost_types::Value { kind: Some(kind) })
}
