//! Every order in which Envoy may call: streams that interleave, end or break off at any point, answers at any time,
//! configurations that come and go under all that. After each callback the books balance.

use crate::books;
use crate::envoy::{Envoy, request};
use crate::host::{Call, Headers};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

/// The rules, beside limits that differ. `excluded` to `wanted` are told apart by the path.
const RULES: &str = r#"[
    {"name":"excluded","match":[{"uri":{"prefix":"/excluded"}}],"mirrors":[]},
    {"name":"bodies","match":[{"uri":{"prefix":"/bodies"}}],"mirrors":[
        {"cluster":"a"},{"cluster":"b","onOversizedBody":"omit"},{"cluster":"c","body":"omit"}]},
    {"name":"broken","match":[{"uri":{"prefix":"/broken"}}],"mirrors":[
        {"cluster":"unknown"},{"cluster":"drained","onOversizedBody":"omit"},
        {"clusterHeader":"x-cluster","allowedClusters":["a","drained"]},{"clusterHeader":"x-other","body":"omit"}]},
    {"name":"sampled","match":[{"uri":{"prefix":"/sampled"},"sourceCidrs":["10.0.0.0/8"]}],"mirrors":[
        {"cluster":"a","percentage":50},{"cluster":"b","percentage":0,"body":"omit"},
        {"cluster":"c","percentage":50,"consistentHash":{"useSourceIp":true}}]},
    {"name":"wanted","match":[{"headers":{"x-wanted":{}}}],"mirrors":[{"cluster":"b"}]}
]"#;

#[derive(Debug, Clone)]
enum Step {
    /// A request's headers come.
    Begin { path: &'static str, more: Vec<(&'static str, Vec<u8>)>, ends: bool },
    /// A request is refused before its headers reach the filter.
    Refuse,
    /// A chunk of a request's body comes.
    Body { stream: usize, size: usize, ends: bool },
    /// A request's trailers come.
    Trailers { stream: usize },
    /// A stream ends, complete or not.
    End { stream: usize },
    /// A mirror answers, or resets.
    Answer { call: usize, headers: Headers },
    /// Another configuration takes over.
    Replace { limits: Limits },
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    body: usize,
    buffered: usize,
    in_flight: usize,
    rate: Option<u32>,
}

