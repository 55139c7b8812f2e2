//! Written cases: one for each field, with the copies that Envoy's own mirror makes.

use serde_json::{Value, json};

use super::{Sent, TRACE, Table, abilities, both};

/// A request, and its copies as `cluster path host`, with ` name=value` for each header that was edited.
type Row = (Sent, &'static [&'static str]);

struct Case {
    name: &'static str,
    routes: Value,
    rows: Vec<Row>,
}

fn get(path: &str) -> Sent {
    Sent { method: "GET", host: "a.test".to_owned(), path: path.to_owned(), headers: Vec::new() }
}

impl Sent {
    fn to(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// One route before another that mirrors to `m3`: whatever does not match the first gets there.
fn by_match(name: &'static str, matcher: Value, rows: Vec<Row>) -> Case {
    let first = json!({"match": matcher, "route": {"cluster": "p0", "request_mirror_policies": [{"cluster": "m0"}]}});
    let second =
        json!({"match": {"prefix": "/"}, "route": {"cluster": "p0", "request_mirror_policies": [{"cluster": "m3"}]}});
    let host = json!({"name": "all", "domains": ["*"], "routes": [first, second]});
    Case { name, routes: json!({"virtual_hosts": [host]}), rows }
}

/// A match on headers.
fn by_header(name: &'static str, header: Value, rows: Vec<Row>) -> Case {
    by_match(name, json!({"prefix": "/", "headers": [header]}), rows)
}

/// A route for all requests, its action and what else it has.
fn by_action(name: &'static str, action: Value, rest: Value, rows: Vec<Row>) -> Case {
    let mut route = json!({"match": {"prefix": "/"}, "route": action});
    route.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    let host = json!({"name": "all", "domains": ["*"], "routes": [route]});
    Case { name, routes: json!({"virtual_hosts": [host]}), rows }
}

/// A policy.
fn by_policy(name: &'static str, policy: Value, rows: Vec<Row>) -> Case {
    by_action(name, json!({"cluster": "p0", "request_mirror_policies": [policy]}), json!({}), rows)
}

const FIRST: &[&str] = &["m0 / a.test-shadow"];
const OTHER: &[&str] = &["m3 / a.test-shadow"];
const NONE: &[&str] = &[];

fn matches() -> Vec<Case> {
    vec![
        by_match(
            "prefix",
            json!({"prefix": "/a"}),
            vec![(get("/ab?q"), &["m0 /ab?q a.test-shadow"]), (get("/A"), &["m3 /A a.test-shadow"])],
        ),
        by_match(
            "path",
            json!({"path": "/a"}),
            vec![(get("/a?q"), &["m0 /a?q a.test-shadow"]), (get("/a/"), &["m3 /a/ a.test-shadow"])],
        ),
        by_match(
            "safe_regex",
            json!({"safe_regex": {"regex": "/[ab]+"}}),
            vec![(get("/ab?q"), &["m0 /ab?q a.test-shadow"]), (get("/abc"), &["m3 /abc a.test-shadow"])],
        ),
        by_match(
            "path_separated_prefix",
            json!({"path_separated_prefix": "/a"}),
            vec![
                (get("/a?q"), &["m0 /a?q a.test-shadow"]),
                (get("/a/b"), &["m0 /a/b a.test-shadow"]),
                (get("/ab"), &["m3 /ab a.test-shadow"]),
            ],
        ),
        by_match(
            "case_sensitive",
            json!({"prefix": "/a", "case_sensitive": false}),
            vec![(get("/Ab"), &["m0 /Ab a.test-shadow"]), (get("/b"), &["m3 /b a.test-shadow"])],
        ),
        by_match(
            "query_parameters",
            json!({"prefix": "/", "query_parameters": [{"name": "v", "string_match": {"exact": "1"}}, {"name": "w", "present_match": false}]}),
            vec![
                (get("/?v=1&v=2"), &["m0 /?v=1&v=2 a.test-shadow"]),
                (get("/?v=1&w"), &["m3 /?v=1&w a.test-shadow"]),
                (get("/?v=2"), &["m3 /?v=2 a.test-shadow"]),
            ],
        ),
        by_match(
            "grpc",
            json!({"prefix": "/", "grpc": {}}),
            vec![
                (get("/").with("content-type", "application/grpc+proto"), FIRST),
                (get("/").with("content-type", "application/grpc-web"), OTHER),
                (get("/"), OTHER),
            ],
        ),
        by_match(
            "runtime_fraction of none",
            json!({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 0}}}),
            vec![(get("/"), OTHER)],
        ),
        by_header("exact_match", json!({"name": "x-a", "string_match": {"exact": "1"}}), of_values("1", "2")),
        by_header("prefix of a value", json!({"name": "x-a", "string_match": {"prefix": "1"}}), of_values("12", "21")),
        by_header("suffix of a value", json!({"name": "x-a", "string_match": {"suffix": "1"}}), of_values("21", "12")),
        by_header("contains", json!({"name": "x-a", "string_match": {"contains": "1"}}), of_values("212", "2")),
        by_header(
            "ignore_case",
            json!({"name": "x-a", "string_match": {"exact": "ab", "ignore_case": true}}),
            of_values("AB", "A"),
        ),
        by_header(
            "regex of a value",
            json!({"name": "x-a", "string_match": {"safe_regex": {"regex": "1+"}}}),
            of_values("11", "12"),
        ),
        by_header(
            "present_match",
            json!({"name": "x-a", "present_match": true}),
            vec![(get("/").with("x-a", ""), FIRST), (get("/"), OTHER)],
        ),
        by_header(
            "present_match: false",
            json!({"name": "x-a", "present_match": false}),
            vec![(get("/").with("x-a", ""), OTHER), (get("/"), FIRST)],
        ),
        by_header(
            "invert_match",
            json!({"name": "x-a", "string_match": {"exact": "1"}, "invert_match": true}),
            vec![(get("/").with("x-a", "2"), FIRST), (get("/").with("x-a", "1"), OTHER), (get("/"), OTHER)],
        ),
        by_header(
            "treat_missing_header_as_empty",
            json!({"name": "x-a", "string_match": {"exact": ""}, "treat_missing_header_as_empty": true}),
            vec![(get("/").with("x-a", ""), FIRST), (get("/").with("x-a", "1"), OTHER), (get("/"), FIRST)],
        ),
        by_header(
            "treat_missing_header_as_empty, inverted",
            json!({"name": "x-a", "string_match": {"exact": "1"}, "invert_match": true, "treat_missing_header_as_empty": true}),
            vec![(get("/").with("x-a", "2"), FIRST), (get("/").with("x-a", "1"), OTHER), (get("/"), FIRST)],
        ),
    ]
}

