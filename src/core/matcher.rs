//! Which rule decides a request: the first that matches.

use crate::config::{Match, Rule, StringMatch};
use crate::core::index::Index;
use crate::core::request::Request;
use std::net::IpAddr;
use std::rc::Rc;

/// A rule's claim on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The rule's index.
    pub rule: usize,
    /// How many of the path's first bytes `rewrite.uri` replaces: those that an exact or prefix `uri` matched.
    pub matched_uri: Option<usize>,
}

/// The rules of a configuration, made ready to be asked for each request.
#[derive(Debug)]
pub struct Matcher {
    /// The entries of all rules in order; a rule without any has one that always holds.
    entries: Vec<Entry>,
    index: Index,
}

/// An entry of a rule's `match`.
#[derive(Debug)]
struct Entry {
    rule: Rc<Rule>,
    /// The rule's place among the rules.
    place: usize,
    /// The entry's place in the rule; `None`: the rule has none, and matches every request.
    entry: Option<usize>,
}

impl Matcher {
    /// Makes the rules ready.
    pub fn new(rules: &[Rc<Rule>]) -> Self {
        let mut entries = Vec::new();
        for (place, rule) in rules.iter().enumerate() {
            let new = |entry| Entry { rule: Rc::clone(rule), place, entry };
            if rule.matches.is_empty() {
                entries.push(new(None));
            }
            entries.extend((0..rule.matches.len()).map(|entry| new(Some(entry))));
        }
        let index = Index::new(entries.iter().map(Entry::conditions));
        Self { entries, index }
    }

    /// Finds the first rule that matches a request.
    pub fn decide<'a>(&'a self, request: &Request<'a>) -> Option<Decision> {
        if let Some(first) = self.entries.first().filter(|first| first.entry.is_none()) {
            return first.decide(request);
        }
        let mut candidates = self.index.candidates(request).filter_map(|position| self.entries.get(position));
        candidates.find_map(|entry| entry.decide(request))
    }
}

impl Entry {
    fn conditions(&self) -> Option<&Match> {
        self.rule.matches.get(self.entry?)
    }

    fn decide<'a>(&'a self, request: &Request<'a>) -> Option<Decision> {
        let Some(conditions) = self.conditions() else {
            return Some(Decision { rule: self.place, matched_uri: None });
        };
        let matched_uri = conditions.uri.as_ref().and_then(StringMatch::rewritten_len);
        holds(conditions, request).then_some(Decision { rule: self.place, matched_uri })
    }
}

/// Tells whether all of an entry's conditions hold. Regular expressions come last: the others may have decided.
fn holds<'a>(entry: &'a Match, request: &Request<'a>) -> bool {
    [false, true].into_iter().all(|regex| part_holds(entry, request, regex))
}

/// Tells whether those of an entry's conditions hold that are regular expressions, or those that are not.
///
/// The cheapest to ask come first: a missing header ends it before anything is read from the host.
fn part_holds<'a>(entry: &'a Match, request: &Request<'a>, regex: bool) -> bool {
    let is_due = |test: &StringMatch| test.is_regex() == regex;
    let due = |test: &'a Option<StringMatch>| test.as_ref().filter(|test| is_due(test));
    entry
        .headers
        .iter()
        .filter(|(_, test)| is_due(test))
        .all(|(name, test)| request.header(name).is_some_and(|value| test.holds(&value)))
        && entry.without_headers.iter().filter(|(_, test)| is_due(test)).all(|(name, test)| !match request.header(name)
        {
            Some(value) => test.holds(&value),
            None => !test.is_presence() && test.holds(b""),
        })
        && entry.cookies.iter().all(|(name, test)| !is_due(test) || matches(Some(test), || request.cookie(name)))
        && matches(due(&entry.method), || request.headers().first(b":method"))
        && matches(due(&entry.scheme), || request.headers().first(b":scheme"))
        && matches(due(&entry.authority), || request.authority())
        && entry
            .query_params
            .iter()
            .all(|(key, test)| !is_due(test) || matches(Some(test), || request.query_param(key)))
        && matches(due(&entry.uri), || request.path())
        && (regex || entry.source_cidrs.is_empty() || request.source_ip().is_some_and(|ip| is_within(entry, ip)))
        && matches(due(&entry.route_name), || request.route_name())
        && matches(due(&entry.cluster_name), || request.cluster_name())
}

fn matches<'v>(test: Option<&StringMatch>, value: impl FnOnce() -> Option<&'v [u8]>) -> bool {
    test.is_none_or(|test| value().is_some_and(|value| test.holds(value)))
}

