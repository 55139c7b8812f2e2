//! The core's pieces, natively: how they grow with rules, headers and body chunks. Compare figures of one run alone.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro128PlusPlus;
use serde_json::{Value, json};
use std::hint::black_box;
use std::rc::Rc;
use traffic_mirror::config::{Config, Limits, Moment};
use traffic_mirror::core::body::at_hand;
use traffic_mirror::core::budget::Budget;
use traffic_mirror::core::copy::Draft;
use traffic_mirror::core::digest::Digest;
use traffic_mirror::core::header_map::HeaderMap;
use traffic_mirror::core::matcher::{Decision, Matcher};
use traffic_mirror::core::pending::Pending;
use traffic_mirror::core::redact::{Hide, Key, Redaction};
use traffic_mirror::core::request::{Request, Source};
use traffic_mirror::core::sample::Choice;

/// A request whose headers are at hand.
struct Given(HeaderMap);

impl Source for Given {
    fn headers(&self) -> HeaderMap {
        self.0.clone()
    }

    fn has_header(&self, name: &str) -> bool {
        self.0.first(name.as_bytes()).is_some()
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        Some(b"10.0.0.1:4711".to_vec())
    }

    fn route_name(&self) -> Option<Vec<u8>> {
        None
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        Some(b"primary".to_vec())
    }
}

fn request(headers: usize) -> Given {
    request_for("/api/v1/items/17?page=2", headers)
}

fn request_for(path: &str, headers: usize) -> Given {
    let mut pairs: Vec<(String, String)> = [
        (":authority", "reviews:9080"),
        (":path", path),
        (":method", "GET"),
        (":scheme", "http"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
        ("x-tenant", "tenant-none"),
        ("cookie", "session=0123456789abcdef; theme=dark"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    pairs.extend((pairs.len()..headers).map(|n| (format!("x-header-{n}"), format!("value of header {n}"))));
    Given(HeaderMap::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))))
}

fn config(rules: Value) -> Config {
    Config::from_bytes(json!({ "rules": rules }).to_string().as_bytes()).unwrap()
}

fn matching(c: &mut Criterion) {
    type Entry = fn(usize) -> Value;
    let kinds: [(&str, Entry); 4] = [
        ("exact header", |n| json!({ "headers": { "x-tenant": { "exact": format!("tenant-{n}") } } })),
        ("missing header", |n| json!({ "headers": { "x-missing": { "exact": format!("tenant-{n}") } } })),
        ("prefix", |n| json!({ "uri": { "prefix": format!("/service-{n}/") } })),
        ("regex", |n| json!({ "headers": { "user-agent": { "regex": format!(".*Mobile-{n}.*") } } })),
    ];
    let source = request(16);
    for (kind, entry) in kinds {
        let mut group = c.benchmark_group(format!("match/{kind}"));
        for count in [1, 10, 100, 1000] {
            let rules = (0..count).map(|n| json!({ "match": [entry(n)], "mirrors": [] })).collect();
            let matcher = Matcher::new(&config(rules).rules);
            group.bench_function(BenchmarkId::from_parameter(count), |b| {
                b.iter(|| matcher.decide(black_box(&Request::new(&source, false))));
            });
        }
    }
}

/// The longest path that Envoy takes, which each expression would read to its end.
fn long_path(c: &mut Criterion) {
    let source = request_for(&format!("/catalogue/{}", "a".repeat(49 << 10)), 16);
    let mut group = c.benchmark_group("match/expressions on a path of 49 KiB");
    for (name, expression) in
        [("with a text", "/catalogue/[a-z]+/item-NUMBER/[0-9]+"), ("without", "/[a-z]+/[a-z]+/[0-9]+/NUMBER")]
    {
        for count in [1, 100, 1000] {
            let rule = |n: usize| {
                let regex = expression.replace("NUMBER", &n.to_string());
                json!({ "match": [{ "uri": { "regex": regex } }], "mirrors": [] })
            };
            let matcher = Matcher::new(&config((0..count).map(rule).collect()).rules);
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| matcher.decide(black_box(&Request::new(&source, false))));
            });
        }
    }
}

fn copying(c: &mut Criterion) {
    let edits = json!({
        "cluster": "m", "rewrite": { "uri": "/v2" },
        "headers": { "remove": ["cookie"], "set": { "x-env": "test" }, "add": { "via": "mirror" } },
    });
    let mut group = c.benchmark_group("copy");
    for (name, mirror) in [("plain", json!({ "cluster": "m" })), ("edited", edits)] {
        let config = config(json!([{ "match": [{ "uri": { "prefix": "/api" } }], "mirrors": [mirror] }]));
        let mirror = &config.rules[0].mirrors[0];
        for headers in [16, 44, 80] {
            let Given(map) = request(headers);
            group.bench_function(BenchmarkId::new(name, headers), |b| {
                b.iter(|| {
                    let request = Digest::new(black_box(map.clone()), config.marker.as_ref());
                    let draft = Draft::new(mirror, &request, Some(4), || 1).unwrap();
                    draft.write(config.marker.as_ref(), Vec::new()).unwrap().size()
                });
            });
        }
    }
}

