//! The filter against a model of it: whatever comes, in whatever order, after each callback every counter and gauge is
//! what the [`ledger`](crate::ledger) says, the copies are those that it says, and the roots are those that are needed.

use crate::kept::MOST_COMPARED;
use crate::ledger::{Account, Compare, Copy, Late, Ledger, Limits, Mirror, Part, Rule, Share, Target, Unrouted};
use crate::steps::{Step, limits, pair, step};
use fake_host::books;
use fake_host::envoy::Envoy;
use fake_host::host::{Clocks, Headers, Host};
use fake_host::metrics::{Metric, Value};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The first of the seconds by which mirrors go, in those since 1970.
const MORNING: u64 = 1_796_115_600;

/// The same as text.
fn second(number: u64) -> String {
    assert!(number < 60);
    format!("2026-12-01T09:00:{number:02}Z")
}

pub const RULES: &[Rule] = &[
    Rule("nowhere", Compare::Status, &[], Unrouted::Ignore),
    Rule(
        "bodies",
        Compare::Status,
        &[
            Mirror(Target::Cluster("a"), Share::All, Part::Whole, Late::No),
            Mirror(Target::Cluster("b"), Share::All, Part::WholeOrNothing, Late::No),
            Mirror(Target::Cluster("c"), Share::All, Part::Nothing, Late::No),
        ],
        Unrouted::Mirror,
    ),
    Rule(
        "named",
        Compare::Status,
        &[
            Mirror(Target::Header("x-to"), Share::All, Part::WholeOrNothing, Late::No),
            Mirror(Target::Allowed("x-or", &["a", "drained"]), Share::All, Part::Whole, Late::No),
            Mirror(Target::Cluster("unknown"), Share::All, Part::Nothing, Late::No),
        ],
        Unrouted::Ignore,
    ),
    Rule(
        "sampled",
        Compare::Nothing,
        &[
            Mirror(Target::Cluster("a"), Share::HalfOfUsers, Part::Whole, Late::No),
            Mirror(Target::Cluster("b"), Share::None, Part::Whole, Late::No),
            Mirror(Target::Cluster("c"), Share::All, Part::Json, Late::No),
        ],
        Unrouted::Ignore,
    ),
    Rule(
        "late",
        Compare::Status,
        &[
            Mirror(Target::Cluster("a"), Share::All, Part::WholeOrNothing, Late::Errors(1)),
            Mirror(Target::Cluster("b"), Share::All, Part::Whole, Late::No),
            Mirror(Target::Cluster("c"), Share::HalfOfUsers, Part::Nothing, Late::Errors(1000)),
        ],
        Unrouted::Mirror,
    ),
    Rule(
        "content",
        Compare::Content,
        &[
            Mirror(Target::Cluster("a"), Share::All, Part::Whole, Late::No),
            Mirror(Target::Cluster("b"), Share::All, Part::Nothing, Late::No),
            Mirror(Target::Cluster("c"), Share::HalfOfUsers, Part::Whole, Late::Errors(1000)),
        ],
        Unrouted::Mirror,
    ),
    Rule(
        "timed",
        Compare::Nothing,
        &[
            Mirror(Target::Cluster("a"), Share::Steps(&[(10, 100), (20, 0), (30, 50)]), Part::Whole, Late::No),
            Mirror(Target::Cluster("b"), Share::Between(15, 35), Part::Nothing, Late::No),
            Mirror(Target::Cluster("c"), Share::Steps(&[(20, 100), (40, 0)]), Part::Whole, Late::Errors(1000)),
        ],
        Unrouted::Ignore,
    ),
];

