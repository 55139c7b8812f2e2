//! Which rule decides a request: the first that matches.

use crate::config::{Match, Rule, StringMatch};
use crate::request::Request;
use std::net::IpAddr;

/// A rule's claim on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The rule's index.
    pub rule: usize,
    /// How many of the path's first bytes `rewrite.uri` replaces: those that an exact or prefix `uri` matched.
    pub matched_uri: Option<usize>,
}

/// Finds the first rule that matches a request.
pub fn decide<'a>(rules: &'a [Rule], request: &Request<'a>) -> Option<Decision> {
    rules.iter().enumerate().find_map(|(rule, candidate)| {
        if candidate.matches.is_empty() {
            return Some(Decision { rule, matched_uri: None });
        }
        let entry = candidate.matches.iter().find(|entry| holds(entry, request))?;
        let matched_uri = entry.uri.as_ref().and_then(StringMatch::rewritten_len);
        Some(Decision { rule, matched_uri })
    })
}

/// Tells whether all of an entry's conditions hold.
///
/// The cheapest to ask come first: a missing header ends it before anything is read from the host.
fn holds<'a>(entry: &'a Match, request: &Request<'a>) -> bool {
    entry.headers.iter().all(|(name, test)| request.header(name).is_some_and(|value| test.holds(&value)))
        && entry.without_headers.iter().all(|(name, test)| !match request.header(name) {
            Some(value) => test.holds(&value),
            None => !test.is_presence() && test.holds(b""),
        })
        && entry.cookies.iter().all(|(name, test)| matches(Some(test), || request.cookie(name)))
        && matches(entry.uri.as_ref(), || Some(request.path()))
        && matches(entry.method.as_ref(), || request.headers().first(b":method"))
        && matches(entry.scheme.as_ref(), || request.headers().first(b":scheme"))
        && matches(entry.authority.as_ref(), || request.headers().first(b":authority"))
        && entry.query_params.iter().all(|(key, test)| matches(Some(test), || request.query_param(key)))
        && (entry.source_cidrs.is_empty() || request.source_ip().is_some_and(|ip| is_within(entry, ip)))
        && matches(entry.route_name.as_ref(), || request.route_name())
}

fn matches<'v>(test: Option<&StringMatch>, value: impl FnOnce() -> Option<&'v [u8]>) -> bool {
    test.is_none_or(|test| value().is_some_and(|value| test.holds(value)))
}

fn is_within(entry: &Match, ip: IpAddr) -> bool {
    entry.source_cidrs.iter().any(|range| range.contains(&ip))
}
