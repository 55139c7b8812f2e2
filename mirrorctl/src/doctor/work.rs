//! What is at work: said before anything is found.

use super::facts::Facts;
use crate::facts::field::{at, text};
use crate::found::Found;
use crate::metrics::words::{counts, grouped};
use crate::tree::Tree;
use traffic_mirror::config::Config;

/// Describes the Envoy, its plugins, and what each mirror has got.
pub(super) fn describe(facts: &Facts<'_>) -> String {
    let server = &facts.said.server;
    // COMMIT/1.40.0/Clean/RELEASE/BoringSSL
    let version =
        text(server, &["version"]).and_then(|version| version.split('/').nth(1)).unwrap_or("of unknown version");
    let state = text(server, &["state"]).map(|state| format!(", {state}")).unwrap_or_default();
    let since = text(server, &["uptime_current_epoch"]).map(|time| format!(", up {time}")).unwrap_or_default();
    let mut text = format!("{}: Envoy {version}{state}{since}\n", facts.said.name);
    // One configuration may stand in many listeners.
    let mut plugins: Vec<(&Found, &Config, Vec<&Found>)> = Vec::new();
    for (found, config) in &facts.plugins.valid {
        match plugins.iter_mut().find(|(first, ..)| first.owner == found.owner) {
            Some((.., others)) => others.push(found),
            None => plugins.push((found, config, vec![found])),
        }
    }
    plugins.iter().for_each(|(found, config, all)| text.push_str(&plugin(facts, found, config, all)));
    if let Some([_, counters]) = &facts.counters {
        for (rule, _, target, mirror) in counters.pairs() {
            let decided = mirror.decided.map(|decided| format!("{} decided; ", grouped(decided))).unwrap_or_default();
            let (outcomes, classes) = (counts(&mirror.outcomes, None), counts(&mirror.classes, None));
            text.push_str(&format!("  {rule} → {target}: {decided}copies: {outcomes}; responses: {classes}\n"));
        }
    }
    text.replace(|character: char| character.is_control() && character != '\n', " ")
}

fn plugin(facts: &Facts<'_>, found: &Found, config: &Config, all: &[&Found]) -> String {
    let name = text(&found.owner, &["name"]).filter(|name| !name.is_empty()).unwrap_or("without a name");
    let mirrors: usize = config.rules.iter().map(|rule| rule.mirrors.len()).sum();
    let managers = all.iter().flat_map(|found| facts.subject.envoy.positions(found));
    let mut prefixes: Vec<_> = managers.filter_map(|(manager, _)| text(manager.tree, &["stat_prefix"])).collect();
    prefixes.dedup();
    let where_ = match &*prefixes {
        [] => String::new(),
        [one] => format!(", in {one}"),
        [first, rest @ ..] => format!(", in {first} and {} more", rest.len()),
    };
    let since = facts.since(found).map(|time| format!(", since {time}")).unwrap_or_default();
    format!(
        "plugin {name}: rules: {}, mirrors: {mirrors}, module {}{where_}{since}\n",
        config.rules.len(),
        module(&found.owner)
    )
}

/// Names the module; not by an address, which may have a password.
fn module(owner: &Tree) -> String {
    let code = at(owner, &["vm_config", "code"]).unwrap_or(&Tree::Null);
    match (text(code, &["local", "filename"]), text(code, &["remote", "sha256"])) {
        (Some(file), _) => file.to_owned(),
        (None, Some(sha)) => format!("sha256:{}", sha.get(..12).unwrap_or(sha)),
        (None, None) => "not named".to_owned(),
    }
}
