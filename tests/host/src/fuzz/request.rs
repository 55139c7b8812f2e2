//! One request from its headers to its end, however it comes: through the core as raw bytes, and where a host could hand
//! it over, through the exports too.

use crate::books;
use crate::envoy::Envoy;
use crate::fuzz::case::{Case, End, Gift, Way};
use crate::fuzz::wire;
use crate::host::{Call, Headers};
use arbitrary::Unstructured;
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro128PlusPlus;
use std::collections::BTreeMap;
use std::rc::Rc;
use traffic_mirror::config::{Mirror, Moment, Ratio, Rule, Target};
use traffic_mirror::core::budget::Budget;
use traffic_mirror::core::copy::Draft;
use traffic_mirror::core::digest::Digest;
use traffic_mirror::core::matcher::Matcher;
use traffic_mirror::core::outcome::Outcome;
use traffic_mirror::core::pending::{Pending, Plan};
use traffic_mirror::core::request::Request;
use traffic_mirror::core::sample::Choice;

/// Checks what becomes of the request that the bytes spell.
pub fn check(bytes: &[u8]) {
    let case = Case::read(&mut Unstructured::new(bytes)).unwrap();
    let copies = case.through_the_core();
    let is_possible = wire::strict(&case.raw).is_some() && case.chunks.iter().all(|chunk| chunk.gift != Gift::Less);
    if is_possible && case.way == Way::Exports {
        case.through_the_exports(&copies);
    }
}

/// When the requests of the core come.
fn now() -> Moment {
    Moment::since_epoch(0)
}

fn ratio(mirror: &Mirror) -> Ratio {
    mirror.sample.share.at(now)
}

/// A copy that is to be sent.
#[derive(Debug, PartialEq, Eq)]
struct Copy {
    cluster: String,
    headers: Headers,
    body: Vec<u8>,
}

impl Case {
    /// Serves the request as a worker does, and returns what each selected mirror gets.
    fn through_the_core(&self) -> Vec<Copy> {
        let read: Headers = self.given.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        assert_eq!(read, self.pairs, "headers misread");
        let matcher = Matcher::new(&self.config.rules);
        let request = Request::new(&self.given, self.way == Way::CoreAgain);
        let decision = matcher.decide(&request);
        assert_eq!(decision.map(|decision| decision.rule), self.first_rule_by_itself());
        let Some(decision) = decision else { return Vec::new() };
        let rule = &self.config.rules[decision.rule];
        let mut choice = Choice::new(Xoshiro128PlusPlus::seed_from_u64(0), now);
        let mut pending = Pending::new(decision, rule, |mirror| choice.selects(mirror, &request));
        let digest = Digest::new(request.headers().clone(), self.config.marker.as_ref());
        let selected: Vec<_> = pending.plans.iter().map(|plan| *plan != Plan::Not(Outcome::Unsampled)).collect();
        for (selected, mirror) in selected.iter().zip(&rule.mirrors) {
            let ratio = ratio(mirror);
            assert!(*selected || !ratio.is_always(), "an unselected mirror at 100 %");
            assert!(!*selected || !ratio.is_never(), "a selected mirror at 0 %");
        }
        if !pending.wants_end() {
            return Vec::new();
        }
        let is_routed = || request.is_routed();
        let read = pending.read_headers(digest, rule, self.config.limits.max_body_bytes, is_routed);
        let would_get = |(selected, mirror): (&bool, &_)| *selected && self.cluster_for(mirror).is_ok();
        let is_wanted = selected.iter().zip(&rule.mirrors).any(would_get);
        let never = self.never_mirrored(rule).filter(|_| is_wanted);
        assert_eq!(read.err(), never);
        if never.is_some() {
            return Vec::new();
        }
        let body = self.serve_body(&mut pending, rule);
        self.copies(&pending, rule, &selected, &body)
    }

    /// Lets the body and the end come, and returns the body that was gathered.
    fn serve_body(&self, pending: &mut Pending, rule: &Rule) -> Vec<u8> {
        let limits = &self.config.limits;
        let mut budget = Budget::new(limits, Rc::default());
        for chunk in &self.chunks {
            let append = |to: &mut Vec<u8>, start, size| chunk.append(to, start, size);
            pending.chunk(chunk.bytes.len(), rule, limits.max_body_bytes, &mut budget, append);
            assert!(budget.buffered() <= limits.max_buffered_bytes.min(limits.max_body_bytes), "too much held");
        }
        if self.end == End::Never {
            pending.abort(&mut budget);
        }
        let body = pending.take_body(&mut budget).unwrap();
        assert_eq!(budget.buffered(), 0, "bytes held when all is over");
        body
    }

