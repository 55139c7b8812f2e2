//! A configuration that was converted: what it is for, and what it was made of.

use super::gateways::{Api, Proxy};
use super::output::Installation;
use super::rules::Source;
use crate::check::at;
use crate::input::Document;
use crate::tree::Tree;
use std::collections::HashSet;

/// A configuration, and what it is for.
pub(super) struct Converted {
    pub(super) proxies: Vec<Proxy>,
    /// The ports of the gateway; none: all of them.
    pub(super) ports: Vec<u64>,
    pub(super) rules: Vec<Tree>,
    /// What each rule was made of.
    pub(super) sources: Vec<Source>,
    pub(super) installation: Installation,
    /// Routes that make the clusters of mirrors, and what belongs to them.
    pub(super) extra: Vec<Tree>,
}

/// Puts the place in the files before what the plugin has against a rule: `rules[2].mirrors[0].rewrite: …`.
pub(super) fn at_its_source(line: &str, sources: &[Source], all: &[Document]) -> String {
    let number = |text: &str| text.parse::<usize>().ok();
    let found = line.strip_prefix("rules[").and_then(|rest| rest.split_once(']')).and_then(|(rule, rest)| {
        let source: &Source = sources.get(number(rule)?)?;
        let mirror = rest.strip_prefix(".mirrors[").and_then(|rest| rest.split_once(']')).and_then(|(mirror, rest)| {
            let (document, path) = source.mirrors.get(number(mirror)?)?;
            Some((all.get(*document)?, path.clone(), rest))
        });
        mirror.or_else(|| Some((all.get(source.document)?, format!("the route {}", source.name), rest)))
    });
    match found {
        Some((document, path, rest)) => {
            at(&document.place, &format_args!("{path}: {}", rest.trim_start_matches(['.', ':', ' '])))
        }
        None => format!("what was converted is not a configuration: {line}"),
    }
}

/// Gives resources names of their own where there are several, and joins those that say the same.
pub(super) fn name(converted: &mut Vec<Converted>) {
    let mut joined: Vec<Converted> = Vec::new();
    for one in converted.drain(..) {
        // Where neither says which workload it is for, one resource is as good as two.
        match joined.iter_mut().find(|other| other.is_like(&one)) {
            Some(other) => other.proxies.extend(one.proxies),
            None => joined.push(one),
        }
    }
    *converted = joined;
    if converted.len() < 2 {
        return;
    }
    let mut names = HashSet::new();
    for one in converted {
        let name = match one.proxies.first() {
            Some(Proxy::Gateway(_, key)) => key.split_once('/').map_or("gateway", |(_, name)| name),
            Some(Proxy::Unnamed) => "routes",
            Some(Proxy::Mesh) | None => "mesh",
        };
        let ports: String = one.ports.iter().map(|port| format!("-{port}")).collect();
        let name = format!("{name}{ports}");
        let mut own = format!("traffic-mirror-{name}");
        let mut number = 1u64;
        while !names.insert(own.clone()) {
            number = number.saturating_add(1);
            own = format!("traffic-mirror-{name}-{number}");
        }
        one.installation.name = own;
    }
}

impl Converted {
    /// Says what it is for.
    pub(super) fn comment(&self) -> String {
        let proxies: Vec<_> = self.proxies.iter().map(Proxy::to_string).collect();
        let ports: Vec<_> = self.ports.iter().map(u64::to_string).collect();
        let ports = match &*ports {
            [] => String::new(),
            [one] => format!(", port {one}"),
            several => format!(", ports {}", several.join(" and ")),
        };
        format!("# For {}{ports}.\n", proxies.join(" and "))
    }

    fn is_like(&self, other: &Self) -> bool {
        let is_istios = |one: &Self| matches!(one.proxies.first(), Some(Proxy::Gateway(Api::Istio, _)));
        let is_unknown = |one: &Self| is_istios(one) && !one.installation.has_labels();
        is_unknown(self) && is_unknown(other) && self.rules == other.rules
    }
}
