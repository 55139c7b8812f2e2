//! `mirrorctl check`: what the plugin would say of the configurations in files, and what it would do with surprising effects.

use crate::findings::{self, Subject};
use crate::found::configurations;
use crate::input::{documents, files};
use crate::reply::Reply;
use clap::Args;
use std::fmt::Display;

/// How to check.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Let warnings be findings: exit code 1
    #[arg(long)]
    strict: bool,
    /// Pass over files without a configuration of this plugin
    #[arg(long)]
    ignore_others: bool,
}

/// Checks all configurations in all files, also where another file cannot be read.
///
/// # Errors
/// What to tell the user where there are no files.
pub(crate) fn run(named: &[String], options: Options) -> Result<Reply, String> {
    let mut reply = Reply::default();
    let mut is_checked = false;
    for file in files(named)? {
        match check(&file, options, &mut reply) {
            Ok(found) => is_checked |= found,
            Err(error) => reply.misuse(error),
        }
    }
    if options.ignore_others && !is_checked {
        reply.finding("no plugin configuration found in any file");
    }
    Ok(reply)
}

/// Checks a file, and tells whether there was something to check.
fn check(file: &str, options: Options, reply: &mut Reply) -> Result<bool, String> {
    let mut is_checked = false;
    let mut readable = Vec::new();
    let mut plugins = Vec::new();
    for document in documents(file)? {
        let document = match document {
            Ok(document) => document,
            Err(error) => {
                reply.finding(error);
                is_checked = true;
                continue;
            }
        };
        let all = configurations(&document);
        // Where there are several, the path tells them apart: of which listener, filter chain and filter each is.
        let has_several = all.len() > 1;
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
                    reply.line(format_args!("{}: {path}ok: {rules}, {mirrors}", found.place));
                    plugins.push((found, config));
                }
                Err(violations) => {
                    violations.lines().for_each(|line| reply.finding(at(&found.place, &line)));
                }
            }
        }
        readable.push(document);
    }
    if !is_checked && !options.ignore_others {
        reply.finding(format_args!("{file}: no plugin configuration found"));
    }
    for finding in findings::all(&Subject { documents: &readable, plugins: &plugins }) {
        if options.strict {
            reply.finding(finding);
        } else {
            reply.note(finding);
        }
    }
    Ok(is_checked)
}

/// Puts the place before what is wrong there.
pub(crate) fn at(place: &impl Display, violation: &impl Display) -> String {
    format!("{place}: {violation}")
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
