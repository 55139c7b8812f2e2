//! The JSON Schema of the configuration takes what the plugin takes, and refuses what the plugin refuses, as far as a
//! schema can say it.
#![cfg(test)]

#[path = "../src/config/tests/cases.rs"]
mod cases;

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use traffic_mirror::config::Config;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the plugin says of mistakes that a schema cannot tell.
const BEYOND_SCHEMA: [&str; 20] = [
    "a numerator above the denominator",
    "rounds to none",
    "rounds to all",
    "the same header as",
    "already the label of",
    "an IPv4-mapped range shorter than /96",
    "at most maxBufferedBytes",
    "not a regular expression",
    "names a group",
    "needs an exact or prefix uri",
    "not an address range",
    "not a duration",
    "not a class (5xx)",
    "the host or a single hop owns this header",
    "the filter owns this header",
    "later than the step before",
    "not after from",
    "the markerHeader, which every copy carries",
    "headers.remove of the mirror names it too",
    "what the body is cannot be hidden",
];

fn schema() -> Value {
    let path = Path::new(ROOT).join("schema/traffic-mirror.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

/// Returns what the plugin says of a configuration.
fn said(config: &Value) -> Vec<String> {
    let violations = Config::from_bytes(config.to_string().as_bytes()).err().unwrap_or_default();
    violations.lines().collect()
}

/// Makes configurations of all cases.
fn configurations() -> Vec<Value> {
    let mirror = |(mut fields, _): (Value, _)| {
        let fields = fields.as_object_mut().unwrap();
        fields.entry("cluster").or_insert_with(|| json!("c"));
        json!({ "rules": [{ "match": [{ "uri": { "prefix": "/" } }], "mirrors": [fields] }] })
    };
    let rule = |(rule, _): (Value, _)| json!({ "rules": [rule] });
    let limits = |(limits, _): (Value, _)| json!({ "rules": [{ "mirrors": [] }], "limits": limits });
    let mirrors = cases::mirrors().into_iter().map(mirror);
    let rules = cases::rules().into_iter().map(rule);
    let limits = cases::limits().into_iter().map(limits);
    let documents = cases::documents().into_iter().map(|(document, _)| document);
    let comparison = |(compare, _): (Value, _)| json!({ "rules": [{ "mirrors": [], "compare": compare }] });
    let comparisons = cases::comparisons().into_iter().map(comparison);
    mirrors.chain(rules).chain(comparisons).chain(limits).chain(documents).chain([cases::everything()]).collect()
}

#[test]
fn the_schema_refuses_what_the_plugin_refuses_as_far_as_it_can() {
    let validator = validator();
    let mut beyond = BTreeSet::new();
    for config in configurations() {
        let said = said(&config);
        if validator.is_valid(&config) {
            let limit = BEYOND_SCHEMA.iter().find(|limit| said.iter().all(|line| line.contains(**limit)));
            assert!(said.is_empty() || limit.is_some(), "only the plugin refuses {config}: {said:?}");
            beyond.extend(limit.filter(|_| !said.is_empty()));
        } else {
            assert!(!said.is_empty(), "only the schema refuses {config}: {:?}", validator.validate(&config));
        }
    }
    assert_eq!(beyond, BTreeSet::from_iter(BEYOND_SCHEMA.iter().copied()), "what is beyond the schema");
}

/// Lists the repository's documents, without what is built or installed.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(ROOT)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_foreign = name.starts_with('.') || ["target", "dist", "node_modules"].contains(&&*name);
            if path.is_dir() && !is_foreign {
                folders.push(path);
            } else if path.extension().is_some_and(|own| ["md", "yaml", "yml"].iter().any(|wanted| own == *wanted)) {
                found.push(path);
            }
        }
    }
    found
}

/// Collects what looks like a configuration: an object with rules that have mirrors.
fn collect(value: &Value, found: &mut Vec<Value>) {
    let rules = value.get("rules").and_then(Value::as_array).into_iter().flatten();
    let mut has_mirrors = rules.map(|rule| rule.get("mirrors").is_some()).peekable();
    if has_mirrors.peek().is_some() && has_mirrors.all(|has| has) {
        found.push(value.clone());
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        Value::String(text) if text.trim_start().starts_with('{') => {
            if let Ok(value) = serde_json::from_str::<Value>(text) {
                collect(&value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_schema_takes_every_configuration_that_a_document_shows() {
    let validator = validator();
    let mut count = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let is_markdown = path.extension().is_some_and(|extension| extension == "md");
        let fenced = text.split("```").skip(1).step_by(2);
        let fenced = fenced.filter_map(|block| block.strip_prefix("yaml\n").or_else(|| block.strip_prefix("json\n")));
        for block in if is_markdown { fenced.collect() } else { vec![&*text] } {
            let mut found = Vec::new();
            for value in serde_saphyr::from_multiple::<Value>(block).unwrap_or_default() {
                collect(&value, &mut found);
            }
            // A mistake may be shown too, to show what is said of it.
            for config in found.iter().filter(|config| said(config).is_empty()) {
                let result = validator.validate(config);
                assert!(result.is_ok(), "{}: {config}: {result:?}", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 5, "{count} configurations");
}

/// Returns the fields of each object in the schema, by the path at which the plugin names it.
fn fields(schema: &Value, part: &Value, path: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    if let Some(name) = part.get("$ref").and_then(Value::as_str) {
        return fields(schema, schema.pointer(name.trim_start_matches('#')).unwrap(), path, found);
    }
    for option in part.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        fields(schema, option, path, found);
    }
    if let Some(items) = part.get("items") {
        fields(schema, items, path, found);
    }
    if let Some(properties) = part.get("properties").and_then(Value::as_object).filter(|_| part.get("type").is_some()) {
        found.insert(path.to_owned(), properties.keys().cloned().collect());
        for (name, property) in properties {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            fields(schema, property, &below, found);
        }
    }
}

#[test]
fn the_schema_has_the_fields_that_the_plugin_knows() {
    let schema = schema();
    let mut described = BTreeMap::new();
    fields(&schema, &schema, "", &mut described);
    assert!(described.len() > 15, "{described:?}");
    for (path, fields) in described {
        // The plugin names what it knows when it meets what it does not.
        let mut tree = json!({ "?": 1 });
        for name in path.rsplit('.').filter(|name| !name.is_empty()) {
            let is_list = ["rules", "match", "mirrors", "ramp", "when"].contains(&name)
                && !path.ends_with("uriRegexRewrite.match");
            tree = Value::Object(Map::from_iter([(name.to_owned(), if is_list { json!([tree]) } else { tree })]));
        }
        let said = said(&tree);
        let known = said.iter().find_map(|line| Some(line.split_once("?: 1: unknown field; known here: ")?.1));
        let known: BTreeSet<_> =
            known.unwrap_or_else(|| panic!("{path}: {said:?}")).split(", ").map(str::to_owned).collect();
        assert_eq!(known, fields, "fields of {path:?}");
    }
}
