//! Random tables of routes: domains, matchers, policies at all four levels, rewrites and header edits.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::{Abilities, Copy, MIRRORS, PRIMARIES, Sent, TRACE, Table, abilities, both, convert, rules};

/// So many tables at once, each a listener of the same Envoy.
const BATCH: usize = 30;
/// So many requests a table.
const REQUESTS: usize = 24;
/// How many tables `make test` tries.
const FEW: usize = 60;

/// The same few each time. `MOVED_TABLES=3000` tries others, and `MOVED_SEED` those of a run before.
#[test]
fn random_tables_mirror_as_before_when_they_are_moved() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("MOVED_TABLES").map_or(FEW, |count| usize::try_from(count).unwrap());
    let others = || if number("MOVED_TABLES").is_some() { fastrand::u64(..1 << 40) } else { 1 };
    let first = number("MOVED_SEED").unwrap_or_else(others);
    println!("MOVED_SEED={first}");
    let abilities = abilities();
    let (mut tried, mut left_out, mut requests, mut copies) = (0, 0, 0, 0);
    let mut seed = first;
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut examples = Vec::new();
    while tried < count {
        let mut rng = Rng::with_seed(seed);
        let own = policies(&mut rng, abilities, 1, 3);
        let own = if abilities.has_policies_of_clusters { own } else { json!([]) };
        let mut tables = Vec::new();
        while tables.len() < BATCH.min(count - tried) {
            let table = table(&mut rng, abilities, tables.len());
            // What cannot be carried over has its tests elsewhere.
            let (code, _, err) = convert(&["--strict", "-"], &table.routes.to_string());
            if code == 0 || err.starts_with("nothing is mirrored") {
                tables.push(table);
            } else {
                assert!(err.contains("the plugin cannot ask this"), "MOVED_SEED={seed}: {err}\n{:#}", table.routes);
                left_out += 1;
            }
        }
        let (mut native, mut plugin, moved) = both(&tables, &own);
        let places: BTreeSet<_> = native.keys().chain(plugin.keys()).copied().collect();
        for place in places {
            let [expected, found] = [&mut native, &mut plugin].map(|copies| copies.remove(&place).unwrap_or_default());
            copies += expected.len();
            if expected == found {
                continue;
            }
            let count = kinds.entry(kind(&expected, &found)).or_default();
            *count += 1;
            if *count > 1 {
                continue;
            }
            let (table, request) = (&tables[place.0], &tables[place.0].requests[place.1]);
            examples.push(format!(
                "MOVED_SEED={seed}, table {}: {request:?}\nof clusters: {own}\n{}\n{}\n\
                 before: {expected:?}\nafter: {found:?}",
                place.0,
                table.routes,
                rules(&moved, place.0)
            ));
        }
        tried += tables.len();
        requests += tables.len() * REQUESTS;
        seed += 1;
    }
    assert!(kinds.is_empty(), "{kinds:#?}\n{}", examples.join("\n\n"));
    println!(
        "{tried} tables, {requests} requests on each side, {copies} copies; {left_out} tables could not be carried over"
    );
    assert!(left_out * 2 < tried, "{left_out} tables of {tried} could not be carried over");
    assert!(copies > requests / 8, "{copies} copies of {requests} requests: these tables try little");
}

/// What two lists of copies differ in.
fn kind(expected: &[Copy], found: &[Copy]) -> String {
    let clusters = |copies: &[Copy]| copies.iter().map(|copy| copy.0.clone()).collect::<Vec<_>>();
    if clusters(expected) != clusters(found) {
        return format!("{} copies, and {} before", found.len(), expected.len());
    }
    for (expected, found) in expected.iter().zip(found) {
        if expected.2 != found.2 {
            return "path".to_owned();
        }
        if expected.3 != found.3 {
            return "host".to_owned();
        }
        let differs = |(name, value): &&(String, String)| !found.4.contains(&(name.clone(), value.clone()));
        if let Some((name, _)) = expected.4.iter().find(differs) {
            return format!("header {name}");
        }
    }
    "another header".to_owned()
}

fn pick<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    rng.choice(of).copied().unwrap()
}

