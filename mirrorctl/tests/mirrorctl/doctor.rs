//! `mirrorctl doctor` on a real Envoy: each cause is made, and named first. None of what may be a secret is printed.

use crate::mirrorctl;
use crate::stats::beside;
use harness::bootstrap::{Delivery, FILTER, Form, cluster};
use harness::client::{Req, raw};
use harness::process::{Folder, trapping_module};
use harness::upstream::{Answer, Received, Service};
use harness::{Mesh, Setup, eventually, run_into_a_trap};
use serde_json::{Value, json};
use std::fs;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Where the filters of the listener `main` stand in the bootstrap.
const FILTERS: &str = "/static_resources/listeners/1/filter_chains/0/filters/0/typed_config/http_filters";

/// What a run said: severities and codes, in order, and the exit code.
async fn ask(mesh: &Mesh, wait: &str) -> (Vec<String>, i32, String) {
    let admin = mesh.envoy.admin.to_string();
    let ran = beside(&["doctor", &admin, "--json", "--wait", wait]).await;
    assert_eq!(ran.err, "");
    let all: Vec<Value> = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out));
    let name = |finding: &Value| {
        let text = |field: &str| finding[field].as_str().unwrap().to_owned();
        assert!(["where", "what", "hint"].iter().all(|field| text(field).len() > 5), "{finding}");
        format!("{} {}", text("severity"), text("code"))
    };
    (all.iter().map(name).collect(), ran.code, ran.out)
}

/// Asks until a code stands first.
async fn names_first(mesh: &Mesh, expected: &str) {
    let fails = i32::from(expected.starts_with("error"));
    eventually(expected, async || {
        let (codes, code, out) = ask(mesh, "50ms").await;
        let is_first = codes.first().is_some_and(|first| first == expected);
        if is_first && code == fails { Ok(()) } else { Err(format!("exit code {code}, {codes:?}\n{out}")) }
    })
    .await;
}

fn rule(mirror: Value) -> Value {
    json!({"rules": [{"mirrors": [mirror]}]})
}

fn to(cluster: &str) -> Setup {
    Setup::new(rule(json!({"cluster": cluster})))
}

/// Sends a request, and looks for the cause.
fn after_requests(setup: Setup, expected: &str) {
    run_into_a_trap(setup, async |mesh| {
        for _ in 0..3 {
            mesh.send(Req::get("/")).await;
        }
        names_first(mesh, expected).await;
    });
}

/// Puts filters before the plugin.
fn behind(filters: Value) -> Setup {
    to("mirror").changed(move |bootstrap| {
        let chain = bootstrap.pointer_mut(FILTERS).unwrap().as_array_mut().unwrap();
        chain.splice(0..0, filters.as_array().unwrap().clone());
    })
}

/// Changes the mirror's cluster.
fn with_cluster(field: &'static str, value: Value) -> Setup {
    to("mirror").changed(move |bootstrap| bootstrap["static_resources"]["clusters"][1][field] = value)
}

/// A server that begins a response and never ends it.
fn streaming() -> Service {
    Service::Raw(Arc::new(|mut io| {
        Box::pin(async move {
            let mut read = [0; 4096];
            let _ = io.read(&mut read).await;
            let _ = io.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").await;
            std::future::pending::<()>().await;
        }) as Pin<Box<dyn Future<Output = ()> + Send>>
    }))
}

/// A server that closes each connection as soon as it has read something.
fn closing() -> Service {
    Service::Raw(Arc::new(|mut io| {
        Box::pin(async move {
            let _ = io.read(&mut [0; 4096]).await;
        }) as Pin<Box<dyn Future<Output = ()> + Send>>
    }))
}

