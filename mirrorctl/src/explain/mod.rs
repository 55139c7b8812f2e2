//! `mirrorctl explain`: what the plugin does with a request, and why; asked of the plugin's own code.

mod comparison;
mod mirrors;
mod request;
mod rules;

pub(crate) use request::{Description, moment};

use crate::check::at;
use crate::found::configurations;
use crate::input::{bytes, documents};
use crate::reply::Reply;
use crate::tree::Tree;
use request::{Given, LOCALHOST};
use std::time::SystemTime;
use traffic_mirror::config::{Config, Moment};
use traffic_mirror::core::matcher::Matcher;
use traffic_mirror::core::request::Request;

/// Explains what each configuration of a file makes of a request.
///
/// # Errors
/// What to tell the user where the request is not one, or a file cannot be read.
pub(crate) fn run(file: &str, description: &Description) -> Result<Reply, String> {
    let body = description.body.as_deref().map(bytes).transpose()?;
    let given = Given::new(description, body.as_deref())?;
    let body = body.unwrap_or_default();
    let now = description.at.unwrap_or_else(now);
    let mut reply = Reply::default();
    let mut all = Vec::new();
    let mut routes = Vec::new();
    for document in documents(file)? {
        match document {
            Ok(document) => {
                routes.extend(is_route(&document.tree).then(|| document.place.clone()));
                all.extend(configurations(&document).into_iter().filter(|found| !found.is_foreign));
            }
            Err(error) => reply.finding(error),
        }
    }
    if all.is_empty() && !reply.has_findings() {
        match routes.first() {
            Some(route) => {
                reply.finding(at(route, &"routes, not a configuration: convert it first: mirrorctl convert"))
            }
            None => reply.finding(format_args!("{file}: no plugin configuration found")),
        }
    }
    if given.has_assumed_host && !all.is_empty() {
        reply.sentence(format_args!("the request names no host: {LOCALHOST}; give a URL or -H 'host: NAME'"));
    }
    for found in &all {
        if all.len() > 1 && found.configuration.is_ok() {
            reply.line(format_args!("{}: {}", found.place, found.path));
        }
        match (found.read(), &found.configuration) {
            (Ok(config), Ok((tree, _))) => explain(&mut reply, &config, tree, &given, &body, now),
            (Err(violations), _) => violations.lines().for_each(|line| reply.finding(at(&found.place, &line))),
            (Ok(_), Err(violation)) => reply.finding(at(&found.place, violation)),
        }
    }
    Ok(reply)
}

/// Tells whether it is what `convert` makes a configuration of.
fn is_route(tree: &Tree) -> bool {
    tree.text_at(&["kind"]).is_some_and(|kind| ["VirtualService", "HTTPRoute", "GRPCRoute"].contains(&kind))
}

fn explain(reply: &mut Reply, config: &Config, tree: &Tree, given: &Given, body: &[u8], now: Moment) {
    let matcher = Matcher::new(&config.rules);
    let decision = matcher.decide(&Request::new(given, true));
    for line in rules::explain(tree, config, given, decision.map(|decision| decision.rule)) {
        reply.sentence(line);
    }
    if let Some(decision) = decision
        && let Some(rule) = config.rules.get(decision.rule)
    {
        mirrors::explain(reply, config, rule, decision, given, body, now);
    }
}

/// Returns the moment of this machine's clock.
pub(crate) fn now() -> Moment {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Moment::since_epoch(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
