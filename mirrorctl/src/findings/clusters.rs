//! What Envoy's clusters do to the copies that go to them.

use super::{Finding, Subject};
use crate::tree::{Tree, join};
use traffic_mirror::config::{Config, Target};

/// The options of a cluster that concern HTTP.
const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Finds mirrors' clusters that send copies again, or copies of copies: since Envoy 1.37 a cluster may say so by itself, and
/// then for what the plugin sends as well. Routes do not count, for copies have none.
pub(super) fn retries_copies(subject: &Subject<'_>) -> Vec<Finding> {
    let mirrors: Vec<&str> = subject.plugins.iter().flat_map(|(_, config)| clusters_of_mirrors(config)).collect();
    let mut findings = Vec::new();
    for document in subject.documents {
        each_cluster("", &document.tree, &mut |path, name, options| {
            if !mirrors.contains(&name) {
                return;
            }
            let mut warn = |field: &str, what: &str| {
                let place = format!("{}: {}", document.place, join(path, field));
                let hint = format!("give the mirror a cluster without {field}");
                findings.push(Finding::warning("retries-copies", place, format!("the cluster {name} {what}"), hint));
            };
            if let Some((field, _)) = field(options, "retry_policy").filter(|(_, policy)| retries(policy)) {
                warn(&field, "retries the copies that it gets: one may be sent several times, and is counted once");
            }
            let policies = field(options, "request_mirror_policies");
            if let Some((field, _)) = policies.filter(|(_, policies)| !policies.items().is_empty()) {
                warn(&field, "mirrors the copies that it gets: copies of copies, which nothing counts");
            }
        });
    }
    findings
}

/// Lists the clusters that are known to get copies.
fn clusters_of_mirrors(config: &Config) -> Vec<&str> {
    let mirrors = config.rules.iter().flat_map(|rule| &rule.mirrors);
    let clusters = mirrors.map(|mirror| match &mirror.target {
        Target::Cluster(name) => vec![&**name],
        Target::Header { allowed, .. } => allowed.iter().flatten().map(|name| &**name).collect(),
    });
    clusters.flatten().collect()
}

/// Calls for the options of each cluster, wherever it stands: a bootstrap, a CDS file, a dump; with their path and its name.
fn each_cluster<'t>(path: &str, tree: &'t Tree, call: &mut dyn FnMut(&str, &'t str, &'t Tree)) {
    let extensions = field(tree, "typed_extension_protocol_options");
    if let (Some((field, extensions)), Some(name)) = (extensions, tree.text_at(&["name"])) {
        let path = join(path, &field);
        for (key, options) in extensions.fields() {
            let is_http = options.text_at(&["@type"]).is_some_and(|url| url.ends_with(OPTIONS));
            if is_http {
                call(&join(&path, key), name, options);
            }
        }
    }
    for (name, child) in tree.children() {
        each_cluster(&join(path, &name), child, call);
    }
}

/// Tells whether a retry policy retries anything.
fn retries(policy: &Tree) -> bool {
    let conditions = field(policy, "retry_on").and_then(|(_, conditions)| conditions.text());
    let is_never = field(policy, "num_retries").is_some_and(|(_, number)| *number == 0u64.into());
    conditions.is_some_and(|conditions| !conditions.is_empty()) && !is_never
}

/// Returns a field of Envoy's, and which of its names it has there: `retry_policy`, `retryPolicy`.
fn field<'t>(tree: &'t Tree, snake: &str) -> Option<(String, &'t Tree)> {
    let capital = |word: &str| {
        let (head, tail) = word.split_at_checked(1).unwrap_or_default();
        head.to_ascii_uppercase() + tail
    };
    let mut words = snake.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    let camel = words.map(capital).fold(first, |camel, word| camel + &word);
    [snake.to_owned(), camel].into_iter().find_map(|name| tree.get(&name).map(|value| (name, value)))
}
