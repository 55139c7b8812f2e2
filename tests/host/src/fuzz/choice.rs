//! Configurations that are always accepted, made of pieces that bytes choose: one byte, one piece.

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};

/// Entries of a rule's `match`; the first few have a `uri` that `rewrite.uri` can replace.
pub const ENTRIES: &[&str] = &[
    r#"{"uri":{"prefix":"/"}}"#,
    r#"{"uri":{"prefix":"/api"}}"#,
    r#"{"uri":{"exact":"/api"}}"#,
    r#"{"uri":{"prefix":"/API"},"ignoreUriCase":true}"#,
    r#"{"uri":{"suffix":"v1"}}"#,
    r#"{"uri":{"contains":"a"},"method":{"regex":"GET|HEAD|POST"}}"#,
    r#"{"authority":{"suffix":":80"},"scheme":{"exact":"http"}}"#,
    r#"{"headers":{"x-a":{}}}"#,
    r#"{"headers":{"x-a":{"exact":"1"},"x-b":{"regex":"[0-9]*"}}}"#,
    r#"{"headers":{"x-a":{"exact":"2"}}}"#,
    r#"{"headers":{"x-a":{"prefix":"3"}}}"#,
    r#"{"headers":{"x-a":{"prefix":"4,4"}}}"#,
    r#"{"headers":{"x-a":{"exact":"5"},":path":{"contains":"?"}}}"#,
    r#"{"withoutHeaders":{"x-a":{},"x-b":{"prefix":"b","ignoreCase":true}}}"#,
    r#"{"queryParams":{"q":{"exact":"1"}}}"#,
    r#"{"cookies":{"session":{"contains":"x","ignoreCase":true}}}"#,
    r#"{"sourceCidrs":["10.0.0.0/8","fd00::/8"]}"#,
    r#"{"routeName":{"exact":"default"}}"#,
    r#"{"clusterName":{"exact":"primary"}}"#,
];

/// How many of [`ENTRIES`] `rewrite.uri` can replace.
const REWRITABLE: usize = 4;

pub const TARGETS: &[&str] = &[
    r#"{"cluster":"a"}"#,
    r#"{"cluster":"unknown"}"#,
    r#"{"cluster":"drained"}"#,
    r#"{"destination":{"host":"b.test","port":{"number":80},"subset":"v2"}}"#,
    r#"{"clusterHeader":"x-to"}"#,
    r#"{"clusterHeader":"x-b","allowedClusters":["a","b"]}"#,
];

/// Moments of the pieces, with the nanoseconds between the beginning of 1970 and each.
pub const MOMENTS: &[(&str, u64)] = &[
    ("2026-12-01T09:00:00Z", 1_796_115_600_000_000_000),
    ("2026-12-01T10:00:00.25+01:00", 1_796_115_600_250_000_000),
    ("2026-12-01T08:59:59.999999999Z", 1_796_115_599_999_999_999),
    ("2026-12-01T07:30:00.000000001-01:30", 1_796_115_600_000_000_001),
    ("2026-12-01T12:00:00Z", 1_796_126_400_000_000_000),
    ("1970-01-01T00:00:00Z", 0),
    ("2099-12-31T23:59:59Z", 4_102_444_799_000_000_000),
];

pub const SAMPLES: &[&str] = &[
    "{}",
    r#"{"percentage":0}"#,
    r#"{"percentage":50}"#,
    r#"{"percentage":50,"consistentHash":{"httpHeaderName":"x-a","seed":7}}"#,
    r#"{"fraction":{"numerator":1,"denominator":2},"consistentHash":{"httpCookieName":"session"}}"#,
    r#"{"percentage":99.9,"consistentHash":{"httpQueryParameterName":"q"}}"#,
    r#"{"percentage":0.1,"consistentHash":{"useSourceIp":true}}"#,
    r#"{"ramp":[{"at":"2026-12-01T09:00:00Z","percentage":100}]}"#,
    r#"{"ramp":[{"at":"2026-12-01T08:59:59.999999999Z","percentage":100},{"at":"2026-12-01T09:00:00Z","percentage":0},
        {"at":"2026-12-01T07:30:00.000000001-01:30","percentage":100},{"at":"2026-12-01T10:00:00.25+01:00","percentage":0}]}"#,
    r#"{"ramp":[{"at":"1970-01-01T00:00:00Z","percentage":100},{"at":"2026-12-01T09:00:00Z","percentage":50},
        {"at":"2026-12-01T12:00:00Z","percentage":100}],"consistentHash":{"httpHeaderName":"x-a"}}"#,
    r#"{"ramp":[{"at":"2099-12-31T23:59:59Z","percentage":100}]}"#,
    r#"{"ramp":[{"at":"2026-12-01T09:00:00Z","percentage":0}]}"#,
];