fn of_values(taken: &str, refused: &str) -> Vec<Row> {
    vec![(get("/").with("x-a", taken), FIRST), (get("/").with("x-a", refused), OTHER), (get("/"), OTHER)]
}

fn actions() -> Vec<Case> {
    let mirrored = |action: Value| {
        let mut action = action;
        action["cluster"] = json!("p0");
        action["request_mirror_policies"] = json!([{"cluster": "m0"}]);
        action
    };
    let edited = |options: Value, rows: Vec<Row>| {
        by_action("append_action", mirrored(json!({})), json!({"request_headers_to_add": options}), rows)
    };
    let add = |action: &str| json!([{"header": {"key": "x-e", "value": "1"}, "append_action": action}]);
    let e = |value: &str| get("/").with("x-e", value);
    vec![
        by_action(
            "prefix_rewrite",
            mirrored(json!({"prefix_rewrite": "/n/"})),
            json!({}),
            vec![(get("/a?q"), &["m0 /n/a?q a.test-shadow"])],
        ),
        by_action(
            "regex_rewrite",
            mirrored(json!({"regex_rewrite": {"pattern": {"regex": "^/(a)(.*)$"}, "substitution": r"\2/\1"}})),
            json!({}),
            vec![(get("/a/b?a"), &["m0 /b/a?a a.test-shadow"])],
        ),
        by_action(
            "host_rewrite_literal",
            mirrored(json!({"host_rewrite_literal": "h.test:81"})),
            json!({}),
            vec![(get("/"), &["m0 / h.test-shadow:81"])],
        ),
        by_action(
            "auto_host_rewrite",
            mirrored(json!({"auto_host_rewrite": true})),
            json!({}),
            vec![(get("/"), FIRST)],
        ),
        edited(
            add("APPEND_IF_EXISTS_OR_ADD"),
            vec![(e("r"), &["m0 / a.test-shadow x-e=r,1"]), (get("/"), &["m0 / a.test-shadow x-e=1"])],
        ),
        edited(
            add("ADD_IF_ABSENT"),
            vec![(e("r"), &["m0 / a.test-shadow x-e=r"]), (get("/"), &["m0 / a.test-shadow x-e=1"])],
        ),
        edited(
            add("OVERWRITE_IF_EXISTS_OR_ADD"),
            vec![(e("r"), &["m0 / a.test-shadow x-e=1"]), (get("/"), &["m0 / a.test-shadow x-e=1"])],
        ),
        edited(add("OVERWRITE_IF_EXISTS"), vec![(e("r"), &["m0 / a.test-shadow x-e=1"]), (get("/"), FIRST)]),
        edited(
            json!([{"header": {"key": "x-e", "value": ""}}, {"header": {"key": "x-f", "value": ""}, "keep_empty_value": true}]),
            vec![(get("/"), &["m0 / a.test-shadow x-f="])],
        ),
        by_action(
            "request_headers_to_remove",
            mirrored(json!({})),
            json!({"request_headers_to_remove": ["X-E"]}),
            vec![(e("r"), FIRST)],
        ),
        by_action(
            "weighted_clusters",
            json!({
                "weighted_clusters": {"clusters": [
                    {"name": "p0", "weight": 1, "request_headers_to_add": [{"header": {"key": "x-e", "value": "of-p0"}}]},
                    {"name": "p1", "weight": 0},
                ]},
                "request_mirror_policies": [{"cluster": "m0"}],
            }),
            json!({}),
            vec![(get("/"), &["m0 / a.test-shadow x-e=of-p0"])],
        ),
        by_action("redirect", Value::Null, json!({"redirect": {"path_redirect": "/b"}}), vec![(get("/"), NONE)]),
    ]
}