fn table(rng: &mut Rng, abilities: Abilities, number: usize) -> Table {
    let mut domains = vec![
        "a.test",
        "b.test",
        "x.a.test",
        "*.test",
        "*.a.test",
        "*-b.test",
        "a.*",
        "x.*",
        "a.test:8080",
        "*",
        "B.other",
        "*.a.test:80",
    ];
    rng.shuffle(&mut domains);
    let count = rng.usize(1..5);
    let mut hosts = Vec::new();
    for index in 0..count {
        let own: Vec<_> = (0..rng.usize(1..4)).filter_map(|_| domains.pop()).collect();
        if own.is_empty() {
            break;
        }
        let routes: Vec<_> = (0..rng.usize(1..5)).map(|_| route(rng, abilities)).collect();
        let mut host = json!({"name": format!("h{index}"), "domains": own, "routes": routes});
        decorate(rng, &mut host, 3);
        if rng.u8(..3) == 0 {
            host["request_mirror_policies"] = policies(rng, abilities, 0, 3);
        }
        hosts.push(host);
    }
    let mut routes = json!({"name": format!("t{number}"), "virtual_hosts": hosts});
    decorate(rng, &mut routes, 4);
    if rng.u8(..3) == 0 {
        routes["request_mirror_policies"] = policies(rng, abilities, 0, 3);
    }
    if rng.u8(..4) == 0 {
        routes["ignore_port_in_host_matching"] = json!(true);
    }
    if rng.u8(..3) == 0 {
        routes["most_specific_header_mutations_wins"] = json!(true);
    }
    Table { routes, requests: (0..REQUESTS).map(|_| request(rng)).collect() }
}

/// Header edits, one time in `rarity`.
fn decorate(rng: &mut Rng, owner: &mut Value, rarity: u8) {
    if rng.u8(..rarity) == 0 {
        let options: Vec<_> = (0..rng.usize(1..4)).map(|_| option(rng)).collect();
        owner["request_headers_to_add"] = options.into();
    }
    if rng.u8(..rarity) == 0 {
        let count = rng.usize(1..3);
        let names: Vec<_> = (0..count).map(|_| pick(rng, &["x-e", "x-f", "x-a", "X-G"])).collect();
        owner["request_headers_to_remove"] = names.into();
    }
}

fn option(rng: &mut Rng) -> Value {
    let value = pick(rng, &["1", "2", "three", "", "100%%"]);
    let mut option = json!({"header": {"key": pick(rng, &["x-e", "x-f", "X-G", "x-c"]), "value": value}});
    if option["header"]["key"] == "x-c" {
        option["header"]["value"] = json!(pick(rng, &MIRRORS));
    }
    let actions = ["APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"];
    if option["header"]["key"] == "x-c" {
        option["append_action"] = json!("OVERWRITE_IF_EXISTS_OR_ADD");
    } else if rng.u8(..4) > 0 {
        option["append_action"] = json!(pick(rng, &actions));
    } else if rng.bool() {
        option["append"] = json!(rng.bool());
    }
    if rng.u8(..4) == 0 {
        option["keep_empty_value"] = json!(true);
    }
    option
}

fn route(rng: &mut Rng, abilities: Abilities) -> Value {
    let (matcher, is_regex) = matcher(rng);
    let mut route = json!({"match": matcher});
    match rng.u8(..10) {
        0 => {
            route["redirect"] = json!({"path_redirect": "/elsewhere"});
            return route;
        }
        1 => {
            route["direct_response"] = json!({"status": 200});
            return route;
        }
        _ => {}
    }
    if rng.u8(..6) == 0 {
        route["name"] = json!(pick(rng, &["one", "two", "three"]));
    }
    decorate(rng, &mut route, 3);
    let mut action = Map::new();
    if rng.u8(..3) == 0 {
        let mut one = json!({"name": pick(rng, &PRIMARIES), "weight": 1});
        let mut other = json!({"name": pick(rng, &PRIMARIES), "weight": 0});
        while other["name"] == one["name"] {
            other["name"] = json!(pick(rng, &PRIMARIES));
        }
        decorate(rng, &mut one, 3);
        decorate(rng, &mut other, 3);
        if rng.u8(..4) == 0 {
            one["host_rewrite_literal"] = json!("weighted.test");
        }
        action.insert("weighted_clusters".to_owned(), json!({"clusters": [one, other]}));
    } else if rng.u8(..8) == 0 {
        action.insert("cluster_header".to_owned(), json!("x-p"));
    } else {
        action.insert("cluster".to_owned(), json!(pick(rng, &PRIMARIES)));
    }
    if rng.u8(..3) == 0 {
        if is_regex || rng.u8(..3) == 0 {
            let (pattern, substitution) =
                *rng.choice(&[("^/a(.*)$", r"/z\1"), ("b", "c"), ("/+", "/"), ("^/([^/]*)/(.*)", r"/\2/\1")]).unwrap();
            action.insert(
                "regex_rewrite".to_owned(),
                json!({"pattern": {"regex": pattern}, "substitution": substitution}),
            );
        } else {
            action.insert("prefix_rewrite".to_owned(), json!(pick(rng, &["/", "/n", "/n/", r"/n\1/m"])));
        }
    }
    if rng.u8(..4) == 0 && !action.contains_key("weighted_clusters") {
        action.insert("host_rewrite_literal".to_owned(), json!(pick(rng, &["h.test", "h.test:81", "[::1]:8"])));
    }
    if rng.u8(..2) == 0 {
        action.insert("request_mirror_policies".to_owned(), policies(rng, abilities, 0, 3));
    }
    route["route"] = action.into();
    route
}

