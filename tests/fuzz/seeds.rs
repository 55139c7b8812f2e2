//! Writes what fuzzing starts from: the configurations that documents and tests show, and requests and answers made of
//! each piece that the targets can choose. `cargo test --test fuzz -- --ignored` does it, when there is something new.

use fake_host::fuzz::answer::{self, KINDS, NAMES, STEPS, Step};
use fake_host::fuzz::case::{ADDRESSES, ELAPSED, ENDS, GIFTS, LATENCIES, OFFSETS, ROUTES, STATUSES, WAYS};
use fake_host::fuzz::choice::{
    BODIES, CAPS, EDITS, ENTRIES, HEADERS, LIMITS, MARKERS, MOMENTS, OPTIONS, PERIODS, REWRITES, SAMPLES, TARGETS,
    TRACES, WHENS,
};
use fake_host::fuzz::compare::{ENCODINGS, SIZES};
use fake_host::fuzz::configuration::to_struct;
use fake_host::fuzz::redact::{self, PLACES};
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use traffic_mirror::config::Config;
use traffic_mirror::core::header_map::HeaderMap;

/// A configuration with each field that there is.
const EVERYTHING: &str = r#"{"rules":[{"name":"tester","match":[{"uri":{"prefix":"/reviews"},"ignoreUriCase":true,
"method":{"exact":"GET"},"scheme":{"exact":"https"},"authority":{"exact":"reviews:9080"},
"headers":{"end-user":{"exact":"tester","ignoreCase":true}},"withoutHeaders":{"x-internal":{}},
"queryParams":{"v":{"suffix":"2"}},"cookies":{"session":{"contains":"é","ignoreCase":true}},
"sourceCidrs":["10.0.0.0/8","fd00::/8","127.0.0.1"],"routeName":{"regex":"default|other"},"clusterName":{"prefix":"outbound|9080|"}}],"mirrors":[
{"cluster":"mirror","percentage":50,"consistentHash":{"httpHeaderName":"x-user-id","seed":"18446744073709551615"},
"rewrite":{"authority":"reviews-v2.test","uri":"/v2"},"headers":{"remove":["authorization"],"set":{"x-env":"staging"},
"add":{"via":"mirror"}},"body":"omit","onOversizedBody":"omit","timeout":"1m1.5s"},
{"destination":{"host":"mirror.test","port":{"number":9080},"subset":"v1"},"fraction":{"numerator":1,"denominator":3},
"rewrite":{"uriRegexRewrite":{"match":"^/api/(.*)$","rewrite":"/\\1"}},"consistentHash":{"useSourceIp":true}},
{"clusterHeader":"x-mirror-cluster","allowedClusters":["a","b"],"disableShadowHostSuffixAppend":true,"body":"include",
"onOversizedBody":"skip","consistentHash":{"httpCookieName":"session"}},
{"cluster":"d","consistentHash":{"httpQueryParameterName":"user"},"timeout":"100ms","maxInFlight":7,
"ramp":[{"at":"2026-12-01T09:00:00Z","percentage":1},{"at":"2026-12-01T12:00:00.5+01:00","percentage":10}],
"from":"2026-12-01T08:00:00Z","until":"2026-12-08T08:00:00Z"},
{"name":"debug","cluster":"d","when":[{"status":["5xx",429,"500-503","none"]},{"slowerThan":"500ms"}],"trace":"new",
"redact":{"headers":["authorization"],"cookies":["session"],"queryParams":["token"],"form":["password"],
"json":["/user/email","/cards/*/number"],"with":"pseudonym"}}],"unrouted":"mirror",
"compare":{"status":true,"headers":["content-type"],"fields":true,
"body":{"json":{"ignore":["/timestamp","/items/*/id"],"unorderedArrays":true,"nullIsAbsent":false},"maxBytes":65536}}}],"markerHeader":"X-Copy","onInvalid":"keepLast",
"limits":{"maxBodyBytes":1,"maxBufferedBytes":2.0,"maxInFlight":"3","maxRequestsPerSecond":4,"burst":5}}"#;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Writes a target's seeds in place of those that are there.
fn write(target: &str, seeds: impl IntoIterator<Item = Vec<u8>>) {
    let folder = root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("seed-") {
            fs::remove_file(path).unwrap();
        }
    }
    for (number, seed) in seeds.into_iter().collect::<BTreeSet<_>>().into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:03}")), seed).unwrap();
    }
}

