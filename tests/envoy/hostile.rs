//! Clients and mirrors that mean harm: SECURITY.md says what they may try.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use harness::client::{Req, raw, read_until};
use harness::upstream::{Service, Upstream};
use harness::{Setup, run};

/// Looks like a request on a connection where lengths are not what they seem.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: a.test\r\n\r\n";

fn all() -> Value {
    json!({"rules": [{"mirrors": [{"cluster": "mirror"}, {"cluster": "mirror2", "body": "omit"}]}]})
}

#[test]
fn a_marker_from_outside_is_removed_where_envoy_is_told_to() {
    let outside = |bootstrap: &mut Value| {
        let manager = &mut bootstrap["static_resources"]["listeners"][1]["filter_chains"][0]["filters"][0];
        let manager = &mut manager["typed_config"];
        manager["internal_address_config"] =
            json!({"cidr_ranges": [{"address_prefix": "192.0.2.0", "prefix_len": 24}]});
        manager["route_config"]["internal_only_headers"] = json!(["x-mirrored-request"]);
    };
    run(Setup::new(all()).changed(outside), async |mesh| {
        mesh.send(Req::get("/").header("x-mirrored-request", "true")).await;
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
        assert_eq!(mesh.ledger().await.ignored("marked"), 0);
        assert_eq!(mesh.primary.received(1).await[0].value("x-mirrored-request"), None);
    });
}

#[test]
fn a_client_cannot_keep_the_marker_off_a_copy() {
    run(Setup::new(all()), async |mesh| {
        let request = b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close, x-mirrored-request\r\n\r\n";
        let mut client = raw(mesh.address("main"), request).await;
        read_until(&mut client, |_| false).await;
        assert_eq!(mesh.mirror.received(1).await[0].value("x-mirrored-request").as_deref(), Some("true"));
    });
}

#[test]
fn an_exclusion_by_path_holds_for_other_spellings_only_where_envoy_normalizes_paths() {
    let spellings = ["//oauth/token", "/x/../oauth/token", "/oauth/%74oken"];
    let excluded = json!([
        {"name": "secret", "match": [{"uri": {"exact": "/oauth/token"}}], "mirrors": []},
        {"name": "rest", "mirrors": [{"cluster": "mirror"}]},
    ]);
    for is_normalized in [false, true] {
        let change = move |bootstrap: &mut Value| {
            let manager = &mut bootstrap["static_resources"]["listeners"][1]["filter_chains"][0]["filters"][0];
            let manager = &mut manager["typed_config"];
            manager["normalize_path"] = json!(is_normalized);
            manager["merge_slashes"] = json!(is_normalized);
        };
        run(Setup::new(json!({"rules": excluded})).changed(change), async |mesh| {
            for path in spellings {
                mesh.send(Req::get(path)).await;
            }
            let rule = if is_normalized { "secret" } else { "rest" };
            mesh.until("all three counted", |ledger| ledger.requests(rule) == 3).await;
        });
    }
}

#[test]
fn a_request_that_hides_in_a_body_stays_there() {
    run(Setup::new(all()), async |mesh| {
        let length = HIDDEN.len();
        let heads = [
            format!(
                "POST /length HTTP/1.1\r\nhost: a.test\r\nconnection: content-length\r\ncontent-length: {length}\r\n\r\n{HIDDEN}"
            ),
            format!(
                "POST /chunks HTTP/1.1\r\nhost: a.test\r\nconnection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n\
                 {length:x}\r\n{HIDDEN}\r\n0\r\n\r\n"
            ),
            "GET /last HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n".to_owned(),
        ];
        let mut client = raw(mesh.address("main"), heads.concat().as_bytes()).await;
        read_until(&mut client, |_| false).await;
        for (upstream, body) in [(&mesh.primary, HIDDEN), (&mesh.mirror, HIDDEN), (&mesh.mirror2, "")] {
            let mut received = upstream.received(3).await;
            received.sort_by(|one, other| one.path.cmp(&other.path));
            let received: Vec<_> = received.iter().map(|r| (r.path.as_str(), &r.body[..])).collect();
            assert_eq!(received, [("/chunks", body.as_bytes()), ("/last", b""), ("/length", body.as_bytes())]);
        }
    });
}