#[test]
fn an_envoy_whose_copies_are_answered_has_no_finding_that_matters() {
    let setup = to("mirror").changed(|bootstrap| {
        let layer = json!({"http.async_response_buffer_limit": 65536});
        bootstrap["layered_runtime"] = json!({"layers": [{"name": "static", "static_layer": layer}]});
    });
    run_into_a_trap(setup, async |mesh| {
        for _ in 0..3 {
            mesh.send(Req::get("/")).await;
        }
        mesh.responses("rule-0", "mirror", "2xx", 3).await;
        let admin = mesh.envoy.admin.to_string();
        let ran = beside(&["doctor", &admin, "--wait", "50ms"]).await;
        let lines: Vec<_> = ran.out.lines().collect();
        assert_eq!((ran.code, &*ran.err, lines.len()), (0, "", 5), "{}", ran.out);
        assert!(lines[0].starts_with(&format!("{admin}: Envoy 1.")) && lines[0].contains(", LIVE, up "), "{}", ran.out);
        assert!(
            lines[1].starts_with("plugin traffic_mirror: rules: 1, mirrors: 1, module ")
                && lines[1].contains(", in main, since 20"),
            "{}",
            ran.out
        );
        assert_eq!(lines[2], "  rule-0 → mirror: 3 decided; copies: 3 sent; responses: 3 2xx");
        assert_eq!(lines[3], "Nothing found that keeps copies from being made or answered.");
        assert_eq!(lines[4], "notes: unsafe-methods, marker-edge; `--notes` explains");
        let explained = beside(&["doctor", &admin, "--wait", "50ms", "--notes"]).await;
        assert_eq!((explained.code, explained.out.lines().filter(|line| line.contains(": note: ")).count()), (0, 2));
    });
}

#[test]
fn one_configuration_in_many_listeners_is_told_once() {
    let plugin = rule(json!({"cluster": "primary"}));
    let setup = Setup::new(plugin.clone()).also("second", plugin.clone()).also("third", plugin);
    run_into_a_trap(setup, async |mesh| {
        mesh.send(Req::get("/")).await;
        let ran = beside(&["doctor", &mesh.envoy.admin.to_string(), "--wait", "0s"]).await;
        let lines = |part: &str| ran.out.lines().filter(|line| line.contains(part)).count();
        assert_eq!((lines("plugin traffic_mirror: rules: 1"), lines("in main and 2 more")), (1, 1), "{}", ran.out);
        let place = "plugin traffic_mirror: rules[0].mirrors[0]: warning: ";
        assert_eq!((lines("[shared-cluster]"), lines(place)), (1, 1), "{}", ran.out);
    });
}

#[test]
fn a_proxy_without_the_plugin_has_none() {
    run_into_a_trap(Setup::plain(), async |mesh| names_first(mesh, "error not-loaded").await);
}

#[test]
fn a_module_that_cannot_be_fetched_is_not_loaded() {
    let setup = to("mirror").changed(|bootstrap| {
        let vm = bootstrap.pointer_mut(&format!("{FILTERS}/0/typed_config/config/vm_config")).unwrap();
        let uri =
            json!({"uri": format!("http://user:{SECRET}@images.test/x.wasm"), "cluster": "refused", "timeout": "1s"});
        vm["code"] = json!({"remote": {"http_uri": uri, "sha256": "0".repeat(64)}});
    });
    run_into_a_trap(setup, async |mesh| {
        names_first(mesh, "error not-loaded").await;
        let ran = beside(&["doctor", &mesh.envoy.admin.to_string(), "--wait", "0s"]).await;
        assert!(ran.out.contains("could not be fetched") && !ran.out.contains(SECRET), "{}", ran.out);
    });
}

#[test]
fn a_filter_that_waits_for_its_plugin_is_named() {
    // Istio's agent puts such a filter where it cannot fetch the image.
    let allow = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"});
    let setup = to("mirror").delivered_by(Delivery::Ecds).changed(move |bootstrap| {
        let discovery = bootstrap.pointer_mut(&format!("{FILTERS}/0/config_discovery")).unwrap();
        let url = allow["@type"].clone();
        discovery["type_urls"].as_array_mut().unwrap().push(url);
        let path = discovery["config_source"]["path_config_source"]["path"].as_str().unwrap();
        let mut file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        file["resources"][0]["typed_config"] = allow;
        fs::write(path, file.to_string()).unwrap();
    });
    run_into_a_trap(setup, async |mesh| {
        names_first(mesh, "error not-loaded").await;
        let (_, _, out) = ask(mesh, "0s").await;
        assert!(out.contains(&format!("the filter {FILTER} has no plugin")), "{out}");
    });
}

