//! What the door lets in, and what it says of the rest.

mod cases;

use super::*;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn read(value: &Value) -> Result<Config, Vec<String>> {
    Config::from_bytes(value.to_string().as_bytes()).map_err(|errors| errors.lines().collect())
}

/// Reads a configuration with one mirror that has these fields beside its cluster.
fn mirror(fields: &Value) -> Result<Mirror, Vec<String>> {
    let mut mirror = json!({ "cluster": "c" });
    mirror.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    let rule = json!({ "match": [{ "uri": { "prefix": "/" } }], "mirrors": [mirror] });
    read(&json!({ "rules": [rule] })).map(|config| config.rules[0].mirrors[0].clone())
}

fn with_rule(rule: &Value) -> Result<Config, Vec<String>> {
    read(&json!({ "rules": [rule] }))
}

/// Returns every field that this build knows.
fn everything() -> Value {
    let mut everything = cases::everything();
    if cfg!(not(feature = "compare")) {
        everything["rules"][0]["compare"] = json!({ "status": true, "fields": false });
    }
    everything
}

fn as_struct(value: &Value) -> Vec<u8> {
    fn message(map: &serde_json::Map<String, Value>) -> prost_types::Struct {
        let fields: BTreeMap<_, _> = map.iter().map(|(key, value)| (key.clone(), proto(value))).collect();
        prost_types::Struct { fields }
    }
    fn proto(value: &Value) -> prost_types::Value {
        use prost_types::value::Kind;
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(flag) => Kind::BoolValue(*flag),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(items) => {
                Kind::ListValue(prost_types::ListValue { values: items.iter().map(proto).collect() })
            }
            Value::Object(map) => Kind::StructValue(message(map)),
        };
        prost_types::Value { kind: Some(kind) }
    }
    message(value.as_object().unwrap()).encode_to_vec()
}

#[test]
fn every_field_of_the_contract_is_taken() {
    let config = read(&everything()).unwrap();
    assert_eq!(config.marker.as_ref().unwrap().as_str(), "x-copy");
    let rate = Some(Rate { per_second: 4, burst: 5 });
    assert_eq!(config.limits, Limits { max_body_bytes: 1, max_buffered_bytes: 2, max_in_flight: 3, rate });
    assert!(config.rules[0].compare.is_some());
    let mirrors = &config.rules[0].mirrors;
    let labels: Vec<_> = mirrors.iter().map(|mirror| mirror.label.as_str()).collect();
    assert_eq!(labels, ["candidate", "outbound|9080|v1|mirror.test", "header:x-mirror-cluster", "d"]);
    assert_eq!(mirrors[0].timeout, Duration::from_millis(1500));
    assert_eq!(mirrors[0].redact.as_ref().unwrap().json.len(), 2);
    assert_eq!(config.needs_key().collect::<Vec<_>>(), ["rules[0].mirrors[0].redact.with"]);
    assert_eq!(mirrors[0].sample.sticky.as_ref().unwrap().seed, u64::MAX);
    assert_eq!(mirrors[1].sample.share, Share::Fixed(Ratio::from_fraction(333_333, 1_000_000).unwrap()));
    assert_eq!(mirrors[0].max_in_flight, Some(7));
    assert_eq!(mirrors[0].trace, Trace::Unsampled);
    let now = |text| Moment::parse(text).unwrap();
    let period = mirrors[0].period.unwrap();
    assert!(period.includes(now("2026-12-08T08:00:00.499Z")) && !period.includes(now("2026-12-08T08:00:00.5Z")));
    assert!(
        matches!(&mirrors[3].sample.share, Share::Ramp(ramp) if ramp.at(now("2026-12-01T11:59:59Z")).parts() == 10_000)
    );
    assert_eq!(mirrors[3].when.len(), 2);
    let wanted = |status| mirrors[3].when[0].holds(status, None);
    let codes = [Some(200), Some(404), Some(429), Some(500), Some(599), None];
    assert_eq!(codes.map(wanted), [false, true, true, true, true, true]);
}

#[test]
fn a_struct_means_what_its_json_means() {
    let value = everything();
    let from_struct = Config::from_bytes(&as_struct(&value)).unwrap();
    assert_eq!(format!("{from_struct:?}"), format!("{:?}", read(&value).unwrap()));
}