/// The last needs a `uri` that it can replace.
pub const REWRITES: &[&str] = &[
    "{}",
    r#"{"disableShadowHostSuffixAppend":true}"#,
    r#"{"rewrite":{"authority":"other:1"}}"#,
    r#"{"rewrite":{"uriRegexRewrite":{"match":"/api(/v.)?","rewrite":"/x\\1\\0\\\\"}}}"#,
    r#"{"rewrite":{"uriRegexRewrite":{"match":"","rewrite":"-"}}}"#,
    r#"{"rewrite":{"authority":"other","uri":"/v2/"}}"#,
];

pub const EDITS: &[&str] = &[
    "{}",
    r#"{"headers":{"remove":["Cookie","x-a"]}}"#,
    r#"{"headers":{"set":{"x-a":"set","new":""}}}"#,
    r#"{"headers":{"add":{"x-a":"added","via":"mirror"}}}"#,
    r#"{"headers":{"remove":["x-a","x-b"],"set":{"x-b":"set"},"add":{"x-b":"added"}}}"#,
    r#"{"headers":{"remove":["traceparent","x-b3-sampled"]}}"#,
    r#"{"headers":{"set":{"traceparent":"set","b3":"1"},"add":{"tracestate":"added=1"}}}"#,
    r#"{"headers":{"remove":["x-mirrored-request"],"set":{"x-mirrored-request":"no"},"add":{"x-mirrored-request":"no"}}}"#,
];