#[test]
fn a_configuration_that_was_rejected_is_named_with_its_reason() {
    for delivery in [Delivery::Ecds, Delivery::Lds] {
        run_into_a_trap(to("mirror").delivered_by(delivery), async |mesh| {
            mesh.send(Req::get("/")).await;
            mesh.update(&rule(json!({"cluster": "mirror", "percentage": 140})));
            names_first(mesh, "error refused").await;
            let (_, _, out) = ask(mesh, "0s").await;
            assert!(out.contains("rules[0].mirrors[0].percentage: not between 0 and 100"), "{out}");
        });
    }
}

#[test]
fn a_configuration_that_was_rejected_for_its_key_is_named_too() {
    let redact = json!({"headers": ["authorization"], "with": "pseudonym"});
    let setup = Setup::new(rule(json!({"cluster": "mirror", "redact": redact}))).delivered_by(Delivery::Ecds);
    run_into_a_trap(setup, async |mesh| {
        names_first(mesh, "error refused").await;
        let (_, _, out) = ask(mesh, "0s").await;
        assert!(out.contains("needs a key in the VM's environment"), "{out}");
    });
}

#[test]
fn a_wrong_configuration_that_keeps_the_last_is_named_with_its_reason() {
    let keeping = |mirror: Value| json!({"rules": [{"mirrors": [mirror]}], "onInvalid": "keepLast"});
    let setup = Setup::new(keeping(json!({"cluster": "mirror"}))).delivered_by(Delivery::Ecds);
    run_into_a_trap(setup, async |mesh| {
        mesh.send(Req::get("/")).await;
        mesh.update(&keeping(json!({"cluster": 5})));
        names_first(mesh, "error invalid-kept").await;
        let (_, _, out) = ask(mesh, "0s").await;
        assert!(out.contains("rules[0].mirrors[0].cluster: "), "{out}");
    });
}

#[test]
fn a_listener_without_requests_has_no_traffic() {
    run_into_a_trap(to("mirror"), async |mesh| names_first(mesh, "error no-traffic").await);
}

#[test]
fn filters_that_respond_before_the_plugin_keep_requests_from_it() {
    let typed = |kind: &str, fields: Value| {
        let mut config = fields;
        config["@type"] = json!(format!("type.googleapis.com/envoy.extensions.filters.http.{kind}"));
        json!([{"name": "first", "typed_config": config}])
    };
    let fault = json!({"abort": {"http_status": 418, "percentage": {"numerator": 100}}});
    let lua = json!({"default_source_code": {"inline_string":
        "function envoy_on_request(handle) handle:respond({[':status'] = '418'}, 'tea') end"}});
    for (filters, name) in [(typed("fault.v3.HTTPFault", fault), "fault"), (typed("lua.v3.Lua", lua), "lua")] {
        run_into_a_trap(behind(filters), async |mesh| {
            assert_eq!(mesh.send(Req::get("/")).await.status, 418);
            names_first(mesh, "error not-reached").await;
            let (_, _, out) = ask(mesh, "0s").await;
            assert!(out.contains(&format!("which may respond: {name}")), "{out}");
        });
    }
}

#[test]
fn requests_that_are_matched_ignored_or_not_selected_are_told_apart() {
    let get = json!({"rules": [{"match": [{"uri": {"prefix": "/other"}}], "mirrors": [{"cluster": "mirror"}]}]});
    after_requests(Setup::new(get), "error nothing-matches");
    after_requests(Setup::new(rule(json!({"cluster": "mirror", "percentage": 0}))), "error all-unsampled");
    run_into_a_trap(to("mirror"), async |mesh| {
        mesh.send(Req::get("/").header("x-mirrored-request", "true")).await;
        names_first(mesh, "error all-ignored").await;
    });
}

