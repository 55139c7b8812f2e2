//! How many requests are copied, and which: percentages, fractions, the shared draw and the consistent hash.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use xxhash_rust::xxh64::xxh64;

use harness::client::{Client, Req};
use harness::{Mesh, Setup, run};

/// Sends requests whose `x-n` counts them.
async fn send_numbered(mesh: &Mesh, listener: &str, count: usize) {
    let mut client = Client::h1(mesh.address(listener)).await;
    for n in 0..count {
        client.send(Req::get("/").header("x-n", n.to_string())).await;
    }
}

#[test]
fn about_as_many_requests_are_copied_as_the_percentage_or_the_fraction_says() {
    const N: usize = 600;
    let mirrors = json!([
        {"cluster": "mirror", "percentage": 50},
        {"cluster": "mirror2", "fraction": {"numerator": 1, "denominator": 4}},
        {"cluster": "outbound|9080||mirror.test"},
        {"cluster": "outbound|9080|v1|mirror.test", "percentage": 0},
        {"cluster": "dead", "percentage": 0.0001},
    ]);
    run(Setup::new(json!({"rules": [{"mirrors": mirrors}]})), async |mesh| {
        send_numbered(mesh, "main", N).await;
        let n = i64::try_from(N).unwrap();
        let ledger = mesh.copies("rule-0", "outbound|9080||mirror.test", "sent", n).await;
        // Six standard deviations and more.
        for (mirror, range) in [("mirror", 225..375), ("mirror2", 85..215), ("outbound|9080|v1|mirror.test", 0..1)] {
            let sent = ledger.copies("rule-0", mirror, "sent");
            assert!(range.contains(&sent), "{sent} of {n} copies to {mirror}");
            assert_eq!(ledger.copies("rule-0", mirror, "unsampled"), n - sent);
        }
        assert!(ledger.copies("rule-0", "dead", "unsampled") > n - 3);
    });
}

#[test]
fn one_draw_serves_all_mirrors_so_that_5_percent_lie_inside_10_percent() {
    let mirrors = json!([{"cluster": "mirror2", "percentage": 5}, {"cluster": "mirror", "percentage": 10}]);
    run(Setup::new(json!({"rules": [{"mirrors": mirrors}]})), async |mesh| {
        send_numbered(mesh, "main", 1500).await;
        let ledger = mesh.until("every answer", |l| l.requests("rule-0") == 1500 && l.in_flight() == 0).await;
        let seen = |all: Vec<harness::upstream::Received>| -> BTreeSet<String> {
            all.iter().map(|r| r.value("x-n").unwrap()).collect()
        };
        let (few, many) = (seen(mesh.mirror2.so_far()), seen(mesh.mirror.so_far()));
        assert!(few.is_subset(&many), "{:?} are not among the 10 %", few.difference(&many));
        assert_eq!(i64::try_from(few.len()).unwrap(), ledger.copies("rule-0", "mirror2", "sent"));
        assert_eq!(i64::try_from(many.len()).unwrap(), ledger.copies("rule-0", "mirror", "sent"));
        assert!((25..135).contains(&few.len()), "5 % of 1500 are {}", few.len());
        assert!((80..225).contains(&many.len()), "10 % of 1500 are {}", many.len());
    });
}

