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

pub const SAMPLES: &[&str] = &[
    "{}",
    r#"{"percentage":0}"#,
    r#"{"percentage":50}"#,
    r#"{"percentage":50,"consistentHash":{"httpHeaderName":"x-a","seed":7}}"#,
    r#"{"fraction":{"numerator":1,"denominator":2},"consistentHash":{"httpCookieName":"session"}}"#,
    r#"{"percentage":99.9,"consistentHash":{"httpQueryParameterName":"q"}}"#,
    r#"{"percentage":0.1,"consistentHash":{"useSourceIp":true}}"#,
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
    r#"{"headers":{"remove":["x-mirrored-request"],"set":{"x-mirrored-request":"no"},"add":{"x-mirrored-request":"no"}}}"#,
];

pub const BODIES: &[&str] = &["{}", r#"{"body":"omit"}"#, r#"{"onOversizedBody":"omit"}"#];

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
    for choices in [SAMPLES, rewrites, EDITS, BODIES] {
        pieces.push(bytes.choose(choices)?);
    }
    Ok(pieces.into_iter().flat_map(|piece| value(piece).as_object().unwrap().clone()).collect::<Map<_, _>>().into())
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