#[test]
fn clusters_that_take_no_copy_are_told_apart() {
    for (cluster, expected) in [
        ("miror", "error unknown-cluster"),
        ("dead", "error no-healthy-host"),
        ("broken", "error breaker-open"),
        ("refused", "error connect-fails"),
    ] {
        after_requests(to(cluster), expected);
    }
    run_into_a_trap(to("miror"), async |mesh| {
        mesh.send(Req::get("/")).await;
        names_first(mesh, "error unknown-cluster").await;
        let (codes, _, out) = ask(mesh, "0s").await;
        assert!(out.contains("there is mirror"), "{out}");
        assert_eq!(codes.iter().filter(|code| code.ends_with("unknown-cluster")).count(), 1, "{out}");
    });
    let subsets = json!({"fallback_policy": "NO_FALLBACK", "subset_selectors": [{"keys": ["version"]}]});
    after_requests(with_cluster("lb_subset_config", subsets), "error subset-lb");
    let tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    after_requests(
        with_cluster("transport_socket", json!({"name": "tls", "typed_config": {"@type": tls}})),
        "error tls-fails",
    );
}

#[test]
fn mirrors_that_do_not_respond_as_they_should_are_told_apart() {
    let hasty = || Setup::new(rule(json!({"cluster": "mirror", "timeout": "100ms"})));
    after_requests(hasty().mirror(Answer::Never), "error times-out");
    after_requests(hasty().mirror(streaming()), "error streams-held");
    // And before any timeout: no response comes, and those that began do not end.
    after_requests(to("mirror").mirror(streaming()), "error streams-held");
    after_requests(to("mirror").mirror(closing()), "error mirror-resets");
    after_requests(to("mirror").mirror(Answer::Huge(40)), "error response-too-large");
    after_requests(to("mirror").mirror(Answer::status(500)), "error mirror-errors");
    after_requests(to("mirror").mirror(Answer::status(404)), "error mirror-errors");
}

#[test]
fn limits_that_are_used_up_are_named() {
    let limited =
        |limits: Value| Setup::new(json!({"rules": [{"mirrors": [{"cluster": "mirror"}]}], "limits": limits}));
    after_requests(limited(json!({"maxInFlight": 1})).mirror(Answer::Never), "error in-flight-limit");
    after_requests(limited(json!({"maxRequestsPerSecond": 1})), "error rate-limit");
    run_into_a_trap(limited(json!({"maxBodyBytes": 10})), async |mesh| {
        mesh.send(Req::post("/", "more than ten bytes")).await;
        names_first(mesh, "error body-too-large").await;
    });
    let held = limited(json!({"maxBufferedBytes": 100, "maxBodyBytes": 100}));
    run_into_a_trap(held, async |mesh| {
        let head = "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 90\r\n\r\n";
        let _open = raw(mesh.address("main"), format!("{head}{}", "x".repeat(80)).as_bytes()).await;
        mesh.until("a part of a body to be held", |ledger| ledger.buffered_bytes() >= 80).await;
        mesh.send(Req::post("/", "x".repeat(50))).await;
        names_first(mesh, "error buffer-limit").await;
    });
    let chosen = |more: Value| {
        let mut mirror = json!({"clusterHeader": "x-to"});
        mirror.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Setup::new(rule(mirror))
    };
    after_requests(chosen(json!({})), "error no-cluster-header");
    run_into_a_trap(chosen(json!({"allowedClusters": ["mirror"]})), async |mesh| {
        mesh.send(Req::get("/").header("x-to", "primary")).await;
        names_first(mesh, "error cluster-not-allowed").await;
    });
}

#[test]
fn requests_that_did_not_become_complete_are_named() {
    run_into_a_trap(to("mirror"), async |mesh| {
        let head = "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 90\r\n\r\nhello";
        let upload = raw(mesh.address("main"), head.as_bytes()).await;
        mesh.until("a part of the body to be held", |ledger| ledger.buffered_bytes() == 5).await;
        drop(upload);
        names_first(mesh, "error incomplete-requests").await;
    });
}

#[test]
fn bodies_that_cannot_be_looked_at_are_named() {
    let mirror = json!({"cluster": "mirror", "redact": {"json": ["/email"]}});
    run_into_a_trap(Setup::new(rule(mirror)), async |mesh| {
        mesh.send(Req::post("/", "no JSON").header("content-type", "application/json")).await;
        names_first(mesh, "error redaction-failed").await;
    });
}

#[test]
fn labels_that_stay_in_the_names_are_named() {
    let setup = to("mirror").changed(|bootstrap| bootstrap["stats_config"] = json!({}));
    after_requests(setup, "warning labels-missing");
}

