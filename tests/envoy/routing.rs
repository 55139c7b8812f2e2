//! What Envoy's routes decide: requests that no upstream gets, and the cluster that a request goes to.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use harness::client::{Client, Req};
use harness::upstream::Received;
use harness::{Setup, run};

/// Routes of every kind, in the place of those that every test has.
fn routes(bootstrap: &mut Value) {
    let to = |cluster: &str| json!({"cluster": cluster});
    let routes = json!([
        {"match": {"path": "/direct"}, "direct_response": {"status": 200}},
        {"match": {"path": "/redirect"}, "redirect": {"path_redirect": "/routed"}},
        {"match": {"path": "/unknown"}, "route": to("unknown")},
        {"match": {"path": "/named"}, "route": {"cluster_header": "x-cluster"}},
        {"match": {"path": "/routed"}, "route": to("primary")},
        {"match": {"path": "/weighted"}, "route": {"weighted_clusters": {"clusters": [
            {"name": "primary", "weight": 50}, {"name": "mirror2", "weight": 50},
        ]}}},
    ]);
    for listener in bootstrap["static_resources"]["listeners"].as_array_mut().unwrap() {
        listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"] = json!({
            "name": "routes",
            "validate_clusters": false,
            "virtual_hosts": [
                {"name": "tls", "domains": ["tls.test"], "require_tls": "ALL", "routes": routes},
                {"name": "all", "domains": ["*"], "routes": routes},
            ],
        });
    }
}

#[test]
fn what_no_upstream_gets_is_mirrored_only_where_the_rule_says_so() {
    let default = json!({"rules": [{"name": "default", "mirrors": [{"cluster": "mirror"}]}]});
    let all = json!({"rules": [{"name": "all", "unrouted": "mirror", "mirrors": [{"cluster": "mirror2"}]}]});
    let get = |path: &str| Req::get(path);
    let cases = [
        (get("/direct"), 200, false),
        (get("/redirect"), 301, false),
        (get("/unknown"), 503, false),
        (get("/named"), 503, false),
        (get("/named").header("x-cluster", "unknown"), 503, false),
        (get("/named").header("x-cluster", "primary"), 200, true),
        (get("/no-route"), 404, false),
        (get("/routed").authority("tls.test"), 301, false),
        (get("/routed"), 200, true),
        (Req::post("/routed", "body"), 200, true),
    ];
    run(Setup::new(default).also("all", all).changed(routes), async |mesh| {
        let routed = cases.iter().filter(|(_, _, is_routed)| *is_routed).count();
        for (req, status, _) in &cases {
            for listener in ["main", "all"] {
                let mut client = Client::h1(mesh.address(listener)).await;
                assert_eq!(client.send(req.clone()).await.status, *status);
            }
        }
        let [all, some] = [cases.len(), routed].map(|count| i64::try_from(count).unwrap());
        mesh.copies("default", "mirror", "sent", some).await;
        let ledger = mesh.copies("all", "mirror2", "sent", all).await;
        assert_eq!(["default", "all"].map(|rule| ledger.requests(rule)), [some, all]);
        assert_eq!(ledger.ignored("unrouted"), all - some);
        let mut copied: Vec<_> = mesh.mirror.received(routed).await.into_iter().map(|copy| copy.path).collect();
        copied.sort();
        assert_eq!(copied, ["/named", "/routed", "/routed"]);
        mesh.mirror2.received(cases.len()).await;
    });
}

#[test]
fn a_request_is_ignored_only_where_a_mirror_has_a_cluster_for_its_copy_and_for_one_reason() {
    let by_header =
        json!({"rules": [{"mirrors": [{"clusterHeader": "x-mirror"}, {"cluster": "mirror", "percentage": 0}]}]});
    run(Setup::new(by_header).changed(routes), async |mesh| {
        let mut client = mesh.client().await;
        let (named, marked) = (("x-mirror", "mirror"), ("x-mirrored-request", "true"));
        for (path, headers) in [
            ("/direct", &[][..]),
            ("/routed", &[marked]),
            ("/direct", &[marked]),
            ("/direct", &[named]),
            ("/routed", &[named, marked]),
            ("/direct", &[named, marked]),
            ("/routed", &[named]),
        ] {
            let req = headers.iter().fold(Req::get(path), |req, (name, value)| req.header(name, value));
            client.send(req).await;
        }
        let ledger = mesh.copies("rule-0", "header:x-mirror", "sent", 1).await;
        assert_eq!(ledger.copies("rule-0", "header:x-mirror", "no_cluster_header"), 3);
        assert_eq!(["unrouted", "marked"].map(|reason| ledger.ignored(reason)), [1, 2]);
        assert_eq!(ledger.requests("rule-0"), 4);
    });
}

/// Sends requests to weighted clusters; each rule says on its copies which it is.
#[test]
fn a_request_is_matched_by_the_cluster_that_was_chosen_for_it() {
    let rule = |name: &str, cluster: Value| {
        let mirror = json!({"cluster": "mirror", "headers": {"set": {"x-rule": name}}});
        json!({"name": name, "match": [{"clusterName": cluster}], "mirrors": [mirror]})
    };
    let rules = json!({"rules": [
        rule("first", json!({"exact": "primary"})),
        rule("second", json!({"regex": "mirror[0-9]"})),
        rule("any", json!({})),
    ]});
    run(Setup::new(rules).changed(routes), async |mesh| {
        let mut client = mesh.client().await;
        const COUNT: usize = 60;
        for n in 0..COUNT {
            client.send(Req::get("/weighted").header("x-n", n.to_string())).await;
        }
        client.send(Req::get("/direct")).await;
        client.send(Req::get("/routed").header("x-n", "last")).await;
        mesh.until("every response", |l| {
            l.in_flight() == 0 && ["first", "second"].iter().map(|rule| l.requests(rule)).sum::<i64>() == 61
        })
        .await;
        let copies = mesh.mirror.received(COUNT + 1).await;
        for (rule, upstream) in [("first", &mesh.primary), ("second", &mesh.mirror2)] {
            let numbers = |all: &[Received]| all.iter().map(|r| r.value("x-n").unwrap()).collect::<BTreeSet<_>>();
            let own: Vec<_> =
                copies.iter().filter(|copy| copy.value("x-rule").as_deref() == Some(rule)).cloned().collect();
            assert!(own.len() > 10, "{} copies of {rule}", own.len());
            assert_eq!(numbers(&own), numbers(&upstream.so_far()), "{rule}");
        }
        let ledger = mesh.ledger().await;
        assert_eq!((ledger.requests("any"), ledger.ignored("unrouted")), (0, 0));
    });
}
