//! A policy and what its route does to requests, as a mirror of the plugin's.

use super::edits::Edits;
use super::matcher::{PathKind, share};
use crate::convert::pattern::{literal, replacement};
use crate::convert::rules::Names;
use crate::tree::Tree;
use std::time::Duration;
use traffic_mirror::core::copy::shadow;

/// What a route does to the path and the host of its requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Rewrites {
    uri: Option<String>,
    regex: Option<(String, String)>,
    pub(super) host: Option<String>,
    timeout: Option<String>,
    /// What cannot be carried over, each with its path below the route.
    pub(super) lacks: Vec<String>,
}

impl Rewrites {
    /// Reads those of a route's action. `by_uri`: the rule has the route's own conditions on the path.
    pub(super) fn read(action: &Tree, path: &PathKind, by_uri: bool, matched: &Tree) -> Self {
        let mut rewrites = Self::default();
        let lost = "the copies have the request's";
        let text = |field: &str| action.text_at(&[field]).filter(|text| !text.is_empty());
        if let Some(prefix) = text("prefix_rewrite") {
            let fits = prefix.starts_with('/') && !prefix.contains(['?', '#', ' ', '\t']);
            if fits {
                rewrites.replace(prefix, path, by_uri, matched);
            } else {
                rewrites.lacks.push(format!("prefix_rewrite: {prefix} is no path: {lost} path"));
            }
        }
        if let Some(regex) = action.get("regex_rewrite") {
            let substitution = regex.text_at(&["substitution"]).unwrap_or_default();
            match regex.text_at(&["pattern", "regex"]) {
                Some(pattern) => rewrites.regex = Some((pattern.to_owned(), substitution.to_owned())),
                None => rewrites.lacks.push(format!("regex_rewrite: {lost} path")),
            }
        }
        rewrites.host = text("host_rewrite_literal").map(str::to_owned);
        for (field, what) in [
            ("path_rewrite_policy", "path"),
            ("path_rewrite", "path"),
            ("host_rewrite_header", "host"),
            ("host_rewrite_path_regex", "host"),
            ("host_rewrite", "host"),
        ] {
            if action.get(field).is_some() {
                rewrites.lacks.push(format!("{field}: {lost} {what}"));
            }
        }
        if action.get("append_x_forwarded_host") == Some(&Tree::Flag(true)) {
            rewrites.lacks.push("append_x_forwarded_host: the copies have no x-forwarded-host of Envoy's".to_owned());
        }
        rewrites.timeout = text("timeout").and_then(timeout);
        rewrites
    }

    /// Tells whether what the rule's `uri` matched is replaced.
    pub(super) fn replaces_uri(&self) -> bool {
        self.uri.is_some()
    }

    fn replace(&mut self, prefix: &str, path: &PathKind, by_uri: bool, matched: &Tree) {
        let insensitive = |ignores_case: bool| if ignores_case { "(?i)" } else { "" };
        let ignores_case = matched.get("case_sensitive") == Some(&Tree::Flag(false));
        let pattern = match (path, matched.text_at(&["prefix"])) {
            (PathKind::Uri, _) if by_uri => {
                self.uri = Some(prefix.to_owned());
                return;
            }
            (PathKind::Uri, Some(own)) => format!("{}^{}", insensitive(ignores_case), literal(own)),
            (PathKind::Segments { prefix, ignores_case }, _) => {
                format!("{}^{}", insensitive(*ignores_case), literal(prefix))
            }
            _ => "^.*$".to_owned(),
        };
        self.regex = Some((pattern, replacement(prefix)));
    }
}

/// Reads how long a route waits, as the plugin writes it; `None`: for ever, or so long that it does not take it.
fn timeout(text: &str) -> Option<String> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    let waits = Duration::try_from_secs_f64(seconds).ok()?;
    (Duration::from_millis(1)..=Duration::from_hours(1)).contains(&waits).then(|| format!("{}ms", waits.as_millis()))
}

/// Where a policy's copies go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Cluster(String),
    Header(String),
}

