//! One request from its headers to its end, however it comes: through the core as raw bytes, and where a host could hand
//! it over, through the exports too.

use crate::books;
use crate::envoy::Envoy;
use crate::fuzz::case::{Case, End, Gift, Way};
use crate::fuzz::clock::{Selection, selection};
use crate::fuzz::trace::{self, OLD};
use crate::fuzz::wire;
use crate::host::{Call, Clocks, Headers};
use arbitrary::Unstructured;
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro128PlusPlus;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use traffic_mirror::config::{Moment, Rule, Target};
use traffic_mirror::core::budget::Budget;
use traffic_mirror::core::copy::Draft;
use traffic_mirror::core::matcher::Matcher;
use traffic_mirror::core::outcome::Outcome;
use traffic_mirror::core::pending::{Pending, Plan};
use traffic_mirror::core::primary::Primary;
use traffic_mirror::core::request::Request;
use traffic_mirror::core::sample::Choice;

/// Checks what becomes of the request that the bytes spell.
pub fn check(bytes: &[u8]) {
    let case = Case::read(&mut Unstructured::new(bytes)).unwrap();
    let fates = case.through_the_core();
    let is_possible = wire::strict(&case.raw).is_some() && case.chunks.iter().all(|chunk| chunk.gift != Gift::Less);
    if is_possible && case.way == Way::Exports {
        case.through_the_exports(&fates);
    }
}

/// When the monotonic clock begins, in nanoseconds.
const BEGINNING: u64 = 1_000_000_000;

/// A copy that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Copy {
    cluster: String,
    headers: Headers,
    body: Vec<u8>,
}

/// What becomes of the copy to a mirror.
type Fate = Result<Copy, Outcome>;

impl Case {
    /// Serves the request as a worker does, and returns what becomes of each copy; nothing where there is no account of any.
    fn through_the_core(&self) -> Vec<Fate> {
        let read: Headers = self.given.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        assert_eq!(read, self.pairs, "headers misread");
        let matcher = Matcher::new(&self.config.rules);
        let request = Request::new(&self.given, self.way == Way::CoreAgain);
        let decision = matcher.decide(&request);
        assert_eq!(decision.map(|decision| decision.rule), self.first_rule_by_itself());
        let Some(decision) = decision else { return Vec::new() };
        let rule = &self.config.rules[decision.rule];
        let mut choice = Choice::new(Xoshiro128PlusPlus::seed_from_u64(0), || Moment::since_epoch(self.now));
        let mut pending = Pending::new(decision);
        pending.select(rule, |mirror| choice.selects(mirror, &request));
        let unselected: Vec<_> =
            pending.plans.iter().map(|plan| if let Plan::Not(why) = plan { Some(*why) } else { None }).collect();
        for (why, mirror) in unselected.iter().zip(self.mirrors(decision.rule)) {
            let is_right = match selection(mirror, self.now) {
                Selection::Always => why.is_none(),
                Selection::Perhaps => why.is_none_or(|why| why == Outcome::Unsampled),
                Selection::Never(outcome) => *why == Some(outcome),
            };
            assert!(is_right, "{why:?} at {}: {mirror}", self.now);
        }
        if !pending.wants_end() {
            return unselected.into_iter().map(|why| Err(why.unwrap())).collect();
        }
        let (headers, marker) = (request.headers().clone(), self.config.marker.as_ref());
        let (max_body, is_routed) = (self.config.limits.max_body_bytes, || request.is_routed());
        let read = pending.read_headers(headers, marker, rule, max_body, is_routed);
        let would_get = |(why, mirror): (&Option<_>, &_)| why.is_none() && self.cluster_for(mirror).is_ok();
        let is_wanted = unselected.iter().zip(&rule.mirrors).any(would_get);
        let never = self.never_mirrored(rule).filter(|_| is_wanted);
        assert_eq!(read.err(), never);
        if never.is_some() {
            return Vec::new();
        }
        self.serve_body(&mut pending, rule, &unselected)
    }