/// A match, and whether its path is an expression.
fn matcher(rng: &mut Rng) -> (Value, bool) {
    let mut matcher = json!({});
    let kind = rng.u8(..8);
    match kind {
        0 | 1 => matcher["prefix"] = json!("/"),
        2 | 3 => matcher["prefix"] = json!(pick(rng, &["/a", "/a/", "/a/b", "/A", "/b"])),
        4 => matcher["path"] = json!(pick(rng, &["/a", "/a/b", "/A/b"])),
        5 | 6 => matcher["path_separated_prefix"] = json!(pick(rng, &["/a", "/a/b", "/A", "/b"])),
        _ => matcher["safe_regex"] = json!({"regex": pick(rng, &["/a.*", "/[ab]", "/a/b(/.*)?", ".*/c", "(?i)/A.*"])}),
    }
    if rng.u8(..4) == 0 {
        matcher["case_sensitive"] = json!(rng.bool());
    }
    if rng.u8(..2) == 0 {
        let headers: Vec<_> = (0..rng.usize(1..3)).map(|_| header(rng)).collect();
        matcher["headers"] = headers.into();
    }
    if rng.u8(..5) == 0 {
        matcher["query_parameters"] = json!([query(rng)]);
    }
    if rng.u8(..12) == 0 {
        matcher["grpc"] = json!({});
    }
    if rng.u8(..12) == 0 {
        matcher["runtime_fraction"] = json!({"default_value": {"numerator": pick(rng, &["0", "1000000"]).parse::<u32>().unwrap(), "denominator": "MILLION"}});
    }
    (matcher, kind == 7)
}

fn header(rng: &mut Rng) -> Value {
    let mut matcher =
        json!({"name": pick(rng, &["x-a", "X-B", ":method", ":authority", "host", ":path", "x-a", "x-b"])});
    match rng.u8(..8) {
        0 => matcher["present_match"] = json!(rng.bool()),
        1 => {}
        2 => {
            matcher["string_match"] = json!({"safe_regex": {"regex": pick(rng, &["1.*", ".*", "[a-z]*", "GET|POST"])}})
        }
        _ => matcher["string_match"] = text(rng),
    }
    if rng.u8(..3) == 0 {
        matcher["invert_match"] = json!(true);
    }
    if rng.u8(..4) == 0 {
        matcher["treat_missing_header_as_empty"] = json!(true);
    }
    matcher
}

fn text(rng: &mut Rng) -> Value {
    let kind = pick(rng, &["exact", "prefix", "suffix", "contains"]);
    let value = pick(rng, &["1", "12", "a", "A", "b", "GET", "/a", "a.test", "test"]);
    let mut test = json!({kind: value});
    if kind == "exact" && rng.u8(..4) == 0 {
        test = json!({"exact": ""});
    }
    if rng.u8(..3) == 0 {
        test["ignore_case"] = json!(true);
    }
    test
}

