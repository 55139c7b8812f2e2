//! Several plugins in one Envoy, which share their metrics, and, by name, what they remember.

use super::{Finding, Subject, place};
use crate::facts::field::text;
use crate::found::Found;
use std::collections::BTreeSet;
use traffic_mirror::config::{Config, Rule};

/// Returns the plugins that are in one Envoy: not those of Kubernetes' resources, which may be for different ones.
fn together<'a>(subject: &'a Subject<'_>) -> Vec<&'a (Found, Config)> {
    let has_vm = |found: &Found| text(&found.owner, &["name"]).is_some() || found.owner.get("vm_config").is_some();
    let of_envoy = |found: &Found| found.owner.get("apiVersion").is_none() && has_vm(found);
    let is_resource = |found: &Found| found.path.starts_with("spec.");
    subject.plugins.iter().filter(|(found, _)| of_envoy(found) && !is_resource(found)).collect()
}

/// Finds rules of one name and with different mirrors: their requests are counted together.
pub(super) fn shared_rule_name(subject: &Subject<'_>) -> Vec<Finding> {
    let plugins = together(subject);
    let mut findings = Vec::new();
    for (number, (found, config)) in plugins.iter().enumerate() {
        for (rule, index) in config.rules.iter().zip(0u32..) {
            let before = plugins.iter().take(number).flat_map(|(_, other)| &other.rules);
            if before.into_iter().any(|other| other.name == rule.name && targets(other) != targets(rule)) {
                let what = format!(
                    "another plugin has a rule {} with other mirrors: their requests are counted together",
                    rule.name
                );
                let hint = "give each rule a name of its own";
                let path = format!("rules[{index}].name");
                findings.push(Finding::warning("shared-rule-name", place(found, &path), what, hint));
            }
        }
    }
    findings
}

fn targets(rule: &Rule) -> BTreeSet<(String, String)> {
    rule.mirrors.iter().map(|mirror| (mirror.label.to_string(), mirror.target.to_string())).collect()
}

/// Finds plugins of one name in one VM, with different configurations.
pub(super) fn shared_plugin_name(subject: &Subject<'_>) -> Vec<Finding> {
    let plugins = together(subject);
    let key = |found: &Found| {
        let name = text(&found.owner, &["name"]).unwrap_or_default().to_owned();
        (name, text(&found.owner, &["vm_config", "vm_id"]).unwrap_or_default().to_owned())
    };
    let bytes = |found: &Found| found.configuration.as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
    let mut findings = Vec::new();
    for (number, (found, _)) in plugins.iter().enumerate() {
        let before = plugins.iter().take(number);
        if before.into_iter().any(|(other, _)| key(other) == key(found) && bytes(other) != bytes(found)) {
            let (name, _) = key(found);
            let what = format!(
                "another plugin is called {name:?} and has another configuration: which is the last good one is not clear"
            );
            let hint = "give each plugin a name of its own";
            findings.push(Finding::warning("shared-plugin-name", place(found, ""), what, hint));
        }
    }
    findings
}
