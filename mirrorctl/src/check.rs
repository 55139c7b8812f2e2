//! `mirrorctl check`: what the plugin would say of the configurations in files, and what it would do with surprising effects.

use crate::facts::envoy::Envoy;
use crate::findings::{self, Finding, Severity, Subject};
use crate::found::{Found, configurations};
use crate::input::{documents, files};
use crate::reply::Reply;
use crate::tree::Tree;
use clap::Args;
use std::fmt::Display;
use traffic_mirror::config::Violations;

/// What is checked, and how it is shown.
#[derive(Args)]
pub(crate) struct Check {
    /// Let warnings and notes be findings: exit code 1
    #[arg(long)]
    strict: bool,
    /// Explain the notes, which are otherwise one line
    #[arg(long)]
    notes: bool,
    /// Print all findings as a list of objects in JSON
    #[arg(long)]
    json: bool,
    /// Pass over files without a configuration of this plugin
    #[arg(long)]
    ignore_others: bool,
    /// Files, folders or patterns (`'*.yaml'`) to check; `-` is standard input
    #[arg(required = true)]
    files: Vec<String>,
}

/// Checks all configurations in all files, also where another file cannot be read.
///
/// # Errors
/// What to tell the user where there are no files.
pub(crate) fn run(check: &Check) -> Result<Reply, String> {
    let mut reply = Reply::default();
    let mut all = Vec::new();
    let mut is_checked = false;
    for file in files(&check.files)? {
        match one(&file, check, &mut reply) {
            Ok((has_plugin, findings)) => {
                is_checked |= has_plugin;
                all.extend(findings);
            }
            Err(error) => reply.misuse(error),
        }
    }
    if check.ignore_others && !is_checked {
        let what = "no plugin configuration found in any file";
        all.push(Finding::error("no-plugin", check.files.join(" "), what.to_owned(), NO_PLUGIN));
    }
    if all.iter().any(|finding| check.strict || finding.severity == Severity::Error) {
        reply.fail();
    }
    if check.json {
        reply.line(findings::json(&all));
        return Ok(reply);
    }
    let is_shown = |finding: &&Finding| check.notes || finding.severity != Severity::Note;
    all.iter().filter(is_shown).for_each(|finding| reply.note(finding));
    if let Some(notes) = findings::in_one_line(&all).filter(|_| !check.notes) {
        reply.note(notes);
    }
    Ok(reply)
}

/// What to do where there is no plugin.
const NO_PLUGIN: &str = "name a file with a configuration of the plugin";

/// Checks a file, and tells whether there was something to check; the lines of what is wrong are replied where JSON does not
/// have them.
fn one(file: &str, check: &Check, reply: &mut Reply) -> Result<(bool, Vec<Finding>), String> {
    let json = check.json;
    let mut is_checked = false;
    let mut findings = Vec::new();
    let mut readable = Vec::new();
    let mut plugins = Vec::new();
    for document in documents(file)? {
        let document = match document {
            Ok(document) => document,
            Err(error) => {
                // The file and the document stand before what is wrong.
                let end = error.match_indices(": ").nth(1).map_or(error.len(), |(end, _)| end);
                let (place, what) = error.split_at(end);
                let what = what.trim_start_matches(": ").to_owned();
                findings.push(Finding::error("unreadable", place.to_owned(), what, "let it be YAML or JSON"));
                say(json, reply, &error);
                is_checked = true;
                continue;
            }
        };
        let all = configurations(&document);
        // Where there are several, the path tells them apart: of which listener, filter chain and filter each is.
        let has_several = all.len() > 1;
        let mut valid = Vec::new();
        let mut has_errors = false;
        for found in all {
            if found.is_foreign {
                let what = "skipped: not a configuration of this plugin";
                reply.note(format_args!("{}: {}: {what}", found.place, found.path));
                continue;
            }
            is_checked = true;
            match found.read() {
                Ok(config) => {
                    let rules = count(config.rules.len(), "rule");
                    let mirrors = count(config.rules.iter().map(|rule| rule.mirrors.len()).sum(), "mirror");
                    let path = if has_several { format!("{}: ", found.path) } else { String::new() };
                    if !json {
                        reply.sentence(format_args!("{}: {path}ok: {rules}, {mirrors}", found.place));
                    }
                    valid.push((found, config));
                }
                Err(violations) => {
                    violations.lines().for_each(|line| say(json, reply, &at(&found.place, &line)));
                    findings.extend(invalid(&found, &violations));
                    has_errors = true;
                }
            }
        }
        // First things first: of a document with errors, nothing else is said.
        plugins.extend(valid.into_iter().filter(|_| !has_errors));
        readable.push(document);
    }
    if !is_checked && !check.ignore_others {
        let what = format!("no plugin configuration found{}", kind(readable.iter().map(|document| &document.tree)));
        say(json, reply, &format!("{file}: {what}"));
        findings.push(Finding::error("no-plugin", file.to_owned(), what, NO_PLUGIN));
    }
    if !json {
        // They have been told, in the plugin's own words.
        findings.iter().for_each(|_| reply.fail());
        findings.clear();
    }
    let envoy = Envoy::read(&readable);
    findings.extend(findings::all(&Subject { documents: &readable, plugins: &plugins, envoy, shows_literals: true }));
    Ok((is_checked, findings))
}

/// Tells of something wrong, where JSON does not.
fn say(json: bool, reply: &mut Reply, line: &str) {
    if !json {
        reply.finding(line);
    }
}

/// Returns what the plugin has against a configuration.
fn invalid(found: &Found, violations: &Violations) -> Vec<Finding> {
    let finding = |(path, what, hint): (&str, &str, &str)| {
        Finding::error("invalid", at(&found.place, &path), what.to_owned(), hint)
    };
    violations.parts().map(finding).collect()
}

/// Says what documents are that have no plugin.
fn kind<'t>(mut trees: impl Iterator<Item = &'t Tree>) -> &'static str {
    const ENVOY: [&str; 4] = ["static_resources", "dynamic_resources", "resources", "configs"];
    if trees.any(|tree| ENVOY.iter().any(|field| tree.get(field).is_some())) {
        ": Envoy's configuration without this plugin"
    } else {
        ""
    }
}

/// Puts the place before what is wrong there.
pub(crate) fn at(place: &impl Display, violation: &impl Display) -> String {
    format!("{place}: {violation}")
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