#[test]
fn what_is_absent_has_the_default_of_the_contract() {
    let config = with_rule(&json!({ "mirrors": [{ "cluster": "c" }], "match": null })).unwrap();
    assert_eq!(config.marker.unwrap().as_str(), "x-mirrored-request");
    assert_eq!(
        config.limits,
        Limits { max_body_bytes: 1_048_576, max_buffered_bytes: 67_108_864, max_in_flight: 1024, rate: None }
    );
    let rule = &config.rules[0];
    assert_eq!(rule.name.as_str(), "rule-0");
    assert!(rule.matches.is_empty() && rule.compare.is_none());
    let mirror = &rule.mirrors[0];
    assert_eq!(mirror.sample.share, Share::Fixed(Ratio::ALWAYS));
    assert!(mirror.sample.sticky.is_none() && mirror.period.is_none() && mirror.max_in_flight.is_none());
    assert!(mirror.when.is_empty() && mirror.trace == Trace::Keep);
    assert!(matches!(mirror.authority, Authority::Shadow) && matches!(mirror.path, PathRewrite::Keep));
    assert_eq!((mirror.body, mirror.on_oversized), (BodyMode::Include, OnOversized::Skip));
    assert_eq!(mirror.timeout, Duration::from_secs(5));
    assert!(read(&json!({ "rules": [{ "mirrors": [] }], "markerHeader": "" })).unwrap().marker.is_none());
    let limits = json!({ "rules": [{ "mirrors": [] }], "limits": { "maxRequestsPerSecond": 7 } });
    assert_eq!(read(&limits).unwrap().limits.rate, Some(Rate { per_second: 7, burst: 7 }));
}

#[test]
fn compare_is_off_unless_it_says_so() {
    for (compare, expected) in [
        (json!({ "status": true }), Ok(true)),
        (json!({ "status": true, "fields": false }), Ok(true)),
        (json!({ "status": false }), Ok(false)),
        (json!({ "status": false, "headers": null, "fields": true }), Ok(false)),
        (Value::Null, Ok(false)),
        (json!({}), Err("rules[0].compare: {}: at least one of status, headers, body")),
        (json!(true), Err("rules[0].compare: true: not an object")),
        (json!({ "status": 1 }), Err("rules[0].compare.status: 1: not true or false")),
        (
            json!({ "status": true, "time": 1 }),
            Err("rules[0].compare.time: 1: unknown field; known here: status, headers, body, fields"),
        ),
    ] {
        let taken = with_rule(&json!({ "mirrors": [], "compare": compare }));
        let taken = taken.map(|config| config.rules[0].compare.is_some()).map_err(|violations| violations.join("\n"));
        assert_eq!(taken, expected.map_err(String::from), "{compare}");
    }
}

#[cfg(feature = "compare")]
#[test]
fn each_field_of_a_comparison_takes_only_what_the_contract_says() {
    for (compare, error) in cases::comparisons() {
        let said = with_rule(&json!({ "mirrors": [], "compare": compare })).err().unwrap_or_default();
        match error {
            "" => assert_eq!(said, [""; 0], "{compare}"),
            error => assert!(said.iter().any(|line| line.contains(error)), "{compare}: {said:?}"),
        }
    }
    let config = read(&everything()).unwrap();
    let compare = config.rules[0].compare.as_ref().unwrap();
    assert_eq!(compare.headers.iter().map(HeaderName::as_str).collect::<Vec<_>>(), ["content-type", "location"]);
    let Some(CompareBody { how: How::Json(rules), max_bytes: 1024 }) = &compare.body else { panic!("{compare:?}") };
    assert_eq!((rules.ignore.len(), rules.unordered_arrays, rules.null_is_absent), (3, true, true));
    assert!(!compare.fields && compare.needs_content());
    assert_eq!(config.needs_compare().collect::<Vec<_>>(), ["rules[0].compare"]);
    let plain = with_rule(&json!({ "mirrors": [], "compare": { "body": { "json": {} } } })).unwrap();
    let compare = plain.rules[0].compare.as_ref().unwrap();
    assert!(compare.fields && !compare.status && compare.headers.is_empty());
    assert!(
        matches!(&compare.body, Some(CompareBody { how: How::Json(rules), max_bytes: 65_536 }) if rules.ignore.is_empty())
    );
}