#[test]
fn what_does_not_add_up_is_named() {
    let script = |request: &Received| if request.path == "/never" { Answer::Never } else { Answer::status(200) };
    run_into_a_trap(to("mirror").mirror(Service::script(script)), async |mesh| {
        mesh.send(Req::get("/never")).await;
        mesh.until("the copy in flight", |ledger| ledger.in_flight() == 1).await;
        let reset = harness::client::Client::h1(mesh.envoy.admin).await.send(Req::post("/reset_counters", "")).await;
        assert_eq!(reset.status, 200);
        mesh.send(Req::get("/")).await;
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
        names_first(mesh, "warning does-not-add-up").await;
    });
}

/// Writes what an Envoy says of itself into files.
async fn save(mesh: &Mesh, folder: &Folder) {
    for (page, file) in [
        ("/config_dump", "config_dump.json"),
        ("/clusters?format=json", "clusters.json"),
        ("/stats", "stats.txt"),
        ("/server_info", "server_info.json"),
        ("/runtime", "runtime.json"),
    ] {
        fs::write(folder.path(file), mesh.envoy.admin(page).await).unwrap();
    }
}

fn from(folder: &Folder) -> (Vec<String>, i32, String) {
    let folder = folder.path("");
    let ran = mirrorctl(&["doctor", "--from", folder.to_str().unwrap(), "--json"], "");
    let all: Vec<Value> = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    (all.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect(), ran.code, ran.out)
}

#[test]
fn files_say_the_same_as_the_envoy_and_gauges_that_no_request_holds_are_stuck() {
    run_into_a_trap(to("refused"), async |mesh| {
        for _ in 0..2 {
            mesh.send(Req::get("/")).await;
        }
        names_first(mesh, "error connect-fails").await;
        let folder = Folder::new();
        save(mesh, &folder).await;
        let (live, ..) = ask(mesh, "0s").await;
        let live: Vec<_> = live.iter().map(|code| code.split_once(' ').unwrap().1.to_owned()).collect();
        assert_eq!((from(&folder).0, from(&folder).1), (live, 1));
        let stats = fs::read_to_string(folder.path("stats.txt")).unwrap();
        // Outcomes that other configurations have.
        for (outcome, code) in [
            ("unscheduled", "all-unscheduled"),
            ("not_wanted", "none-wanted"),
            ("redaction_failed", "redaction-failed"),
        ] {
            let mirror = "rule=.=rule-0;.;mirror=.=refused;.;outcome=.=";
            let count = |outcome: &str, count: u32| format!("{mirror}{outcome};.;copies_total: {count}");
            let sent =
                stats.replace(&count("sent", 2), &count("sent", 0)).replace(&count(outcome, 0), &count(outcome, 2));
            let sent = sent.replace("class=.=failed;.;responses_total: 2", "class=.=failed;.;responses_total: 0");
            fs::write(folder.path("stats.txt"), sent).unwrap();
            assert_eq!(from(&folder).0[0], code, "{}", from(&folder).2);
        }
        // A VM that trapped takes its requests and copies with it, and leaves the gauges.
        let changed = |pairs: &[(&str, &str)]| {
            let mut text = stats.clone();
            for (before, after) in pairs {
                assert!(text.contains(before), "{before}\n{text}");
                text = text.replace(before, after);
            }
            fs::write(folder.path("stats.txt"), text).unwrap();
            from(&folder)
        };
        let mirror = "wasmcustom.traffic_mirror.rule=.=rule-0;.;mirror=.=refused;.;";
        let answered = format!("{mirror}class=.=failed;.;responses_total: 2");
        let all_good = (answered.as_str(), &*format!("{mirror}class=.=2xx;.;responses_total: 2"));
        let waiting = format!("{mirror}waiting: 0");
        let one_waits = (waiting.as_str(), &*format!("{mirror}waiting: 1"));
        let (codes, code, out) = changed(&[all_good, one_waits]);
        assert_eq!((codes[0].as_str(), code), ("waits-stuck", 1), "{out}");
        assert!(out.contains("1 requests wait for rule-0 → refused"), "{out}");
        let flight = ("wasmcustom.traffic_mirror.in_flight: 0", "wasmcustom.traffic_mirror.in_flight: 3");
        assert_eq!(changed(&[all_good, flight]).0[0], "waits-stuck");
        let held = ("wasmcustom.traffic_mirror.buffered_bytes: 0", "wasmcustom.traffic_mirror.buffered_bytes: 3");
        assert_eq!(changed(&[all_good, held]).0[0], "waits-stuck");
        // But not while a request is open.
        let open = ("http.main.downstream_rq_active: 0", "http.main.downstream_rq_active: 1");
        let (codes, _, out) = changed(&[all_good, one_waits, open]);
        assert!(!codes.iter().any(|code| code == "waits-stuck"), "{out}");
        // And a VM that is dead sees nothing any more.
        let many = ("http.main.downstream_rq_total: 2", "http.main.downstream_rq_total: 2000");
        assert_eq!(changed(&[all_good, many]).0[0], "not-reached");
        // One that came later is not dead: many requests came before it.
        let dump = fs::read_to_string(folder.path("config_dump.json")).unwrap();
        let mut later: Value = serde_json::from_str(&dump).unwrap();
        for config in later["configs"].as_array_mut().unwrap() {
            for listener in config["static_listeners"].as_array_mut().into_iter().flatten() {
                listener["last_updated"] = json!("2999-01-01T00:00:00.000Z");
            }
        }
        fs::write(folder.path("config_dump.json"), later.to_string()).unwrap();
        let (codes, _, out) = changed(&[all_good, many]);
        assert!(!codes.iter().any(|code| code == "not-reached"), "{out}");
    });
}