fn is_within(entry: &Match, ip: IpAddr) -> bool {
    entry.source_cidrs.iter().any(|range| range.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::core::request::Fixed;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn rules(matches: &[Value]) -> Vec<Rc<Rule>> {
        let rule = |entries: &Value| json!({ "match": entries, "mirrors": [] });
        let text = json!({ "rules": matches.iter().map(rule).collect::<Vec<_>>() }).to_string();
        Config::from_bytes(text.as_bytes()).unwrap().rules
    }

    fn decide(matcher: &Matcher, source: &Fixed) -> Option<usize> {
        matcher.decide(&Request::new(source, false)).map(|decision| decision.rule)
    }

    fn request() -> Fixed {
        let mut source = Fixed::new(&[
            (":authority", b"Reviews:9080"),
            (":path", b"/Reviews/1?v=2&v=3&w"),
            (":method", b"GET"),
            (":scheme", b"https"),
            ("end-user", b"tester"),
            ("accept", b"a"),
            ("accept", b"b"),
            ("raw", b"caf\xe9"),
            ("empty", b""),
            ("cookie", b"session=7"),
        ]);
        source.source_address = Some("10.1.2.3:4711".into());
        source.route_name = Some("default".into());
        source.cluster_name = Some("outbound|9080|v1|reviews".into());
        source
    }

    #[test]
    fn each_condition_decides_on_its_part_of_the_request() {
        for (entry, expected) in [
            (json!({}), true),
            (json!({"uri": {"prefix": "/Reviews"}}), true),
            (json!({"uri": {"exact": "/Reviews/1"}}), true),
            (json!({"uri": {"exact": "/reviews/1"}}), false),
            (json!({"uri": {"exact": "/reviews/1"}, "ignoreUriCase": true}), true),
            (json!({"uri": {"prefix": "/reviews"}, "ignoreUriCase": true}), true),
            (json!({"uri": {"suffix": "S/1"}, "ignoreUriCase": true}), true),
            (json!({"uri": {"contains": "EWS"}, "ignoreUriCase": true}), true),
            (json!({"uri": {"regex": "/reviews/.*"}, "ignoreUriCase": true}), false),
            (json!({"uri": {"regex": "/reviews/.*", "ignoreCase": true}}), true),
            (json!({"uri": {"regex": "/Reviews"}}), false),
            (json!({"uri": {"regex": "/Reviews.*"}}), true),
            (json!({"uri": {"regex": "/reviews.*"}, "ignoreUriCase": true}), false),
            (json!({"uri": {"regex": ".*REVIEWS.*", "ignoreCase": true}}), true),
            (json!({"uri": {"suffix": "/1"}}), true),
            (json!({"uri": {"contains": "view"}}), true),
            (json!({"uri": {"contains": "v=2"}}), false),
            (json!({"method": {"exact": "GET"}}), true),
            (json!({"method": {"exact": "get"}}), false),
            (json!({"method": {"exact": "get", "ignoreCase": true}}), true),
            (json!({"scheme": {"exact": "https"}}), true),
            (json!({"authority": {"exact": "Reviews:9080"}}), true),
            (json!({"authority": {"exact": "Reviews"}}), false),
            (json!({"headers": {"End-User": {"exact": "tester"}}}), true),
            (json!({"headers": {"end-user": {"exact": "Tester"}}}), false),
            (json!({"headers": {"end-user": {}}}), true),
            (json!({"headers": {"missing": {}}}), false),
            (json!({"headers": {"missing": {"exact": ""}}}), false),
            (json!({"headers": {"empty": {"exact": ""}}}), true),
            (json!({"headers": {"accept": {"exact": "a,b"}}}), true),
            (json!({"headers": {"accept": {"exact": "a"}}}), false),
            (json!({"headers": {"raw": {"prefix": "caf"}}}), true),
            (json!({"headers": {"raw": {"regex": "caf."}}}), true),
            (json!({"headers": {"host": {"exact": "Reviews:9080"}}}), true),
            (json!({"headers": {":path": {"contains": "?v=2"}}}), true),
            (json!({"withoutHeaders": {"missing": {}}}), true),
            (json!({"withoutHeaders": {"end-user": {}}}), false),
            (json!({"withoutHeaders": {"end-user": {"exact": "other"}}}), true),
            (json!({"withoutHeaders": {"missing": {"exact": ""}}}), false),
            (json!({"withoutHeaders": {"missing": {"regex": ".*"}}}), false),
            (json!({"withoutHeaders": {"missing": {"exact": "x"}}}), true),
            (json!({"queryParams": {"v": {"exact": "2"}}}), true),
            (json!({"queryParams": {"v": {"exact": "3"}}}), false),
            (json!({"queryParams": {"w": {}}}), true),
            (json!({"queryParams": {"x": {}}}), false),
            (json!({"cookies": {"session": {"exact": "7"}}}), true),
            (json!({"cookies": {"Session": {}}}), false),
            (json!({"sourceCidrs": ["192.168.0.0/16", "10.0.0.0/8"]}), true),
            (json!({"sourceCidrs": ["fd00::/8"]}), false),
            (json!({"routeName": {"exact": "default"}}), true),
            (json!({"routeName": {"exact": "other"}}), false),
            (json!({"clusterName": {"exact": "outbound|9080|v1|reviews"}}), true),
            (json!({"clusterName": {"regex": ".*[|]v2[|].*"}}), false),
            (json!({"method": {"exact": "GET"}, "scheme": {"exact": "http"}}), false),
        ] {
            let matcher = Matcher::new(&rules(&[json!([entry])]));
            assert_eq!(decide(&matcher, &request()).is_some(), expected, "{entry}");
        }
    }

    #[test]
    fn entries_are_alternatives_and_the_first_rule_that_matches_decides() {
        let get = json!({"method": {"exact": "GET"}});
        let post = json!({"method": {"exact": "POST"}});
        for (matches, expected) in [
            (vec![json!([post, get])], Some(0)),
            (vec![json!([post]), json!([get]), json!([])], Some(1)),
            (vec![json!([post]), json!([])], Some(1)),
            (vec![json!([post])], None),
        ] {
            assert_eq!(decide(&Matcher::new(&rules(&matches)), &request()), expected, "{matches:?}");
        }
    }

    #[test]
    fn the_entry_that_matched_says_what_a_rewrite_replaces() {
        let matches = json!([{"uri": {"exact": "/other"}}, {"uri": {"prefix": "/Rev"}}]);
        let matcher = Matcher::new(&rules(&[matches]));
        let source = request();
        let decision = matcher.decide(&Request::new(&source, false));
        assert_eq!(decision, Some(Decision { rule: 0, matched_uri: Some(4) }));
    }

    #[test]
    fn a_request_without_a_cluster_matches_no_name_of_one_and_is_asked_for_it_once() {
        let names = [json!({}), json!({"exact": ""}), json!({"prefix": "a"}), json!({"regex": ".*"})];
        let matches: Vec<_> = names.iter().map(|name| json!([{ "clusterName": name }])).collect();
        let matcher = Matcher::new(&rules(&matches));
        for cluster_name in [None, Some(Vec::new())] {
            let source = Fixed { cluster_name, ..Fixed::default() };
            assert_eq!(decide(&matcher, &source), None);
            assert_eq!(*source.asked.borrow(), ["cluster name"]);
        }
    }

    #[test]
    fn a_rule_whose_header_is_missing_costs_one_question() {
        let matches: Vec<_> = (0..1000).map(|n| json!([{"headers": {"tenant": {"exact": format!("t{n}")}}}])).collect();
        let matcher = Matcher::new(&rules(&matches));
        let source = request();
        assert_eq!(decide(&matcher, &source), None);
        assert_eq!(*source.asked.borrow(), ["tenant"]);
    }

    /// The definition, which an index must not change.
    fn first_that_holds(rules: &[Rc<Rule>], source: &Fixed) -> Option<usize> {
        rules.iter().position(|rule| {
            rule.matches.is_empty() || rule.matches.iter().any(|entry| holds(entry, &Request::new(source, false)))
        })
    }

    fn some_entry() -> impl Strategy<Value = Value> {
        let kind = prop::sample::select(vec!["exact", "prefix", "suffix", "contains", "regex"]);
        let test = (kind, "[ab]{0,4}", any::<bool>()).prop_map(|(kind, text, ignore)| {
            let text = if kind == "regex" { format!(".*{text}[ab]?(?:aba|bab{text})?.*") } else { text };
            json!({ kind: text, "ignoreCase": ignore })
        });
        let uri = test.clone().prop_map(|test| json!({ "uri": test }));
        let header = ("[xy]", test.clone()).prop_map(|(name, test)| json!({ "headers": { name: test } }));
        let both = ("[xy]", test.clone(), test.clone())
            .prop_map(|(name, test, authority)| json!({ "headers": { name: test }, "authority": authority }));
        let query = test.prop_map(|test| json!({ "queryParams": { "q": test } }));
        prop_oneof![uri, header, both, query]
    }

    proptest! {
        #[test]
        fn the_index_changes_no_decision(
            matches in prop::collection::vec(prop::collection::vec(some_entry(), 1..3), 1..60),
            x in prop::option::of("[abA]{0,6}"), y in prop::option::of("[abA]{0,6}"),
            path in "[ab]{0,6}(\\?q=[ab]{0,6})?", authority in "[ab]{0,6}",
        ) {
            let matches: Vec<_> = matches.into_iter().map(Value::Array).collect();
            let rules = rules(&matches);
            let mut headers = vec![(":path", path.as_bytes()), (":authority", authority.as_bytes())];
            headers.extend(x.as_ref().map(|x| ("x", x.as_bytes())));
            headers.extend(y.as_ref().map(|y| ("y", y.as_bytes())));
            let source = Fixed::new(&headers);
            prop_assert_eq!(decide(&Matcher::new(&rules), &source), first_that_holds(&rules, &source));
        }
    }
}