fn policies() -> Vec<Case> {
    let traced = |flags: &str| get("/").with("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-{flags}"));
    let fraction = |numerator: u32| json!({"default_value": {"numerator": numerator, "denominator": "TEN_THOUSAND"}});
    vec![
        by_policy(
            "cluster_header",
            json!({"cluster_header": "x-c"}),
            vec![
                (get("/").with("x-c", "m1"), &["m1 / a.test-shadow x-c=m1"]),
                (get("/").with("x-c", "nowhere"), NONE),
                (get("/"), NONE),
            ],
        ),
        by_policy(
            "runtime_fraction of all",
            json!({"cluster": "m0", "runtime_fraction": fraction(10_000)}),
            vec![(get("/"), FIRST)],
        ),
        by_policy(
            "runtime_fraction of none",
            json!({"cluster": "m0", "runtime_fraction": fraction(0)}),
            vec![(get("/"), NONE)],
        ),
        by_policy(
            "trace_sampled",
            json!({"cluster": "m0", "trace_sampled": false}),
            vec![(traced("01"), &["m0 / a.test-shadow traceparent=00"]), (get("/"), FIRST)],
        ),
        by_policy(
            "no trace_sampled",
            json!({"cluster": "m0"}),
            vec![
                (traced("01"), &["m0 / a.test-shadow traceparent=01"]),
                (traced("00"), &["m0 / a.test-shadow traceparent=00"]),
            ],
        ),
        by_policy(
            "disable_shadow_host_suffix_append",
            json!({"cluster": "m0", "disable_shadow_host_suffix_append": true}),
            vec![(get("/").to("a.test:80"), &["m0 / a.test:80"])],
        ),
        by_action(
            "two mirrors, one cluster",
            json!({"cluster": "p0", "request_mirror_policies": [{"cluster": "m0"}, {"cluster": "m0", "disable_shadow_host_suffix_append": true}]}),
            json!({}),
            vec![(get("/"), &["m0 / a.test", "m0 / a.test-shadow"])],
        ),
    ]
}