    /// Lets the body and the end come, and what the copies may wait for; returns what becomes of them.
    fn serve_body(&self, pending: &mut Pending, rule: &Rule, unselected: &[Option<Outcome>]) -> Vec<Fate> {
        let limits = &self.config.limits;
        let mut budget = Budget::new(limits, Rc::default());
        if self.end != End::Headers {
            pending.wait(&mut budget);
        }
        for chunk in &self.chunks {
            let append = |to: &mut Vec<u8>, start, size| chunk.append(to, start, size);
            pending.chunk(chunk.bytes.len(), rule, limits.max_body_bytes, &mut budget, append);
            assert!(budget.buffered() <= limits.max_buffered_bytes.min(limits.max_body_bytes), "too much held");
        }
        if self.end == End::Never {
            pending.abort(&mut budget);
        }
        assert_eq!(pending.plans.len(), rule.mirrors.len(), "not one outcome for each mirror");
        let mut fates = vec![None; rule.mirrors.len()];
        let body = if pending.wants_response(rule) {
            let body = pending.lend_body(&mut budget).unwrap();
            self.settle(pending, rule, &body, None, &mut fates);
            pending.wait_for_response(Some(body), &mut budget);
            assert!(budget.buffered() <= limits.max_buffered_bytes / 2, "too much waits");
            pending.take_waiting_body(&mut budget)
        } else {
            pending.take_body(&mut budget)
        };
        assert_eq!(budget.buffered(), 0, "bytes held when all is over");
        let response = Primary { status: self.response.status(), took: self.response.took().map(Duration::from_nanos) };
        self.settle(pending, rule, &body.unwrap(), Some(response), &mut fates);
        let fates: Vec<_> = fates.into_iter().map(Option::unwrap).collect();
        for (((fate, mirror), asked), why) in
            fates.iter().zip(&rule.mirrors).zip(self.mirrors(pending.decision.rule)).zip(unselected)
        {
            let expected = why.map_or_else(|| self.body_for(mirror, asked.get("when")), Err);
            assert_eq!(fate.as_ref().map(|copy| &copy.body), expected.as_ref(), "{asked}");
            if let Ok(copy) = fate {
                assert_eq!(copy.headers, self.headers_for(mirror, asked, pending.decision), "{asked}");
            }
        }
        fates
    }

