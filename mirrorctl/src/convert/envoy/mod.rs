//! Envoy's own routes, wherever they stand, as rules that mirror what their policies mirror.

mod domain;
mod edits;
mod entry;
mod matcher;
mod mirror;
mod moved;
mod routes;
mod rules;
mod source;

pub(super) use source::{is_envoys, running};

use super::originals;
use super::output::{self, Installation};
use super::rules::Names;
use super::{Conversion, Form};
use crate::input::Document;
use crate::reply::Reply;
use crate::tree::Tree;
use source::{Manager, Sources};
use std::cell::{Cell, RefCell};
use traffic_mirror::config::Config;

/// What is lost of a mirror that does not carry over as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// Nothing that is at work now.
    Nothing,
    /// An edit of the copies.
    Edit,
    /// Copies.
    Mirror,
}

/// What is said while a route configuration is read.
#[derive(Default)]
struct Heard {
    warnings: RefCell<Vec<String>>,
    loses_mirrors: Cell<bool>,
}

impl Heard {
    /// Adds a warning once.
    fn warn(&self, path: &str, what: &str, lost: Lost) {
        let line = if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") };
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&line) {
            warnings.push(line);
        }
        self.loses_mirrors.set(self.loses_mirrors.get() || lost == Lost::Mirror);
    }
}

/// The configuration of a connection manager.
struct Converted {
    index: usize,
    config: Tree,
}

/// Converts Envoy's configuration.
///
/// # Errors
/// What to tell the user where it was not asked as it should be.
pub(super) fn run(
    conversion: &Conversion,
    documents: &[Document],
    running: &[(String, Tree)],
    mut reply: Reply,
) -> Result<Reply, String> {
    let is_alone = running.is_empty() && documents.iter().all(|document| is_bootstrap(&document.tree));
    if conversion.output == Form::Bootstrap && !is_alone {
        return Err("-o bootstrap takes bootstrap files alone: a dump has its keys redacted".to_owned());
    }
    if let Some(other) = documents.iter().find(|document| document.tree.get("kind").is_some()) {
        return Err(format!("{}: convert resources of Kubernetes without Envoy's own configuration", other.place));
    }
    let trees = documents.iter().map(|document| &document.tree).chain(running.iter().map(|(_, dump)| dump));
    let sources = Sources::of(trees);
    let is_asked = |manager: &Manager| conversion.route_config.as_deref().is_none_or(|name| manager.name() == name);
    if let Some(name) = conversion.route_config.as_deref().filter(|_| !sources.managers.iter().any(is_asked)) {
        let mut known: Vec<_> = sources.managers.iter().map(Manager::name).collect();
        known.dedup();
        return Err(format!(
            "--route-config {name}: there is no such route configuration; known here: {}",
            known.join(", ")
        ));
    }
    let mut names = Names::default();
    let mut converted = Vec::new();
    let mut loses_mirrors = false;
    for (index, manager) in sources.managers.iter().enumerate().filter(|(_, manager)| is_asked(manager)) {
        let heard = Heard::default();
        let rules = rules::rules(&manager.routes, &sources.clusters, &mut names, &heard);
        let place = format!("route configuration {}", manager.name());
        warn(
            &mut reply,
            conversion.strict,
            heard.warnings.take().iter().map(|line| format!("{}: {line}", place.trim_end())),
        );
        loses_mirrors = loses_mirrors || heard.loses_mirrors.get();
        let mirrors = |rule: &Tree| rule.get("mirrors").is_some_and(|mirrors| !mirrors.items().is_empty());
        if rules.iter().any(mirrors) {
            converted.push(Converted { index, config: Tree::field("rules", rules) });
        }
    }
    if conversion.route_config.is_none() {
        let missing = sources.missing.iter().map(|what| format!("{what}: not in these files"));
        warn(&mut reply, conversion.strict, missing);
    }
    if loses_mirrors && (conversion.writes_routes() || conversion.output == Form::Bootstrap) {
        reply.finding("some mirrors are not carried over, so their routes must keep them: nothing is written");
    }
    if converted.is_empty() && !reply.has_findings() {
        reply.finding("nothing is mirrored in these files");
    }
    for one in &converted {
        if let Err(violations) = Config::from_bytes(one.config.json().as_bytes()) {
            for line in violations.lines() {
                reply.finding(format_args!("what was converted is not a configuration: {line}"));
            }
        }
    }
    if reply.has_findings() {
        return Ok(reply);
    }
    write(conversion, documents, &sources, &converted, &mut reply)?;
    Ok(reply)
}

fn write(
    conversion: &Conversion,
    documents: &[Document],
    sources: &Sources,
    converted: &[Converted],
    reply: &mut Reply,
) -> Result<(), String> {
    if conversion.output == Form::Bootstrap {
        let mut filters = vec![None; sources.managers.len()];
        for (number, one) in converted.iter().enumerate() {
            if let Some(filter) = filters.get_mut(one.index) {
                // Envoy tells plugins apart by their names.
                let name = if number == 0 { String::new() } else { format!("_{}", number.saturating_add(1)) };
                *filter = Some(output::filter(&format!("traffic_mirror{name}"), one.config.clone()));
            }
        }
        for (number, document) in documents.iter().enumerate() {
            if number > 0 {
                reply.text("---\n");
            }
            reply.text(&output::yaml(&moved::bootstrap(&document.tree, &sources.managers, &filters))?);
        }
        return Ok(());
    }
    let installation = Installation::unknown(&conversion.namespace);
    for (number, one) in converted.iter().enumerate().filter(|_| conversion.output != Form::Routes) {
        if number > 0 {
            reply.text("---\n");
        }
        let Some(manager) = sources.managers.get(one.index) else { continue };
        reply.text(&comment(manager));
        reply.text(&output::write(conversion.output, one.config.clone(), &installation)?);
    }
    if conversion.writes_routes() {
        let strip = |tree: &Tree, _| if is_envoys(tree) { moved::without_policies(tree) } else { tree.clone() };
        reply.text(&originals::write(documents, strip, conversion.output != Form::Routes)?);
    }
    Ok(())
}

/// Names a connection manager.
fn comment(manager: &Manager) -> String {
    let plain = |text: &str| text.replace(char::is_control, " ");
    let listeners = manager.listeners.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ");
    match (manager.listeners.as_slice(), manager.name()) {
        ([], name) => format!("# Route configuration {}\n", plain(name)),
        (_, "") => format!("# Listener {listeners}\n"),
        (_, name) => format!("# Listener {listeners}: route configuration {}\n", plain(name)),
    }
}

fn warn(reply: &mut Reply, strict: bool, lines: impl Iterator<Item = String>) {
    for line in lines {
        if strict {
            reply.finding(line);
        } else {
            reply.note(format_args!("warning: {line}"));
        }
    }
}

/// Tells whether a document is a bootstrap, and none of those inside of a dump.
fn is_bootstrap(tree: &Tree) -> bool {
    ["static_resources", "staticResources"].iter().any(|field| tree.get(field).is_some())
}