    /// Checks the plans of the copies against those that are to be, and writes the copies.
    fn copies(&self, pending: &Pending, rule: &Rule, selected: &[bool], gathered: &[u8]) -> Vec<Copy> {
        assert_eq!(pending.plans.len(), rule.mirrors.len(), "not one outcome for each mirror");
        let mut copies = Vec::new();
        for ((plan, mirror), selected) in pending.plans.iter().zip(&rule.mirrors).zip(selected) {
            let expected = if *selected { self.body_for(mirror) } else { Err(Outcome::Unsampled) };
            let found = match *plan {
                Plan::Copy { with_body } => Ok(if with_body { gathered.to_vec() } else { Vec::new() }),
                Plan::Not(outcome) => Err(outcome),
                Plan::Counted => panic!("nobody has counted it: {mirror:?}"),
            };
            assert_eq!(found, expected, "{mirror:?}");
            let Ok(body) = found else { continue };
            let draft = Draft::new(mirror, &pending.request, pending.decision.matched_uri, || 1).unwrap();
            let written = draft.write(self.config.marker.as_ref(), b"what was there".to_vec()).unwrap();
            let headers = wire::strict(written.as_abi()).expect("headers that the host could not read");
            assert_eq!(headers, self.headers_for(mirror, pending.decision), "{mirror:?}");
            let cluster = match &mirror.target {
                Target::Cluster(name) => name.as_bytes(),
                Target::Header { name, .. } => self.first(name.as_str()).unwrap(),
            };
            let cluster = String::from_utf8_lossy(cluster).into_owned();
            copies.push(Copy { cluster, headers, body });
        }
        copies
    }

    /// Finds the rule that decides by asking one after the other, without tables over them.
    fn first_rule_by_itself(&self) -> Option<usize> {
        let decides = |rule: &Rule| {
            let alone = |entry: &_| Rule { matches: vec![Clone::clone(entry)], ..rule.clone() };
            let matches = |rule| Matcher::new(&[Rc::new(rule)]).decide(&Request::new(&self.given, false)).is_some();
            rule.matches.is_empty() || rule.matches.iter().map(alone).any(matches)
        };
        self.config.rules.iter().position(|rule| decides(rule))
    }

    /// Serves the request as Envoy does, and compares what is sent with the core's copies.
    fn through_the_exports(&self, copies: &[Copy]) {
        let (envoy, root) = Envoy::with(&self.configuration);
        Envoy::host(|host| {
            host.clusters.insert("outbound|80|v2|b.test".to_owned());
            host.properties.clear();
            let properties = [
                ("source.address", self.given.address),
                ("xds.route_name", self.given.route),
                ("xds.cluster_name", self.given.cluster),
            ];
            let properties = properties.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
            host.properties.extend(properties);
        });
        let stream = envoy.begin(root, self.pairs.clone(), self.end == End::Headers);
        for chunk in &self.chunks {
            Envoy::host(|host| host.hides_body = chunk.gift == Gift::Nothing);
            envoy.body(stream, &chunk.bytes, false);
        }
        Envoy::host(|host| host.hides_body = false);
        match self.end {
            End::Headers | End::Never => {}
            End::Body => envoy.body(stream, b"", true),
            End::Trailers => envoy.trailers(stream),
        }
        envoy.end_answered(stream, self.status);
        let samples = self.config.rules.iter().flat_map(|rule| &rule.mirrors).map(ratio);
        if samples.into_iter().all(|ratio| ratio.is_always() || ratio.is_never()) {
            Envoy::host(|host| {
                let sent = host.sent.iter().map(|call| Copy {
                    cluster: call.cluster.clone(),
                    headers: call.headers.clone(),
                    body: call.body.clone(),
                });
                let sent: Vec<_> = sent.collect();
                assert!(sent.iter().all(|copy| copies.contains(copy)), "{sent:?} are not among {copies:?}");
                assert_eq!(sent.len() + host.refused.len(), copies.len(), "not as many copies as there are to be");
            });
        }
        envoy.answer_all("200");
        envoy.retire(root);
        envoy.check();
        let compares = self.first_rule_by_itself().is_some_and(|rule| self.config.rules[rule].compare.is_some());
        // Also where an edit makes a gRPC call of the copy.
        let result = |copy: &Call| match self.status {
            Some(200) if is_grpc(copy) => "not_compared",
            Some(200) => "same",
            Some(500..) => "primary_error",
            Some(_) => "different",
            None => "mirror_only",
        };
        Envoy::host(|host| {
            let mut expected = BTreeMap::new();
            for copy in host.sent.iter().filter(|_| compares) {
                *expected.entry(result(copy)).or_default() += 1;
            }
            assert_eq!(books::by(host, "compared_total", "result"), expected);
        });
    }
}

/// Returns whether Envoy takes a copy for a gRPC call.
fn is_grpc(copy: &Call) -> bool {
    let types = copy.headers.iter().filter(|(name, _)| name == b"content-type").map(|(_, value)| &value[..]);
    let joined = types.collect::<Vec<_>>().join(&b","[..]);
    joined == b"application/grpc" || joined.starts_with(b"application/grpc+")
}
