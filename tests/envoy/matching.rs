//! Which rule decides a request: every field of `match`, and the order of the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::LazyLock;

use serde_json::{Value, json};

use harness::client::{Client, Req};
use harness::{Setup, run};

/// A name, what stands in `match`, the requests that it selects, and others that it does not.
type Case = (&'static str, Value, Vec<Req>, Vec<Req>);

/// All cases, a function for each test.
const TABLE: [fn() -> Vec<Case>; 12] = [
    uris,
    uris_without_case,
    methods,
    schemes,
    authorities,
    headers,
    joined_headers,
    absent_headers,
    query_parameters,
    cookies,
    routes,
    alternatives,
];

/// What came of each case: the indices of the requests that reached the mirror. One Envoy serves them all, with a
/// listener and a rule for each case, for starting one takes longer than everything else.
static COPIED: LazyLock<BTreeMap<&str, BTreeSet<usize>>> = LazyLock::new(|| {
    let cases: Vec<Case> = TABLE.iter().flat_map(|cases| cases()).collect();
    let rule = |name: &str, matches: &Value| {
        let mirrors = json!([{"cluster": "mirror"}]);
        json!({"rules": [{"name": name, "match": matches, "mirrors": mirrors}]})
    };
    let setup = cases.iter().fold(Setup::plain(), |setup, (name, matches, ..)| setup.also(name, rule(name, matches)));
    let mut copied = BTreeMap::new();
    run(setup, async |mesh| {
        for (name, _, selected, others) in &cases {
            let mut client = Client::h1(mesh.address(name)).await;
            for (index, req) in selected.iter().chain(others).enumerate() {
                let req = req.clone().header("x-case", name).header("x-index", index.to_string());
                assert_eq!(client.send(req).await.status, 200, "{name} {index}");
            }
        }
        let ledger = mesh.until("every copy to be answered", |l| {
            cases.iter().all(|c| l.responses(c.0, "mirror", "2xx") == l.requests(c.0))
        });
        let ledger = ledger.await;
        let copies = mesh.mirror.so_far();
        for (name, ..) in &cases {
            let own = copies.iter().filter(|copy| copy.value("x-case").as_deref() == Some(name));
            let indices: BTreeSet<usize> = own.map(|copy| copy.value("x-index").unwrap().parse().unwrap()).collect();
            assert_eq!(ledger.requests(name), i64::try_from(indices.len()).unwrap(), "requests_total of {name}");
            assert!(copied.insert(*name, indices).is_none(), "two cases {name}");
        }
    });
    copied
});

/// Checks that of these cases the selected requests were mirrored, and no others.
fn decided(cases: fn() -> Vec<Case>) {
    for (name, _, selected, _) in cases() {
        assert_eq!(COPIED[name], (0..selected.len()).collect(), "{name}");
    }
}

fn gets(paths: &[&str]) -> Vec<Req> {
    paths.iter().map(|path| Req::get(path)).collect()
}

fn with(name: &str, values: &[&str]) -> Vec<Req> {
    values.iter().map(|value| Req::get("/").header(name, value)).collect()
}

#[test]
fn a_uri_is_matched_without_its_query() {
    decided(uris);
}

fn uris() -> Vec<Case> {
    vec![
        (
            "exact",
            json!([{"uri": {"exact": "/a"}}]),
            gets(&["/a", "/a?b=c"]),
            gets(&["/a/", "/A", "/", "/b?x=/a", "/a/b"]),
        ),
        ("prefix", json!([{"uri": {"prefix": "/a"}}]), gets(&["/a", "/ab/c", "/a?x"]), gets(&["/b", "/b?c=/a", "/A"])),
        ("suffix", json!([{"uri": {"suffix": ".png"}}]), gets(&["/x.png", "/x.png?y"]), gets(&["/x.jpg?.png", "/x"])),
        ("contains", json!([{"uri": {"contains": "v1"}}]), gets(&["/v1", "/a/v1/b"]), gets(&["/a?v1", "/V1"])),
        (
            "regex",
            json!([{"uri": {"regex": "/a/[0-9]+|/b"}}]),
            gets(&["/a/12", "/a/1?x", "/b"]),
            gets(&["/a/12/x", "/x/a/12", "/a/", "/b/a/1"]),
        ),
    ]
}

#[test]
fn a_uri_is_matched_without_case_if_asked() {
    decided(uris_without_case);
}

fn uris_without_case() -> Vec<Case> {
    vec![
        (
            "uri-case",
            json!([{"uri": {"prefix": "/Reviews"}, "ignoreUriCase": true}]),
            gets(&["/reviews/1", "/REVIEWS"]),
            gets(&["/review"]),
        ),
        ("own-case", json!([{"uri": {"exact": "/A", "ignoreCase": true}}]), gets(&["/a", "/A"]), gets(&["/b"])),
    ]
}

#[test]
fn a_method_is_matched() {
    decided(methods);
}

fn methods() -> Vec<Case> {
    vec![
        (
            "method",
            json!([{"method": {"exact": "POST"}}]),
            vec![Req::post("/", "x"), Req::post("/", "")],
            vec![Req::get("/"), Req::new("PUT", "/")],
        ),
        (
            "methods",
            json!([{"method": {"regex": "GET|HEAD"}}]),
            vec![Req::get("/"), Req::new("HEAD", "/")],
            vec![Req::new("DELETE", "/")],
        ),
    ]
}

#[test]
fn a_scheme_is_matched() {
    decided(schemes);
}

fn schemes() -> Vec<Case> {
    vec![
        ("http", json!([{"scheme": {"exact": "http"}}]), gets(&["/"]), vec![]),
        ("https", json!([{"scheme": {"exact": "https"}}]), vec![], gets(&["/"])),
    ]
}

#[test]
fn an_authority_is_matched_with_its_port() {
    decided(authorities);
}

fn authorities() -> Vec<Case> {
    let to = |authority: &str| Req::get("/").authority(authority);
    vec![(
        "authority",
        json!([{"authority": {"exact": "reviews:9080"}}]),
        vec![to("reviews:9080")],
        vec![to("reviews"), to("reviews:80"), to("x.reviews:9080")],
    )]
}

#[test]
fn headers_are_matched_by_name_in_any_case_and_by_bytes() {
    decided(headers);
}

fn headers() -> Vec<Case> {
    vec![
        ("header-exact", json!([{"headers": {"End-User": {"exact": "tester"}}}]), with("end-user", &["tester"]), {
            [with("end-user", &["Tester", "", "tester2"]), with("other", &["tester"])].concat()
        }),
        ("header-present", json!([{"headers": {"end-user": {}}}]), with("end-user", &["x", ""]), with("other", &["x"])),
        (
            "case",
            json!([{"headers": {"end-user": {"exact": "tester", "ignoreCase": true}}}]),
            with("end-user", &["TESTER", "tester"]),
            with("end-user", &["teste"]),
        ),
        (
            "not-utf-8",
            json!([{"headers": {"x-name": {"prefix": "caf"}}}]),
            vec![Req::get("/").header("x-name", b"caf\xe9")],
            vec![Req::get("/").header("x-name", b"\xe9caf")],
        ),
        (
            "all-of-them",
            json!([{"headers": {"a": {"exact": "1"}, "b": {"exact": "2"}}}]),
            vec![Req::get("/").header("a", "1").header("b", "2")],
            [with("a", &["1"]), with("b", &["2"])].concat(),
        ),
    ]
}

#[test]
fn several_values_of_a_header_are_joined_by_a_comma() {
    decided(joined_headers);
}

fn joined_headers() -> Vec<Case> {
    let two = Req::get("/").header("x-v", "one").header("x-other", "-").header("x-v", "two");
    vec![
        (
            "joined",
            json!([{"headers": {"x-v": {"exact": "one,two"}}}]),
            vec![two.clone()],
            with("x-v", &["one", "two", "two,one"]),
        ),
        ("first", json!([{"headers": {"x-v": {"exact": "one"}}}]), with("x-v", &["one"]), vec![two]),
    ]
}

#[test]
fn a_header_that_must_be_absent_or_different() {
    decided(absent_headers);
}

fn absent_headers() -> Vec<Case> {
    vec![
        ("absent", json!([{"withoutHeaders": {"x-internal": {}}}]), gets(&["/"]), with("x-internal", &["1", ""])),
        (
            "different",
            json!([{"withoutHeaders": {"x-stage": {"exact": "prod"}}}]),
            [gets(&["/"]), with("x-stage", &["test"])].concat(),
            with("x-stage", &["prod"]),
        ),
        (
            "missing-counts-as-empty",
            json!([{"withoutHeaders": {"x-stage": {"exact": ""}}}]),
            with("x-stage", &["test"]),
            [gets(&["/"]), with("x-stage", &[""])].concat(),
        ),
    ]
}

#[test]
fn a_query_parameter_is_matched_by_its_first_value_as_it_stands() {
    decided(query_parameters);
}

fn query_parameters() -> Vec<Case> {
    vec![
        (
            "query-exact",
            json!([{"queryParams": {"v": {"exact": "2"}}}]),
            gets(&["/?v=2", "/x?a=b&v=2&v=3"]),
            gets(&["/", "/?v=3&v=2", "/?v=%32", "/?w=2", "/?vv=2", "/v=2"]),
        ),
        ("query-present", json!([{"queryParams": {"v": {}}}]), gets(&["/?v=", "/?v=1", "/?v"]), gets(&["/?w=v", "/"])),
    ]
}

#[test]
fn a_cookie_is_matched() {
    decided(cookies);
}

fn cookies() -> Vec<Case> {
    vec![
        (
            "cookie-present",
            json!([{"cookies": {"session": {}}}]),
            [
                with("cookie", &["session=1", "a=b; session=2", "session=1; c=d"]),
                vec![Req::get("/").header("cookie", "a=b").header("cookie", "session=3")],
            ]
            .concat(),
            [gets(&["/"]), with("cookie", &["a=session", "xsession=1", "sessions=1"])].concat(),
        ),
        (
            "cookie-exact",
            json!([{"cookies": {"group": {"exact": "beta"}}}]),
            with("cookie", &["group=beta", "x=y; group=beta"]),
            with("cookie", &["group=alpha", "other=beta"]),
        ),
    ]
}

#[test]
fn a_route_is_matched_by_its_name() {
    decided(routes);
}

fn routes() -> Vec<Case> {
    vec![(
        "route",
        json!([{"routeName": {"exact": "special"}}]),
        gets(&["/special", "/special/x"]),
        gets(&["/", "/spec", "/direct"]),
    )]
}

#[test]
fn entries_are_alternatives_and_what_stands_inside_one_must_all_hold() {
    decided(alternatives);
}

fn alternatives() -> Vec<Case> {
    vec![
        (
            "alternatives",
            json!([{"uri": {"exact": "/a"}, "method": {"exact": "GET"}}, {"headers": {"x-b": {}}}]),
            [gets(&["/a"]), with("x-b", &["1"]), vec![Req::post("/a", "x").header("x-b", "1")]].concat(),
            vec![Req::post("/a", "x"), Req::get("/b")],
        ),
        ("empty", json!([]), gets(&["/", "/x"]), vec![]),
    ]
}

#[test]
fn the_address_of_the_peer_is_matched() {
    let cidrs = json!([{"sourceCidrs": ["10.0.0.0/8", "127.0.0.8/29", "fd00::/8"]}]);
    let rules = json!({"rules": [{"name": "near", "match": cidrs, "mirrors": [{"cluster": "mirror"}]}]});
    run(Setup::new(rules), async |mesh| {
        for (from, selected) in [("127.0.0.1", 0), ("127.0.0.8", 1), ("127.0.0.15", 2), ("127.0.0.16", 2)] {
            let from: IpAddr = from.parse().unwrap();
            Client::h1_from(from, mesh.address("main")).await.send(Req::get("/")).await;
            mesh.until(&format!("{selected} selected after {from}"), |l| l.requests("near") == selected).await;
        }
        mesh.mirror.received(2).await;
    });
}

#[test]
fn the_first_rule_that_matches_decides_alone_and_one_without_mirrors_excludes() {
    let rules = json!({"rules": [
        {"name": "health", "match": [{"uri": {"prefix": "/health"}}], "mirrors": []},
        {
            "name": "tester",
            "match": [{"headers": {"end-user": {"exact": "tester"}}}],
            "mirrors": [{"cluster": "mirror2"}],
        },
        {"match": [], "mirrors": [{"cluster": "mirror"}]},
        {"name": "never", "mirrors": [{"cluster": "mirror2"}]},
    ]});
    run(Setup::new(rules), async |mesh| {
        let mut client = mesh.client().await;
        for req in [
            Req::get("/health").header("end-user", "tester"),
            Req::get("/a").header("end-user", "tester"),
            Req::get("/b"),
            Req::get("/c"),
        ] {
            client.send(req).await;
        }
        let ledger = mesh.responses("rule-2", "mirror", "2xx", 2).await;
        let counted = ["health", "tester", "rule-2", "never"].map(|rule| ledger.requests(rule));
        assert_eq!(counted, [1, 1, 2, 0]);
        assert_eq!(mesh.mirror2.received(1).await[0].path, "/a");
        let paths: BTreeSet<String> = mesh.mirror.received(2).await.into_iter().map(|r| r.path).collect();
        assert_eq!(paths, BTreeSet::from(["/b".to_owned(), "/c".to_owned()]));
    });
}