#[test]
fn a_request_whose_length_is_in_doubt_is_not_mirrored() {
    run(Setup::new(all()), async |mesh| {
        for fields in [
            "content-length: 5\r\ncontent-length: 39",
            "content-length: 5, 39",
            "content-length: -5",
            "transfer-encoding: chunked\r\ncontent-length: 5",
            "transfer-encoding: chunked, identity",
            "x-a: b\0c",
            "transfer-encoding : chunked",
        ] {
            let request = format!("POST / HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n\r\n0\r\n\r\n{HIDDEN}");
            let mut client = raw(mesh.address("main"), request.as_bytes()).await;
            let answer = read_until(&mut client, |text| text.contains("\r\n\r\n")).await;
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(["400", "501"].contains(&status), "{fields:?}: {answer}");
        }
        mesh.send(Req::get("/good")).await;
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
        assert_eq!(mesh.mirror.received(1).await[0].path, "/good");
    });
}

#[test]
fn a_value_does_not_end_its_line_on_the_copy() {
    run(Setup::new(all()), async |mesh| {
        // Envoy takes the lone line break out, or refuses the request.
        let request = b"GET /broken HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\nx-a: b\rx-c: d\r\n\r\n";
        let mut client = raw(mesh.address("main"), request).await;
        read_until(&mut client, |_| false).await;
        mesh.send(Req::get("/good")).await;
        mesh.until("every answer", |l| l.requests("rule-0") > 0 && l.in_flight() == 0).await;
        let seen = |upstream: &Upstream| -> Vec<_> {
            upstream.so_far().iter().map(|r| (r.path.clone(), r.values("x-a"), r.values("x-c"))).collect()
        };
        assert_eq!(seen(&mesh.mirror), seen(&mesh.primary));
        assert!(seen(&mesh.mirror).iter().all(|(.., values)| values.is_empty()));
    });
}

#[test]
fn clusters_that_requests_name_show_neither_in_the_metrics_nor_in_the_log() {
    let rules = json!({"rules": [{"mirrors": [
        {"clusterHeader": "x-to"},
        {"clusterHeader": "x-or-to", "allowedClusters": ["mirror"]},
    ]}]});
    run(Setup::new(rules), async |mesh| {
        let mut client = mesh.client().await;
        let names = async || {
            let stats = mesh.envoy.admin("/stats?filter=wasmcustom").await;
            stats.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect::<Vec<_>>()
        };
        let before = names().await;
        for n in 0..20 {
            let chosen = format!("chosen-{n}");
            client.send(Req::get("/").header("x-to", &chosen).header("x-or-to", &chosen)).await;
        }
        mesh.copies("rule-0", "header:x-to", "no_cluster", 20).await;
        assert_eq!(names().await, before);
        assert!(!mesh.envoy.log().contains("chosen"), "{}", mesh.envoy.log());
    });
}

#[test]
fn responses_made_to_do_harm_are_counted_and_harm_nobody() {
    let long = "x".repeat(100_000);
    let answers = [
        format!("HTTP/1.1 200 OK\r\nx-long: {long}\r\ncontent-length: 0\r\n\r\n"),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000),
        "HTTP/1.1 20000 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nx-a: b\0c\r\ncontent-length: 0\r\n\r\n".to_owned(),
        format!("{}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000)),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".repeat(1000),
    ];
    let count = i64::try_from(answers.len()).unwrap();
    let evil = Service::Raw(Arc::new(move |mut io| {
        let answers = answers.clone();
        Box::pin(async move {
            let head = read_until(&mut io, |text| text.contains("\r\n\r\n")).await;
            let number = head.split(['/', ' ']).nth(2).and_then(|number| number.parse::<usize>().ok());
            if let Some(answer) = number.and_then(|number| answers.get(number)) {
                let _ = io.write_all(answer.as_bytes()).await;
                read_until(&mut io, |_| false).await;
            }
        })
    }));
    let plugin = json!({"rules": [{"mirrors": [{"cluster": "mirror", "timeout": "1s"}]}]});
    run(Setup::new(plugin).mirror(evil), async |mesh| {
        let mut client = mesh.client().await;
        for number in 0..count {
            assert_eq!(client.send(Req::get(&format!("/{number}"))).await.status, 200);
            mesh.until("its answer", |l| l.answers("rule-0", "mirror") > number).await;
        }
        let ledger = mesh.ledger().await;
        let failed: i64 = ["failed", "timeout"].iter().map(|class| ledger.responses("rule-0", "mirror", class)).sum();
        assert!((5..=count).contains(&failed), "{failed} of {count} failed");
    });
}