/// `is_reversed`: a rule has another place than before.
fn configuration(limits: Limits, is_reversed: bool) -> String {
    let mirror = |mirror: &Mirror| {
        let mut fields = match mirror.0 {
            Target::Cluster(name) => json!({ "cluster": name }),
            Target::Header(name) => json!({ "clusterHeader": name }),
            Target::Allowed(name, allowed) => json!({ "clusterHeader": name, "allowedClusters": allowed }),
        };
        match mirror.1 {
            Share::All => {}
            Share::None => fields["percentage"] = 0.into(),
            Share::HalfOfUsers => {
                fields["percentage"] = 50.into();
                fields["consistentHash"] = json!({ "httpHeaderName": "x-user" });
            }
            Share::Steps(steps) => {
                let step = |(at, percent): &(u64, u64)| json!({ "at": second(*at), "percentage": percent });
                fields["ramp"] = steps.iter().map(step).collect();
                fields["consistentHash"] = json!({ "httpHeaderName": "x-user" });
            }
            Share::Between(from, until) => {
                fields["from"] = second(from).into();
                fields["until"] = second(until).into();
            }
        }
        match mirror.2 {
            Part::Whole => {}
            Part::WholeOrNothing => fields["onOversizedBody"] = "omit".into(),
            Part::Nothing => fields["body"] = "omit".into(),
            Part::Json => fields["redact"] = json!({ "json": ["/a"], "headers": ["x-none"], "with": "pseudonym" }),
        }
        if let Late::Errors(most) = mirror.3 {
            fields["when"] = json!([{ "status": ["5xx", "none"] }]);
            fields["maxInFlight"] = most.into();
        }
        fields
    };
    let rule = |Rule(name, compare, mirrors, unrouted): &Rule| {
        let mirrors: Vec<_> = mirrors.iter().map(mirror).collect();
        let mut fields =
            json!({ "name": name, "match": [{ "uri": { "exact": format!("/{name}") } }], "mirrors": mirrors });
        match compare {
            Compare::Nothing => {}
            Compare::Status => fields["compare"] = json!({ "status": true }),
            Compare::Content => {
                let body = json!({ "exact": true, "maxBytes": MOST_COMPARED });
                fields["compare"] = json!({ "status": true, "headers": ["x-v"], "body": body });
            }
        }
        if *unrouted == Unrouted::Mirror {
            fields["unrouted"] = "mirror".into();
        }
        fields
    };
    let mut rules: Vec<_> = RULES.iter().map(rule).collect();
    if is_reversed {
        rules.reverse();
    }
    let mut fields = json!({
        "maxBodyBytes": limits.body, "maxBufferedBytes": limits.buffered, "maxInFlight": limits.in_flight,
    });
    if let Some(burst) = limits.burst {
        fields["maxRequestsPerSecond"] = 1.into();
        fields["burst"] = burst.into();
    }
    json!({ "rules": rules, "limits": fields }).to_string()
}

/// A stream that has not ended.
struct Stream {
    id: u32,
    root: u32,
    is_complete: bool,
}

/// What a root has got.
#[derive(Debug, Clone, Copy)]
struct Configured {
    /// Its limits and the order of its rules; `None`: nothing is at work.
    at_work: Option<(Limits, bool)>,
    /// What the host handed over was wrong.
    is_wrong: bool,
}

pub struct Run {
    envoy: Envoy,
    ledger: Ledger,
    /// All roots that there were; the last is at work.
    roots: Vec<u32>,
    /// The configurations that they have.
    configurations: Vec<Configured>,
    streams: Vec<Stream>,
    sent: usize,
}

impl Run {
    pub fn start(limits: Limits) -> Self {
        let mut ledger = Ledger::default();
        let clusters = [("a", "sent"), ("b", "sent"), ("c", "sent"), ("drained", "no_upstream")];
        ledger.clusters.extend(clusters.map(|(name, outcome)| (name.into(), outcome)));
        let (envoy, root) = Envoy::with(&configuration(limits, false));
        ledger.configured(root, limits);
        // No time passes but by steps.
        Envoy::host(|host| {
            host.clocks = Clocks { wall: Some(MORNING * 1_000_000_000), monotonic: Some(1_000_000_000) }
        });
        let (roots, configurations) =
            (vec![root], vec![Configured { at_work: Some((limits, false)), is_wrong: false }]);
        Self { envoy, ledger, roots, configurations, streams: Vec::new(), sent: 0 }
    }