pub const BODIES: &[&str] = &["{}", r#"{"body":"omit"}"#, r#"{"onOversizedBody":"omit"}"#];

/// When there are copies at all.
pub const PERIODS: &[&str] = &[
    "{}",
    r#"{"from":"2026-12-01T09:00:00Z"}"#,
    r#"{"until":"2026-12-01T09:00:00Z"}"#,
    r#"{"from":"2026-12-01T09:00:00Z","until":"2026-12-01T10:00:00.25+01:00"}"#,
    r#"{"until":"1970-01-01T00:00:00Z"}"#,
    r#"{"from":"2099-12-31T23:59:59Z"}"#,
];

/// Which responses of the primary a copy waits for.
pub const WHENS: &[&str] = &[
    "{}",
    r#"{"when":[{"status":["5xx"]}]}"#,
    r#"{"when":[{"status":["none"]}]}"#,
    r#"{"when":[{"status":[404,"500-503"]}]}"#,
    r#"{"when":[{"slowerThan":"500ms"}]}"#,
    r#"{"when":[{"status":["2xx"],"slowerThan":"1s"},{"status":["4xx","none","1xx"]}]}"#,
    r#"{"when":[{"status":["200-299","429"],"slowerThan":"1ms"},{"slowerThan":"1h"}]}"#,
];

/// How many copies may be in flight.
pub const CAPS: &[&str] = &["{}", r#"{"maxInFlight":1}"#, r#"{"maxInFlight":2}"#];

/// What becomes of the headers of traces.
pub const TRACES: &[&str] = &["{}", r#"{"trace":"unsampled"}"#, r#"{"trace":"new"}"#, r#"{"trace":"keep"}"#];

/// Headers that these and other pieces make something of.
pub const HEADERS: &[(&str, &str)] = &[
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("traceparent", "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more-1"),
    ("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
    ("tracestate", "a=b"),
    ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-0000000000000001"),
    ("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-d"),
    ("b3", "1"),
    ("x-b3-traceid", "a3ce929d0e0e4736"),
    ("x-b3-spanid", "00f067aa0ba902b7"),
    ("x-b3-parentspanid", "00f067aa0ba902b6"),
    ("x-b3-sampled", "1"),
    ("x-b3-sampled", "True"),
    ("x-b3-flags", "1"),
    ("x-datadog-trace-id", "1"),
    ("x-datadog-parent-id", "2"),
    ("x-datadog-sampling-priority", "-1"),
    ("x-datadog-sampling-priority", "2.0"),
    ("x-datadog-origin", "rum"),
    ("x-datadog-tags", "a=b"),
    ("x-request-id", "5b1f3c2e-9f3a-9d0c-8d5e-0c7f1b2a3d4e"),
    ("x-mirrored-traceparent", "a client's"),
    ("x-mirrored-primary-status", "200"),
    ("x-mirrored-primary-ms", "1"),
    ("connection", "traceparent, X-B3-Sampled"),
];

pub const MARKERS: &[&str] = &["x-mirrored-request", "", "x-a"];

/// What else a rule has.
pub const OPTIONS: &[&str] = &[
    "{}",
    r#"{"compare":{"status":true}}"#,
    r#"{"unrouted":"mirror"}"#,
    r#"{"unrouted":"ignore","compare":{"status":true}}"#,
];

/// Bytes, of one body and of all.
pub const LIMITS: &[usize] = &[1 << 20, 0, 1, 10, 1000, 20_000];

/// Chooses a configuration: rules, then limits.
pub fn configuration(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let mut rules = (0..bytes.int_in_range(1..=3)?).map(|_| rule(bytes)).collect::<Result<Vec<_>>>()?;
    let marker = *bytes.choose(MARKERS)?;
    rules.iter_mut().for_each(|rule| leave_alone(rule, marker));
    let (body, buffered) = (*bytes.choose(LIMITS)?, *bytes.choose(LIMITS)?);
    Ok(json!({
        "rules": rules,
        "markerHeader": marker,
        "limits": { "maxBodyBytes": body.min(buffered), "maxBufferedBytes": buffered },
    }))
}

/// Takes the edits of a header out of a rule: those of the marker would be refused.
fn leave_alone(rule: &mut Value, header: &str) {
    for mirror in rule["mirrors"].as_array_mut().unwrap() {
        for edits in mirror.get_mut("headers").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            match edits {
                Value::Array(names) => names.retain(|name| name != header),
                Value::Object(values) => drop(values.remove(header)),
                other => panic!("{other}"),
            }
        }
    }
}

fn rule(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let entries = (0..bytes.int_in_range(0..=9)?).map(|_| bytes.choose_index(ENTRIES.len()));
    let entries = entries.collect::<Result<Vec<_>>>()?;
    let is_rewritable = !entries.is_empty() && entries.iter().all(|entry| *entry < REWRITABLE);
    // Two mirrors of one target would have the same label.
    let mut targets = TARGETS.to_vec();
    let mirrors = (0..bytes.int_in_range(0..=3)?).map(|_| mirror(bytes, is_rewritable, &mut targets));
    let mirrors = mirrors.collect::<Result<Vec<_>>>()?;
    let entries: Vec<_> = entries.iter().map(|entry| value(ENTRIES[*entry])).collect();
    let mut rule = json!({ "match": entries, "mirrors": mirrors });
    rule.as_object_mut().unwrap().append(value(bytes.choose(OPTIONS)?).as_object_mut().unwrap());
    Ok(rule)
}

fn mirror(bytes: &mut Unstructured<'_>, is_rewritable: bool, targets: &mut Vec<&str>) -> Result<Value> {
    let rewrites = if is_rewritable { REWRITES } else { &REWRITES[..REWRITES.len() - 1] };
    let target = targets.remove(bytes.choose_index(targets.len())?);
    let mut pieces = vec![target];
    for choices in [SAMPLES, rewrites, EDITS, BODIES, PERIODS, WHENS, CAPS, TRACES] {
        pieces.push(bytes.choose(choices)?);
    }
    Ok(pieces.into_iter().flat_map(|piece| value(piece).as_object().unwrap().clone()).collect::<Map<_, _>>().into())
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