#[test]
fn a_module_that_trapped_leaves_what_waited_and_sees_nothing_any_more() {
    let module = trapping_module().to_str().unwrap();
    let setup = to("mirror").changed(move |bootstrap| {
        let vm = bootstrap.pointer_mut(&format!("{FILTERS}/0/typed_config/config/vm_config")).unwrap();
        vm["code"]["local"]["filename"] = json!(module);
    });
    run_into_a_trap(setup, async |mesh| {
        mesh.send(Req::get("/")).await;
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
        let half = b"POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello";
        let upload = raw(mesh.address("main"), half).await;
        mesh.until("the half to be held", |ledger| ledger.buffered_bytes() == 5).await;
        mesh.send(Req::get("/").header("x-trap", "1")).await;
        drop(upload);
        names_first(mesh, "error waits-stuck").await;
        for _ in 0..400 {
            mesh.send(Req::get("/")).await;
        }
        names_first(mesh, "error not-reached").await;
        let (_, _, out) = ask(mesh, "0s").await;
        assert!(out.contains("search Envoy's log for a trap"), "{out}");
    });
}

#[test]
fn where_nothing_can_be_read_it_was_not_used_as_it_should_be() {
    let folder = Folder::new();
    let empty = folder.path("").to_str().unwrap().to_owned();
    fs::create_dir(folder.path("broken")).unwrap();
    fs::write(folder.path("broken/config_dump.json"), "{").unwrap();
    let broken = folder.path("broken").to_str().unwrap().to_owned();
    for args in [
        &["doctor"][..],
        &["doctor", "127.0.0.1:1", "--from", &empty],
        &["doctor", "127.0.0.1:1"],
        &["doctor", "https://127.0.0.1:1"],
        &["doctor", "nowhere"],
        &["doctor", "--from", &empty],
        &["doctor", "--from", &broken],
        &["doctor", "127.0.0.1:1", "--wait", "x"],
    ] {
        let ran = mirrorctl(args, "");
        assert_eq!((ran.code, &*ran.out), (2, ""), "{args:?}");
        assert!(!ran.err.is_empty(), "{args:?}");
    }
}

const SECRET: &str = "s3cr3t";

