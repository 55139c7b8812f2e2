//! Which rule decides, and why each earlier one did not: each condition is put to the core by itself.

use super::request::Given;
use crate::tree::Tree;
use traffic_mirror::config::Config;
use traffic_mirror::core::header_map::HeaderMap;
use traffic_mirror::core::matcher::Matcher;
use traffic_mirror::core::request::Request;

/// Fields of a match whose every key is a condition.
const KEYED: [&str; 4] = ["headers", "withoutHeaders", "queryParams", "cookies"];

/// A condition of an entry of `match`.
struct Condition<'a> {
    /// The field of the entry: `uri`, `headers`.
    field: &'a str,
    /// The key below it, where the field has keys.
    key: Option<&'a str>,
    wanted: &'a Tree,
}

/// Explains the rules up to the one that decides, line by line; `tree` is the configuration as it was written.
pub(crate) fn explain(tree: &Tree, config: &Config, given: &Given, decided: Option<usize>) -> Vec<String> {
    let mut lines = Vec::new();
    let written = tree.get("rules").map(Tree::items).unwrap_or_default();
    for (index, (rule, written)) in config.rules.iter().zip(written).enumerate() {
        let entries = written.get("match").map(Tree::items).unwrap_or_default();
        if decided == Some(index) {
            let by = entries.iter().position(|entry| failures(entry, given, "").is_empty());
            let by =
                by.map_or_else(|| "it matches every request".to_owned(), |by| format!("by rules[{index}].match[{by}]"));
            lines.push(format!("rule {} decides: {by}", rule.name));
            break;
        }
        lines.push(format!("rule {} does not match:", rule.name));
        for (number, entry) in entries.iter().enumerate() {
            lines.extend(failures(entry, given, &format!("  rules[{index}].match[{number}].")));
        }
    }
    if decided.is_none() {
        lines.push("no rule matches: nothing is mirrored".to_owned());
    }
    lines
}

/// Lists the conditions of an entry that do not hold, each with the value that the request has.
fn failures(entry: &Tree, given: &Given, path: &str) -> Vec<String> {
    let fails = |condition: &Condition<'_>| !condition.holds(entry, given);
    let line = |condition: Condition<'_>| {
        let key = condition.key.map(|key| format!(".{key}")).unwrap_or_default();
        format!("{path}{}{key}: {}: {}", condition.field, condition.wanted.json(), condition.found(given))
    };
    conditions(entry).into_iter().filter(fails).map(line).collect()
}

fn conditions(entry: &Tree) -> Vec<Condition<'_>> {
    let fields = entry.fields().iter().filter(|(field, wanted)| field != "ignoreUriCase" && *wanted != Tree::Null);
    fields
        .flat_map(|(field, wanted)| {
            if KEYED.contains(&field.as_str()) {
                let condition = |(key, wanted)| Condition { field, key: Some(key), wanted };
                wanted.fields().iter().map(|(key, wanted)| condition((key.as_str(), wanted))).collect()
            } else {
                vec![Condition { field, key: None, wanted }]
            }
        })
        .collect()
}

