//! docs/configuration.md describes the fields that the plugin knows, and no others.

use crate::{CONFIGURATION, first_column, read};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use traffic_mirror::config::Config;

/// Returns the fields that the parser knows, by the path of the object that has them: it names them when it meets one
/// that it does not know.
fn known_fields() -> BTreeMap<String, BTreeSet<String>> {
    let unknown = || json!({"?": 1});
    let with_unknown = |key: &str, value: Value| json!({"?": 1, key: value});
    let mirror = json!({
        "?": 1,
        "destination": with_unknown("port", unknown()),
        "fraction": unknown(),
        "consistentHash": unknown(),
        "rewrite": with_unknown("uriRegexRewrite", unknown()),
        "headers": unknown(),
        "redact": unknown(),
    });
    let compare = json!({"?": 1, "body": with_unknown("json", unknown())});
    let timed = json!({"?": 1, "ramp": [unknown()], "when": [unknown()]});
    let rule =
        json!({"?": 1, "match": [with_unknown("uri", unknown())], "mirrors": [mirror, timed], "compare": compare});
    let config = json!({"?": 1, "rules": [rule], "limits": unknown()});
    let violations = Config::from_bytes(config.to_string().as_bytes()).unwrap_err();
    let mut known = BTreeMap::new();
    for line in violations.lines() {
        if let Some((place, fields)) = line.split_once(": 1: unknown field; known here: ") {
            let object = place.trim_end_matches('?').trim_end_matches('.').replace("[0]", "").replace("[1]", "");
            known.insert(object, fields.split(", ").map(str::to_owned).collect());
        }
    }
    assert_eq!(known.len(), 19, "{:?}", known.keys());
    known
}

#[test]
fn every_field_that_the_tables_name_is_known_to_the_parser() {
    let known = known_fields();
    for field in first_column(&read(CONFIGURATION), "field").into_iter().filter(|field| field != "{}") {
        let (object, name) = field.rsplit_once('.').unwrap_or(("", &field));
        let fits = |path: &str| object.is_empty() || path == object || path.ends_with(&format!(".{object}"));
        assert!(known.iter().any(|(path, fields)| fits(path) && fields.contains(name)), "{field} is not known");
    }
}

#[test]
fn every_field_that_the_parser_knows_stands_in_the_tables() {
    let listed = first_column(&read(CONFIGURATION), "field");
    for (object, fields) in known_fields() {
        for field in fields {
            assert!(listed.contains(&field), "{field} of {object:?} is not described");
        }
    }
}

#[test]
fn expressions_are_taken_and_rejected_as_the_table_says() {
    let page = read(CONFIGURATION);
    let table = page.lines().skip_while(|line| !line.starts_with("| expression |")).skip(2);
    let mut verdicts = BTreeSet::new();
    for row in table.take_while(|line| line.starts_with('|')) {
        // A bar is escaped where it stands in a table.
        let row = row.replace("\\|", "\u{0}");
        let cells: Vec<_> = row.split('|').map(|cell| cell.replace('\u{0}', "|")).collect();
        let is_taken = cells[2].trim().starts_with("taken");
        for pattern in cells[1].split('`').skip(1).step_by(2) {
            let config = json!({"rules": [{"match": [{"uri": {"regex": pattern}}], "mirrors": []}]});
            let read = Config::from_bytes(config.to_string().as_bytes());
            assert_eq!(read.is_ok(), is_taken, "{pattern}: {}", cells[2]);
            verdicts.insert(is_taken);
        }
    }
    assert_eq!(verdicts.len(), 2, "{verdicts:?}");
}