    fn root(&self) -> u32 {
        *self.roots.last().unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open => {
                let id = self.envoy.open(self.root(), Headers::new());
                self.streams.push(Stream { id, root: self.root(), is_complete: true });
            }
            Step::Headers { rule, pseudo, more, is_routed, ends } => {
                let cluster = || is_routed.then(|| ("xds.cluster_name".to_owned(), b"primary".to_vec()));
                Envoy::host(|host| host.properties = cluster().into_iter().collect());
                self.begin(RULES.get(rule), &pseudo, (more, is_routed), ends);
            }
            Step::Body { stream, size, hides, ends } => {
                let Some(stream) = self.incomplete(stream) else { return };
                stream.is_complete = ends;
                let id = stream.id;
                let chunk: Vec<_> = (0..size).map(|at| (at ^ size) as u8).collect();
                Envoy::host(|host| host.hides_body = hides);
                self.envoy.body(id, &chunk, ends);
                Envoy::host(|host| host.hides_body = false);
                self.ledger.body_came(id, &chunk, hides, ends);
            }
            Step::Trailers { stream } => {
                let Some(stream) = self.incomplete(stream) else { return };
                stream.is_complete = true;
                let id = stream.id;
                self.envoy.trailers(id);
                self.ledger.trailers_came(id);
            }
            Step::End { stream, status } => {
                if stream < self.streams.len() {
                    let id = self.streams.remove(stream).id;
                    let asked = self.envoy.end_answered(id, status).asked;
                    let is_asked_for = asked.iter().any(|asked| asked == "property response.code");
                    assert_eq!(is_asked_for, self.ledger.ended(id, status), "{asked:?}");
                    self.take_cancelled();
                }
            }
            Step::ResponseHeaders { stream, headers, ends } => {
                let Some(stream) = self.streams.get(stream) else { return };
                self.envoy.response_headers(stream.id, headers.clone(), ends);
                self.ledger.response_headers_came(stream.id, &headers, ends);
            }
            Step::ResponseBody { stream, size, hides, ends } => {
                let Some(stream) = self.streams.get(stream) else { return };
                Envoy::host(|host| host.hides_body = hides);
                self.envoy.response_body(stream.id, &vec![b'x'; size], ends);
                Envoy::host(|host| host.hides_body = false);
                self.ledger.response_body_came(stream.id, &vec![b'x'; size], hides, ends);
            }
            Step::ResponseTrailers { stream, headers } => {
                let Some(stream) = self.streams.get(stream) else { return };
                self.envoy.response_trailers(stream.id, headers.clone());
                self.ledger.response_trailers_came(stream.id, &headers);
            }
            Step::Answer { call, headers, size } => {
                let Some(token) = Envoy::host(|host| host.in_flight.keys().nth(call).copied()) else { return };
                Envoy::host(|host| host.answer_body = vec![b'x'; size]);
                self.envoy.answer(token, headers.clone());
                self.ledger.answered(token, &headers, &vec![b'x'; size]);
            }
            Step::Stray { token, to_last_root, headers } => {
                let token = Envoy::host(|host| host.sent.get(token as usize).map_or(token, |call| call.token));
                let root = if to_last_root { self.root() } else { self.roots[0] };
                if !Envoy::host(|host| host.in_flight.contains_key(&token)) {
                    let count = headers.len();
                    self.envoy.stray_answer(root, token, headers, count);
                }
            }
            Step::Replace { limits, is_reversed } => self.replace(limits, is_reversed),
            Step::Return => {
                if let [.., Configured { at_work: Some((limits, is_reversed)), is_wrong: false }, _] =
                    self.configurations[..]
                {
                    self.replace(limits, is_reversed);
                }
            }
            Step::KeepLast => {
                let old = self.root();
                self.configure_wrong(self.last().at_work);
                self.envoy.retire(old);
                self.take_cancelled();
            }
            Step::EndVm { is_wrong } => {
                self.end_streams(|_| ());
                self.envoy.retire(self.root());
                Envoy::host(|host| assert!(host.roots.is_empty(), "a root outlives its VM"));
                self.take_cancelled();
                match self.last() {
                    Configured { at_work: Some((limits, is_reversed)), .. } if !is_wrong => {
                        self.configure(limits, is_reversed);
                    }
                    _ => self.configure_wrong(None),
                }
            }
            Step::Refuse => assert_eq!(self.envoy.configure(b"{\"rules\":[]}"), None),
            Step::Clock { now } => {
                Envoy::host(|host| host.clocks.wall = Some(MORNING * 1_000_000_000 + now));
                self.ledger.now = now;
            }
            Step::Cluster { name, outcome } => {
                Envoy::host(|host| {
                    host.clusters.remove(name);
                    host.drained.remove(name);
                    let known = if outcome == Some("sent") { &mut host.clusters } else { &mut host.drained };
                    known.extend(outcome.map(|_| name.to_owned()));
                });
                self.ledger.clusters.remove(name.as_bytes());
                self.ledger.clusters.extend(outcome.map(|outcome| (name.into(), outcome)));
            }
        }
    }

    fn configure(&mut self, limits: Limits, is_reversed: bool) {
        self.roots.push(self.envoy.configure(configuration(limits, is_reversed).as_bytes()).unwrap());
        self.configurations.push(Configured { at_work: Some((limits, is_reversed)), is_wrong: false });
        self.ledger.configured(self.root(), limits);
        self.ledger.is_invalid = false;
    }

    /// Lets a wrong configuration take over, after which this is to be at work.
    fn configure_wrong(&mut self, at_work: Option<(Limits, bool)>) {
        // No two have the same bytes: the host would go on with the root that it has.
        let wrong = json!({ "rules": [self.roots.len()], "onInvalid": "keepLast" }).to_string();
        self.roots.push(self.envoy.configure(wrong.as_bytes()).unwrap());
        self.configurations.push(Configured { at_work, is_wrong: true });
        if let Some((limits, _)) = at_work {
            self.ledger.configured(self.root(), limits);
        }
        self.ledger.is_invalid = true;
    }

    fn last(&self) -> Configured {
        *self.configurations.last().unwrap()
    }

    fn replace(&mut self, limits: Limits, is_reversed: bool) {
        let Configured { at_work, is_wrong } = self.last();
        let was = at_work.filter(|_| !is_wrong).map(|(limits, is_reversed)| configuration(limits, is_reversed));
        let old = self.root();
        // The host would go on with the root that it has.
        if was != Some(configuration(limits, is_reversed)) {
            self.configure(limits, is_reversed);
            self.envoy.retire(old);
            self.take_cancelled();
        }
    }

    /// Takes in the calls that the host cancelled. The filter learns of those at its next callback, or when its VM ends.
    fn take_cancelled(&mut self) {
        let cancelled = Envoy::host(|host| std::mem::take(&mut host.cancelled));
        cancelled.iter().for_each(|call| self.ledger.cancelled(call.token));
        if !cancelled.is_empty() && Envoy::host(|host| !host.roots.is_empty()) {
            let stream = self.envoy.open(self.root(), Headers::new());
            self.envoy.end(stream);
        }
    }

    fn begin(&mut self, rule: Option<&Rule>, pseudo: &[&'static str], (more, is_routed): (Headers, bool), ends: bool) {
        let path = rule.map_or("other", |rule| rule.0);
        let mut headers = vec![pair(":path", format!("/{path}"))];
        headers.extend(pseudo.iter().map(|name| match *name {
            ":authority" => pair(name, "primary.test"),
            ":method" => pair(name, "POST"),
            method => pair(":method", method),
        }));
        headers.extend(more);
        let id = self.envoy.begin(self.root(), headers.clone(), ends);
        self.streams.push(Stream { id, root: self.root(), is_complete: ends });
        match rule.filter(|_| self.last().at_work.is_some()) {
            Some(rule) => self.ledger.began(self.root(), id, *rule, (headers, is_routed), ends),
            None => self.ledger.unmatched(),
        }
    }

    /// Finds a stream whose request is not complete.
    fn incomplete(&mut self, at: usize) -> Option<&mut Stream> {
        self.streams.iter_mut().filter(|stream| !stream.is_complete).nth(at)
    }

    /// Takes in the copies that were sent since, which are to be the ledger's.
    fn take_copies(&mut self) {
        let calls = Envoy::host(|host| host.sent[self.sent..].to_vec());
        self.sent += calls.len();
        let tokens: Vec<_> = calls.iter().map(|call| call.token).collect();
        let copies = calls.into_iter().map(|call| Copy {
            root: call.root,
            stream: call.stream,
            cluster: call.cluster.into_bytes(),
            body: call.body,
        });
        assert_eq!(copies.collect::<Vec<_>>(), self.ledger.take_copies(&tokens));
    }

    /// Compares everything that can be seen of the filter with what is to be.
    fn check(&mut self) {
        self.take_copies();
        let is_needed = |root: &u32| {
            *root == self.root() || self.ledger.waits(*root) || self.streams.iter().any(|stream| stream.root == *root)
        };
        let needed: Vec<_> = self.roots.iter().copied().filter(is_needed).collect();
        Envoy::host(|host| {
            books::balance(host);
            assert_eq!(accounts(host), self.ledger.accounts());
            assert_eq!(host.roots.keys().copied().collect::<Vec<_>>(), needed, "roots");
        });
    }

    /// Ends all streams, the newest first, and does something after each.
    fn end_streams(&mut self, after_each: fn(&mut Self)) {
        while !self.streams.is_empty() {
            self.step(Step::End { stream: self.streams.len() - 1, status: Some(200) });
            after_each(self);
        }
    }

    /// Answers all calls, the newest first, and does something after each.
    fn answer_calls(&mut self, after_each: fn(&mut Self)) {
        while let Some(call) = Envoy::host(|host| host.in_flight.len().checked_sub(1)) {
            self.step(Step::Answer { call, headers: Headers::new(), size: 0 });
            after_each(self);
        }
    }

    /// Ends all that is under way.
    fn wind_up(&mut self, mirrors_first: bool, after_each: fn(&mut Self)) {
        if mirrors_first {
            self.answer_calls(after_each);
        }
        self.end_streams(after_each);
        self.answer_calls(after_each);
    }

    /// Takes the steps, and all that has to follow them, without a look at the books.
    pub fn round(&mut self, steps: &[Step], mirrors_first: bool) {
        for step in steps {
            self.step(step.clone());
            self.take_copies();
        }
        self.wind_up(mirrors_first, Self::take_copies);
        self.step(Step::Clock { now: 0 });
        // What the host said last is no memory of the filter's.
        Envoy::host(|host| host.answer_body = Vec::new());
    }

    /// Ends all that is under way, and lets the last root go.
    pub fn finish(mut self, mirrors_first: bool) {
        self.wind_up(mirrors_first, Self::check);
        self.envoy.retire(self.root());
        Envoy::host(|host| {
            assert!(host.roots.is_empty(), "a root that nobody needs stays");
            assert_eq!(comparing(host), ["bodies", "content", "late", "named"].into(), "rules with series of pairs");
        });
        self.envoy.check();
    }
}

