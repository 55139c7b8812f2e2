//! The path of a Gateway API match, which for gRPC is its method, and how specific the match is.

use super::context::Resource;
use super::owner::Owner;
use super::pattern;
use crate::node::Node;
use crate::tree::join;
use std::borrow::Cow;

/// Ranks a match as the proxy's maker does, which the Gateway API leaves open in part: the largest decides.
pub(super) fn specificity(resource: &Resource<'_>, entry: &Node<'_>, uri: &Uri<'_>) -> Vec<i64> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let exact = |name: &str| {
        let tests = entry.items_at(name);
        number(tests.iter().filter(|test| test.text_at("type").unwrap_or("Exact") == "Exact").count())
    };
    let count = |name: &str| number(entry.items_at(name).len());
    let is_http = resource.manifest.kind == "HTTPRoute";
    let method = i64::from(is_http && entry.field("method").is_some());
    let is_envoy_gateway = *resource.owner == Owner::EnvoyGateway;
    let (kind, text) = match uri {
        Uri::Exact(text) => (3, text),
        Uri::Prefix(text) if is_envoy_gateway => (1, text),
        Uri::Prefix(text) => (2, text),
        Uri::Regex(text) if is_envoy_gateway => (2, text),
        Uri::Regex(text) => (1, text),
    };
    let path = [kind, number(text.len())];
    let rest = match is_envoy_gateway {
        true => [
            count("headers").saturating_add(method),
            exact("headers").saturating_add(method),
            count("queryParams"),
            exact("queryParams"),
        ],
        false => [method, count("headers"), count("queryParams"), 0],
    };
    [&path[..], &rest].concat()
}

/// A condition on the path.
pub(super) enum Uri<'a> {
    Exact(Cow<'a, str>),
    /// Complete elements of the path, without a `/` at the end; empty: every path.
    Prefix(Cow<'a, str>),
    Regex(Cow<'a, str>),
}

pub(super) fn read_path<'t>(resource: &Resource<'_>, entry: &Node<'t>) -> Option<Uri<'t>> {
    if resource.manifest.kind == "GRPCRoute" {
        return read_method(resource, entry);
    }
    let given = entry.field("path");
    let text = |name| given.as_ref()?.text_at(name);
    let value = text("value").unwrap_or("/");
    match text("type").unwrap_or("PathPrefix") {
        "Exact" => Some(Uri::Exact(value.into())),
        "PathPrefix" => Some(Uri::Prefix(value.trim_end_matches('/').into())),
        "RegularExpression" => {
            if *resource.owner != Owner::EnvoyGateway {
                let what = "which of a prefix and an expression decides is left open: as in Istio, the prefix does";
                resource.warn(&join(entry.path(), "path"), what);
            }
            Some(Uri::Regex(value.into()))
        }
        kind => {
            let what = format_args!("{kind}: not Exact, PathPrefix or RegularExpression");
            resource.refuse(&join(entry.path(), "path.type"), what)
        }
    }
}

/// Reads the method of a GRPCRoute's match, which is a path: `/service/method`.
fn read_method<'t>(resource: &Resource<'_>, entry: &Node<'t>) -> Option<Uri<'t>> {
    let Some(given) = entry.field("method") else { return Some(Uri::Prefix("".into())) };
    let part = |name| given.text_at(name).filter(|text| !text.is_empty());
    let uri = match (given.text_at("type").unwrap_or("Exact"), part("service"), part("method")) {
        (_, None, None) => return resource.refuse(given.path(), "neither a service nor a method"),
        ("Exact", Some(service), Some(method)) => Uri::Exact(format!("/{service}/{method}").into()),
        ("Exact", Some(service), None) => Uri::Prefix(format!("/{service}").into()),
        ("Exact", None, Some(method)) => Uri::Regex(format!("/[^/]+/{}", pattern::literal(method)).into()),
        ("RegularExpression", service, method) => {
            Uri::Regex(format!("/{}/{}", service.unwrap_or("[^/]+"), method.unwrap_or(".+")).into())
        }
        (kind, ..) => {
            let what = format_args!("{kind}: not Exact or RegularExpression");
            return resource.refuse(&join(given.path(), "type"), what);
        }
    };
    Some(uri)
}
