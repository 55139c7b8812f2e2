//! `mirrorctl check`: what the plugin would say of the configurations in files.

use crate::found::configurations;
use crate::input::documents;
use crate::reply::Reply;
use std::fmt::Display;

/// Checks all configurations in all files.
///
/// # Errors
/// What to tell the user where a file cannot be read.
pub(crate) fn run(files: &[String]) -> Result<Reply, String> {
    let mut reply = Reply::default();
    for file in files {
        let mut checked = false;
        for document in documents(file)? {
            let document = match document {
                Ok(document) => document,
                Err(error) => {
                    reply.finding(error);
                    checked = true;
                    continue;
                }
            };
            for found in configurations(&document) {
                if found.is_foreign {
                    reply.note(format_args!(
                        "{}: {}: skipped: not a configuration of this plugin",
                        found.place, found.path
                    ));
                    continue;
                }
                checked = true;
                match found.read() {
                    Ok(config) => {
                        let rules = count(config.rules.len(), "rule");
                        let mirrors = count(config.rules.iter().map(|rule| rule.mirrors.len()).sum(), "mirror");
                        reply.line(format_args!("{}: ok: {rules}, {mirrors}", found.place));
                    }
                    Err(violations) => {
                        violations.lines().for_each(|line| reply.finding(at(&found.place, &line)));
                    }
                }
            }
        }
        if !checked {
            reply.finding(format_args!("{file}: no plugin configuration found"));
        }
    }
    Ok(reply)
}

/// Puts the place before what is wrong there.
pub(crate) fn at(place: &impl Display, violation: &impl Display) -> String {
    format!("{place}: {violation}")
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
