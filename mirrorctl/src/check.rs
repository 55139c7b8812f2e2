//! `mirrorctl check`: what the plugin would say of the configurations in files, and what it would do with surprising effects.

use crate::findings::{self, Subject};
use crate::found::configurations;
use crate::input::documents;
use crate::reply::Reply;
use std::fmt::Display;

/// Checks all configurations in all files, also where another file cannot be read; `strict` makes findings of the warnings.
pub(crate) fn run(files: &[String], strict: bool) -> Reply {
    let mut reply = Reply::default();
    for file in files {
        if let Err(error) = check(file, strict, &mut reply) {
            reply.misuse(error);
        }
    }
    reply
}

fn check(file: &str, strict: bool, reply: &mut Reply) -> Result<(), String> {
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
    if !is_checked {
        reply.finding(format_args!("{file}: no plugin configuration found"));
    }
    for finding in findings::all(&Subject { documents: &readable, plugins: &plugins }) {
        if strict {
            reply.finding(finding);
        } else {
            reply.note(finding);
        }
    }
    Ok(())
}

/// Puts the place before what is wrong there.
pub(crate) fn at(place: &impl Display, violation: &impl Display) -> String {
    format!("{place}: {violation}")
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