    /// Finds what becomes of the copies that have waited for nothing but this: the request's end, or the `response`.
    fn settle(
        &self,
        pending: &mut Pending,
        rule: &Rule,
        body: &[u8],
        response: Option<Primary>,
        fates: &mut [Option<Fate>],
    ) {
        let told = response.map(|response| response.told()).unwrap_or_default();
        for ((fate, at), mirror) in fates.iter_mut().zip(0..).zip(&rule.mirrors).filter(|((fate, _), _)| fate.is_none())
        {
            let is_late = !mirror.when.is_empty();
            let with_body = match (pending.plans[at], response) {
                (Plan::Copy { .. }, None) if is_late => continue,
                (Plan::Copy { .. }, Some(response)) if is_late && !response.is_wanted(mirror) => {
                    Err(Outcome::NotWanted)
                }
                (Plan::Copy { with_body }, _) => Ok(with_body),
                (Plan::Not(outcome), _) => Err(outcome),
                (Plan::Counted, _) => panic!("nobody has counted it: {mirror:?}"),
            };
            *fate = Some(with_body.map(|with_body| {
                let mut draft = Draft::new(mirror, &pending.request, pending.decision.matched_uri, || 1).unwrap();
                if is_late {
                    draft.tell(&told);
                }
                let written = draft.write(self.config.marker.as_ref(), b"what was there".to_vec()).unwrap();
                let headers = wire::strict(written.as_abi()).expect("headers that the host could not read");
                let cluster = match &mirror.target {
                    Target::Cluster(name) => name.as_bytes(),
                    Target::Header { name, .. } => self.first(name.as_str()).unwrap(),
                };
                let cluster = String::from_utf8_lossy(cluster).into_owned();
                Copy { cluster, headers, body: if with_body { body.to_vec() } else { Vec::new() } }
            }));
            pending.plans[at] = Plan::Counted;
        }
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

    /// Serves the request as Envoy does, and compares what becomes of the copies with what the core makes of them.
    fn through_the_exports(&self, fates: &[Fate]) {
        let (envoy, root) = Envoy::with(&self.configuration);
        Envoy::host(|host| {
            host.clusters.insert("outbound|80|v2|b.test".to_owned());
            host.clocks = Clocks { wall: Some(self.now), monotonic: Some(BEGINNING) };
            host.properties.clear();
            let properties = [
                ("source.address", self.given.address),
                ("xds.route_name", self.given.route),
                ("xds.cluster_name", self.given.cluster),
            ];
            let properties = properties.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
            host.properties.extend(properties);
            let latency = self.response.latency.map(|latency| latency.to_le_bytes().to_vec());
            host.properties.extend(latency.map(|latency| ("response.backend_latency".to_owned(), latency)));
        });
        let rule = self.first_rule_by_itself();
        let mirrors = rule.map_or(&[][..], |rule| self.mirrors(rule));
        // The second meets the copies of the first, which have no response yet.
        let times = if mirrors.iter().any(|mirror| mirror.get("maxInFlight").is_some()) { 2 } else { 1 };
        (0..times).for_each(|_| self.serve(&envoy, root));
        let is_certain = |mirror| selection(mirror, self.now) != Selection::Perhaps;
        if mirrors.iter().all(is_certain) {
            let copies: Vec<_> = fates.iter().flatten().collect();
            for Call { cluster, headers, body, .. } in Envoy::host(|host| host.sent.clone()) {
                let copy = Copy { cluster, headers: with_known_ids(headers), body };
                assert!(copies.contains(&&copy), "{copy:?} is not among {copies:?}");
            }
            rule.into_iter().for_each(|rule| self.check_outcomes(rule, fates, times));
        }
        envoy.answer_all("200");
        envoy.retire(root);
        envoy.check();
        let compares = rule.is_some_and(|rule| self.config.rules[rule].compare.is_some());
        // Also where an edit makes a gRPC call of the copy.
        let result = |copy: &Call| match self.response.status() {
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

    /// Lets the request come as Envoy does, and the response after it.
    fn serve(&self, envoy: &Envoy, root: u32) {
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
        Envoy::host(|host| *host.clocks.monotonic.as_mut().unwrap() += self.response.elapsed);
        envoy.end_answered(stream, self.response.code);
    }

    /// Checks how the copies are counted, after so many requests that met these fates; no fates: they are not.
    fn check_outcomes(&self, rule: usize, fates: &[Fate], times: i64) {
        for (at, (mirror, asked)) in self.config.rules[rule].mirrors.iter().zip(self.mirrors(rule)).enumerate() {
            let count = |outcome: &Outcome| {
                let rule = format!("rule-{rule}");
                let tags = [("rule", &*rule), ("mirror", mirror.label.as_str()), ("outcome", outcome.label())];
                (*outcome, Envoy::host(|host| books::sum(host, "copies_total", &tags)))
            };
            let found: Vec<_> = Outcome::ALL.iter().map(count).filter(|(_, count)| *count != 0).collect();
            let is_limited = times == 2 && asked.get("maxInFlight") == Some(&1.into());
            let is_right = match (fates.get(at), &found[..]) {
                (None, found) => found.is_empty(),
                (Some(Err(outcome)), found) => found == [(*outcome, times)],
                (Some(Ok(_)), [(Outcome::Sent, 1), (Outcome::InFlightLimit, 1)]) => is_limited,
                (Some(Ok(_)), [(Outcome::Sent, count)]) => *count == times && !is_limited,
                (Some(Ok(_)), [(Outcome::NoCluster | Outcome::NoUpstream, count)]) => *count == times,
                _ => false,
            };
            assert!(is_right, "{found:?} of {times} where {:?}: {asked}", fates.get(at));
        }
    }
}

/// Puts the ids that the core draws here in place of those of a trace that the filter began by itself.
fn with_known_ids(mut headers: Headers) -> Headers {
    let old = headers.iter().find(|(name, _)| name == OLD.as_bytes()).map(|(_, old)| old.clone());
    let new = headers.iter_mut().find(|(name, _)| name == b"traceparent");
    if let (Some(old), Some((_, new))) = (old, new)
        && let (Some(ids_before), Some(ids)) = (trace::parts(&old), trace::parts(new))
    {
        assert!(ids[0] == "00" && (1..3).all(|part| ids[part] != ids_before[part]), "no trace of its own");
        *new = trace::fresh(new).into_bytes();
    }
    headers
}

/// Returns whether Envoy takes a copy for a gRPC call.
fn is_grpc(copy: &Call) -> bool {
    let types = copy.headers.iter().filter(|(name, _)| name == b"content-type").map(|(_, value)| &value[..]);
    let joined = types.collect::<Vec<_>>().join(&b","[..]);
    joined == b"application/grpc" || joined.starts_with(b"application/grpc+")
}