impl Condition<'_> {
    /// Asks the core about a rule that has this condition alone.
    fn holds(&self, entry: &Tree, given: &Given) -> bool {
        let wanted = match self.key {
            Some(key) => Tree::field(key, self.wanted.clone()),
            None => self.wanted.clone(),
        };
        let alone = Tree::map([(self.field, Some(wanted)), ("ignoreUriCase", entry.get("ignoreUriCase").cloned())]);
        let rule = Tree::map([("match", Some(vec![alone].into())), ("mirrors", Some(Tree::List(Vec::new())))]);
        let config = Tree::field("rules", vec![rule]);
        // It was taken before, as part of the whole.
        Config::from_bytes(config.json().as_bytes()).is_ok_and(|config| {
            let matcher = Matcher::new(&config.rules);
            matcher.decide(&Request::new(given, true)).is_some()
        })
    }

    /// Tells what the request has where the condition looks.
    fn found(&self, given: &Given) -> String {
        let key = self.key.unwrap_or_default();
        let request = Request::new(given, true);
        let headers = request.headers();
        let pseudo = |name: &str| headers.first(name.as_bytes()).map(<[u8]>::to_vec);
        let source = || request.source_ip().map(|ip| ip.to_string().into_bytes());
        let (what, value) = match self.field {
            "uri" => ("path", request.path().map(<[u8]>::to_vec)),
            "method" => ("method", pseudo(":method")),
            "scheme" => ("scheme", pseudo(":scheme")),
            "authority" => ("authority", pseudo(":authority")),
            "sourceCidrs" => ("source", source()),
            "routeName" => ("route name", request.route_name().map(<[u8]>::to_vec)),
            "clusterName" => ("cluster name", request.cluster_name().map(<[u8]>::to_vec)),
            "queryParams" => ("parameter", request.query_param(key).map(<[u8]>::to_vec)),
            "cookies" => ("cookie", request.cookie(key).map(<[u8]>::to_vec)),
            _ => ("header", header(headers, key)),
        };
        match value {
            Some(value) => format!("the {what} is \"{}\"", value.escape_ascii()),
            None => format!("there is no {what}"),
        }
    }
}

/// Returns a header as a match sees it.
fn header(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let lower = name.to_ascii_lowercase();
    let name = if lower == "host" { ":authority" } else { &lower };
    headers.joined(name.as_bytes()).map(|value| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::request::tests::given;

    const ENTRIES: &str = r#"[
        {}, {"uri": {"prefix": "/a"}}, {"uri": {"exact": "/A"}, "ignoreUriCase": true}, {"uri": {"exact": "/A"}},
        {"uri": null, "method": {"exact": "POST"}}, {"scheme": {"exact": "https"}, "authority": {"prefix": "host"}},
        {"headers": {"X-User": {"exact": "1"}, "host": {}}}, {"headers": {"x-user": {}, ":path": {"suffix": "2"}}},
        {"withoutHeaders": {"x-user": {}}}, {"withoutHeaders": {"x-none": {"exact": ""}, "x-user": {"exact": "2"}}},
        {"queryParams": {"v": {"exact": "2"}, "w": {}}}, {"cookies": {"s": {"regex": "[0-9]+"}}},
        {"sourceCidrs": ["10.0.0.0/8"], "routeName": {"exact": "r"}}, {"sourceCidrs": ["fd00::/8"]},
        {"clusterName": {"exact": "c"}}, {"clusterName": {"exact": "d"}}
    ]"#;

    #[test]
    fn an_entry_holds_for_the_core_if_none_of_its_conditions_fails_alone() {
        let requests = [
            given("GET /a", &[], None),
            given("POST /a?v=2&w", &["x-user: 1", "cookie: s=7"], Some("10.1.1.1")),
            given("POST https://host:1/A?v=2", &["x-user: 2"], Some("fd00::1")),
            given("GET /b", &["x-user: 1", "x-user: 2", "cookie: s=x"], None),
        ];
        let entries: Tree = serde_json::from_str(ENTRIES).unwrap();
        let mut seen = [0; 2];
        for entry in entries.items() {
            let rule = Tree::map([("match", Some(vec![entry.clone()].into())), ("mirrors", Some(Tree::List(vec![])))]);
            let config = Tree::field("rules", vec![rule]);
            let config = Config::from_bytes(config.json().as_bytes()).unwrap();
            for request in &requests {
                let failures = failures(entry, request, "");
                let matcher = Matcher::new(&config.rules);
                let holds = matcher.decide(&Request::new(request, false)).is_some();
                assert_eq!(failures.is_empty(), holds, "{}: {failures:?}", entry.json());
                seen[usize::from(holds)] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
    }
}
