//! What is the same, what differs, and where.

use super::*;
use crate::config::{Config, JsonRules, Pointer, Pointers, Step};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::Write;

/// Makes what a configuration compares.
fn compare(compare: &Value) -> Compare {
    let rule = json!({ "mirrors": [], "compare": compare });
    let config = Config::from_bytes(json!({ "rules": [rule] }).to_string().as_bytes());
    Compare::clone(config.unwrap().rules[0].compare.as_ref().unwrap())
}

fn by_json(rules: &Value) -> Compare {
    compare(&json!({ "body": { "json": rules } }))
}

fn response(encoding: Option<&str>, body: impl Into<Vec<u8>>) -> Response {
    let encoding = encoding.map(|encoding| encoding.as_bytes().into());
    Response { headers: Vec::new(), encoding, body: Body::Complete(body.into()) }
}

/// Compares two bodies both ways round. `None`: it was not compared; else the places where they differ.
fn places(compare: &Compare, primary: &Response, mirror: &Response) -> Option<Vec<String>> {
    let found = differences(compare, primary, mirror);
    assert_eq!(found, differences(compare, mirror, primary), "the other way round: {primary:?} {mirror:?}");
    assert!(!differences(compare, primary, primary).body, "with itself: {primary:?}");
    assert!(!(found.body && found.not_compared), "{found:?}");
    assert_eq!(found.body, !found.places.is_empty(), "{found:?}");
    (!found.not_compared).then(|| found.places.iter().map(|place| place.to_string()).collect())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// No JSON, or not compared.
const NONE: Option<&[&str]> = None;

/// The same.
const SAME: Option<&[&str]> = Some(&[]);

#[test]
fn json_differs_where_values_do_and_not_where_they_are_only_written_otherwise() {
    let deep = |inside: &str| format!("{}{inside}{}", "[".repeat(128), "]".repeat(128));
    let deep_places = format!("body{}", "/*".repeat(46)).chars().take(96).collect::<String>();
    let long = "9".repeat(400);
    for (primary, mirror, expected) in [
        // What only looks different.
        (r#"{"a":1,"b":2}"#, r#"{ "b" : 2 , "a" : 1 }"#, SAME),
        (r#"{"a":"\u00e9\/\n"}"#, "{\"\\u0061\":\"é/\\u000a\"}", SAME),
        (r#"["\ud83d\ude00"]"#, r#"["😀"]"#, SAME),
        (r#"[1, 1.0, 1e2, -0, 0.10]"#, r#"[1.0, 10e-1, 100, 0, 1e-1]"#, SAME),
        (r#"{"a":1,"a":2}"#, r#"{"a":3,"\u0061":2}"#, SAME),
        ("[]", " [ ] ", SAME),
        ("\n1", "1.0", SAME),
        // Values.
        (r#"{"a":{"b":[1,2,3]}}"#, r#"{"a":{"b":[1,5,3]}}"#, Some(&["body/a/b/*"])),
        (r#"{"a":1,"b":"x","c":true}"#, r#"{"a":2,"b":"y","c":false}"#, Some(&["body/a", "body/b", "body/c"])),
        (
            r#"{"items":[{"price":1},{"price":2}]}"#,
            r#"{"items":[{"price":3},{"price":4}]}"#,
            Some(&["body/items/*/price"]),
        ),
        ("[9007199254740993]", "[9007199254740992]", Some(&["body/*"])),
        ("[0.1]", "[0.10000000000000001]", Some(&["body/*"])),
        ("[1e400]", "[1e401]", Some(&["body/*"])),
        ("1", "2", Some(&["body"])),
        (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#, Some(&["body/a"])),
        // Types.
        (r#"{"a":1}"#, r#"{"a":"1"}"#, Some(&["body/a"])),
        (r#"{"a":{"b":1}}"#, r#"{"a":[1]}"#, Some(&["body/a"])),
        (r#"{"a":{"b":1}}"#, r#"{"a":null}"#, Some(&["body/a"])),
        ("{}", "[]", Some(&["body"])),
        ("true", "null", Some(&["body"])),
        ("0", "\"\"", Some(&["body"])),
        // What is on one side alone.
        (r#"{"a":1}"#, "{}", Some(&["body/a"])),
        (r#"{"a":null}"#, "{}", Some(&["body/a"])),
        (r#"{"a":[1,{"b":2}]}"#, r#"{"a":[1]}"#, Some(&["body/a/*"])),
        ("[]", "[[]]", Some(&["body/*"])),
        ("[1,2]", "[2,1]", Some(&["body/*"])),
        // Names as labels.
        (r#"{"a/b":1,"~":2}"#, r#"{"a/b":2,"~":3}"#, Some(&["body/_0", "body/a_1b"])),
        (r#"{"":1,"é.\"":2}"#, r#"{"":2,"é.\"":3}"#, Some(&["body/", "body/___"])),
        (r#"{"é":1,"è":2}"#, r#"{"é":2,"è":3}"#, Some(&["body/_"])),
        (r#"{"*":1,"0":[1]}"#, r#"{"*":2,"0":[2]}"#, Some(&["body/*", "body/0/*"])),
        // Nesting.
        (&deep("1"), &deep("1 "), SAME),
        (&deep("1"), &deep("2"), Some(&[&deep_places])),
        (&deep("[]"), &deep("[] "), NONE),
        // What is no JSON.
        ("{}", "{", NONE),
        ("{}", "{} {}", NONE),
        ("nul", "{}", NONE),
        ("[1,]", "[1]", NONE),
        (r#"["\ud83d"]"#, r#"["x"]"#, NONE),
        ("\u{feff}1", "1", NONE),
        ("[01]", "[1]", NONE),
        ("'a'", "\"a\"", NONE),
        (" ", "1", NONE),
        ("<html>", "<html> ", NONE),
        (&long, &format!("{long}.0"), SAME),
        // Nothing at all.
        ("", "", SAME),
        ("", "{}", Some(&["body"])),
    ] {
        let found = places(&by_json(&json!({})), &response(None, primary), &response(None, mirror));
        let expected = expected.map(|places| places.iter().map(|place| (*place).to_owned()).collect());
        assert_eq!(found, expected, "{primary} {mirror}");
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_no_json_and_the_same_where_they_are_equal() {
    let by_json = by_json(&json!({}));
    let found = |one: &[u8], other: &[u8]| places(&by_json, &response(None, one), &response(None, other));
    assert_eq!(found(b"[\"\xff\"]", b"[\"\xff\"]"), Some(vec![]));
    assert_eq!(found(b"[\"\xff\"]", b"[\"\xfe\"]"), None);
    assert_eq!(found(b"[\"\xc3\xa9\"]", b"[\"\\u00e9\"]"), Some(vec![]));
}

#[test]
fn what_is_ignored_is_as_if_it_were_not_there() {
    let one = r#"{"id":1,"at":"x","items":[{"id":7,"n":1},{"id":8,"n":2}],"a/b":{"c~d":3},"0":4}"#;
    for (ignore, other, expected) in [
        (
            json!(["/id", "/items/*/id"]),
            r#"{"id":2,"at":"x","items":[{"id":0,"n":1},{"n":2}],"a/b":{"c~d":3},"0":4}"#,
            SAME,
        ),
        (json!(["/*"]), r#"{"other":[]}"#, SAME),
        (json!([""]), "[]", SAME),
        (json!(["/items"]), r#"{"id":1,"at":"x","items":3,"a/b":{"c~d":3},"0":4}"#, SAME),
        (json!(["/items"]), r#"{"id":1,"at":"x","a/b":{"c~d":3},"0":4}"#, SAME),
        (json!(["/a~1b/c~0d"]), r#"{"id":1,"at":"x","items":[{"id":7,"n":1},{"id":8,"n":2}],"a/b":{},"0":4}"#, SAME),
        (json!(["/items/1"]), r#"{"id":1,"at":"x","items":[{"id":7,"n":1}],"a/b":{"c~d":3},"0":4}"#, SAME),
        (
            json!(["/items/0"]),
            r#"{"id":1,"at":"x","items":[0,{"id":8,"n":3}],"a/b":{"c~d":3},"0":4}"#,
            Some(&["body/items/*/n"][..]),
        ),
        (json!(["/items/*"]), r#"{"id":1,"at":"x","items":[],"a/b":{"c~d":3},"0":4}"#, SAME),
        (
            json!(["/0", "/at"]),
            r#"{"\u0061t":0,"id":1,"items":[{"id":7,"n":1},{"id":8,"n":2}],"a/b":{"c~d":3},"\u0030":0}"#,
            SAME,
        ),
        (
            json!(["/id/x"]),
            r#"{"id":2,"at":"x","items":[{"id":7,"n":1},{"id":8,"n":2}],"a/b":{"c~d":3},"0":4}"#,
            Some(&["body/id"]),
        ),
        (
            json!(["/id", "/id/*"]),
            r#"{"id":2,"id":3,"at":"x","items":[{"id":7,"n":1},{"id":8,"n":2}],"a/b":{"c~d":3},"0":4}"#,
            SAME,
        ),
    ] {
        let found = places(&by_json(&json!({ "ignore": ignore })), &response(None, one), &response(None, other));
        let expected = expected.map(|places| places.iter().map(|place| (*place).to_owned()).collect());
        assert_eq!(found, expected, "{ignore} {other}");
    }
}

#[test]
fn too_many_steps_to_what_is_ignored_are_not_compared() {
    // All of these lead into the array, and none shares its steps with another.
    let pointers: Vec<String> = (0..64)
        .map(|bits| (0..6).map(|step| if bits >> step & 1 == 0 { "/a" } else { "/*" }).collect::<String>() + "/x")
        .collect();
    let document = |last: u32| format!("{}[{}{last}]{}", r#"{"a":"#.repeat(6), "0,".repeat(4000), "}".repeat(6));
    let found = |pointers: &[String]| {
        let rules = by_json(&json!({ "ignore": pointers }));
        places(&rules, &response(None, document(1)), &response(None, document(2)))
    };
    assert_eq!(found(&pointers), None);
    assert_eq!(found(&pointers[..4]), Some(vec!["body/a/a/a/a/a/a/*".to_owned()]));
}

#[test]
fn a_null_is_absent_where_that_is_asked_for() {
    for (primary, mirror, expected) in [
        (r#"{"a":null,"b":1}"#, r#"{"b":1}"#, SAME),
        (r#"{"a":1,"a":null}"#, "{}", SAME),
        (r#"{"a":null,"a":1}"#, "{}", Some(&["body/a"][..])),
        (r#"{"a":{"b":null}}"#, r#"{"a":{}}"#, SAME),
        (r#"{"a":null}"#, r#"{"a":0}"#, Some(&["body/a"])),
        ("[null]", "[]", Some(&["body/*"])),
        ("null", "{}", Some(&["body"])),
        (r#"[{"a":null}]"#, "[{}]", SAME),
    ] {
        let expected = expected.map(|places| places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>());
        for unordered in [false, true] {
            let rules = by_json(&json!({ "nullIsAbsent": true, "unorderedArrays": unordered }));
            let found = places(&rules, &response(None, primary), &response(None, mirror));
            assert_eq!(found, expected, "{primary} {mirror} {unordered}");
        }
    }
}

#[test]
fn arrays_without_an_order_are_the_same_where_each_item_is_as_often_in_both() {
    let nested = r#"[{"a":[1,{"b":2}]},[3,[4,5]]]"#;
    for (primary, mirror, expected) in [
        ("[1,2,3]", "[3,1.0,2]", SAME),
        ("[1,1,2]", "[1,2,2]", Some(&["body/*"][..])),
        ("[1,1]", "[1]", Some(&["body/*"])),
        ("[]", "[0]", Some(&["body/*"])),
        ("[[],[]]", "[[[]],[]]", Some(&["body/*"])),
        ("[[1],[2]]", "[[1,2],[]]", Some(&["body/*"])),
        (nested, r#"[[[5,4],3],{"a":[{"b":2.0},1]}]"#, SAME),
        (nested, r#"[[[5,4],3],{"a":[{"b":2},2]}]"#, Some(&["body/*"])),
        (nested, r#"[[[5,3],4],{"a":[{"b":2},1]}]"#, Some(&["body/*"])),
        (r#"{"a":[1,2],"b":[{"c":[1]}]}"#, r#"{"a":[2,1],"b":[{"c":[2]}]}"#, Some(&["body/b/*"])),
        (r#"["\u0061",1,"1"]"#, r#"["1","a",1]"#, SAME),
        (r#"["1"]"#, "[1]", Some(&["body/*"])),
        (r#"["true"]"#, "[true]", Some(&["body/*"])),
        (r#"[{"a":1,"b":2}]"#, r#"[{"a":2,"b":1}]"#, Some(&["body/*"])),
        (r#"[{"a":1},{"b":2}]"#, r#"[{"b":2},{"\u0061":1}]"#, SAME),
        (r#"[{"a":1,"a":2}]"#, r#"[{"a":2}]"#, SAME),
        ("[{}]", "[[]]", Some(&["body/*"])),
        ("[null,false]", "[false,null]", SAME),
        ("[120,-1,0.50,1e99999999999999999999]", "[1e99999999999999999999,5e-1,-10e-1,1.2e2]", SAME),
        ("[12,0]", "[120]", Some(&["body/*"])),
        ("[-1]", "[1]", Some(&["body/*"])),
        ("{}", "[]", Some(&["body"])),
    ] {
        let rules = by_json(&json!({ "unorderedArrays": true }));
        let found = places(&rules, &response(None, primary), &response(None, mirror));
        let expected = expected.map(|places| places.iter().map(|place| (*place).to_owned()).collect());
        assert_eq!(found, expected, "{primary} {mirror}");
    }
    let rules = by_json(&json!({ "unorderedArrays": true, "ignore": ["/*/id"] }));
    let found = |one: &str, other: &str| places(&rules, &response(None, one), &response(None, other)).unwrap();
    assert_eq!(found(r#"[{"id":1,"a":2},{"id":3,"a":4}]"#, r#"[{"id":5,"a":4},{"a":2}]"#), [""; 0]);
    assert_eq!(found(r#"[{"id":1,"a":2}]"#, r#"[{"id":1,"a":3}]"#), ["body/*"]);
}

#[test]
fn at_most_64_places_are_told_and_none_is_longer_than_96_characters() {
    let document = |value: u32| {
        let name = |number: usize| format!("{}{number}", "n".repeat(200 * (number % 2)));
        let members = (0..3000).map(|number| (name(number), json!({ "x": value })));
        Value::Object(members.collect()).to_string()
    };
    let rules = compare(&json!({ "body": { "json": {}, "maxBytes": 1 << 20 } }));
    let found = places(&rules, &response(None, document(1)), &response(None, document(2))).unwrap();
    assert!((2..=64).contains(&found.len()), "{}", found.len());
    assert_eq!(found.iter().map(String::len).max(), Some(96));
    assert!(found.is_sorted() && found.iter().all(|place| place.starts_with("body/")), "{found:?}");
}

#[test]
fn bodies_by_their_bytes_are_compared_decoded() {
    let text = &b"not JSON"[..];
    let exact = compare(&json!({ "body": { "exact": true, "maxBytes": 64 } }));
    let long = vec![b'x'; 65];
    let two_pieces = [gzip(b"not "), gzip(b"JSON")].concat();
    let many_pieces = [gzip(b"").repeat(3000), gzip(text)].concat();
    let broken = [&gzip(text)[..12], &b"xxxxxxxxxxxx"[..]].concat();
    let cut = gzip(text)[..20].to_vec();
    for (primary, mirror, expected) in [
        (response(None, text), response(None, text), SAME),
        (response(None, text), response(None, &b"not json"[..]), Some(&["body"][..])),
        (response(None, text), response(None, &b""[..]), Some(&["body"])),
        (response(None, text), response(Some("gzip"), gzip(text)), SAME),
        (response(Some("GZip"), gzip(text)), response(Some("x-gzip"), two_pieces), SAME),
        (response(None, text), response(Some("gzip"), gzip(b"x")), Some(&["body"])),
        (response(Some("identity"), text), response(Some(""), text), SAME),
        (response(Some("identity"), text), response(None, &b"x"[..]), Some(&["body"])),
        (response(Some("gzip"), &b""[..]), response(None, &b""[..]), SAME),
        (response(Some("gzip"), &b""[..]), response(None, text), Some(&["body"])),
        // Equal bytes are the same, whatever they are.
        (response(Some("br"), text), response(Some("br"), text), SAME),
        (response(Some("gzip"), text), response(Some("gzip"), text), SAME),
        // What cannot be decoded, or is too long.
        (response(Some("br"), text), response(Some("br"), &b"x"[..]), NONE),
        (response(Some("gzip, br"), gzip(text)), response(None, text), NONE),
        (response(Some("gzip"), text), response(None, &b"x"[..]), NONE),
        (response(Some("gzip"), cut), response(None, text), NONE),
        (response(Some("gzip"), broken), response(None, text), NONE),
        (response(Some("gzip"), gzip(&long)), response(None, text), NONE),
        (response(Some("gzip"), gzip(&long[..64])), response(None, &long[..64]), SAME),
        (response(None, &long[..]), response(None, &long[..]), NONE),
        (response(None, &long[..64]), response(None, &long[..]), NONE),
        (Response { body: Body::NotKept, ..response(None, text) }, response(None, text), NONE),
    ] {
        let expected = expected.map(|places| places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>());
        assert_eq!(places(&exact, &primary, &mirror), expected, "{primary:?} {mirror:?}");
    }
    let roomy = compare(&json!({ "body": { "exact": true } }));
    assert_eq!(places(&roomy, &response(Some("gzip"), many_pieces), &response(None, text)), None);
    let json = by_json(&json!({}));
    let compressed = response(Some("gzip"), gzip(br#"{"a":1}"#));
    assert_eq!(places(&json, &compressed, &response(None, &br#"{"a":2}"#[..])), Some(vec!["body/a".to_owned()]));
}

#[test]
fn headers_are_compared_by_their_bytes_one_by_one() {
    let compare = compare(&json!({ "headers": ["Content-Type", "X.Odd"], "status": true }));
    let response = |values: [Option<&[u8]>; 2]| Response {
        headers: values.iter().map(|value| value.map(Box::from)).collect(),
        encoding: None,
        body: Body::NotKept,
    };
    for (primary, mirror, expected) in [
        ([Some(&b"a"[..]), None], [Some(&b"a"[..]), None], &[][..]),
        ([Some(b"a"), None], [Some(b"A"), None], &["headers/content-type"]),
        ([Some(b"\xff"), Some(b"")], [Some(b"\xfe"), None], &["headers/content-type", "headers/x_odd"]),
    ] {
        let found = differences(&compare, &response(primary), &response(mirror));
        assert_eq!(found.places, expected.iter().map(|place| Box::from(*place)).collect::<Vec<Box<str>>>());
        assert_eq!((found.headers, found.body, found.not_compared), (!expected.is_empty(), false, false));
    }
    let both = super::tests::compare(&json!({ "headers": ["a"], "body": { "exact": true } }));
    let one = Response { headers: vec![None], encoding: None, body: Body::NotKept };
    let other = Response { headers: vec![Some(Box::default())], encoding: None, body: Body::Complete(Vec::new()) };
    let found = differences(&both, &one, &other);
    assert_eq!((found.headers, found.body, found.not_compared), (true, false, true));
}

/// Makes JSON of all kinds, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-20i64..20).prop_map(Value::from),
        "[ab\\\\\"/~é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let members = prop::collection::btree_map("[abc~/\"é]{0,2}", inner.clone(), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            members.prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// What differs between two values as the rules say, found in the simplest way. The path has `*` for indexes.
struct Model<'r> {
    rules: &'r JsonRules,
    ignore: &'r [Pointer],
    path: Vec<String>,
    places: BTreeSet<String>,
}

impl<'r> Model<'r> {
    fn of(
        (rules, ignore): (&'r JsonRules, &'r [Pointer]),
        path: Vec<String>,
        one: &Value,
        other: &Value,
    ) -> BTreeSet<String> {
        let mut model = Self { rules, ignore, path, places: BTreeSet::new() };
        model.compare(Some(one), Some(other));
        model.places
    }

    fn inside(&mut self, step: &str, one: Option<&Value>, other: Option<&Value>) {
        self.path.push(step.to_owned());
        self.compare(one, other);
        self.path.pop();
    }

    fn compare(&mut self, one: Option<&Value>, other: Option<&Value>) {
        let leads = |(step, name): (&Step, &String)| match step {
            Step::Any => true,
            Step::To(to, _) => **to == **name,
        };
        let is_here = |pointer: &Pointer| {
            pointer.steps().len() == self.path.len() && pointer.steps().iter().zip(&self.path).all(leads)
        };
        if self.ignore.iter().any(is_here) {
            return;
        }
        match (one, other) {
            (Some(Value::Object(one)), Some(Value::Object(other))) => {
                let is_there = |value: &&Value| !(self.rules.null_is_absent && value.is_null());
                let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
                let values = names
                    .into_iter()
                    .map(|name| (name, one.get(name).filter(is_there), other.get(name).filter(is_there)));
                values.collect::<Vec<_>>().into_iter().for_each(|(name, one, other)| self.inside(name, one, other));
            }
            (Some(Value::Array(one)), Some(Value::Array(other))) if self.rules.unordered_arrays => {
                let path = [&self.path[..], &["*".to_owned()]].concat();
                let mut rest: Vec<_> = other.iter().collect();
                for item in one {
                    match rest
                        .iter()
                        .position(|other| Self::of((self.rules, self.ignore), path.clone(), item, other).is_empty())
                    {
                        Some(at) => drop(rest.swap_remove(at)),
                        None => return self.inside("*", Some(item), None),
                    }
                }
                rest.first().into_iter().for_each(|item| self.inside("*", Some(item), None));
            }
            (Some(Value::Array(one)), Some(Value::Array(other))) => {
                for at in 0..one.len().max(other.len()) {
                    self.inside("*", one.get(at), other.get(at));
                }
            }
            _ if one == other => {}
            _ => drop(self.places.insert(label(&self.path))),
        }
    }
}

/// Returns the label of a place.
fn label(path: &[String]) -> String {
    let step = |step: &String| format!("/{}", step.replace('~', "~0").replace('/', "~1"));
    let label = format!("body{}", path.iter().map(step).collect::<String>());
    label.chars().map(|c| if c.is_ascii_alphanumeric() || "_/*-".contains(c) { c } else { '_' }).take(96).collect()
}

/// Makes what is compared of JSON, and lists what is ignored of it.
fn any_rules() -> impl Strategy<Value = (JsonRules, Vec<Pointer>)> {
    let pointer = prop::sample::select(vec!["/*", "/a", "/b/*", "/*/*", "/a/*/b", "/~0", "/*/a", "/c/c"]);
    let ignore = prop::collection::btree_set(pointer, 0..4);
    (ignore, any::<bool>(), any::<bool>()).prop_map(|(ignore, unordered_arrays, null_is_absent)| {
        let list: Vec<_> = ignore.into_iter().map(|text| Pointer::new(text).unwrap()).collect();
        let ignore = if list.is_empty() { Pointers::default() } else { list.iter().cloned().collect() };
        (JsonRules { ignore, unordered_arrays, null_is_absent }, list)
    })
}

fn of_rules(rules: &JsonRules) -> Compare {
    let body = Some(CompareBody { how: How::Json(rules.clone()), max_bytes: 1 << 20 });
    Compare { status: false, headers: Vec::new(), body, fields: true }
}

/// Lists the places of all values in a value.
fn all_places(value: &Value, path: &mut Vec<String>, list: &mut Vec<Vec<String>>) {
    list.push(path.clone());
    let inside: Vec<_> = match value {
        Value::Array(items) => items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        _ => Vec::new(),
    };
    for (step, value) in inside {
        path.push(step);
        all_places(value, path, list);
        path.pop();
    }
}

/// Returns the value at a place.
fn value_at<'v>(value: &'v mut Value, path: &[String]) -> &'v mut Value {
    path.iter().fold(value, |value, step| match value {
        Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
        value => &mut value[step],
    })
}

/// Writes a value in another way: with spaces, with escapes, with members in the reverse order, some of them before it once more.
fn rewritten(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
            format!("\"{}\"", units.collect::<String>())
        }
        Value::Number(number) if number.as_i64() == Some(0) => "-0.0e+7".to_owned(),
        Value::Number(number) => format!("{number}00.0e-2"),
        Value::Array(items) => format!("[ {}\n]", items.iter().map(rewritten).collect::<Vec<_>>().join(" ,")),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                let name = rewritten(&name.as_str().into());
                format!("{name}: [0],\t{name} :{}", rewritten(value))
            };
            format!("{{\r\n{} }}", members.iter().rev().map(member).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn documents_differ_where_the_simplest_comparison_says(one in any_json(), other in any_json(), rules in any_rules()) {
        let (rules, ignore) = rules;
        let found = places(&of_rules(&rules), &response(None, one.to_string()), &response(None, other.to_string()));
        let expected = Model::of((&rules, &ignore), Vec::new(), &one, &other);
        prop_assert_eq!(found.unwrap(), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_single_difference_is_found_at_its_place(one in any_json(), at in any::<prop::sample::Index>(), rules in any_rules()) {
        let mut all = Vec::new();
        all_places(&one, &mut Vec::new(), &mut all);
        let path = &all[at.index(all.len())];
        let mut other = one.clone();
        *value_at(&mut other, path) = json!("planted");
        let found = |rules: &JsonRules| {
            places(&of_rules(rules), &response(None, one.to_string()), &response(None, rewritten(&other))).unwrap()
        };
        let (rules, _) = rules;
        let plain = JsonRules { ignore: Pointers::default(), unordered_arrays: false, null_is_absent: false };
        let place: Vec<_> = path.iter().map(|step| if step.parse::<usize>().is_ok() { "*".into() } else { step.clone() }).collect();
        prop_assert_eq!(found(&plain), [label(&place)]);
        // Where that place is ignored, or one around it, nothing differs.
        for length in 0..=path.len() {
            let escaped = |step: &String| format!("/{}", step.replace('~', "~0").replace('/', "~1"));
            let pointer = Pointer::new(&path.iter().take(length).map(escaped).collect::<String>()).unwrap();
            prop_assert_eq!(found(&JsonRules { ignore: [pointer].into_iter().collect(), ..rules.clone() }), [""; 0]);
        }
    }

    #[test]
    fn a_document_is_the_same_however_it_is_written(one in any_json(), rules in any_rules()) {
        let found = places(&of_rules(&rules.0), &response(None, one.to_string()), &response(None, rewritten(&one)));
        prop_assert_eq!(found, Some(Vec::new()));
    }

    #[test]
    fn any_bytes_are_compared_alike_in_both_directions(
        one in "[\\[\\]{}:,\"\\\\0-9eE.+u a-]{0,24}",
        other in prop::collection::vec(any::<u8>(), 0..24),
        rules in any_rules(),
        is_compressed in any::<bool>(),
    ) {
        let encoding = is_compressed.then_some("gzip");
        let gzip = gzip(&other);
        for (one, other) in [(one.as_bytes(), &other[..]), (&gzip, &gzip[..gzip.len() / 2]), (&gzip, one.as_bytes())] {
            places(&of_rules(&rules.0), &response(encoding, one), &response(None, other));
        }
    }
}