/// Returns the texts in fences of a Markdown document that say `yaml`, and the raw strings of a Rust file.
fn texts(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let (open, close) =
        if path.extension().is_some_and(|own| own == "rs") { ("r#\"", "\"#") } else { ("```yaml\n", "```") };
    let parts = text.split(open).skip(1).filter_map(|part| part.split(close).next());
    parts.map(str::to_owned).collect()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|own| own == "rs" || own == "md")).collect()
}

/// Returns the configurations that documents and tests show.
fn configurations() -> BTreeSet<String> {
    Config::from_bytes(EVERYTHING.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let mut shown: BTreeSet<String> = [EVERYTHING.replace('\n', "")].into();
    for path in ["src/config", "tests/native", "docs"].into_iter().flat_map(files).chain([root().join("README.md")]) {
        for text in texts(&path) {
            let values: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_default();
            shown.extend(values.iter().filter(|value| value.get("rules").is_some()).map(Value::to_string));
        }
    }
    shown
}

#[test]
#[ignore = "writes files"]
fn write_configurations() {
    let mut seeds = Vec::new();
    let mut words = BTreeSet::new();
    for text in configurations() {
        if let Ok(Value::Object(fields)) = serde_json::from_str(&text)
            && let Some(message) = to_struct(&fields)
            && Config::from_bytes(text.as_bytes()).is_ok()
        {
            seeds.push(message.encode_to_vec());
        }
        words.extend(
            text.split('"')
                .skip(1)
                .step_by(2)
                .filter(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
                .map(str::to_owned),
        );
        seeds.push(text.into_bytes());
    }
    seeds.extend([&b"{\"rules\":"[..], b"\x0a\xff\xff", b"rules: []", b"null", b"[]", b"\n"].map(<[u8]>::to_vec));
    write("configuration", seeds);
    let mut dictionary =
        String::from("# What stands between quotes in the configurations that documents and tests show.\n");
    for word in words.iter().filter(|word| word.len() > 1) {
        writeln!(dictionary, "\"\\\"{word}\\\"\"").unwrap();
    }
    fs::write(root().join("fuzz/configuration.dict"), dictionary).unwrap();
}

/// Spells a choice among several.
fn choice<T>(pieces: &[T], chosen: usize) -> u8 {
    assert!(chosen < pieces.len() && pieces.len() > 1);
    u8::try_from(chosen).unwrap()
}

/// Spells a number of two bytes, and bytes after it.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

/// The choices of one request.
#[derive(Default)]
struct Spelled {
    entries: Vec<usize>,
    target: usize,
    sample: usize,
    rewrite: usize,
    edits: usize,
    body: usize,
    period: usize,
    when: usize,
    cap: usize,
    trace: usize,
    options: usize,
    marker: usize,
    limits: [usize; 2],
    address: usize,
    route: usize,
    end: usize,
    way: usize,
    status: usize,
    latency: usize,
    elapsed: usize,
    moment: usize,
    offset: usize,
    /// Pieces, each with the place of the byte that is another, and that byte.
    pieces: Vec<(usize, u8, u8)>,
    headers: Vec<(&'static str, &'static [u8])>,
    chunks: Vec<(usize, u16)>,
}

impl Spelled {
    fn bytes(&self) -> Vec<u8> {
        // One rule, with these entries, and two mirrors that differ in their bodies. The second never waits for a response.
        let mut bytes = vec![0, u8::try_from(self.entries.len()).unwrap()];
        bytes.extend(self.entries.iter().map(|entry| choice(ENTRIES, *entry)));
        bytes.push(2);
        for (target, body, when) in [(self.target, self.body, self.when), (0, (self.body + 1) % BODIES.len(), 0)] {
            bytes.extend([choice(TARGETS, target), choice(SAMPLES, self.sample), choice(REWRITES, self.rewrite)]);
            bytes.extend([choice(EDITS, self.edits), choice(BODIES, body), choice(PERIODS, self.period)]);
            bytes.extend([choice(WHENS, when), choice(CAPS, self.cap), choice(TRACES, self.trace)]);
        }
        bytes.extend([choice(OPTIONS, self.options), choice(MARKERS, self.marker)]);
        bytes.extend(self.limits.map(|limit| choice(LIMITS, limit)));
        bytes.extend([
            choice(ADDRESSES, self.address),
            choice(ROUTES, self.route),
            choice(ENDS, self.end),
            choice(WAYS, self.way),
            choice(STATUSES, self.status),
            choice(LATENCIES, self.latency),
            choice(ELAPSED, self.elapsed),
            choice(MOMENTS, self.moment),
            choice(OFFSETS, self.offset),
            u8::try_from(self.pieces.len()).unwrap(),
        ]);
        bytes.extend(self.pieces.iter().flat_map(|(piece, place, byte)| [choice(HEADERS, *piece), *place, *byte]));
        let pseudo = [(":authority", "host:80"), (":path", "/api/v1?q=1#f"), (":method", "POST"), (":scheme", "http")];
        let pseudo = pseudo.map(|(name, value)| (name, value.as_bytes()));
        let headers = pseudo.iter().chain(&self.headers).map(|(name, value)| (name.as_bytes(), *value));
        bytes.extend(sized(HeaderMap::from_pairs(headers).as_abi()));
        bytes.extend(self.chunks.iter().flat_map(|(gift, size)| {
            let [low, high] = size.to_le_bytes();
            [choice(GIFTS, *gift), low, high]
        }));
        bytes
    }
}

#[test]
#[ignore = "writes files"]
fn write_requests() {
    let mut seeds = Vec::new();
    let chunks = || vec![(0, 5), (0, 0), (0, 20_000), (0, 3)];
    let headers: &[(&str, &[u8])] = &[
        ("x-a", b"1"),
        ("x-b", b"22"),
        ("x-to", b"a"),
        ("cookie", b"a=1; session=\"X\""),
        ("content-length", b"15"),
        ("content-type", b"application/grpc"),
        ("connection", b"close, X-Hop"),
        ("x-hop", b"1"),
        ("te", b"trailers"),
        ("x-a", b"caf\xe9"),
        ("upgrade", b"websocket"),
        ("x-envoy-max-retries", b"3"),
        ("x-mirrored-request", b"true"),
    ];
    let plain = || Spelled { headers: headers[..10].to_vec(), end: 1, chunks: chunks(), ..Spelled::default() };
    seeds.extend((0..ENTRIES.len()).map(|entry| Spelled { entries: vec![entry], way: 1, ..plain() }));
    seeds.push(Spelled { entries: (7..16).collect(), ..plain() });
    seeds.extend((0..TARGETS.len()).map(|target| Spelled { target, ..plain() }));
    seeds.extend((0..SAMPLES.len()).map(|sample| Spelled { sample, ..plain() }));
    seeds.extend((0..REWRITES.len()).map(|rewrite| Spelled { rewrite, entries: vec![1, 0], way: 2, ..plain() }));
    seeds.extend((0..EDITS.len()).map(|edits| Spelled { edits, way: 1, ..plain() }));
    seeds.extend((0..BODIES.len()).flat_map(|body| {
        (0..LIMITS.len()).map(move |limit| Spelled { body, limits: [limit, (limit + 1) % LIMITS.len()], ..plain() })
    }));
    seeds.extend((0..MARKERS.len()).map(|marker| Spelled { marker, headers: headers.to_vec(), ..plain() }));
    seeds.extend((0..ENDS.len()).map(|end| Spelled { end, headers: headers[10..12].to_vec(), ..plain() }));
    let empty: &[(&str, &[u8])] = &[("content-length", b"0")];
    let sizes = [vec![], vec![(0, 0)], vec![(0, 5)]];
    seeds.extend(sizes.map(|chunks| Spelled { headers: empty.to_vec(), chunks, ..plain() }));
    seeds.extend((0..WAYS.len()).map(|way| Spelled { way, entries: vec![8], ..plain() }));
    seeds.extend((0..GIFTS.len()).map(|gift| Spelled { chunks: vec![(0, 9), (gift, 9)], end: 2, ..plain() }));
    seeds.extend((0..ADDRESSES.len()).map(|address| Spelled { address, entries: vec![16], sample: 6, ..plain() }));
    seeds.extend((0..ROUTES.len()).map(|route| Spelled { route, entries: vec![17], ..plain() }));
    seeds.extend((0..ROUTES.len()).map(|route| Spelled { route, entries: vec![18], ..plain() }));
    seeds.extend((0..OPTIONS.len()).map(|options| Spelled { options, route: 3, ..plain() }));
    seeds.extend((0..STATUSES.len()).map(|status| Spelled { options: 1, status, ..plain() }));
    let moments = || (0..MOMENTS.len()).map(|moment| (moment, 0)).chain([(1, 1)]);
    let timed = |(moment, offset)| Spelled { moment, offset, ..plain() };
    for sample in 7..SAMPLES.len() {
        seeds.extend(moments().map(|at| Spelled { sample, ..timed(at) }));
    }
    for period in 1..PERIODS.len() {
        seeds.extend(moments().map(|at| Spelled { period, ..timed(at) }));
    }
    for when in 1..WHENS.len() {
        let late = || Spelled { when, options: 1, ..plain() };
        seeds.extend((0..STATUSES.len()).map(|status| Spelled { status, latency: 6, ..late() }));
    }
    // Those that ask how long it took.
    for when in 4..WHENS.len() {
        let late = || Spelled { when, options: 1, ..plain() };
        seeds.extend((0..LATENCIES.len()).map(|latency| Spelled { latency, ..late() }));
        seeds.extend((1..ELAPSED.len()).map(|elapsed| Spelled { elapsed, latency: 6, ..late() }));
    }
    let late = || Spelled { when: 1, status: 3, headers: Vec::new(), ..plain() };
    seeds.extend((0..ENDS.len()).map(|end| Spelled { end, ..late() }));
    seeds.extend((0..LIMITS.len()).map(|limit| Spelled { limits: [limit, limit], chunks: vec![(0, 9)], ..late() }));
    seeds.extend((1..CAPS.len()).map(|cap| Spelled { cap, ..plain() }));
    seeds.push(Spelled { cap: 1, ..late() });
    seeds.push(Spelled { trace: 3, pieces: vec![(0, 0, 0), (10, 0, 0)], ..plain() });
    for trace in 1..3 {
        let alone = (0..HEADERS.len()).map(|piece| vec![(piece, 0, 0)]);
        let changed =
            [(0, 55, b'0'), (0, 2, b'F'), (4, 50, b'd'), (19, 15, b'-'), (15, 1, b'.')].map(|piece| vec![piece]);
        let together =
            [vec![(0, 0, 0), (1, 0, 0)], vec![(0, 0, 0), (23, 0, 0)], (0..6).map(|piece| (3 * piece, 0, 0)).collect()];
        seeds.extend(alone.chain(changed).chain(together).map(|pieces| Spelled { trace, pieces, ..plain() }));
        seeds.extend((5..7).map(|edits| Spelled { trace, edits, pieces: vec![(0, 0, 0), (10, 0, 0)], ..plain() }));
    }
    write("request", seeds.iter().map(Spelled::bytes));
}

/// Spells an answer that says the truth of its headers.
fn answer(headers: &[(usize, &str)]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(headers.len()).unwrap()];
    for (name, value) in headers {
        bytes.push(choice(NAMES, *name));
        bytes.push(u8::try_from(value.len()).unwrap());
        bytes.extend(value.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn step(step: Step, more: &[u8]) -> Vec<u8> {
    let at = STEPS.iter().position(|other| std::mem::discriminant(other) == std::mem::discriminant(&step));
    [&[choice(STEPS, at.unwrap())], more].concat()
}

#[test]
#[ignore = "writes files"]
fn write_answers() {
    let (status, served, grpc) = (0, 1, 2);
    let statuses = ["101", "200", "302", "404", "503", "599", "", "x", "\u{fffd}"];
    let mut answers = vec![answer(&[]), answer(&[(3, "91")]), answer(&[(status, "200"), (grpc, "14")])];
    answers.extend(statuses.map(|text| answer(&[(status, text)])));
    answers.extend(statuses.map(|text| answer(&[(status, text), (served, "3")])));
    let mut seeds = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        let request = step(Step::Request, &[choice(KINDS, number % KINDS.len())]);
        let answered = step(Step::Answer, &[&[0], &answer[..]].concat());
        let stray = step(Step::Stray, &[&[4, 0, 0, 0], &answer[..], &[0]].concat());
        let status = choice(answer::STATUSES, number % answer::STATUSES.len());
        let (end, replace) = (step(Step::End, &[status]), step(Step::Replace, &[]));
        seeds.push([&request[..], &answered, &answered, &end, &stray].concat());
        seeds.push([&request[..], &end, &request, &replace, &answered, &stray, &answered, &end].concat());
    }
    write("answer", seeds);
}

#[test]
#[ignore = "writes files"]
fn write_hidden_values() {
    let json = [
        r#"{"a":"secret","b":1}"#,
        r#"[{"b":"secret"},[1],{"\u0062":["x",{}]}]"#,
        r#"{"a":[{"b":1,"c":"\ud83d\ude00"},["x\"}"]],"":{"é":-1.5e3,"\u00e9":null}}"#,
        r#" { "a" : { "0" : { "b" : true } } , "a" : "" } "#,
        "[[[[1]]],[[2]]]",
        "\"a\"",
        "{\"a\":1",
    ];
    let forms = ["token=secret&a+b=1&%C3%A9=2&a%3Bb=3", "t%6Fken=1&token&=&a=%zz", "a=1;token=2", "{\"token\":1}"];
    let bodies = json.map(|body| (0, body)).into_iter().chain(forms.map(|body| (1, body))).chain([
        (2, json[0]),
        (3, "x"),
        (4, "x"),
        (4, ""),
    ]);
    let paths = ["?token=secret&a=1&a%20b=x", "p", "?a=1;token=2", "?%t=1", "#?token=1"];
    let cookies = ["token=secret; a=1", "a=1;token=\"secret\"; token", "token=\"x; a=1\"", "a=1, token=2", ""];
    let mut seeds = Vec::new();
    for (number, (kind, body)) in bodies.enumerate() {
        for pseudonym in [0, 1] {
            let mut bytes = vec![
                2,
                choice(PLACES, 0),
                choice(PLACES, 1 + number % (PLACES.len() - 1)),
                choice(PLACES, 4),
                pseudonym,
            ];
            bytes.push(choice(redact::KINDS, kind));
            for text in [paths[number % paths.len()], cookies[(number / 2) % cookies.len()], "secret"] {
                bytes.push(u8::try_from(text.len()).unwrap());
                bytes.extend(text.bytes());
            }
            bytes.extend(body.bytes());
            seeds.push(bytes);
        }
    }
    write("redact", seeds);
}

/// Compresses with gzip.
fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
#[ignore = "writes files"]
fn write_comparisons() {
    let pairs = [
        (r#"{"a":1,"b":[1,{"b":2}]}"#, r#"{"b":[1.0,{"b":3}],"\u0061":10e-1}"#),
        (r#"[{"b":null,"c":"\ud83d\ude00"},[0.10,-0,1e400]]"#, r#"[{"c":"😀"},[1e-1,0,10e399]]"#),
        (r#"{"a":1,"a":{"0":{"b":[]}}}"#, r#"{"a":{"0":{"b":{}}},"":{"é":1}}"#),
        ("[3,[2,1],{\"a\":[true,false]}]", "[{\"a\":[false,true]},3,[1,2]]"),
        ("[[[[1]]],[[2]]]", "[[[[1]]]"),
        ("\"a~/\"", "nul"),
        ("", "{}"),
        ("123456789012345678901234567890", "123456789012345678901234567890.5e-3"),
    ];
    let mut seeds = Vec::new();
    for (number, (one, other)) in pairs.into_iter().enumerate() {
        for flags in 0..4u8 {
            let (first, second) = [(0, 0), (1, 1), (1, 2), (0, 3)][(number + usize::from(flags)) % 4];
            let place = 1 + (number + usize::from(flags)) % (PLACES.len() - 1);
            let mut bytes = vec![2, choice(PLACES, 0), choice(PLACES, place), flags & 1, flags >> 1];
            bytes.push(u8::from(number == 6));
            bytes.push(choice(SIZES, usize::from(flags == 3)));
            bytes.extend([choice(ENCODINGS, first), choice(ENCODINGS, second), 0]);
            let encoded = |encoding, text: &str| if encoding == 1 { gzip(text) } else { text.as_bytes().to_vec() };
            bytes.extend(sized(&encoded(first, one)));
            bytes.extend(encoded(second, other));
            seeds.push(bytes);
        }
        // The second is the first with something else at its second byte.
        let mut edited = vec![0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1];
        edited.extend(sized(one.as_bytes()));
        edited.extend(b"7");
        seeds.push(edited);
    }
    write("compare", seeds);
}