/// A configuration with a secret in every value that may be one.
fn secretive(broken: bool) -> Value {
    let exact = json!({"exact": SECRET});
    let mut config = json!({"rules": [{
        "match": [{
            "uri": {"prefix": format!("/{SECRET}/")},
            "method": {"exact": format!("get{SECRET}")},
            "authority": {"regex": SECRET},
            "headers": {"authorization": exact},
            "withoutHeaders": {"x-key": {"prefix": SECRET}},
            "queryParams": {"token": {"suffix": SECRET}},
            "cookies": {"session": {"contains": SECRET}},
        }],
        "mirrors": [{
            "cluster": "refused",
            "rewrite": {"uri": format!("/{SECRET}"), "authority": format!("{SECRET}.test")},
            "headers": {"set": {"x-api-key": SECRET}, "add": {"cookie": SECRET}},
            "consistentHash": {"httpHeaderName": "x-user"},
            "redact": {"headers": [format!("x-{SECRET}")], "json": [format!("/{SECRET}")]},
        }],
    }, {"name": "all", "mirrors": [{"cluster": "refused", "headers": {"set": {"authorization": format!("Bearer {SECRET}")}}}]}]});
    if broken {
        let mirror = &mut config["rules"][0]["mirrors"][0];
        mirror["percentage"] = json!(SECRET);
        mirror["timeout"] = json!(SECRET);
        mirror["headers"]["set"]["x-api-key"] = json!(format!("{SECRET}\n"));
        mirror["body"] = json!(SECRET);
        mirror["cluster"] = json!([SECRET]);
        config["rules"][0]["match"][0]["authority"] = json!({"regex": format!("({SECRET}")});
        config["rules"][1]["name"] = json!(format!("{SECRET} x"));
    }
    config
}

#[test]
fn no_secret_is_printed_wherever_it_stands() {
    for broken in [false, true] {
        let good = || secretive(false);
        let setup =
            Setup::plain().also_as("main", good(), Form::Text).delivered_by(Delivery::Ecds).changed(|bootstrap| {
                let secret = |name: &str| json!({"header": {"key": name, "value": SECRET}});
                let listener = "/static_resources/listeners/1/filter_chains/0/filters/0/typed_config";
                let manager = bootstrap.pointer_mut(listener).unwrap();
                manager["route_config"]["request_headers_to_add"] = json!([secret("x-route")]);
                let basic = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": {"inline_string": format!("-- {SECRET}")}});
                manager["http_filters"]
                    .as_array_mut()
                    .unwrap()
                    .insert(0, json!({"name": "lua", "typed_config": basic}));
                let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
                let mut tls = cluster("tls", None, false);
                let context = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
                tls["transport_socket"] = json!({"name": "tls", "typed_config": {"@type": context, "sni": SECRET}});
                clusters.push(tls);
                let path =
                    bootstrap.pointer(&format!("{FILTERS}/1/config_discovery/config_source/path_config_source/path"));
                let path = path.unwrap().as_str().unwrap();
                let mut file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
                let vm = &mut file["resources"][0]["typed_config"]["config"]["vm_config"];
                vm["environment_variables"] = json!({"key_values": {"TRAFFIC_MIRROR_KEY": SECRET.repeat(4)}});
                vm["configuration"] =
                    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": SECRET});
                fs::write(path, file.to_string()).unwrap();
            });
        run_into_a_trap(setup, async |mesh| {
            mesh.send(Req::get("/")).await;
            if broken {
                mesh.update(&secretive(true));
            }
            names_first(mesh, if broken { "error refused" } else { "error connect-fails" }).await;
            let folder = Folder::new();
            save(mesh, &folder).await;
            let dump = fs::read_to_string(folder.path("config_dump.json")).unwrap();
            assert!(dump.contains(SECRET), "a dump has them in clear");
            let (admin, files) = (mesh.envoy.admin.to_string(), folder.path("").to_str().unwrap().to_owned());
            for args in [
                &["doctor", &*admin, "--notes", "--wait", "0s"][..],
                &["doctor", &admin, "--json", "--wait", "0s"],
                &["doctor", "--from", &files, "--notes"],
                &["doctor", "--from", &files, "--json"],
            ] {
                let ran = beside(args).await;
                assert_eq!((ran.code, &*ran.err), (1, ""), "{args:?}");
                assert!(!ran.out.contains(SECRET), "{args:?}: {}", ran.out);
                if !broken {
                    assert!(ran.out.contains("odd-rewrite") && ran.out.contains("lower-case-method"), "{}", ran.out);
                }
            }
        });
    }
}