impl Target {
    /// Reads it; `None`: nowhere, as far as the plugin can tell. The router's edits come before the header is read.
    pub(super) fn read(policy: &Tree, routed: &Edits) -> Result<Option<Self>, String> {
        let text = |field: &str| policy.text_at(&[field]).filter(|text| !text.is_empty());
        match (text("cluster"), text("cluster_header")) {
            (Some(cluster), _) => Ok(Some(Self::Cluster(cluster.to_owned()))),
            (None, Some(header)) => match routed.known(&header.to_ascii_lowercase()) {
                Ok(Some(cluster)) => Ok(Some(Self::Cluster(cluster.to_owned()))),
                Ok(None) => Ok(None),
                Err(false) => Ok(Some(Self::Header(header.to_owned()))),
                Err(true) => Err(format!("cluster_header: the route adds to {header}: nothing is mirrored by it")),
            },
            (None, None) => Err("neither cluster nor cluster_header: nothing is mirrored by it".to_owned()),
        }
    }
}

/// Writes a mirror.
pub(super) fn write(policy: &Tree, target: &Target, rewrites: &Rewrites, edits: &Edits) -> Tree {
    let (cluster, header) = match target {
        Target::Cluster(cluster) => (Some(cluster.clone().into()), None),
        Target::Header(header) => (None, Some(header.clone().into())),
    };
    let keeps = policy.get("disable_shadow_host_suffix_append") == Some(&Tree::Flag(true));
    let own = policy.text_at(&["host_rewrite_literal"]).filter(|host| !host.is_empty());
    let shadowed = |host: &str| {
        if keeps { host.to_owned() } else { String::from_utf8_lossy(&shadow(host.as_bytes())).into_owned() }
    };
    let authority = own.map(str::to_owned).or_else(|| rewrites.host.as_deref().map(shadowed));
    let regex = rewrites.regex.as_ref().map(|(pattern, rewrite)| {
        Tree::map([("match", Some(pattern.clone().into())), ("rewrite", Some(rewrite.clone().into()))])
    });
    let keeps = (keeps && authority.is_none()).then(|| true.into());
    let rewrite = Tree::map([
        ("authority", authority.map(Tree::from)),
        ("uri", rewrites.uri.clone().map(Tree::from)),
        ("uriRegexRewrite", regex),
    ]);
    let share = policy.get("runtime_fraction").map(share).filter(|share| *share < 100.0);
    let unsampled = policy.get("trace_sampled") == Some(&Tree::Flag(false));
    Tree::map([
        ("cluster", cluster),
        ("clusterHeader", header),
        ("percentage", share.map(number)),
        ("rewrite", Some(rewrite).filter(|rewrite| !rewrite.fields().is_empty())),
        ("disableShadowHostSuffixAppend", keeps),
        ("headers", edits.write()),
        ("timeout", rewrites.timeout.clone().map(Tree::from)),
        ("trace", unsampled.then(|| "unsampled".into())),
    ])
}

/// Writes a share, without decimals where it has none.
fn number(share: f64) -> Tree {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number between 0 and 100")]
    if share.fract() == 0.0 { (share as u64).into() } else { share.into() }
}

/// Gives names to mirrors of one rule whose metrics would have the same label.
pub(super) fn named(mirrors: Vec<Tree>) -> Vec<Tree> {
    let label = |mirror: &Tree| {
        let header = mirror.text_at(&["clusterHeader"]).map(|header| format!("header-{header}"));
        header.or_else(|| mirror.text_at(&["cluster"]).map(str::to_owned)).unwrap_or_default()
    };
    let labels: Vec<_> = mirrors.iter().map(label).collect();
    let mut names = Names::default();
    let name = |(mirror, own): (Tree, &String)| {
        if labels.iter().filter(|other| *other == own).count() < 2 {
            return mirror;
        }
        let name = names.unique(&format!("{own}-1"));
        Tree::Map([&[("name".to_owned(), name.into())], mirror.fields()].concat())
    };
    mirrors.into_iter().zip(&labels).map(name).collect()
}