fn redacting(c: &mut Criterion) {
    let key = Key::new(b"0123456789abcdef");
    let order = r#"{"id":17,"user":{"email":"a@b.test","name":"\u00c9va"},"items":[{"sku":"x-1","price":9.95},{"sku":"y-2","price":12}]}"#;
    let orders = |size: usize| format!("[{}]", vec![order; size / order.len()].join(","));
    let filled = |begin: &str, unit: &str, end: &str| begin.to_owned() + &unit.repeat((64 << 10) / unit.len()) + end;
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let lists = |with: &str| json!({ "json": ["/*/user/email", "/*/items/*/price", "/user/phone", "/a"], "form": ["email", "password"], "with": with });
    let mut group = c.benchmark_group("redact");
    for (name, kind, body) in [
        ("orders of 1 KiB", json, orders(1 << 10)),
        ("orders of 10 KiB", json, orders(10 << 10)),
        ("orders of 64 KiB", json, orders(64 << 10)),
        ("text of 64 KiB", json, filled("\"", "lorem ipsum ", "\"")),
        ("escapes of 64 KiB", json, filled("\"", "\\u00e9", "\"")),
        ("members of 64 KiB", json, filled("{\"b\":0", ",\"b\":1", "}")),
        ("items of 64 KiB", json, filled("[0", ",0", "]")),
        ("objects of 64 KiB", json, filled("[0", ",{}", "]")),
        ("depth of 64 KiB", json, filled("[0", &format!(",{}{}", "[".repeat(127), "]".repeat(127)), "]")),
        ("form of 64 KiB", form, filled("a=b", "&name=value", "")),
        ("short form of 64 KiB", form, filled("", "&", "")),
        ("escaped form of 64 KiB", form, filled("", "%61=&", "")),
        ("spaces in a form of 64 KiB", form, filled("", "+&", "")),
    ] {
        for with in ["mask", "pseudonym"] {
            let config = config(json!([{ "mirrors": [{ "cluster": "m", "redact": lists(with) }] }]));
            let redact = config.rules[0].mirrors[0].redact.as_ref().unwrap();
            let hide = Hide::new(redact.with, key.as_ref()).unwrap();
            let request = Digest::new(HeaderMap::from_pairs([(&b"content-type"[..], kind.as_bytes())]), None);
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(BenchmarkId::new(name, with), |b| {
                b.iter(|| {
                    Redaction::new(redact, hide, &request, black_box(body.as_bytes()), 1 << 20).map(Redaction::make)
                });
            });
        }
    }
}

fn sampling(c: &mut Criterion) {
    let source = request(16);
    let mut generator = Xoshiro128PlusPlus::seed_from_u64(1);
    let mut group = c.benchmark_group("sample");
    for (name, key) in [
        ("random", json!(null)),
        ("header", json!({ "httpHeaderName": "x-tenant" })),
        ("cookie", json!({ "httpCookieName": "session" })),
    ] {
        let mirror = json!({ "cluster": "m", "percentage": 5, "consistentHash": key });
        let config = config(json!([{ "mirrors": [mirror] }]));
        let mirror = &config.rules[0].mirrors[0];
        group.bench_function(name, |b| {
            b.iter(|| {
                Choice::new(&mut generator, || Moment::since_epoch(0))
                    .selects(mirror, black_box(&Request::new(&source, false)))
                    .is_ok()
            });
        });
    }
}

fn gathering(c: &mut Criterion) {
    let config = config(json!([{ "mirrors": [{ "cluster": "m" }] }]));
    let rule = &config.rules[0];
    let Given(map) = request(16);
    let mut group = c.benchmark_group("body of 1 MiB, chunks of");
    for size in [64, 1 << 10, 16 << 10, 1 << 20] {
        let chunk = vec![0; size];
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                let mut budget = Budget::new(&Limits::default(), Rc::default());
                let decision = Decision { rule: 0, matched_uri: None };
                let mut pending = Pending::new(decision);
                pending.select(rule, |_| Ok(()));
                pending.read_headers(map.clone(), None, rule, 1 << 20, || true).unwrap();
                for _ in 0..(1 << 20) / size {
                    pending.chunk(size, rule, 1 << 20, &mut budget, at_hand(&chunk));
                }
                pending.take_body(&mut budget)
            });
        });
    }
}

fn configuring(c: &mut Criterion) {
    let rule = |n| json!({ "match": [{ "headers": { "x-tenant": { "exact": format!("t-{n}") } } }], "mirrors": [{ "cluster": "m" }] });
    let text = json!({ "rules": (0..1000).map(rule).collect::<Value>() }).to_string();
    c.bench_function("read a configuration of 1,000 rules", |b| {
        b.iter(|| Config::from_bytes(black_box(text.as_bytes())))
    });
}

criterion_group!(core, matching, long_path, copying, redacting, sampling, gathering, configuring);
criterion_main!(core);