/// A listener's name, its key source, its percentage and seed, and the request that carries a key.
type Source = (&'static str, Value, f64, u64, fn(&str) -> Req);

const KEYS: usize = 60;

fn key(n: usize) -> String {
    format!("user-{n}")
}

#[test]
fn a_consistent_hash_selects_the_same_keys_on_every_worker_as_xxh64_says() {
    let sources: Vec<Source> = vec![
        ("header", json!({"httpHeaderName": "X-User-Id"}), 50.0, 0, |k| Req::get("/").header("x-user-id", k)),
        ("seeded", json!({"httpHeaderName": "x-user-id", "seed": 7}), 50.0, 7, |k| {
            Req::get("/").header("x-user-id", k)
        }),
        ("cookie", json!({"httpCookieName": "session"}), 30.0, 0, |k| {
            Req::get("/").header("cookie", format!("a=b; session={k}"))
        }),
        ("query", json!({"httpQueryParameterName": "user"}), 70.5, 0, |k| Req::get(&format!("/?a=b&user={k}&user=x"))),
        ("wide", json!({"httpHeaderName": "x-user-id", "seed": "18446744073709551615"}), 50.0, u64::MAX, |k| {
            Req::get("/").header("x-user-id", k)
        }),
    ];
    let plugin = |(name, hash, percentage, ..): &Source| {
        let mirror = json!({"cluster": "mirror", "percentage": percentage, "consistentHash": hash});
        json!({"rules": [{"name": name, "mirrors": [mirror]}]})
    };
    let setup = sources.iter().fold(Setup::plain(), |setup, source| setup.also(source.0, plugin(source)));
    run(setup.workers(2), async |mesh| {
        let mut expected = BTreeMap::new();
        for (name, _, percentage, seed, request) in &sources {
            // Four connections, so that both workers are likely to see each key.
            for _ in 0..4 {
                let mut client = Client::h1(mesh.address(name)).await;
                for key in (0..KEYS).map(key) {
                    client.send(request(&key).header("x-case", format!("{name} {key}"))).await;
                }
            }
            let keys = (0..KEYS).map(key).filter(|k| selected(k.as_bytes(), *seed, *percentage));
            expected.extend(keys.map(|k| (format!("{name} {k}"), 4)));
        }
        let done = i64::try_from(4 * KEYS).unwrap();
        mesh.until("every answer", |l| l.in_flight() == 0 && sources.iter().all(|s| l.requests(s.0) == done)).await;
        let mut copied: BTreeMap<String, i32> = BTreeMap::new();
        for copy in mesh.mirror.so_far() {
            *copied.entry(copy.value("x-case").unwrap()).or_default() += 1;
        }
        assert_eq!(copied, expected);
    });
}

fn selected(key: &[u8], seed: u64, percentage: f64) -> bool {
    #[allow(clippy::cast_precision_loss, reason = "below a million")]
    let draw = (xxh64(key, seed) % 1_000_000) as f64;
    draw < percentage * 10_000.0
}

#[test]
fn a_consistent_hash_takes_the_address_of_the_peer_without_its_port() {
    let mirror = json!({"cluster": "mirror", "percentage": 50, "consistentHash": {"useSourceIp": true}});
    run(Setup::new(json!({"rules": [{"mirrors": [mirror]}]})).workers(2), async |mesh| {
        let mut expected = Vec::new();
        for last in 1..=30 {
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)).to_string();
            for _ in 0..2 {
                let mut client = Client::h1_from(from.parse().unwrap(), mesh.address("main")).await;
                client.send(Req::get("/").header("x-from", &from)).await;
                expected.extend(selected(from.as_bytes(), 0, 50.0).then(|| from.clone()));
            }
        }
        mesh.until("every answer", |l| l.in_flight() == 0 && l.requests("rule-0") == 60).await;
        let mut copied: Vec<String> = mesh.mirror.so_far().iter().map(|r| r.value("x-from").unwrap()).collect();
        copied.sort();
        expected.sort();
        assert_eq!(copied, expected);
    });
}

#[test]
fn a_request_without_the_key_is_drawn_at_random() {
    let mirror = json!({"cluster": "mirror", "percentage": 50, "consistentHash": {"httpHeaderName": "x-user-id"}});
    run(Setup::new(json!({"rules": [{"mirrors": [mirror]}]})), async |mesh| {
        send_numbered(mesh, "main", 200).await;
        let ledger = mesh.until("every request", |l| l.requests("rule-0") == 200).await;
        let sent = ledger.copies("rule-0", "mirror", "sent");
        assert!((50..150).contains(&sent), "{sent} of 200");
    });
}

#[test]
fn rules_at_0_percent_count_their_requests_with_and_without_a_match() {
    let off = json!({"rules": [
        {"name": "one", "match": [{"uri": {"prefix": "/one"}}], "mirrors": [{"cluster": "mirror", "percentage": 0}]},
        {"name": "two", "mirrors": [{"cluster": "mirror", "percentage": 0}, {"cluster": "mirror2", "percentage": 0}]},
    ]});
    run(Setup::new(off), async |mesh| {
        for path in ["/one", "/two", "/one/more"] {
            mesh.send(Req::get(path)).await;
        }
        mesh.copies("one", "mirror", "unsampled", 2).await;
        mesh.copies("two", "mirror", "unsampled", 1).await;
        let ledger = mesh.copies("two", "mirror2", "unsampled", 1).await;
        assert_eq!((ledger.requests("one"), ledger.requests("two")), (2, 1));
        mesh.mirror.received(0).await;
    });
}

/// Puts the listener `main` behind one that hands connections over within Envoy: its peers have no IP address.
fn behind_an_internal_listener(bootstrap: &mut Value) {
    let resources = &mut bootstrap["static_resources"];
    let mut inner = resources["listeners"][1].clone();
    inner["name"] = json!("inner");
    inner.as_object_mut().unwrap().remove("address");
    inner["internal_listener"] = json!({});
    resources["listeners"][1]["filter_chains"][0]["filters"] = json!([{
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "outer",
            "cluster": "inner",
        },
    }]);
    resources["listeners"].as_array_mut().unwrap().push(inner);
    let address = json!({"envoy_internal_address": {"server_listener_name": "inner"}});
    resources["clusters"].as_array_mut().unwrap().push(json!({
        "name": "inner",
        "load_assignment": {
            "cluster_name": "inner",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }));
    bootstrap["bootstrap_extensions"] = json!([{
        "name": "envoy.bootstrap.internal_listener",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
        },
    }]);
}

#[test]
fn a_peer_without_an_ip_address_is_drawn_at_random() {
    let mirror = json!({"cluster": "mirror", "percentage": 50, "consistentHash": {"useSourceIp": true}});
    let setup = Setup::new(json!({"rules": [{"mirrors": [mirror]}]})).changed(behind_an_internal_listener);
    run(setup, async |mesh| {
        send_numbered(mesh, "main", 200).await;
        let ledger = mesh.until("every request", |l| l.requests("rule-0") == 200).await;
        let sent = ledger.copies("rule-0", "mirror", "sent");
        assert!((50..150).contains(&sent), "{sent} of 200");
    });
}
