//! What is worth to be told of a file whose configurations the plugin takes: one function a code, one file a group of codes.

mod balancing;
mod bodies;
pub(crate) mod bootstrap;
mod chain;
pub(crate) mod clusters;
mod credentials;
mod edge;
mod methods;
mod needs;
mod plugins;
mod protocol;
mod rules;
mod updates;

use crate::facts::envoy::Envoy;
use crate::found::Found;
use crate::input::Document;
use crate::tree::{Tree, join};
use std::fmt;
use traffic_mirror::config::{Config, Mirror, Target};

/// All of check.
const FINDERS: [fn(&Subject<'_>) -> Vec<Finding>; 28] = [
    clusters::unknown_cluster,
    chain::after_answer,
    rules::never,
    rules::when_on_grpc,
    balancing::subset_lb,
    balancing::original_dst,
    protocol::auto_sni_suffix,
    protocol::http1_for_grpc,
    protocol::downstream_protocol,
    methods::lower_case_method,
    rules::odd_rewrite,
    chain::route_chosen_later,
    chain::before_refusal,
    clusters::retries_copies,
    clusters::shared_cluster,
    balancing::hash_lb,
    updates::no_keep_last,
    updates::fail_closed,
    plugins::shared_plugin_name,
    plugins::shared_rule_name,
    bootstrap::no_stats_tags,
    bootstrap::no_buffer_limit,
    bodies::large_bodies,
    needs::compare_build,
    needs::key,
    methods::unsafe_methods,
    credentials::credentials_leave,
    edge::notes,
];

/// A file, or a running Envoy: all its documents, and the configurations of the plugin that are in them.
pub(crate) struct Subject<'a> {
    pub(crate) documents: &'a [Document],
    pub(crate) plugins: &'a [(Found, Config)],
    pub(crate) envoy: Envoy<'a>,
    /// Whether what matchers and rewrites compare with may be shown: in a running proxy, it may be a secret.
    pub(crate) shows_literals: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// It is wrong, or it keeps copies from being made.
    Error,
    /// The plugin works, and something about it is probably not as it was meant.
    Warning,
    /// It is right for many, and worth to be known.
    Note,
}

/// Something worth to be told; prints as `where: warning: what: hint [code]`, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// Its name, which stays: in the documents, it is a heading.
    pub(crate) code: &'static str,
    /// The document and the path in it.
    pub(crate) place: String,
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: String,
}

impl Finding {
    pub(crate) fn error(code: &'static str, place: String, what: String, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, place, what, hint: hint.into() }
    }

    pub(crate) fn warning(code: &'static str, place: String, what: String, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, place, what, hint) }
    }

    pub(crate) fn note(code: &'static str, place: String, what: String, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, place, what, hint) }
    }

    /// Returns it as JSON has it.
    pub(crate) fn tree(&self) -> Tree {
        let text = |text: &str| Some(text.into());
        Tree::map([
            ("severity", text(self.severity.word())),
            ("code", text(self.code)),
            ("where", text(&self.place)),
            ("what", text(&self.what)),
            ("hint", text(&self.hint)),
        ])
    }
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = self.severity.word();
        let line = format!("{}: {severity}: {}: {} [{}]", self.place, self.what, self.hint, self.code);
        // Names come from the file: nothing in them may look like a line of its own.
        f.write_str(&line.replace(char::is_control, " "))
    }
}

/// Names the notes on one line, so that what is meant to be read is read; `None` where there is none.
pub(crate) fn in_one_line<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Option<String> {
    let mut codes: Vec<_> = Vec::new();
    for finding in findings.into_iter().filter(|finding| finding.severity == Severity::Note) {
        if !codes.contains(&finding.code) {
            codes.push(finding.code);
        }
    }
    (!codes.is_empty()).then(|| format!("notes: {}; `--notes` explains", codes.join(", ")))
}

/// Writes findings as a list of objects.
pub(crate) fn json(findings: &[Finding]) -> String {
    serde_json::to_string_pretty(&findings.iter().map(Finding::tree).collect::<Vec<_>>()).unwrap_or_default()
}

/// Finds all that is worth to be told of a file, the worst first.
pub(crate) fn all(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings: Vec<_> = FINDERS.iter().flat_map(|find| find(subject)).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Returns all mirrors, each with its path.
fn mirrors(config: &Config) -> impl Iterator<Item = (String, &Mirror)> {
    let rules = config.rules.iter().zip(0u32..);
    rules.flat_map(|(rule, index)| {
        let mirrors = rule.mirrors.iter().zip(0u32..);
        mirrors.map(move |(mirror, number)| (format!("rules[{index}].mirrors[{number}]"), mirror))
    })
}

/// Says where something of a configuration stands.
fn place(found: &Found, path: &str) -> String {
    format!("{}: {}", found.place, join(&found.path, path))
}

/// A mirror, and where it stands.
struct Aim<'a> {
    found: &'a Found,
    mirror: &'a Mirror,
    /// Its path in the configuration.
    path: String,
}

impl Subject<'_> {
    /// Shows what a matcher compares with, where it may be shown.
    fn literal<'t>(&self, text: &'t str) -> &'t str {
        if self.shows_literals { text } else { "(not shown)" }
    }

    /// Lists the mirrors that may get a copy.
    fn aims(&self) -> impl Iterator<Item = Aim<'_>> {
        self.plugins.iter().flat_map(|(found, config)| {
            config.rules.iter().zip(0u32..).flat_map(move |(rule, index)| {
                let mirrors = rule.mirrors.iter().zip(0u32..);
                let path = move |number| format!("rules[{index}].mirrors[{number}]");
                mirrors.map(move |(mirror, number)| Aim { found, mirror, path: path(number) })
            })
        })
    }

    /// Returns the mirrors that are known to send copies to a cluster.
    fn aims_at(&self, cluster: &str) -> impl Iterator<Item = Aim<'_>> {
        self.aims().filter(move |aim| clusters_of(aim.mirror).contains(&cluster))
    }
}

/// Lists the clusters that are known to get a mirror's copies.
pub(crate) fn clusters_of(mirror: &Mirror) -> Vec<&str> {
    match &mirror.target {
        Target::Cluster(name) => vec![&**name],
        Target::Header { allowed, .. } => allowed.iter().flatten().map(|name| &**name).collect(),
    }
}