fn query(rng: &mut Rng) -> Value {
    let mut query = json!({"name": pick(rng, &["v", "w", "v.x"])});
    match rng.u8(..3) {
        0 => query["present_match"] = json!(rng.bool()),
        1 => query["string_match"] = text(rng),
        _ => query["string_match"] = json!({"safe_regex": {"regex": "[0-9]*"}}),
    }
    query
}

fn policies(rng: &mut Rng, abilities: Abilities, least: usize, most: usize) -> Value {
    (0..rng.usize(least..most)).map(|_| policy(rng, abilities)).collect()
}

fn policy(rng: &mut Rng, abilities: Abilities) -> Value {
    let mut policy =
        if rng.u8(..6) == 0 { json!({"cluster_header": "x-c"}) } else { json!({"cluster": pick(rng, &MIRRORS)}) };
    if rng.u8(..4) == 0 {
        let (numerator, denominator) =
            *rng.choice(&[(0, "HUNDRED"), (100, "HUNDRED"), (10_000, "TEN_THOUSAND"), (1_000_000, "MILLION")]).unwrap();
        policy["runtime_fraction"] = json!({"default_value": {"numerator": numerator, "denominator": denominator}});
    }
    if rng.u8(..3) == 0 {
        policy["disable_shadow_host_suffix_append"] = json!(true);
    }
    if rng.u8(..4) == 0 {
        policy["trace_sampled"] = json!(false);
    }
    if abilities.has_policies_of_clusters {
        if rng.u8(..5) == 0 {
            policy["host_rewrite_literal"] = json!(pick(rng, &["policy.test", "policy.test:82"]));
        }
        if rng.u8(..4) == 0 {
            let mutation = |rng: &mut Rng| {
                if rng.bool() {
                    json!({"remove": pick(rng, &["x-e", "x-f", "x-a"])})
                } else {
                    json!({"append": mutated(rng)})
                }
            };
            let mutations: Vec<_> = (0..rng.usize(1..4)).map(|_| mutation(rng)).collect();
            policy["request_headers_mutations"] = mutations.into();
        }
    }
    policy
}

/// An option of a mutation, which has no older spelling.
fn mutated(rng: &mut Rng) -> Value {
    let mut option = option(rng);
    option.as_object_mut().unwrap().remove("append");
    option
}

fn request(rng: &mut Rng) -> Sent {
    let host = pick(
        rng,
        &[
            "a.test",
            "A.Test",
            "b.test",
            "x.a.test",
            "y.x.a.test",
            "x-b.test",
            "a.other",
            "x.y",
            "a.test:8080",
            "b.test:80",
            "b.other",
            "B.OTHER:1",
            "z.a.test:80",
            "other",
        ],
    );
    let path = pick(
        rng,
        &[
            "/",
            "/a",
            "/a/",
            "/ab",
            "/a/b",
            "/a/b/c?v=1",
            "/A/b",
            "/A",
            "/b?v=1&v=2",
            "/b?w",
            "/a?v=",
            "/a/b?x=1&v=12",
            "/a?v%20=1",
            "/b/c",
            "/c",
            "/a?v=a&w=1",
            "//a",
            "/b?q=/a/b",
        ],
    );
    let mut headers = Vec::new();
    for (name, values) in [
        ("x-a", &["", "1", "12", "21", "Abc", "b"][..]),
        ("x-b", &["1", "a", "A.test", "GET", ""]),
        ("x-e", &["request", ""]),
        ("x-f", &["request"]),
        ("x-c", &["m0", "m1", "m2", "nowhere", ""]),
        ("x-p", &["p0", "p1", "p2", "nowhere"]),
    ] {
        if rng.bool() {
            headers.push((name, pick(rng, values).to_owned()));
            if name == "x-f" && rng.bool() {
                headers.push((name, "again".to_owned()));
            }
        }
    }
    if rng.u8(..3) == 0 {
        let flags = pick(rng, &["00", "01", "01"]);
        headers.push(("traceparent", format!("00-{TRACE}-b7ad6b7169203331-{flags}")));
    }
    if rng.u8(..6) == 0 {
        let kinds = ["application/grpc", "application/grpc+proto", "application/grpc-web", "text/plain"];
        headers.push(("content-type", pick(rng, &kinds).to_owned()));
    }
    Sent { method: pick(rng, &["GET", "GET", "POST"]), host: host.to_owned(), path: path.to_owned(), headers }
}