#[cfg(not(feature = "compare"))]
#[test]
fn headers_and_bodies_are_refused_where_another_build_compares_them() {
    let words = "only traffic_mirror_compare.wasm compares it, the module of the image whose tag ends in -compare";
    for (compare, _) in cases::comparisons() {
        let said = with_rule(&json!({ "mirrors": [], "compare": compare })).err().unwrap_or_default();
        for field in ["headers", "body"] {
            let begin = format!("rules[0].compare.{field}: ");
            let is_refused = said.iter().any(|line| line.starts_with(&begin) && line.ends_with(words));
            assert_eq!(is_refused, compare.get(field).is_some(), "{compare}: {said:?}");
        }
    }
}

#[test]
fn every_violation_is_named_at_once() {
    let errors = read(&json!({
        "rules": [
            { "name": "a b", "mirrors": [{ "cluster": "c", "percentage": 140, "tiemout": 5 }] },
            { "match": [{ "uri": { "exact": "/", "prefix": "/" }, "headers": { "a b": {} } }] },
        ],
        "limits": { "maxInFlight": -1, "burst": 3 },
        "compare": {},
    }))
    .unwrap_err();
    let expected = [
        "compare: (not shown): unknown field; known here: rules, markerHeader, limits, onInvalid",
        "rules[0].name: \"a b\": not 1 to 64 of A-Z, a-z, 0-9, _ and -",
        "rules[0].mirrors[0].tiemout: 5: unknown field; known here: name, cluster, destination, \
         clusterHeader, allowedClusters, percentage, fraction, ramp, consistentHash, rewrite, headers, redact, \
         disableShadowHostSuffixAppend, body, onOversizedBody, timeout, from, until, maxInFlight, when, trace",
        "rules[0].mirrors[0].percentage: 140: not between 0 and 100",
        "rules[1].match[0].uri: exact and prefix: at most one of exact, prefix, suffix, contains, regex",
        "rules[1].match[0].headers.a b: {}: not the name of a header",
        "rules[1].mirrors: missing: a list of mirrors; [] mirrors nowhere",
        "limits.maxInFlight: -1: not a whole number between 1 and 4294967295; a mirror that is to get no copies has percentage: 0",
        "limits.burst: 3: only with maxRequestsPerSecond",
    ];
    for violation in expected {
        assert!(errors.iter().any(|error| error == violation), "{violation}\nnot in\n{}", errors.join("\n"));
    }
    assert_eq!(errors.len(), expected.len(), "{}", errors.join("\n"));
}

