//! What a copy looks like: where it goes, its authority, its path, and its header fields.

use hyper::body::Bytes;
use serde_json::{Value, json};

use harness::client::{Client, Fields, Req, raw, read_until};
use harness::upstream::{Received, Service};
use harness::{Setup, run};

fn one(mirror: Value) -> Value {
    json!({"rules": [{"mirrors": [mirror]}]})
}

#[test]
fn a_destination_is_the_cluster_that_istio_names_after_it() {
    let with_subset = json!({"destination": {"host": "mirror.test", "port": {"number": 9080}, "subset": "v1"}});
    let without = json!({"destination": {"host": "mirror.test", "port": {"number": 9080}}});
    run(Setup::new(json!({"rules": [{"mirrors": [with_subset, without]}]})), async |mesh| {
        mesh.send(Req::get("/a")).await;
        mesh.responses("rule-0", "outbound|9080|v1|mirror.test", "2xx", 1).await;
        mesh.responses("rule-0", "outbound|9080||mirror.test", "2xx", 1).await;
        mesh.mirror.received(1).await;
        mesh.mirror2.received(1).await;
    });
}

#[test]
fn a_header_of_the_request_names_the_cluster() {
    let free = one(json!({"clusterHeader": "X-Mirror-Cluster"}));
    let bound = json!({"rules": [
        {"name": "bound", "mirrors": [{"clusterHeader": "x-mirror-cluster", "allowedClusters": ["mirror", "unknown"]}]},
    ]});
    run(Setup::new(free).also("bound", bound), async |mesh| {
        for listener in ["main", "bound"] {
            let mut client = Client::h1(mesh.address(listener)).await;
            client.send(Req::get("/absent")).await;
            for cluster in ["", "mirror", "mirror2", "unknown"] {
                client.send(Req::get(&format!("/{cluster}")).header("x-mirror-cluster", cluster)).await;
            }
        }
        let ledger = mesh.until("every request", |l| l.requests("rule-0") == 5 && l.requests("bound") == 5).await;
        // Names of header fields have no case, and so the label has none.
        let label = "header:x-mirror-cluster";
        let counted = |rule| {
            ["sent", "no_cluster_header", "cluster_not_allowed", "no_cluster"].map(|o| ledger.copies(rule, label, o))
        };
        assert_eq!(counted("rule-0"), [2, 2, 0, 1]);
        assert_eq!(counted("bound"), [1, 2, 1, 1]);
        mesh.mirror.received(2).await;
        assert_eq!(mesh.mirror2.received(1).await[0].path, "/mirror2");
    });
}

#[test]
fn shadow_goes_into_the_authority_before_the_port() {
    let forms = [
        ("reviews", "reviews-shadow"),
        ("reviews:9080", "reviews-shadow:9080"),
        ("[::1]:80", "[::1]-shadow:80"),
        ("[::1]", "[::1]-shadow"),
    ];
    let plain = json!({"cluster": "mirror2", "disableShadowHostSuffixAppend": true});
    run(Setup::new(json!({"rules": [{"mirrors": [{"cluster": "mirror"}, plain]}]})), async |mesh| {
        for (index, (authority, shadow)) in forms.iter().enumerate() {
            mesh.send(Req::get("/").authority(authority)).await;
            assert_eq!(mesh.mirror.received(index + 1).await[index].authority, *shadow);
            assert_eq!(mesh.mirror2.received(index + 1).await[index].authority, *authority);
            assert_eq!(mesh.primary.received(index + 1).await[index].authority, *authority);
        }
    });
}

#[test]
fn an_authority_of_its_own_takes_no_shadow() {
    run(Setup::new(one(json!({"cluster": "mirror", "rewrite": {"authority": "reviews-v2.test"}}))), async |mesh| {
        mesh.send(Req::get("/").authority("reviews:9080")).await;
        let copy = &mesh.mirror.received(1).await[0];
        assert_eq!((copy.authority.as_str(), copy.values("host").len()), ("reviews-v2.test", 1));
        assert_eq!(mesh.primary.received(1).await[0].authority, "reviews:9080");
    });
}

