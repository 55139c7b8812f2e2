//! docs/troubleshooting.md has a heading for each label that an operator meets, and no document names a metric that there
//! is not.

use crate::{METRICS, files, read, series};
use regex::Regex;
use std::collections::BTreeSet;
use std::path::Path;
use traffic_mirror::core::outcome::{Class, Compared, Ignored, Outcome};

const TROUBLESHOOTING: &str = "docs/troubleshooting.md";

fn owned<T: Copy>(all: &[T], label: fn(T) -> &'static str) -> BTreeSet<String> {
    all.iter().map(|value| label(*value).to_owned()).collect()
}

pub(crate) fn outcomes() -> BTreeSet<String> {
    owned(Outcome::ALL, Outcome::label)
}

pub(crate) fn classes() -> BTreeSet<String> {
    owned(Class::ALL, Class::label)
}

pub(crate) fn reasons() -> BTreeSet<String> {
    owned(Ignored::ALL, Ignored::label)
}

pub(crate) fn results() -> BTreeSet<String> {
    owned(Compared::ALL, Compared::label)
}

#[test]
fn troubleshooting_has_a_heading_for_each_label_and_none_for_others() {
    let page = read(TROUBLESHOOTING);
    for (label, values) in [("outcome", outcomes()), ("class", classes()), ("reason", reasons()), ("result", results())]
    {
        let section = page.split("\n## ").find(|section| section.starts_with(&format!("`{label}`\n")));
        let section = section.unwrap_or_else(|| panic!("{TROUBLESHOOTING} has no section `{label}`"));
        let headings = section.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
        assert_eq!(headings.map(str::to_owned).collect::<BTreeSet<_>>(), values, "headings of `{label}`");
    }
}

#[test]
fn troubleshooting_has_a_heading_for_each_code_of_mirrorctl() {
    let code = Regex::new(r#"Finding::[a-z]+\(\s*"([a-z0-9-]+)""#).unwrap();
    let sources = files(&["rs"]).into_iter().filter(|path| path.to_string_lossy().contains("/mirrorctl/"));
    let text: String = sources.map(read).collect();
    let codes: BTreeSet<_> = code.captures_iter(&text).map(|found| found[1].to_owned()).collect();
    assert!(codes.contains("large-bodies"), "{codes:?}");
    let page = read(TROUBLESHOOTING);
    let section = page.split("\n## Codes of mirrorctl\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let headings = section.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    assert_eq!(headings.map(str::to_owned).collect::<BTreeSet<_>>(), codes);
}

#[test]
fn each_heading_of_troubleshooting_is_followed_by_what_to_do() {
    for section in read(TROUBLESHOOTING).split("\n### ").skip(1) {
        let (heading, text) = section.split_once('\n').unwrap();
        let words = text.split("\n## ").next().unwrap().split_whitespace().count();
        assert!(words >= 8, "{heading}: {words} words");
    }
}

#[test]
fn every_metric_that_a_document_names_exists() {
    let mut known = BTreeSet::new();
    for (name, kind) in series() {
        let name = name.split('{').next().unwrap().to_owned();
        if kind == "histogram" {
            known.extend(["bucket", "sum", "count"].map(|suffix| format!("{name}_{suffix}")));
        }
        known.insert(name);
    }
    let named = Regex::new(r"traffic_mirror_[a-z0-9_]+(?:\.[a-z]+)?").unwrap();
    // What a metric is called where its labels were not taken out; files of the module's; what begins so.
    let is_other = |name: &str| name.contains("___") || name.ends_with(".wasm") || name.ends_with('_');
    let mut pages = BTreeSet::new();
    for path in files(&["md"]) {
        for found in named.find_iter(&read(&path)).map(|found| found.as_str()).filter(|name| !is_other(name)) {
            assert!(known.contains(found), "{}: {found} is no metric", path.display());
            pages.insert(path.clone());
        }
    }
    assert!(pages.contains(&Path::new(crate::ROOT).join(METRICS)), "{pages:?}");
}