#[test]
fn the_first_hundred_violations_are_told_and_the_others_counted() {
    // Two in each rule. What is quadratic takes minutes for the last of them.
    for (rules, last) in [
        (50, "rules[49].mirrors[0].percentage: 140: not between 0 and 100"),
        (51, "and 2 more"),
        (20_000, "and 39900 more"),
    ] {
        let began = Instant::now();
        let rule = |_| json!({ "name": "a b", "mirrors": [{ "cluster": "c", "percentage": 140 }] });
        let lines = read(&json!({ "rules": (0..rules).map(rule).collect::<Vec<_>>() })).unwrap_err();
        assert_eq!((lines.len(), &*lines[lines.len() - 1]), (if rules == 50 { 100 } else { 101 }, last));
        assert_eq!(lines[0], "rules[0].name: \"a b\": not 1 to 64 of A-Z, a-z, 0-9, _ and -");
        assert_eq!(lines[99], "rules[49].mirrors[0].percentage: 140: not between 0 and 100");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

#[test]
fn names_that_stand_twenty_thousand_times_in_one_place_are_told_apart_quickly() {
    let began = Instant::now();
    let many = |value: Value| vec![value; 20_000];
    let keys: serde_json::Map<_, _> = (0..1 << 14).map(|bits| (spelled("abcdefghijklmn", bits), json!({}))).collect();
    for (rule, more) in [
        (json!({ "mirrors": many(json!({ "cluster": "c" })) }), 19_899),
        (json!({ "mirrors": [{ "cluster": "c", "headers": { "remove": many(json!("a")) } }] }), 19_899),
        (json!({ "mirrors": [], "match": [{ "headers": keys }] }), (1 << 14) - 101),
    ] {
        assert_eq!(with_rule(&rule).unwrap_err().last(), Some(&format!("and {more} more")));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Spells a word with those letters as capitals that the bits say.
fn spelled(word: &str, bits: u32) -> String {
    let letter =
        |(index, letter): (usize, char)| if bits >> index & 1 == 1 { letter.to_ascii_uppercase() } else { letter };
    word.chars().enumerate().map(letter).collect()
}

#[test]
fn each_field_of_a_mirror_takes_only_what_the_contract_says() {
    for (fields, error) in cases::mirrors() {
        match mirror(&fields) {
            Ok(_) => assert_eq!(error, "", "{fields}"),
            Err(errors) => {
                assert!(!error.is_empty() && errors.iter().any(|found| found.contains(error)), "{fields}: {errors:?}");
                assert_eq!(errors.len(), 1, "{errors:?}");
                assert!(!errors[0].contains("secret"), "{errors:?}");
            }
        }
    }
}

#[test]
fn each_field_of_a_rule_takes_only_what_the_contract_says() {
    for (rule, error) in cases::rules() {
        match with_rule(&rule) {
            Ok(_) => assert_eq!(error, "", "{rule}"),
            Err(errors) => {
                assert!(!error.is_empty() && errors.iter().any(|found| found.contains(error)), "{rule}: {errors:?}");
            }
        }
    }
}

#[test]
fn rules_are_told_apart_by_their_names() {
    let rule = |name: &str| json!({ "name": name, "mirrors": [] });
    let errors = read(&json!({ "rules": [rule("a"), rule("b"), rule("a")] })).unwrap_err();
    assert_eq!(errors, ["rules[2]: name a: already the name of rules[0]"]);
    let errors = read(&json!({ "rules": [rule("rule-1"), { "mirrors": [] }] })).unwrap_err();
    assert_eq!(errors, ["rules[1]: name rule-1: already the name of rules[0]"]);
}

#[test]
fn mirrors_of_a_rule_are_told_apart_by_their_labels() {
    let said = |mirrors: &Value| {
        let config = with_rule(&json!({ "mirrors": mirrors }))?;
        Ok(config.rules[0].mirrors.iter().map(|mirror| mirror.label.to_string()).collect::<Vec<_>>().join(" "))
    };
    let same = |label| {
        let hint = "already the label of rules[0].mirrors[0]: give one of the two a name";
        Err(vec![format!("rules[0].mirrors[1]: label {label}: {hint}")])
    };
    let empty = |cluster| {
        let hint = "no label is left of it, for Envoy removes the dots at the end: give the mirror a name";
        Err(vec![format!("rules[0].mirrors[0]: cluster {cluster}: {hint}")])
    };
    let to = json!({ "host": "m.test.", "port": { "number": 80 } });
    for (mirrors, expected) in [
        (json!([{ "cluster": "a" }, { "cluster": "a" }]), same("a")),
        (json!([{ "cluster": "a" }, { "cluster": "a", "name": "b" }]), Ok("a b".to_owned())),
        (json!([{ "cluster": "a", "name": "b" }, { "cluster": "c", "name": "b" }]), same("b")),
        (json!([{ "cluster": "a", "name": "b" }, { "cluster": "b" }]), same("b")),
        (json!([{ "cluster": "a", "name": "b" }, { "cluster": "b", "name": "a" }]), Ok("b a".to_owned())),
        (json!([{ "clusterHeader": "X-To" }, { "clusterHeader": "x-to" }]), same("header:x-to")),
        (json!([{ "clusterHeader": "X-To" }, { "cluster": "header:x-to" }]), same("header:x-to")),
        (json!([{ "destination": to }, { "cluster": "outbound|80||m.test" }]), same("outbound|80||m.test")),
        // As Envoy has them: without the dots at the end.
        (json!([{ "cluster": "a.." }, { "cluster": "a" }]), same("a")),
        (json!([{ "cluster": ".a" }, { "cluster": "a..b." }, { "cluster": "a" }]), Ok(".a a..b a".to_owned())),
        (json!([{ "cluster": "." }, { "cluster": "a" }]), empty(".")),
        (json!([{ "cluster": ".." }]), empty("..")),
        (json!([{ "cluster": ".", "name": "dot" }]), Ok("dot".to_owned())),
    ] {
        assert_eq!(said(&mirrors), expected, "{mirrors}");
    }
    // Other rules are no matter.
    let rule = json!({ "mirrors": [{ "cluster": "a" }] });
    assert!(read(&json!({ "rules": [rule, rule] })).is_ok());
}

#[test]
fn limits_are_whole_numbers_in_their_ranges() {
    for (limits, error) in cases::limits() {
        let config = json!({ "rules": [{ "mirrors": [] }], "limits": limits });
        match read(&config) {
            Ok(_) => assert_eq!(error, "", "{config}"),
            Err(errors) => assert!(!error.is_empty() && errors[0].contains(error), "{config}: {errors:?}"),
        }
    }
}

#[test]
fn a_body_may_be_one_mebibyte_long_or_as_long_as_all_that_is_held() {
    for (limits, expected) in [
        (json!({}), 1 << 20),
        (json!({ "maxBufferedBytes": 1_048_577 }), 1 << 20),
        (json!({ "maxBufferedBytes": 1_000_000 }), 1_000_000),
        (json!({ "maxBufferedBytes": 0 }), 0),
        (json!({ "maxBodyBytes": 7, "maxBufferedBytes": 1_000_000 }), 7),
    ] {
        let config = read(&json!({ "rules": [{ "mirrors": [] }], "limits": limits })).unwrap();
        assert_eq!(config.limits.max_body_bytes, expected, "{limits}");
    }
}

#[test]
fn ipv4_ranges_that_are_mapped_into_ipv6_are_taken_for_ipv4() {
    for (written, expected) in [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::FFFF:0a01:0203/128", "10.1.2.3/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        // Not mapped: IPv6 alone, as it is written.
        ("::/0", "::/0"),
        ("::10.1.2.3/104", "::a01:203/104"),
        ("10.1.2.3/8", "10.1.2.3/8"),
    ] {
        let config = with_rule(&json!({ "match": [{ "sourceCidrs": [written] }], "mirrors": [] })).unwrap();
        assert_eq!(config.rules[0].matches[0].source_cidrs[0].to_string(), expected, "{written}");
    }
}

#[test]
fn the_marker_of_the_configuration_is_the_header_that_cannot_be_edited() {
    let edits = json!({ "remove": ["X-Copy"], "set": { "x-copy": "secret" }, "add": { "x-mirrored-request": "1" } });
    let refused = |place: &str, name| {
        let what = "the markerHeader, which every copy carries: it cannot be edited";
        format!("rules[0].mirrors[0].headers.{place}: {name}: {what}")
    };
    for (marker, expected) in [
        (Value::Null, vec![refused("add.x-mirrored-request", "x-mirrored-request")]),
        (json!("x-COPY"), vec![refused("remove[0]", "x-copy"), refused("set.x-copy", "x-copy")]),
        // Nothing is marked.
        (json!(""), vec![]),
        (json!("a b"), vec!["markerHeader: a b: not the name of a header".to_owned()]),
    ] {
        let rule = json!({ "mirrors": [{ "cluster": "c", "headers": edits }] });
        let said = read(&json!({ "markerHeader": marker, "rules": [rule] })).err().unwrap_or_default();
        assert_eq!(said, expected, "{marker}");
    }
}

#[test]
fn what_errors_do_is_one_of_two_words() {
    for (said, expected) in [
        (json!(null), Ok(OnInvalid::Refuse)),
        (json!("refuse"), Ok(OnInvalid::Refuse)),
        (json!("keepLast"), Ok(OnInvalid::KeepLast)),
        (json!("keeplast"), Err("onInvalid: \"keeplast\": refuse or keepLast")),
        (json!(true), Err("onInvalid: true: not a string")),
    ] {
        let taken = read(&json!({ "rules": [{ "mirrors": [] }], "onInvalid": said }));
        let taken = taken.map(|config| config.on_invalid).map_err(|violations| violations.join("\n"));
        assert_eq!(taken, expected.map_err(String::from), "{said}");
    }
}

#[test]
fn an_error_is_a_line_of_text_whatever_the_key() {
    let errors = read(&json!({ "rules": [{ "mirrors": [] }], "a\r\n\u{1b}[2J\u{85}b": 1 })).unwrap_err();
    assert_eq!(errors, ["a   [2J b: 1: unknown field; known here: rules, markerHeader, limits, onInvalid"]);
}

#[test]
fn a_document_without_rules_says_so() {
    for (document, error) in cases::documents() {
        assert_eq!(read(&document).unwrap_err(), [error]);
    }
}

/// Trees that look enough like configurations to get past the first door.
fn some_tree() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(vec![
        "rules",
        "mirrors",
        "match",
        "uri",
        "exact",
        "regex",
        "headers",
        "set",
        "cluster",
        "clusterHeader",
        "percentage",
        "fraction",
        "numerator",
        "denominator",
        "consistentHash",
        "seed",
        "rewrite",
        "uriRegexRewrite",
        "rewrite",
        "timeout",
        "limits",
        "burst",
        "maxRequestsPerSecond",
        "name",
        "destination",
        "port",
        "number",
        "host",
        "add",
        "remove",
        "sourceCidrs",
        "withoutHeaders",
        "maxBodyBytes",
        "maxBufferedBytes",
        "x",
        "X",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
        "[0-9.]{0,4}(ns|us|ms|s|m|h|)".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..5).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_are_too_odd_to_be_refused(bytes: Vec<u8>) {
        prop_assert!(!Config::from_bytes(&bytes).unwrap_err().is_empty());
        let tagged = [&[0x0a][..], &bytes].concat();
        let _ = Config::from_bytes(&tagged);
    }

    #[test]
    fn every_tree_is_taken_or_refused_on_lines_of_their_own(rules in some_tree(), limits in some_tree()) {
        let tree = json!({ "rules": [rules], "limits": limits });
        if let Err(errors) = read(&tree) {
            prop_assert!(errors.iter().all(|error| !error.contains('\n') && error.contains(": ")));
        }
    }

    #[test]
    fn json_and_struct_agree_on_every_tree(rules in some_tree()) {
        let tree = json!({ "rules": [rules] });
        let by_struct = Config::from_bytes(&as_struct(&tree));
        let by_json = Config::from_bytes(tree.to_string().as_bytes());
        prop_assert_eq!(by_struct.is_ok(), by_json.is_ok());
    }

    #[test]
    fn a_percentage_that_is_printed_and_read_again_is_the_same_share(parts in 0u32..=1_000_000) {
        let percentage = f64::from(parts) / 10_000.0;
        let shown: Value = serde_json::from_str(&format!("{percentage}")).unwrap();
        let share = mirror(&json!({ "percentage": shown })).unwrap().sample.share;
        let Share::Fixed(ratio) = share else { panic!("{share:?}") };
        prop_assert_eq!(ratio, Ratio::from_fraction(u64::from(parts), 1_000_000).unwrap());
        prop_assert!(parts == 0 || ratio.includes(parts.saturating_sub(1)));
        prop_assert!(!ratio.includes(parts));
    }

    #[test]
    fn a_duration_that_is_printed_and_read_again_is_the_same(milliseconds in 1u64..=3_600_000) {
        let timeout = Duration::from_millis(milliseconds);
        let seconds = format!("{}.{:03}s", timeout.as_secs(), timeout.subsec_millis());
        prop_assert_eq!(mirror(&json!({ "timeout": seconds })).unwrap().timeout, timeout);
        prop_assert_eq!(mirror(&json!({ "timeout": format!("{milliseconds}ms") })).unwrap().timeout, timeout);
    }

    #[test]
    fn tests_of_values_hold_for_what_they_describe(text in "[a-cA-C]{1,4}", before: Vec<u8>, after: Vec<u8>, upper: bool) {
        let value = if upper { text.to_ascii_uppercase() } else { text.clone() };
        let join = |parts: [&[u8]; 3]| parts.concat();
        for (kind, value) in [
            ("exact", value.as_bytes().to_vec()),
            ("prefix", join([value.as_bytes(), &after, b""])),
            ("suffix", join([b"", &before, value.as_bytes()])),
            ("contains", join([&before, value.as_bytes(), &after])),
            ("regex", value.as_bytes().to_vec()),
        ] {
            let entry = json!({ "uri": { kind: text, "ignoreCase": true } });
            let config = with_rule(&json!({ "match": [entry], "mirrors": [] })).unwrap();
            let test = config.rules[0].matches[0].uri.clone().unwrap();
            prop_assert!(test.holds(&value), "{kind} {text} {value:?}");
        }
    }
}
