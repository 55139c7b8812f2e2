//! The comparison of two responses, natively: nanoseconds a byte of both, what services send and what takes longest.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::hint::black_box;
use std::io::Write;
use std::rc::Rc;
use traffic_mirror::config::{Compare, Config};
use traffic_mirror::core::compare::{Body, Response, differences};

/// The length of a body that is made of one thing.
const LENGTH: usize = 64 << 10;

fn compare(body: Value) -> Rc<Compare> {
    let config = json!({ "rules": [{ "mirrors": [], "compare": { "body": body } }] });
    Config::from_bytes(config.to_string().as_bytes()).unwrap().rules[0].compare.clone().unwrap()
}

fn response(encoding: Option<&str>, body: &[u8]) -> Response {
    let encoding = encoding.map(|encoding| encoding.as_bytes().into());
    Response { headers: Vec::new(), encoding, body: Body::Complete(body.to_vec()) }
}

fn filled(begin: &str, unit: &str, end: &str) -> String {
    begin.to_owned() + &unit.repeat((LENGTH - begin.len() - end.len()) / unit.len()) + end
}

/// Makes an object of many members, or what else the parts say.
fn numbered(begin: &str, unit: impl Fn(usize) -> String, end: &str) -> String {
    let mut text = begin.to_owned();
    let units = (0..).map(unit);
    for unit in units {
        if text.len() + unit.len() + end.len() > LENGTH {
            break;
        }
        text += &unit;
    }
    text.trim_end_matches(',').to_owned() + end
}

fn orders(size: usize, last: usize) -> String {
    let order = |number| {
        format!(
            r#"{{"id":{number},"user":{{"email":"a@b.test","name":"\u00c9va"}},"items":[{{"sku":"x-1","price":9.95}},{{"sku":"y-2","price":12}}]}}"#
        )
    };
    let count = (size / order(0).len()).max(1);
    let orders = (0..count).map(|number| order(if number + 1 == count { last } else { number }));
    format!("[{}]", orders.collect::<Vec<_>>().join(","))
}

/// A pair of documents, which differ at their end.
type Pair = (&'static str, Value, String, String);

fn pairs() -> Vec<Pair> {
    let (plain, unordered) = (|| json!({}), || json!({ "unorderedArrays": true }));
    let both = |begin: &str, unit: &str| [",1]", ",2]"].map(|end| filled(begin, unit, end));
    let one = |name, rules: Value, begin: &str, unit: &str| {
        let [primary, mirror] = both(begin, unit);
        (name, rules, primary, mirror)
    };
    let deep = format!(",{}{}", "[".repeat(127), "]".repeat(127));
    let deep_objects = format!(",{}1{}", r#"{"":"#.repeat(126), "}".repeat(126));
    let places: Vec<_> = (0..100).map(|number| format!("/*/x{number}")).collect();
    let steps = |bits: usize| (0..6).map(|step| if bits >> step & 1 == 0 { "/*" } else { "/0" }).collect::<String>();
    let apart: Vec<_> = (0..4).map(|bits| steps(bits) + "/x").collect();
    let many = json!(["/*/user/email", "/*/items/*/price", "/user/phone", "/a"]);
    let member = |value: u32| move |number: usize| format!("\"{number:x}\":{value},");
    vec![
        ("orders of 1 KiB", plain(), orders(1 << 10, 5), orders(1 << 10, 7)),
        ("orders of 10 KiB", plain(), orders(10 << 10, 5), orders(10 << 10, 7)),
        ("orders of 64 KiB", plain(), orders(LENGTH, 5), orders(LENGTH, 7)),
        ("orders of 64 KiB, some ignored", json!({ "ignore": many }), orders(LENGTH, 5), orders(LENGTH, 7)),
        ("orders of 64 KiB, without order", unordered(), orders(LENGTH, 5), orders(LENGTH, 7)),
        one("items", plain(), "[0", ",0"),
        ("items that all differ", plain(), filled("[0", ",0", "]"), filled("[0", ",1", "]")),
        one("equal items without order", unordered(), "[0", ",1"),
        one("objects without order", unordered(), "[0", ",{}"),
        one("depth", plain(), "[0", &deep),
        one("depth of objects, without order", unordered(), "[0", &deep_objects),
        ("members", plain(), numbered("{", member(1), "}"), numbered("{", member(2), "}")),
        (
            "members without partners",
            plain(),
            numbered("{", member(1), "}"),
            numbered("{\"x\":1,", |n| format!("\"y{n}\":1,"), "}"),
        ),
        ("one name", plain(), filled("{\"b\":0", ",\"\":1", "}"), filled("{\"b\":1", ",\"\":1", "}")),
        ("a long number", plain(), filled("[", "9", "1.0]"), filled("[", "9", "2.0]")),
        ("short numbers in two forms", plain(), filled("[0", ",1.0", "]"), filled("[0", ",1e0", "]")),
        ("escapes", plain(), filled("[\"", "\\u00e9", "1\"]"), filled("[\"", "\\u00e9", "2\"]")),
        (
            "escapes in names",
            json!({ "ignore": places }),
            filled("[{\"b\":0", ",\"\\n\":1", "}]"),
            filled("[{\"b\":1", ",\"\\n\":1", "}]"),
        ),
        one("100 places in one array", json!({ "ignore": places }), "[[0", ",0"),
        (
            "places by steps of their own",
            json!({ "ignore": apart }),
            filled("[[[[[[[0", ",0", "]]]]]]]"),
            filled("[[[[[[[1", ",0", "]]]]]]]"),
        ),
    ]
}

fn comparing(c: &mut Criterion) {
    let mut group = c.benchmark_group("compare");
    for (name, rules, primary, mirror) in pairs() {
        let compare = compare(json!({ "json": rules }));
        let (primary, mirror) = (response(None, primary.as_bytes()), response(None, mirror.as_bytes()));
        let length =
            [&primary, &mirror].map(|response| if let Body::Complete(body) = &response.body { body.len() } else { 0 });
        group.throughput(Throughput::Bytes(length.iter().sum::<usize>() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| differences(&compare, black_box(&primary), black_box(&mirror)));
        });
    }
}

fn inflating(c: &mut Criterion) {
    let gzip = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let compare = compare(json!({ "exact": true }));
    let other = response(None, b"1");
    let mut group = c.benchmark_group("compare gzip");
    for (name, body) in [
        ("orders of 64 KiB", gzip(&orders(LENGTH - 200, 5).into_bytes())),
        ("a bomb of 32 MiB", gzip(&vec![b' '; 32 << 20])),
        ("pieces with nothing in them", gzip(b"").repeat(3000)),
    ] {
        let primary = response(Some("gzip"), &body);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| differences(&compare, black_box(&primary), black_box(&other)));
        });
    }
}

criterion_group!(benches, comparing, inflating);
criterion_main!(benches);
