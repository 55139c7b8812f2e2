//! Every plugin configuration that a document shows is one that the plugin takes, and what the documents say of metrics,
//! fields and commands is what there is.

mod commands;
mod figures;
mod labels;
mod options;
mod readme;

use prost::Message;
use prost_types::value::Kind;
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use traffic_mirror::config::Config;
use traffic_mirror::envoy::ledger::{Kind as MetricKind, Metrics};

const METRICS: &str = "docs/metrics.md";
const CONFIGURATION: &str = "docs/configuration.md";
const ISTIO: &str = "docs/platforms/istio.md";
const OPERATIONS: &str = "docs/operations.md";

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";
const STRING: &str = "type.googleapis.com/google.protobuf.StringValue";

/// A configuration, and where it is shown.
struct Shown {
    place: String,
    value: Value,
}

/// Lists the repository's files with one of these extensions, without what is built or installed.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(ROOT)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_foreign = name.starts_with('.') || name == "target" || name == "dist" || name == "node_modules";
            if path.is_dir() && !is_foreign {
                folders.push(path);
            } else if path.extension().is_some_and(|own| extensions.iter().any(|wanted| own == *wanted)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads all YAML documents of a text; JSON is YAML too.
fn yaml(place: &str, text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{place}: {error}"))
}

/// Returns the fenced blocks of YAML and JSON in a Markdown text, each with the number of its first line.
fn blocks(markdown: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, usize, bool, String)> = None;
    for (number, line) in markdown.lines().enumerate() {
        let text = line.trim_start();
        match &mut open {
            None if text.starts_with("```") => {
                let is_ours = ["yaml", "yml", "json"].contains(&text.trim_start_matches('`').trim());
                open = Some((number.saturating_add(2), line.len().saturating_sub(text.len()), is_ours, String::new()));
            }
            None => {}
            Some(_) if text.starts_with("```") => {
                let (number, _, is_ours, block) = open.take().unwrap();
                blocks.extend(is_ours.then_some((number, block)));
            }
            Some((_, indent, _, block)) => {
                block.push_str(line.get(*indent..).unwrap_or_default());
                block.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block without an end");
    blocks
}

/// Collects the plugin configurations in a document of Envoy's or of Istio's, wherever they stand in it.
fn collect(place: &str, value: &Value, found: &mut Vec<Shown>) {
    let mut add = |value: Value| found.push(Shown { place: place.to_owned(), value });
    if let Some(config) = value.pointer("/spec/pluginConfig") {
        add(config.clone());
    }
    if value["@type"] == WASM {
        let configuration = &value["config"]["configuration"];
        let inner = &configuration["value"];
        match configuration["@type"].as_str() {
            Some(STRUCT) => add(inner.clone()),
            Some(STRING) => add(serde_json::from_str(inner.as_str().unwrap()).unwrap()),
            other => panic!("{place}: a plugin configuration of type {other:?}"),
        }
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(place, item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect(place, field, found)),
        _ => {}
    }
}

/// Collects the configurations that a file shows.
fn shown(path: &Path) -> Vec<Shown> {
    let name = path.strip_prefix(ROOT).unwrap().display().to_string();
    let text = read(path);
    let mut found = Vec::new();
    if path.extension().is_some_and(|extension| extension == "md") {
        for (line, block) in blocks(&text) {
            let place = format!("{name}:{line}");
            for value in yaml(&place, &block) {
                collect(&place, &value, &mut found);
                if value.get("rules").is_some() {
                    found.push(Shown { place: place.clone(), value });
                }
            }
        }
    } else {
        yaml(&name, &text).iter().for_each(|value| collect(&name, value, &mut found));
    }
    found
}

/// Makes a Struct's value of a JSON value, as Envoy's loader does.
fn to_proto(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue { values: items.iter().map(to_proto).collect() }),
        Value::Object(fields) => Kind::StructValue(to_struct(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn to_struct(fields: &Map<String, Value>) -> prost_types::Struct {
    prost_types::Struct { fields: fields.iter().map(|(name, value)| (name.clone(), to_proto(value))).collect() }
}

/// Reads a configuration in both forms in which the host may hand it over, which have to mean the same.
fn accept(Shown { place, value }: &Shown) -> Config {
    let parse = |form: &str, bytes: &[u8]| {
        Config::from_bytes(bytes).unwrap_or_else(|violations| {
            let lines: Vec<_> = violations.lines().collect();
            panic!("{place}, as {form}:\n{}", lines.join("\n"))
        })
    };
    let fields = value.as_object().unwrap_or_else(|| panic!("{place}: no object but {value}"));
    let json = parse("JSON", value.to_string().as_bytes());
    let message = parse("Struct", &to_struct(fields).encode_to_vec());
    assert_eq!(format!("{json:?}"), format!("{message:?}"), "{place}");
    json
}

/// Returns the code spans in the first column of the Markdown tables whose first heading is `heading`.
fn first_column(markdown: &str, heading: &str) -> BTreeSet<String> {
    let mut spans = BTreeSet::new();
    let mut is_inside = false;
    let mut was_table = false;
    for line in markdown.lines() {
        let is_table = line.starts_with('|');
        let cell = line.split('|').nth(1).unwrap_or_default().trim();
        if is_table && !was_table {
            is_inside = cell == heading;
        } else if is_table && is_inside {
            spans.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
        }
        was_table = is_table;
    }
    assert!(!spans.is_empty(), "no table of {heading}");
    spans
}

#[test]
fn every_configuration_that_is_shown_is_accepted_as_json_and_as_struct() {
    let mut places = BTreeSet::new();
    for path in files(&["md", "yaml", "yml"]) {
        for config in shown(&path) {
            accept(&config);
            places.insert(config.place.split(':').next().unwrap().to_owned());
        }
    }
    for document in ["README.md", "envoy.yaml", "wasmplugin.yaml", CONFIGURATION, "docs/compare.md", "docs/recipes.md"]
    {
        assert!(places.contains(document), "{document} shows no configuration; {places:?} do");
    }
}

/// Returns the anchors of a document's headings.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let plain =
        |heading: &str| heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c)).collect();
    let headings =
        markdown.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(|heading| -> String { plain(heading) }).map(|plain| plain.to_lowercase().replace(' ', "-")).collect()
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)").unwrap();
    let mut links = 0;
    for path in files(&["md"]) {
        let text = read(&path);
        for found in link.captures_iter(&text).filter(|found| !found[1].contains("://")) {
            let target = if found[1].is_empty() { path.clone() } else { path.parent().unwrap().join(&found[1]) };
            assert!(target.exists(), "{}: {}", path.display(), &found[0]);
            let anchor = found.get(2).map(|anchor| anchor.as_str());
            assert!(
                anchor.is_none_or(|anchor| anchors(&read(&target)).contains(anchor)),
                "{}: {}",
                path.display(),
                &found[0]
            );
            links += 1;
        }
    }
    assert!(links > 40, "{links}");
}

/// Returns the tags that envoy.yaml takes out of stat names, each with its expression.
fn stats_tags() -> Vec<(String, Regex)> {
    let tags = yaml("envoy.yaml", &read("envoy.yaml"))[0]["stats_config"]["stats_tags"].take();
    let pair = |tag: &Value| {
        let regex = Regex::new(tag["regex"].as_str().unwrap()).unwrap();
        (tag["tag_name"].as_str().unwrap().to_owned(), regex)
    };
    tags.as_array().unwrap().iter().map(pair).collect()
}

/// Returns the series that the configurations of the documents define, as Prometheus shows them, each with its kind.
fn series() -> BTreeMap<String, String> {
    let configurations = ["README.md", CONFIGURATION].map(|document| shown(&Path::new(ROOT).join(document)));
    let extractors = stats_tags();
    let mut series = BTreeMap::new();
    let mut define = |kind: MetricKind, name: &str| -> Result<u32, Infallible> {
        // As Envoy does it: each expression is tried on the full name, its first group goes, its second is the value.
        let full = format!("wasmcustom.{name}");
        let mut rest = full.clone();
        let mut labels = Vec::new();
        for (label, regex) in &extractors {
            if let Some(found) = regex.captures(&full) {
                rest = rest.replacen(&found[1], "", 1);
                assert!(!found[2].is_empty(), "{full}: {label} is empty");
                labels.push(label.as_str());
            }
        }
        let shown = rest.strip_prefix("wasmcustom.").unwrap().replace('.', "_");
        assert!(!shown.contains('='), "{full} is shown as {shown}: a label stays in it");
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        series.insert(format!("{shown}{labels}"), format!("{kind:?}").to_lowercase());
        Ok(0)
    };
    for config in configurations.iter().flatten() {
        Metrics::default().ledger(&accept(config), &mut define).unwrap();
    }
    Metrics::default().invalid(b"traffic_mirror", define).unwrap();
    series
}

#[test]
fn the_metrics_are_listed_as_prometheus_shows_them() {
    let (page, series) = (read(METRICS), series());
    assert_eq!(first_column(&page, "series"), series.keys().cloned().collect());
    for (name, kind) in &series {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
        assert_eq!(row.split('|').nth(2).unwrap().trim(), kind, "{row}");
    }
}

#[test]
fn the_values_of_labels_are_listed() {
    let page = read(METRICS);
    assert_eq!(first_column(&page, "`outcome`"), labels::outcomes());
    assert_eq!(first_column(&page, "`result`"), labels::results());
    let row = |series: &str| page.lines().find(|line| line.contains(series) && line.starts_with('|')).unwrap();
    for (series, labels) in [("ignored_total", labels::reasons()), ("responses_total", labels::classes())] {
        for label in labels {
            assert!(row(series).contains(&format!("`{label}`")), "{series}: {label}");
        }
    }
}

#[test]
fn istio_takes_out_the_same_tags_as_envoy_yaml() {
    let in_envoy: BTreeSet<_> = stats_tags().into_iter().map(|(name, _)| name).collect();
    let mut lists = 0;
    for (line, block) in blocks(&read(ISTIO)) {
        for value in yaml(&format!("{ISTIO}:{line}"), &block) {
            let Some(tags) = value.pointer("/meshConfig/defaultConfig/extraStatTags") else { continue };
            let tags: BTreeSet<_> =
                tags.as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
            assert_eq!(tags, in_envoy, "{ISTIO}:{line}");
            lists = 1;
        }
    }
    assert_eq!(lists, 1, "{ISTIO} does not say which extraStatTags Istio needs");
}

#[test]
fn istio_is_told_the_same_limit_of_responses_as_envoy() {
    const KEY: &str = "http.async_response_buffer_limit";
    let layers = yaml("envoy.yaml", &read("envoy.yaml"))[0]["layered_runtime"]["layers"].take();
    let in_envoy = layers.as_array().unwrap().iter().find_map(|layer| layer["static_layer"][KEY].as_u64());
    let shown = blocks(&read(OPERATIONS)).into_iter().flat_map(|(_, block)| yaml(OPERATIONS, &block));
    let in_istio = shown.filter_map(|value| {
        Some(value.pointer("/meshConfig/defaultConfig/runtimeValues")?[KEY].as_str()?.parse::<u64>().unwrap())
    });
    assert_eq!(in_istio.map(Some).collect::<Vec<_>>(), [in_envoy]);
    assert!(in_envoy.is_some(), "envoy.yaml does not set {KEY}");
}

#[test]
fn each_threat_that_security_md_names_has_a_test_that_there_is() {
    for section in read("SECURITY.md").split("\n### ").skip(1) {
        let tests: Vec<_> = section.split('`').filter_map(|span| span.split_once(".rs::")).collect();
        assert!(!tests.is_empty(), "no test: {section}");
        for (file, name) in tests {
            let source = read(format!("{file}.rs"));
            let (before, _) =
                source.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("no {file}.rs::{name}"));
            assert!(before.trim_end().ends_with("#[test]"), "{file}.rs::{name} is no test");
        }
    }
}