/// Of Envoy 1.37 and later.
fn later_policies() -> Vec<Case> {
    let mutations = json!([
        {"remove": "x-e"},
        {"append": {"header": {"key": "x-f", "value": "policy"}}},
        {"append": {"header": {"key": "x-b", "value": "policy"}, "append_action": "ADD_IF_ABSENT"}},
    ]);
    vec![
        by_policy(
            "host_rewrite_literal of a policy",
            json!({"cluster": "m0", "host_rewrite_literal": "p.test"}),
            vec![(get("/"), &["m0 / p.test"])],
        ),
        by_policy(
            "request_headers_mutations",
            json!({"cluster": "m0", "request_headers_mutations": mutations}),
            vec![
                (get("/").with("x-e", "r").with("x-f", "r"), &["m0 / a.test-shadow x-b=policy x-f=r,policy"]),
                (get("/").with("x-b", "r"), &["m0 / a.test-shadow x-b=r x-f=policy"]),
            ],
        ),
        by_action(
            "policies of a cluster",
            json!({"cluster": "p2", "request_mirror_policies": [{"cluster": "m0"}]}),
            json!({}),
            vec![(get("/"), &["m1 / a.test-shadow"])],
        ),
        by_action(
            "policies of a weighted cluster",
            json!({
                "weighted_clusters": {"clusters": [{"name": "p2", "weight": 1}, {"name": "p1", "weight": 0}]},
                "request_mirror_policies": [{"cluster": "m0"}],
            }),
            json!({}),
            vec![(get("/"), &["m1 / a.test-shadow"])],
        ),
        by_action(
            "policies of a cluster that the request names",
            json!({"cluster_header": "x-p", "request_mirror_policies": [{"cluster": "m0"}]}),
            json!({}),
            vec![
                (get("/").with("x-p", "p2"), &["m1 / a.test-shadow x-p=p2"]),
                (get("/").with("x-p", "p1"), &["m0 / a.test-shadow x-p=p1"]),
            ],
        ),
    ]
}

