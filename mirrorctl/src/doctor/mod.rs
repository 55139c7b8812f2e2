//! `mirrorctl doctor`: asks a running Envoy why no copies arrive. Facts are read once; findings are made of them.

pub(crate) mod facts;
mod loading;
mod outcomes;
pub(crate) mod read;
mod responses;
mod sums;
mod traffic;
mod work;

use crate::facts::field::text;
use crate::findings::{self, Finding, Severity};
use crate::reply::Reply;
use clap::Args;
use facts::{Facts, Plugins};
use std::path::PathBuf;

/// Codes in the order of causes: what stands before another may be its reason.
const CAUSES: [&str; 38] = [
    "not-loaded",
    "refused",
    "invalid-kept",
    "no-traffic",
    "not-reached",
    "after-answer",
    "all-ignored",
    "nothing-matches",
    "all-unsampled",
    "all-unscheduled",
    "none-wanted",
    "never",
    "no-cluster-header",
    "cluster-not-allowed",
    "unknown-cluster",
    "breaker-open",
    "no-healthy-host",
    "subset-lb",
    "original-dst",
    "tls-fails",
    "auto-sni-suffix",
    "connect-fails",
    "http1-for-grpc",
    "downstream-protocol",
    "mirror-resets",
    "response-too-large",
    "streams-held",
    "times-out",
    "mirror-errors",
    "in-flight-limit",
    "buffer-limit",
    "body-too-large",
    "rate-limit",
    "redaction-failed",
    "incomplete-requests",
    "waits-stuck",
    "does-not-add-up",
    "labels-missing",
];

/// Who is asked, and how it is shown.
#[derive(Args)]
pub(crate) struct Question {
    /// Envoy's admin endpoint: HOST:PORT
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    envoy: Option<String>,
    /// Read files of a folder instead: config_dump.json, and, as far as there are, clusters.json, stats.txt, server_info.json,
    /// runtime.json. A dump has secrets in clear; none is printed
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// How long to wait between two readings of the counters
    #[arg(long, default_value = "2s")]
    wait: humantime::Duration,
    /// Explain the notes, which are otherwise one line
    #[arg(long)]
    notes: bool,
    /// Print all findings as a list of objects in JSON
    #[arg(long)]
    json: bool,
}

/// Asks, and tells what is found, the cause first.
///
/// # Errors
/// What to tell the user where nothing can be read.
pub(crate) fn run(question: &Question) -> Result<Reply, String> {
    let said = match (&question.envoy, &question.from) {
        (Some(envoy), _) => read::ask(envoy, *question.wait)?,
        (None, Some(folder)) => read::files(folder)?,
        (None, None) => return Err("name an Envoy: HOST:PORT, or --from DIR".into()),
    };
    let plugins = Plugins::of(&said.documents);
    let facts = Facts::new(&said, &plugins);
    let findings = all(&facts);
    let mut reply = Reply::default();
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        reply.fail();
    }
    if question.json {
        reply.line(findings::json(&findings));
        return Ok(reply);
    }
    work::describe(&facts).lines().for_each(|line| reply.sentence(line));
    if findings.iter().all(|finding| finding.severity == Severity::Note) {
        reply.sentence("Nothing found that keeps copies from being made or answered.");
    }
    let is_shown = |finding: &&Finding| question.notes || finding.severity != Severity::Note;
    findings.iter().filter(is_shown).for_each(|finding| reply.sentence(finding));
    if let Some(notes) = findings::in_one_line(&findings).filter(|_| !question.notes) {
        reply.sentence(notes);
    }
    Ok(reply)
}

/// Finds all, the worst first, and of those the cause.
fn all(facts: &Facts<'_>) -> Vec<Finding> {
    const FINDERS: [fn(&Facts<'_>) -> Vec<Finding>; 6] =
        [loading::find, traffic::find, outcomes::find, responses::find, sums::find, configured];
    let mut findings: Vec<Finding> = Vec::new();
    for finding in FINDERS.iter().flat_map(|find| find(facts)) {
        // Of what check and the counters say, the latter.
        let is_told = |told: &Finding| *told == finding || (told.code == finding.code && is_counted(facts, told));
        if !findings.iter().any(is_told) {
            findings.push(finding);
        }
    }
    let mut findings = once_each(findings);
    findings.sort_by_key(|finding| (finding.severity, rank(finding.code)));
    findings
}

/// Says once what holds in several places: one configuration may stand in many listeners.
fn once_each(findings: Vec<Finding>) -> Vec<Finding> {
    let mut once: Vec<(Finding, usize)> = Vec::new();
    for finding in findings {
        let is_same =
            |other: &Finding| (other.code, &other.what, &other.hint) == (finding.code, &finding.what, &finding.hint);
        match once.iter_mut().find(|(other, _)| is_same(other)) {
            Some((_, more)) => *more = more.saturating_add(1),
            None => once.push((finding, 0)),
        }
    }
    let counted = |(finding, more): (Finding, usize)| match more {
        0 => finding,
        more => Finding { place: format!("{} and {more} more", finding.place), ..finding },
    };
    once.into_iter().map(counted).collect()
}

/// Tells whether a finding is of the counters, not of a place in a configuration.
fn is_counted(facts: &Facts<'_>, finding: &Finding) -> bool {
    finding.place.starts_with(&format!("{}: rule ", facts.said.name)) && finding.severity == Severity::Error
}

fn rank(code: &str) -> usize {
    CAUSES.iter().position(|cause| *cause == code).unwrap_or(CAUSES.len())
}

/// Returns what check says of the configuration at work; what makes copies fail that fail is an error.
fn configured(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = findings::all(&facts.subject);
    findings.retain(|finding| !matches!(finding.code, "no-stats-tags" | "no-buffer-limit"));
    findings.extend(loading::unset(facts));
    for finding in &mut findings {
        let keeps = match finding.code {
            "after-answer" => !traffic::is_seen(facts),
            "never" | "unknown-cluster" => true,
            "subset-lb" | "original-dst" => outcomes::has(facts, "no_upstream"),
            "auto-sni-suffix" => responses::fails_by_tls(facts),
            _ => false,
        };
        if keeps {
            finding.severity = Severity::Error;
        }
        shorten(facts, finding);
    }
    findings
}

/// Names the plugin, where its configuration stands deep in a dump.
fn shorten(facts: &Facts<'_>, finding: &mut Finding) {
    for (found, _) in &facts.plugins.valid {
        let path = format!("{}: {}", found.place, found.path);
        if let Some(rest) = finding.place.strip_prefix(&path).filter(|rest| rest.is_empty() || rest.starts_with('.')) {
            let plugin = text(&found.owner, &["name"]).unwrap_or_default();
            finding.place = format!("{}: plugin {plugin}: {}", facts.said.name, rest.trim_start_matches('.'));
            return;
        }
    }
}