#[test]
fn a_path_is_rewritten_on_the_copy_alone() {
    let uri = |name: &str, entry: Value, to: &str| {
        let mirror = json!({"cluster": "mirror", "rewrite": {"uri": to}});
        json!({"name": name, "match": [entry], "mirrors": [mirror]})
    };
    let regex = |name: &str, prefix: &str, from: &str, to: &str| {
        let mirror = json!({"cluster": "mirror", "rewrite": {"uriRegexRewrite": {"match": from, "rewrite": to}}});
        json!({"name": name, "match": [{"uri": {"prefix": prefix}}], "mirrors": [mirror]})
    };
    let rules = json!({"rules": [
        uri("prefix", json!({"uri": {"prefix": "/reviews"}}), "/v2"),
        uri("exact", json!({"uri": {"exact": "/one"}}), "/other"),
        regex("groups", "/api/", "^/api/(.*)$", "/\\1"),
        regex("whole", "/whole", "w(h)ole", "-\\0\\1-"),
        regex("all", "/many", "a", "b"),
        regex("none", "/kept", "x+", "y"),
    ]});
    let cases = [
        ("/reviews", "/v2"),
        ("/reviews/1?a=/reviews", "/v2/1?a=/reviews"),
        ("/one?x=1", "/other?x=1"),
        ("/api/a/b?c=/api/d", "/a/b?c=/api/d"),
        ("/whole?whole", "/-wholeh-?whole"),
        ("/many/aa/a?a", "/mbny/bb/b?a"),
        ("/kept?xx", "/kept?xx"),
    ];
    run(Setup::new(rules), async |mesh| {
        for (index, (path, rewritten)) in cases.iter().enumerate() {
            mesh.send(Req::get(path)).await;
            assert_eq!(mesh.mirror.received(index + 1).await[index].path, *rewritten, "{path}");
            assert_eq!(mesh.primary.received(index + 1).await[index].path, *path);
        }
    });
}