impl Limits {
    fn configuration(self) -> String {
        let rate = self.rate.map_or(String::new(), |rate| format!(r#","maxRequestsPerSecond":{rate}"#));
        let Self { body, buffered, in_flight, .. } = self;
        let limits = format!(r#""maxBodyBytes":{body},"maxBufferedBytes":{buffered},"maxInFlight":{in_flight}{rate}"#);
        format!(r#"{{"rules":{RULES},"limits":{{{limits}}}}}"#)
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let body = prop::sample::select(vec![0, 8, 1000, 50_000]);
    let buffered = prop::sample::select(vec![0, 10, 2000, 1 << 20]);
    let in_flight = prop::sample::select(vec![0, 2, 1000, 1000]);
    let rate = prop::sample::select(vec![None, None, Some(3)]);
    (body, buffered, in_flight, rate).prop_map(|(body, buffered, in_flight, rate)| Limits {
        body,
        buffered,
        in_flight,
        rate,
    })
}

fn begin() -> impl Strategy<Value = Step> {
    let path = prop::sample::select(vec!["/excluded", "/bodies", "/bodies", "/broken", "/broken?x", "/sampled", "/"]);
    let cluster = prop_oneof![Just(b"a".to_vec()), Just(b"drained".to_vec()), vec(any::<u8>(), 0..3)];
    let header = prop_oneof![
        (prop::sample::select(vec!["x-cluster", "x-other"]), cluster.clone()),
        (prop::sample::select(vec!["x-cluster", "x-other"]), cluster),
        Just(("x-wanted", b"\xff".to_vec())),
        Just(("content-length", b"999".to_vec())),
        Just(("content-type", b"application/grpc".to_vec())),
        Just(("upgrade", b"websocket".to_vec())),
        Just(("connection", b"keep-alive, Upgrade".to_vec())),
        Just(("x-mirrored-request", b"true".to_vec())),
    ];
    (path, vec(header, 0..4), any::<bool>()).prop_map(|(path, more, ends)| Step::Begin { path, more, ends })
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..4usize;
    let size = prop_oneof![Just(0), 1..12usize, Just(999), Just(20_000)];
    let status = prop_oneof!["[1-5][0-9][0-9]".prop_map(String::into_bytes), vec(any::<u8>(), 0..4)];
    let timed = || (b"x-envoy-upstream-service-time".to_vec(), b"1".to_vec());
    let headers = prop_oneof![
        Just(Headers::new()),
        Just(vec![(b"server".to_vec(), b"".to_vec())]),
        status.clone().prop_map(|status| vec![(b":status".to_vec(), status)]),
        status.prop_map(move |status| vec![(b":status".to_vec(), status), timed()]),
    ];
    prop_oneof![
        6 => begin(),
        1 => Just(Step::Refuse),
        8 => (stream.clone(), size, any::<bool>()).prop_map(|(stream, size, ends)| Step::Body { stream, size, ends }),
        2 => stream.clone().prop_map(|stream| Step::Trailers { stream }),
        4 => stream.prop_map(|stream| Step::End { stream }),
        6 => (0..4usize, headers).prop_map(|(call, headers)| Step::Answer { call, headers }),
        1 => limits().prop_map(|limits| Step::Replace { limits }),
    ]
}

/// What is known of a stream that has not ended.
struct Live {
    id: u32,
    root: u32,
    body: Vec<u8>,
    /// The length that its headers announce, which counts as the body's where it is above the limit.
    announced: usize,
    is_complete: bool,
    /// It is one of those that never get a copy.
    is_ignorable: bool,
}

/// What the test expects of the filter, kept apart from the filter's own books.
struct Run {
    envoy: Envoy,
    root: u32,
    /// The limits of each configuration, by its root.
    limits: BTreeMap<u32, Limits>,
    live: Vec<Live>,
    decided: BTreeMap<&'static str, i64>,
    ignored: BTreeMap<&'static str, i64>,
}

impl Run {
    fn new(limits: Limits) -> Self {
        let (envoy, root) = Envoy::with(&limits.configuration());
        Envoy::host(|host| host.properties.insert("source.address".into(), b"10.1.2.3:4567".to_vec()));
        let limits = [(root, limits)].into();
        Self { envoy, root, limits, live: Vec::new(), decided: BTreeMap::new(), ignored: BTreeMap::new() }
    }

    fn step(&mut self, step: Step) {
        let sent = Envoy::host(|host| host.sent.len());
        // The stream that the step completes, if it does.
        let mut completed = None;
        match step {
            Step::Begin { path, more, ends } => {
                let mut headers = request(path, &[]);
                headers.extend(more.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.clone())));
                let ignored = || Envoy::host(|host| books::sum(host, "ignored_total", &[]));
                let before = ignored();
                let id = self.envoy.begin(self.root, headers, ends);
                let has = |name: &str| more.iter().any(|(found, _)| *found == name);
                let reason = never_mirrored(has, ends);
                self.expect(rule_of(has, path), reason, ignored() > before);
                let announced = if has("content-length") { 999 } else { 0 };
                let is_ignorable = reason.is_some();
                let root = self.root;
                self.live.push(Live { id, root, body: Vec::new(), announced, is_complete: ends, is_ignorable });
                completed = ends.then(|| self.live.len() - 1);
            }
            Step::Refuse => {
                let id = self.envoy.open(self.root, Headers::new());
                self.envoy.end(id);
            }
            Step::Body { stream, size, ends } => {
                let Some(index) = self.incomplete(stream) else { return };
                let live = &mut self.live[index];
                let chunk: Vec<u8> = (0..size).map(|at| (live.body.len() + at) as u8).collect();
                live.body.extend_from_slice(&chunk);
                live.is_complete = ends;
                self.envoy.body(live.id, &chunk, ends);
                completed = ends.then_some(index);
            }
            Step::Trailers { stream } => {
                let Some(index) = self.incomplete(stream) else { return };
                self.live[index].is_complete = true;
                self.envoy.trailers(self.live[index].id);
                completed = Some(index);
            }
            Step::End { stream } => {
                if stream < self.live.len() {
                    self.envoy.end(self.live.remove(stream).id);
                }
            }
            Step::Answer { call, headers } => {
                let token = Envoy::host(|host| host.in_flight.keys().nth(call).copied());
                let Some(token) = token else { return };
                self.envoy.answer(token, headers);
            }
            Step::Replace { limits } => {
                let old = self.root;
                self.root = self.envoy.configure(limits.configuration().as_bytes()).unwrap();
                self.limits.insert(self.root, limits);
                self.envoy.retire(old);
            }
        }
        let calls = Envoy::host(|host| host.sent[sent..].to_vec());
        self.check_calls(&calls, completed.map(|index| &self.live[index]));
        self.check_gauges();
    }

    /// Finds a stream whose request is not complete.
    fn incomplete(&self, at: usize) -> Option<usize> {
        let incomplete = self.live.iter().enumerate().filter(|(_, live)| !live.is_complete);
        incomplete.map(|(index, _)| index).nth(at)
    }

    /// Notes how a request is to be counted: not at all without a rule, and as ignored if it would have got a copy and
    /// never gets one. Whether chance would have given it one only the filter can tell, by what it did.
    fn expect(&mut self, rule: Option<&'static str>, reason: Option<&'static str>, was_ignored: bool) {
        match (rule, reason) {
            (None, _) => {}
            (Some("bodies" | "broken" | "wanted"), Some(reason)) => *self.ignored.entry(reason).or_default() += 1,
            (Some("sampled"), Some(reason)) if was_ignored => *self.ignored.entry(reason).or_default() += 1,
            (Some(rule), _) => *self.decided.entry(rule).or_default() += 1,
        }
    }

    /// Checks the calls that one step made: it takes a request's completion to make any, and they are that request's.
    fn check_calls(&self, calls: &[Call], completed: Option<&Live>) {
        for call in calls {
            let live = completed.expect("a copy of a request that is not complete");
            assert_eq!((call.stream, call.root), (live.id, live.root), "the copy's owner");
            assert!(!live.is_ignorable, "a copy of what never gets one");
            let limits = self.limits[&live.root];
            let has_whole_body = call.body == live.body;
            match call.cluster.as_str() {
                "c" => assert!(call.body.is_empty() || self.is_sampled(call)),
                "b" if live.body.len().max(live.announced) > limits.body => assert!(call.body.is_empty()),
                _ => assert!(has_whole_body || call.header("x-other").is_some(), "the copy's body"),
            }
            assert!(call.body.is_empty() || has_whole_body, "a part of a body");
            assert!(call.body.len() <= limits.body.min(limits.buffered), "a body above the limit");
            assert_eq!(call.header("x-mirrored-request"), Some(&b"true"[..]));
        }
        assert!(calls.len() <= 4, "more copies than mirrors");
    }

    fn is_sampled(&self, call: &Call) -> bool {
        call.header(":path").is_some_and(|path| path.starts_with(b"/sampled"))
    }

    fn check_gauges(&self) {
        Envoy::host(|host| {
            books::balance(host);
            let incomplete = self.live.iter().filter(|live| !live.is_complete);
            let most: usize = incomplete.map(|live| live.body.len()).sum();
            let held = books::sum(host, "buffered_bytes", &[]);
            assert!(held <= i64::try_from(most).unwrap(), "{held} bytes held, of {most} that came");
            for (root, limits) in &self.limits {
                let in_flight = host.in_flight.values().filter(|call| call.root == *root).count();
                assert!(in_flight <= limits.in_flight, "{in_flight} copies in flight under {limits:?}");
            }
        });
    }

    /// Ends all streams, answers every call, and lets the last root go.
    fn finish(mut self) {
        while let Some(live) = self.live.pop() {
            self.envoy.end(live.id);
            self.check_gauges();
        }
        self.envoy.answer_all("200");
        self.envoy.retire(self.root);
        assert!(Envoy::host(|host| host.roots.is_empty()), "a root that nobody needs stays");
        self.envoy.check();
        Envoy::host(|host| {
            assert_eq!(books::by(host, "requests_total", "rule"), self.decided);
            assert_eq!(books::by(host, "ignored_total", "reason"), self.ignored);
        });
    }
}

/// Finds the rule that decides a request.
fn rule_of(has: impl Fn(&str) -> bool, path: &str) -> Option<&'static str> {
    match path.trim_start_matches('/').split('?').next() {
        Some("") | None => has("x-wanted").then_some("wanted"),
        Some(rule) => ["excluded", "bodies", "broken", "sampled"].into_iter().find(|name| *name == rule),
    }
}

/// Finds the reason why a request never gets a copy, if it is such a one.
fn never_mirrored(has: impl Fn(&str) -> bool, ends: bool) -> Option<&'static str> {
    if has("x-mirrored-request") {
        Some("marked")
    } else {
        (!ends && has("upgrade") && has("connection")).then_some("upgrade")
    }
}

#[test]
fn whatever_the_order_of_callbacks_the_books_balance_and_nothing_stays_held() {
    let cases = (limits(), vec(step(), 0..60));
    let mut runner = TestRunner::new(Config { source_file: Some(file!()), ..Config::with_cases(200) });
    let outcome = runner.run(&cases, |(limits, steps)| {
        let mut run = Run::new(limits);
        steps.into_iter().for_each(|step| run.step(step));
        run.finish();
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}\n{runner}"));
}