fn tables() -> Vec<Case> {
    let to = |name: &str, domains: Value, mirror: &str| {
        let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "p0", "request_mirror_policies": [{"cluster": mirror}]}});
        json!({"name": name, "domains": domains, "routes": [route]})
    };
    let plain = |name: &str, domains: Value| json!({"name": name, "domains": domains, "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "p0"}}]});
    let hosts = vec![
        to("any", json!(["*"]), "m3"),
        to("prefix", json!(["a.*"]), "m2"),
        to("suffix", json!(["*.test"]), "m1"),
        plain("longer", json!(["*.eu.test"])),
        to("exact", json!(["A.test", "b.other:81"]), "m0"),
    ];
    let domains: Vec<Row> = vec![
        (get("/").to("a.test"), &["m0 / a.test-shadow"]),
        (get("/").to("A.Test"), &["m0 / A.Test-shadow"]),
        (get("/").to("b.other:81"), &["m0 / b.other-shadow:81"]),
        (get("/").to("b.test"), &["m1 / b.test-shadow"]),
        (get("/").to("b.eu.test"), NONE),
        (get("/").to("a.org"), &["m2 / a.org-shadow"]),
        (get("/").to("a.test:80"), &["m2 / a.test-shadow:80"]),
        (get("/").to("a."), &["m3 / a.-shadow"]),
        (get("/").to("b.other"), &["m3 / b.other-shadow"]),
    ];
    let ports: Vec<Row> = vec![
        (get("/").to("a.test:80"), &["m0 / a.test-shadow:80"]),
        (get("/").to("b.test:80"), &["m1 / b.test-shadow:80"]),
        (get("/").to("b.eu.test:80"), NONE),
        (get("/").to("a.org:80"), &["m2 / a.org-shadow:80"]),
        (get("/").to("b.other:80"), &["m3 / b.other-shadow:80"]),
    ];
    let mut levels = json!({"virtual_hosts": [
        to("route", json!(["route"]), "m0"), plain("host", json!(["host"])), plain("table", json!(["*"])),
    ], "request_mirror_policies": [{"cluster": "m2"}]});
    levels["virtual_hosts"][1]["request_mirror_policies"] = json!([{"cluster": "m1"}]);
    let by_level: Vec<Row> = vec![
        (get("/").to("route"), &["m0 / route-shadow"]),
        (get("/").to("host"), &["m1 / host-shadow"]),
        (get("/").to("table"), &["m2 / table-shadow"]),
    ];
    let layered = |wins: bool| {
        let set = |value: &str| json!([{"header": {"key": "x-e", "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]);
        let mut routes = json!({
            "virtual_hosts": [to("all", json!(["*"]), "m0")],
            "request_headers_to_add": set("table"),
            "most_specific_header_mutations_wins": wins,
        });
        routes["virtual_hosts"][0]["request_headers_to_add"] = set("host");
        routes["virtual_hosts"][0]["routes"][0]["request_headers_to_add"] = set("route");
        routes
    };
    vec![
        Case { name: "domains", routes: json!({"virtual_hosts": hosts}), rows: domains },
        Case {
            name: "ignore_port_in_host_matching",
            routes: json!({"virtual_hosts": hosts, "ignore_port_in_host_matching": true}),
            rows: ports,
        },
        Case { name: "levels", routes: levels, rows: by_level },
        Case {
            name: "least specific edits win",
            routes: layered(false),
            rows: vec![(get("/"), &["m0 / a.test-shadow x-e=table"])],
        },
        Case {
            name: "most specific edits win",
            routes: layered(true),
            rows: vec![(get("/"), &["m0 / a.test-shadow x-e=route"])],
        },
    ]
}

#[test]
fn each_field_mirrors_as_before_when_it_is_moved() {
    let can = abilities().has_policies_of_clusters;
    let mut cases: Vec<Case> = [matches(), actions(), policies(), tables()].into_iter().flatten().collect();
    if can {
        cases.extend(later_policies());
    }
    for (number, case) in cases.iter_mut().enumerate() {
        case.routes["name"] = json!(format!("case-{number}"));
        // A redirect has no action.
        let routes = case.routes["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
        routes.iter_mut().for_each(|route| route.as_object_mut().unwrap().retain(|_, value| !value.is_null()));
    }
    let table = |case: &Case| Table {
        routes: case.routes.clone(),
        requests: case.rows.iter().map(|(request, _)| request.clone()).collect(),
    };
    let tables: Vec<_> = cases.iter().map(table).collect();
    let own = if can { json!([{"cluster": "m1"}]) } else { json!([]) };
    let (mut native, mut plugin, moved) = both(&tables, &own);
    for (number, case) in cases.iter().enumerate() {
        for (row, (request, expected)) in case.rows.iter().enumerate() {
            let [before, after] =
                [&mut native, &mut plugin].map(|copies| copies.remove(&(number, row)).unwrap_or_default());
            let told = |(cluster, _, path, host, headers): &super::Copy| {
                let named = ["traceparent", "x-e", "x-f", "x-b", "x-c", "x-p"];
                let headers = headers.iter().filter(|(name, _)| named.contains(&&**name));
                let headers: String = headers.map(|(name, value)| format!(" {name}={value}")).collect();
                format!("{cluster} {path} {host}{headers}")
            };
            let before_told: Vec<_> = before.iter().map(told).collect();
            assert_eq!(before_told, *expected, "{}: {request:?}, by Envoy", case.name);
            assert_eq!(
                after,
                before,
                "{}: {request:?}\n{:#}\n{}",
                case.name,
                case.routes,
                super::rules(&moved, number)
            );
        }
    }
}