/// Sends a request's head as it stands here, and hands over the fields that the primary and the mirror got.
fn heads(plugin: Value, fields: &'static [u8]) -> (Fields, Fields) {
    let ((primary, mut to_primary), (mirror, mut to_mirror)) = (Service::tape(), Service::tape());
    let mut seen = None;
    run(Setup::new(plugin).primary(primary).mirror(mirror), async |mesh| {
        let head = [b"GET / HTTP/1.1\r\nhost: service.test\r\n", fields, b"\r\n"].concat();
        let mut io = raw(mesh.address("main"), &head).await;
        let answer = read_until(&mut io, |text| text.contains("\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
        seen = Some((to_primary.recv().await.unwrap(), to_mirror.recv().await.unwrap()));
    });
    seen.unwrap()
}

/// What Envoy's router adds differs between the two, and is no matter of the filter.
fn own(fields: Fields) -> Fields {
    fields.into_iter().filter(|(name, _)| name != "host" && !name.starts_with("x-envoy-")).collect()
}

fn field(name: &str, value: &'static [u8]) -> (String, Bytes) {
    (name.to_owned(), Bytes::from_static(value))
}

#[test]
fn header_fields_arrive_in_order_with_duplicates_and_byte_for_byte() {
    let sent = b"x-b: 1\r\nx-a: caf\xe9\r\nx-b: \xff\xfe\r\ncookie: a=b\r\nx-empty:\r\n\
        cookie: c=d\r\nx-a: a,b ; c\r\nx-tab: a\tb\r\n";
    let (primary, mirror) = heads(one(json!({"cluster": "mirror"})), sent);
    let mut expected = own(primary);
    let given = [field("x-b", b"1"), field("x-a", b"caf\xe9"), field("x-b", b"\xff\xfe"), field("x-tab", b"a\tb")];
    assert!(given.iter().all(|f| expected.contains(f)), "{expected:?}");
    expected.push(field("x-mirrored-request", b"true"));
    assert_eq!(own(mirror), expected);
}

#[test]
fn header_fields_are_removed_then_set_then_added() {
    let headers = json!({
        "remove": ["Authorization", "cookie", "x-gone"],
        "set": {"x-env": "staging", "x-new": "new"},
        "add": {"x-via": "mirror", "x-env": "added", "x-gone": "back"},
    });
    let sent =
        b"authorization: secret\r\nx-env: 1\r\nx-b: 2\r\nx-env: 3\r\ncookie: a=b\r\nx-via: client\r\nx-gone: 1\r\n";
    let (primary, mirror) = heads(one(json!({"cluster": "mirror", "headers": headers})), sent);
    for name in ["authorization", "cookie", "x-gone"] {
        assert!(primary.iter().any(|(n, _)| n == name), "{name} is missing at the primary: {primary:?}");
    }
    let names = ["authorization", "cookie", "x-env", "x-b", "x-new", "x-gone", "x-via", "x-mirrored-request"];
    let mirror: Fields = mirror.into_iter().filter(|(n, _)| names.contains(&n.as_str())).collect();
    assert_eq!(mirror[..3], [field("x-env", b"staging"), field("x-b", b"2"), field("x-via", b"client")], "{mirror:?}");
    assert_eq!(mirror[3], field("x-new", b"new"));
    let mut added = mirror[4..mirror.len() - 1].to_vec();
    added.sort();
    assert_eq!(added, [field("x-env", b"added"), field("x-gone", b"back"), field("x-via", b"mirror")]);
    assert_eq!(mirror.last(), Some(&field("x-mirrored-request", b"true")));
}

#[test]
fn what_belongs_to_one_hop_or_to_the_first_router_is_not_copied() {
    let sent = b"connection: keep-alive\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nte: gzip\r\n\
        trailer: x-t\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\nx-kept: 1\r\n\
        x-envoy-retry-on: 5xx\r\nx-envoy-retry-grpc-on: cancelled\r\nx-envoy-max-retries: 3\r\n\
        x-envoy-retriable-header-names: x-kept\r\nx-envoy-retriable-status-codes: 200\r\n\
        x-envoy-hedge-on-per-try-timeout: true\r\nx-envoy-upstream-rq-timeout-ms: 50000\r\n\
        x-envoy-upstream-rq-per-try-timeout-ms: 40000\r\nx-envoy-upstream-rq-timeout-alt-response: 204\r\n\
        x-envoy-upstream-alt-stat-name: alt\r\nx-envoy-upstream-stream-duration-ms: 60000\r\n\
        x-envoy-expected-rq-timeout-ms: 70000\r\nx-envoy-internal: true\r\nx-envoy-attempt-count: 9\r\n";
    let (_, mirror) = heads(one(json!({"cluster": "mirror", "timeout": "4s"})), sent);
    let host = [field("x-envoy-internal", b"true"), field("x-envoy-expected-rq-timeout-ms", b"4000")];
    let one_hop = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "http2-settings",
        "content-length",
    ];
    let left: Fields =
        mirror.iter().filter(|(n, _)| n.starts_with("x-envoy-") || one_hop.contains(&n.as_str())).cloned().collect();
    assert_eq!(left, host, "{mirror:?}");
    assert!(mirror.contains(&field("x-kept", b"1")));
    assert_eq!(mirror.iter().filter(|(n, _)| n == "host").count(), 1);
}

#[test]
fn te_is_kept_where_it_says_trailers() {
    let (_, mirror) = heads(one(json!({"cluster": "mirror"})), b"te: trailers\r\n");
    assert!(mirror.contains(&field("te", b"trailers")), "{mirror:?}");
}

#[test]
fn a_request_that_carries_the_marker_is_not_mirrored_again() {
    run(Setup::new(one(json!({"cluster": "mirror"}))), async |mesh| {
        mesh.send(Req::get("/loop").header("X-Mirrored-Request", "true")).await;
        mesh.send(Req::post("/loop", "body").header("x-mirrored-request", "anything")).await;
        mesh.send(Req::get("/first")).await;
        let ledger = mesh.copies("rule-0", "mirror", "sent", 1).await;
        assert_eq!((ledger.requests("rule-0"), ledger.ignored("marked")), (1, 2));
        let copy = &mesh.mirror.received(1).await[0];
        assert_eq!((copy.path.as_str(), copy.value("x-mirrored-request").as_deref()), ("/first", Some("true")));
        assert_eq!(mesh.primary.received(3).await[2].value("x-mirrored-request"), None);
    });
}

#[test]
fn a_marked_request_is_ignored_only_where_a_rule_would_have_copied_it() {
    let rule = |name: &str, mirrors: Value| json!({"name": name, "match": [{"uri": {"exact": format!("/{name}")}}], "mirrors": mirrors});
    let rules = [
        rule("excluded", json!([])),
        rule("unsampled", json!([{"cluster": "mirror", "percentage": 0}])),
        rule("copied", json!([{"cluster": "mirror"}])),
    ];
    run(Setup::new(json!({"rules": rules})), async |mesh| {
        for path in ["/unmatched", "/excluded", "/unsampled", "/copied"] {
            mesh.send(Req::get(path).header("x-mirrored-request", "true")).await;
        }
        // An unmarked one comes last: when it is counted, all are.
        mesh.send(Req::get("/copied")).await;
        let ledger = mesh.copies("copied", "mirror", "sent", 1).await;
        assert_eq!(["excluded", "unsampled", "copied"].map(|rule| ledger.requests(rule)), [1, 1, 1]);
        assert_eq!((ledger.ignored("marked"), ledger.copies("unsampled", "mirror", "unsampled")), (1, 1));
        mesh.mirror.received(1).await;
        mesh.primary.received(5).await;
    });
}

#[test]
fn the_marker_can_have_another_name_and_can_be_switched_off() {
    let other = json!({"rules": [{"mirrors": [{"cluster": "mirror"}]}], "markerHeader": "X-Shadowed"});
    let off = json!({"rules": [{"name": "off", "mirrors": [{"cluster": "mirror2"}]}], "markerHeader": ""});
    run(Setup::new(other).also("off", off), async |mesh| {
        let mut client = mesh.client().await;
        client.send(Req::get("/ignored").header("x-shadowed", "true")).await;
        client.send(Req::get("/other").header("x-mirrored-request", "true")).await;
        let mut client = Client::h1(mesh.address("off")).await;
        client.send(Req::get("/off").header("x-mirrored-request", "mine")).await;
        client.send(Req::get("/off")).await;
        mesh.until("every answer", |l| l.requests("rule-0") == 1 && l.requests("off") == 2 && l.ignored("marked") == 1)
            .await;
        let copy = &mesh.mirror.received(1).await[0];
        assert_eq!((copy.path.as_str(), copy.value("x-shadowed").as_deref()), ("/other", Some("true")));
        let values: Vec<String> =
            mesh.mirror2.received(2).await.iter().flat_map(|r| r.values("x-mirrored-request")).collect();
        assert_eq!(values, ["mine"]);
    });
}

#[test]
fn a_length_of_0_arrives_as_with_envoys_own_mirror() {
    let natively_too = |bootstrap: &mut Value| {
        let manager =
            &mut bootstrap["static_resources"]["listeners"][1]["filter_chains"][0]["filters"][0]["typed_config"];
        let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
        routes[3]["route"]["request_mirror_policies"] = json!([{"cluster": "mirror2"}]);
    };
    let methods = ["GET", "DELETE", "POST", "PUT"];
    let bodies = [("content-length: 0\r\n", ""), ("", ""), ("content-length: 4\r\n", "body")];
    for h2 in [false, true] {
        let setup = Setup::new(one(json!({"cluster": "mirror"}))).changed(natively_too);
        run(if h2 { setup.h2_upstreams() } else { setup }, async |mesh| {
            let requests = methods.iter().flat_map(|method| bodies.map(|body| (method, body)));
            for (count, (method, (fields, body))) in requests.enumerate() {
                let request = format!("{method} / HTTP/1.1\r\nhost: service.test\r\n{fields}\r\n{body}");
                let mut io = raw(mesh.address("main"), request.as_bytes()).await;
                let response = read_until(&mut io, |text| text.contains("\r\n\r\n")).await;
                assert!(response.starts_with("HTTP/1.1 200"), "{response}");
                let length = |copies: Vec<Received>| copies.last().unwrap().value("content-length");
                let [own, native] = [&mesh.mirror, &mesh.mirror2].map(|mirror| mirror.received(count + 1));
                let (own, native) = (length(own.await), length(native.await));
                assert_eq!(own, native, "{method} {fields:?} {h2}");
                assert!(!fields.contains(": 0") || own.as_deref() == Some("0"), "{method} {h2}: {own:?}");
            }
        });
    }
}

#[test]
fn a_copy_without_the_body_of_its_request_has_no_length_of_it() {
    run(Setup::new(one(json!({"cluster": "mirror", "body": "omit"}))).h2_upstreams(), async |mesh| {
        let mut client = mesh.client().await;
        client.send(Req::post("/", "body")).await;
        client.send(Req::chunked("/", &["body"])).await;
        client.send(Req::post("/", "").header("content-length", "0")).await;
        let copies = mesh.mirror.received(3).await;
        let lengths: Vec<_> = copies.iter().filter_map(|copy| copy.value("content-length")).collect();
        assert_eq!(lengths, ["0"]);
    });
}