/// Reads the filter's metrics, without zeros; of a histogram how many values it has. What is faster and what is slower
/// depends on the machine, so their sum is told.
fn accounts(host: &Host) -> BTreeMap<Account, i64> {
    let mut accounts = BTreeMap::new();
    for metric in host.metrics.iter() {
        let count = match &metric.value {
            Value::Counter(count) | Value::Gauge(count) => *count,
            Value::Histogram(values) => i64::try_from(values.len()).unwrap(),
        };
        if count == 0 {
            continue;
        }
        let tag = |names: &[&str]| names.iter().find_map(|name| metric.tags.get(*name)).cloned().unwrap_or_default();
        let what = match metric.what.as_str() {
            "slower_ms" | "faster_ms" => "slower_ms or faster_ms",
            what => what,
        };
        let last = tag(&["outcome", "class", "reason", "result", "field"]);
        *accounts.entry([what.into(), tag(&["rule"]), tag(&["mirror"]), last]).or_default() += count;
    }
    accounts
}

/// Finds the rules that have series of pairs.
fn comparing(host: &Host) -> BTreeSet<&str> {
    let of_pairs = |metric: &&Metric| ["compared_total", "slower_ms", "faster_ms"].contains(&metric.what.as_str());
    host.metrics.iter().filter(of_pairs).map(|metric| metric.tags["rule"].as_str()).collect()
}

#[test]
fn whatever_comes_the_filter_does_what_the_model_does() {
    let mut runner = TestRunner::new(Config { source_file: Some(file!()), ..Config::with_cases(200) });
    let outcome = runner.run(&(limits(), vec(step(), 0..100), any::<bool>()), |(limits, steps, mirrors_first)| {
        let mut run = Run::start(limits);
        for step in steps {
            run.step(step);
            run.check();
        }
        run.finish(mirrors_first);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}\n{runner}"));
}
