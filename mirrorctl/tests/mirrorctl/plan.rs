//! `mirrorctl plan`: its exit codes, what it proposes, and its figures beside those of a real Envoy under load.

use crate::stats::beside;
use crate::{ROOT, mirrorctl};
use harness::client::{Client, Req};
use harness::upstream::Answer;
use harness::{Mesh, Setup, block_on, eventually, run};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};
use tokio::time::{sleep, sleep_until};

/// Plans for a configuration, and returns the exit code and the only plan.
fn planned(config: &Value, args: &[&str]) -> (i32, Value) {
    let ran = mirrorctl(&[&["plan", "-", "--json"], args].concat(), &config.to_string());
    let plans: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{args:?}: {ran:?}"));
    assert_eq!(plans.as_array().unwrap().len(), 1);
    (ran.code, plans[0].clone())
}

fn rule(mirrors: Value) -> Value {
    json!({ "rules": [{ "name": "shop", "mirrors": mirrors }] })
}

/// Gives an argument another value, or for the first time.
fn give(args: &mut Vec<String>, name: &str, value: impl ToString) {
    match args.iter().position(|arg| arg == name) {
        Some(at) => args[at + 1] = value.to_string(),
        None => args.extend([name.to_owned(), value.to_string()]),
    }
}

/// Does what a plan says is to be set: in the configuration, or, for what stands elsewhere, in the arguments.
fn set(plan: &Value, config: &mut Value, args: &mut Vec<String>) {
    for one in plan["set"].as_array().unwrap() {
        let (place, yaml) = (one["where"].as_str().unwrap(), one["yaml"].as_str().unwrap());
        let fields: Value = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
        let target = match place.strip_prefix("in rules[").and_then(|rest| rest.split_once("].mirrors[")) {
            Some((rule, rest)) => {
                let mirror: usize = rest.split_once(']').unwrap().0.parse().unwrap();
                Some((&mut config["rules"][rule.parse::<usize>().unwrap()]["mirrors"][mirror], &fields))
            }
            None if place == "in the plugin's configuration" => Some((&mut config["limits"], &fields["limits"])),
            None => None,
        };
        if let Some((target, fields)) = target {
            for (name, value) in fields.as_object().unwrap() {
                target[name] = value.clone();
            }
        } else if let Some(limit) = fields.get("http.async_response_buffer_limit") {
            give(args, "--response-limit", limit);
        } else if let Some(breakers) = fields.get("circuit_breakers") {
            give(args, "--breaker", &breakers["thresholds"][0]["max_requests"]);
        } else if fields.get("params").is_some() {
            args.push("--used-only".into());
        } else {
            let buckets = fields["stats_config"]["histogram_bucket_settings"][0]["buckets"].as_array().unwrap();
            give(args, "--buckets", buckets.len());
        }
    }
}

#[test]
fn what_it_says_to_set_makes_it_fit() {
    let one = || rule(json!([{ "cluster": "mirror" }]));
    let when = || rule(json!([{ "cluster": "mirror", "when": [{ "status": ["5xx"] }], "percentage": 80 }]));
    let capped = |fields: Value| {
        let mut config = rule(json!([{ "cluster": "mirror", "maxInFlight": 3, "timeout": "100ms" }]));
        config["limits"] = fields;
        config
    };
    let rules: Vec<_> = (0..40).map(|_| json!({ "mirrors": [{ "cluster": "mirror" }] })).collect();
    for (name, mut config, args, reached) in [
        (
            "a slow mirror",
            one(),
            "--requests 9000 --latency 400ms",
            &["limits.maxInFlight", "circuit breaker of mirror"][..],
        ),
        (
            "in istio there is no breaker",
            rule(json!([{ "cluster": "outbound|80||a.b" }])),
            "--requests 9000 --latency 400ms",
            &["limits.maxInFlight"],
        ),
        (
            "long bodies",
            one(),
            "--requests 100 --body 2MiB --upload 1s",
            &["limits.maxBodyBytes", "limits.maxBufferedBytes"],
        ),
        (
            "bodies that are longer than any may be",
            one(),
            "--requests 1 --body 1KiB --longest-body 1GiB",
            &["limits.maxBodyBytes"],
        ),
        (
            "what waits for a slow primary",
            when(),
            "--requests 500 --body 100KiB --primary 2s",
            &["half of it, for `when`"],
        ),
        (
            "more than may be buffered",
            when(),
            "--requests 5000 --body 1MiB --primary 1s",
            &["limits.maxBufferedBytes", "half of it, for `when`"],
        ),
        ("headers", when(), "--requests 80000 --primary 1s --wanted 1%", &["headers of open requests"]),
        (
            "its own limits",
            capped(json!({ "maxRequestsPerSecond": 10 })),
            "--requests 100 --latency 150ms",
            &["rules[0].mirrors[0].maxInFlight", "rules[0].mirrors[0].timeout", "limits.maxRequestsPerSecond"],
        ),
        (
            "long responses",
            one(),
            "--requests 10 --response 100KiB --response-limit 64KiB",
            &["http.async_response_buffer_limit"],
        ),
        ("series", json!({ "rules": rules }), "--requests 10 --replicas 1000", &["series in Prometheus"]),
        (
            "series of rules that all have traffic",
            json!({ "rules": rules }),
            "--requests 10 --replicas 600 --series 500000",
            &["series in Prometheus"],
        ),
    ] {
        let mut args: Vec<_> = args.split(' ').map(str::to_owned).collect();
        let plan =
            |config: &Value, args: &[String]| planned(config, &args.iter().map(|arg| &**arg).collect::<Vec<_>>());
        let (code, before) = plan(&config, &args);
        let found: Vec<_> = before["limits"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|limit| limit["reached"] == true)
            .map(|limit| limit["name"].as_str().unwrap())
            .collect();
        assert!(code == 1 && reached.iter().all(|name| found.contains(name)), "{name}: {found:?}");
        assert_eq!(before["fits"], false, "{name}");
        set(&before, &mut config, &mut args);
        let (code, after) = plan(&config, &args);
        assert_eq!(
            (code, &after["fits"]),
            (0, &json!(true)),
            "{name}: {}\n{config} {args:?}\n{:#}",
            before["set"],
            after["limits"]
        );
    }
}

#[test]
fn what_it_is_asked_wrongly_is_wrong_usage() {
    let config = rule(json!([{ "name": "candidate", "cluster": "mirror" }])).to_string();
    let wrong = rule(json!([{ "cluster": "mirror", "percentage": 140 }])).to_string();
    for (args, stdin, says) in [
        ("plan", "", "--requests"),
        ("plan -", &*config, "--requests"),
        ("plan - --requests=-1", &config, "0 or more"),
        ("plan - --requests 1 --share none=5%", &config, "none=5%: there is no rule none, but: shop"),
        ("plan - --requests 1 --share shop=500%", &config, "shop=500%: not a percentage from 0 to 100"),
        ("plan - --requests 1 --latency other=5ms", &config, "other=5ms: there is no mirror other, but: candidate"),
        ("plan - --requests 1 --latency 5parsecs", &config, "5parsecs: not a time"),
        ("plan - --requests 1 --body 5KB", &config, "not a size, such as 512, 64KiB or 1MiB"),
        ("plan - --requests 1 --workers 4 --busiest 10%", &config, "the busiest of 4 workers gets at least"),
        ("plan - --requests 1 --wait 1s", &config, "--from"),
        ("plan - --requests 1", &wrong, "rules[0].mirrors[0].percentage: 140: not between 0 and 100"),
        ("plan - --requests 1", "a: [", "stdin: document 1"),
        ("plan - --requests 1", "kind: Service\n", "no plugin configuration found"),
        ("plan no-such-file --requests 1", "", "no-such-file"),
        ("plan --from 127.0.0.1:1", "", "127.0.0.1:1"),
    ] {
        let ran = mirrorctl(&args.split(' ').collect::<Vec<_>>(), stdin);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{args}: {ran:?}");
        assert!(ran.err.contains(says), "{args}: {}", ran.err);
    }
}

#[test]
fn it_reads_the_figures_of_files_and_fits_80_columns() {
    let envoy = mirrorctl(&["plan", "envoy.yaml", "--requests", "100", "--json"], "").ok();
    let plans: Value = serde_json::from_str(&envoy).unwrap();
    let limit = |name: &str| {
        let limits = plans[0]["limits"].as_array().unwrap();
        limits.iter().find(|limit| limit["name"] == name).unwrap_or_else(|| panic!("{name}: {limits:#?}"))["has"]
            .clone()
    };
    // envoy.yaml's own runtime.
    assert_eq!(limit("http.async_response_buffer_limit"), 65536.0);
    // A mirror that takes HTTP/2 has a connection of each worker.
    let http2 = fs::read_to_string(format!("{ROOT}/envoy.yaml")).unwrap();
    let http2 = http2.replace("{ http_protocol_options: {} }", "{ http2_protocol_options: {} }");
    let ran = mirrorctl(&["plan", "-", "--requests", "100", "--json"], &http2).ok();
    let http2: Value = serde_json::from_str(&ran).unwrap();
    let connections = |plans: &Value| plans[0]["mirrors"][0]["connections"].as_f64().unwrap();
    assert!(connections(&http2) == 2.0 && connections(&plans) > 2.0, "{http2:#}");
    let many: Vec<_> = (0..1000).map(|index| json!({ "name": format!("a-rule-with-a-rather-long-name-{index}"), "mirrors": [{ "cluster": "outbound|80|v2|reviews.bookinfo.svc.cluster.local" }] })).collect();
    let many = json!({ "rules": many }).to_string();
    for (args, stdin) in [
        ("plan envoy.yaml --requests 100", ""),
        ("plan wasmplugin.yaml --requests 90000 --replicas 20000 --body 3MiB --latency 6s", ""),
        ("plan - --requests 100000 --replicas 20000 --latency 7s --response 1GiB", &*many),
    ] {
        let ran = mirrorctl(&args.split(' ').collect::<Vec<_>>(), stdin);
        assert!(ran.code < 2 && ran.err.is_empty(), "{args}: {ran:?}");
        let long: Vec<_> = ran.out.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(long.is_empty() && !ran.out.contains('\x1b'), "{args}: {long:#?}");
        // A thousand mirrors are no thousand tables.
        assert!(ran.out.lines().count() < 200, "{}", ran.out);
    }
}

/// Counts the filter's lines on a page of Envoy's for Prometheus.
async fn lines(mesh: &Mesh, query: &str) -> usize {
    let page = mesh.envoy.admin(&format!("/stats/prometheus{query}")).await;
    page.lines().filter(|line| line.starts_with("traffic_mirror_")).count()
}

#[test]
fn series_are_as_many_as_envoy_shows() {
    let three = json!({ "rules": [
        { "name": "one", "match": [{ "uri": { "prefix": "/one" } }], "mirrors": [{ "cluster": "mirror" }] },
        { "name": "two", "match": [{ "uri": { "prefix": "/two" } }], "compare": { "status": true },
          "mirrors": [{ "cluster": "mirror", "percentage": 50 }, { "cluster": "mirror2", "when": [{ "status": ["5xx"] }] }] },
        { "name": "none", "mirrors": [] },
    ] });
    run(Setup::new(three.clone()), async |mesh| {
        // Some of them come with the first configuration, some a moment later.
        let (_, plan) = planned(&three, &["--requests", "1"]);
        let expected = plan["series"]["all"].as_f64().unwrap() as usize;
        assert_eq!(lines(mesh, "").await, expected);
        // Without a request, next to nothing was used.
        assert!(lines(mesh, "?usedonly").await <= 1);
        for path in ["/one", "/two", "/two", "/two", "/two", "/two", "/two", "/two", "/two", "/"] {
            mesh.send(Req::get(path)).await;
        }
        mesh.settle().await;
        let used = plan["series"]["used"].as_f64().unwrap();
        // What goes well: fewer than are counted for two classes of responses, and not fewer than a half of them.
        eventually("histograms", async || {
            let found = lines(mesh, "?usedonly").await as f64;
            if found <= used && found >= used / 2.0 { Ok(()) } else { Err(format!("{found} of {used}")) }
        })
        .await;
        assert_eq!(lines(mesh, "").await, expected);
    });
    // Fewer buckets, as it says that they are set.
    let mut config = rule(json!([{ "cluster": "mirror" }]));
    config["rules"][0]["name"] = json!("a");
    let rules: Vec<_> = (0..40).map(|_| json!({ "mirrors": [{ "cluster": "mirror" }] })).collect();
    let (_, plan) = planned(&json!({ "rules": rules }), &["--requests", "1", "--replicas", "10000"]);
    let sets = plan["set"].as_array().unwrap();
    let yaml = sets.iter().find_map(|set| set["yaml"].as_str().filter(|yaml| yaml.contains("buckets"))).unwrap();
    let settings: Value = serde_saphyr::from_str(yaml).unwrap();
    let buckets =
        settings["stats_config"]["histogram_bucket_settings"][0]["buckets"].as_array().unwrap().len().to_string();
    let setup = Setup::new(config.clone()).changed(move |bootstrap| {
        bootstrap["stats_config"]["histogram_bucket_settings"] =
            settings["stats_config"]["histogram_bucket_settings"].clone();
    });
    run(setup, async |mesh| {
        let (_, plan) = planned(&config, &["--requests", "1", "--buckets", &buckets]);
        assert_eq!(lines(mesh, "").await as f64, plan["series"]["all"].as_f64().unwrap());
    });
}

/// A load for a few seconds, and what is known of it.
struct Load {
    name: &'static str,
    config: Value,
    rate: u32,
    request: Req,
    primary: Duration,
    mirror: Duration,
    args: &'static str,
}

fn loads() -> Vec<Load> {
    let body = |bytes: usize| Req::post("/", vec![b'x'; bytes]);
    vec![
        Load {
            name: "GET, all mirrored",
            config: rule(json!([{ "name": "m", "cluster": "mirror" }])),
            rate: 150,
            request: Req::get("/"),
            primary: Duration::ZERO,
            mirror: Duration::from_millis(200),
            args: "--latency 200ms",
        },
        Load {
            name: "POST 64 KiB, half mirrored, two mirrors",
            config: rule(
                json!([{ "name": "m", "cluster": "mirror", "percentage": 50 }, { "name": "n", "cluster": "mirror2", "percentage": 50 }]),
            ),
            rate: 80,
            request: body(64 << 10),
            primary: Duration::ZERO,
            mirror: Duration::from_millis(300),
            args: "--body 64KiB --upload 1ms --latency m=300ms --latency n=1ms",
        },
        Load {
            name: "POST 128 KiB, `when` waits for 1 s",
            config: rule(json!([{ "name": "m", "cluster": "mirror", "when": [{ "status": ["2xx"] }] }])),
            rate: 25,
            request: body(128 << 10),
            primary: Duration::from_secs(1),
            mirror: Duration::from_millis(300),
            args: "--body 128KiB --upload 1ms --primary 1s --latency 300ms",
        },
    ]
}

/// How long figures are measured, and how long a load has to become steady.
const MEASURED: Duration = Duration::from_secs(4);
const STEADY: Duration = Duration::from_millis(1800);
const CLIENTS: u32 = 40;

/// What is measured of a load.
#[derive(Debug, Default)]
struct Measured {
    requests: f64,
    copies: f64,
    in_flight: f64,
    buffered: f64,
    resident: f64,
}

/// Sends requests at a rate, each client its own part of them, and measures meanwhile; then plans by the Envoy's own figures, too.
async fn measured(mesh: &Mesh, load: &Load) -> (Measured, Value) {
    let mut clients = Vec::new();
    let start = tokio::time::Instant::now();
    let end = start + STEADY + MEASURED + Duration::from_secs(1);
    for index in 0..CLIENTS {
        let (mut client, request): (Client, Req) = (mesh.client().await, load.request.clone());
        let pause = Duration::from_secs(1) * CLIENTS / load.rate;
        let mut due = start + pause * index / CLIENTS;
        clients.push(tokio::spawn(async move {
            while due < end {
                sleep_until(due).await;
                client.send(request.clone()).await;
                due += pause;
            }
        }));
    }
    sleep(STEADY).await;
    let admin = mesh.envoy.admin.to_string();
    let asked = tokio::spawn(async move { beside(&["plan", "--from", &admin, "--wait", "3s", "--json"]).await });
    let (begin, first) = (Instant::now(), mesh.ledger().await);
    let (mut sums, mut count) = ([0.0, 0.0], 0.0);
    let mut last = mesh.ledger().await;
    while begin.elapsed() < MEASURED {
        sums = [sums[0] + last.in_flight() as f64, sums[1] + last.buffered_bytes() as f64];
        count += 1.0;
        sleep(Duration::from_millis(20)).await;
        last = mesh.ledger().await;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let resident = fs::read_to_string(format!("/proc/{}/status", mesh.envoy.pid())).unwrap();
    let resident =
        resident.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    let sent = |ledger: &harness::ledger::Ledger| {
        ["m", "n"].map(|mirror| ledger.copies("shop", mirror, "sent")).iter().sum::<i64>() as f64
    };
    let requests = (last.requests("shop") - first.requests("shop")) as f64 / seconds;
    for client in clients {
        client.await.unwrap();
    }
    let asked = asked.await.unwrap();
    let asked: Value = serde_json::from_str(&asked.out).unwrap_or_else(|_| panic!("{asked:?}"));
    let measured = Measured {
        requests,
        copies: (sent(&last) - sent(&first)) / seconds,
        in_flight: sums[0] / count,
        buffered: sums[1] / count,
        resident: resident.unwrap() * 1024.0,
    };
    (measured, asked[0].clone())
}

/// What a plan says of the same.
fn predicted(plan: &Value) -> Measured {
    let sum =
        |field: &str| plan["mirrors"].as_array().unwrap().iter().map(|mirror| mirror[field].as_f64().unwrap()).sum();
    let memory = |field: &str| plan["memoryBytes"][field].as_f64().unwrap();
    Measured {
        requests: plan["requestsPerSecond"].as_f64().unwrap(),
        copies: sum("copiesPerSecond"),
        in_flight: sum("inFlight"),
        buffered: memory("bodies"),
        resident: memory("sum"),
    }
}

/// Returns the resident memory of an Envoy without the filter.
fn without_the_filter() -> f64 {
    let mut found = 0.0;
    run(Setup::plain(), async |mesh| {
        let status = fs::read_to_string(format!("/proc/{}/status", mesh.envoy.pid())).unwrap();
        found = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap();
    });
    found * 1024.0
}

/// Holds a prediction beside what was measured. Both are means, on a machine that does other things, too: a factor of two is much
/// less than what a wrong formula would make of them.
#[track_caller]
fn alike(what: &str, predicted: f64, measured: f64, least: f64) {
    let within = measured <= predicted * 2.0 + least && predicted <= measured * 2.0 + least;
    assert!(within, "{what}: predicted {predicted}, measured {measured}");
}

/// Three loads of a few seconds. With `--nocapture` it prints the table of docs/scale.md.
#[test]
fn figures_are_as_measured_on_a_real_envoy() {
    let plain = without_the_filter();
    let mut rows = Vec::new();
    for load in loads() {
        let setup =
            Setup::new(load.config.clone()).primary(Answer::after(load.primary)).mirror(Answer::after(load.mirror));
        run(setup, async |mesh| {
            let (found, seen) = measured(mesh, &load).await;
            let requests = found.requests.to_string();
            let mut args = vec!["--workers", "1", "--requests", &requests, "--response", "100"];
            args.extend(load.args.split(' '));
            let (code, plan) = planned(&load.config, &args);
            let expected = predicted(&plan);
            let name = load.name;
            assert_eq!(code, 0, "{name}");
            assert!(
                found.requests > f64::from(load.rate) / 4.0,
                "{name}: {found:?}: the machine is too busy to say anything"
            );
            alike(&format!("{name}: copies a second"), expected.copies, found.copies, 0.0);
            alike(&format!("{name}: in flight"), expected.in_flight, found.in_flight, 1.0);
            alike(&format!("{name}: buffered"), expected.buffered, found.buffered, 100_000.0);
            alike(&format!("{name}: memory"), expected.resident, found.resident - plain, 10e6);
            // By what the Envoy says of itself.
            let read = predicted(&seen);
            alike(&format!("{name}: requests a second, read"), read.requests, found.requests, 0.0);
            alike(&format!("{name}: copies a second, read"), read.copies, found.copies, 0.0);
            alike(&format!("{name}: in flight, read"), read.in_flight, found.in_flight, 1.0);
            alike(&format!("{name}: buffered, read"), read.buffered, found.buffered, 300_000.0);
            let row = |what: &str, predicted: f64, read: f64, measured: f64, unit: f64| {
                format!("| {what} | {:.1} | {:.1} | {:.1} |", predicted / unit, read / unit, measured / unit)
            };
            rows.push(format!("| **{name}** | | | |"));
            rows.push(row("copies/s", expected.copies, read.copies, found.copies, 1.0));
            rows.push(row("in flight", expected.in_flight, read.in_flight, found.in_flight, 1.0));
            rows.push(row("buffered in the VM, KiB", expected.buffered, read.buffered, found.buffered, 1024.0));
            let mib = 1024.0 * 1024.0;
            rows.push(row(
                "memory beside Envoy without the filter, MiB",
                expected.resident,
                read.resident,
                found.resident - plain,
                mib,
            ));
        });
    }
    println!("| | plan, by figures | plan, `--from` | measured |\n|---|---|---|---|\n{}", rows.join("\n"));
}

#[test]
fn an_envoy_that_is_idle_or_has_no_plugin_is_told() {
    run(Setup::new(rule(json!([{ "cluster": "mirror" }]))), async |mesh| {
        let admin = mesh.envoy.admin.to_string();
        let ran = beside(&["plan", "--from", &admin, "--wait", "10ms"]).await;
        assert!(ran.code == 2 && ran.err.contains("no requests came"), "{ran:?}");
        let ran = beside(&["plan", "--from", &admin, "--wait", "10ms", "--requests", "10"]).await;
        assert!(ran.code == 0 && ran.out.contains("shop → mirror: 100 % of the requests"), "{ran:?}");
        // The number of workers is the Envoy's own.
        assert!(ran.out.contains("1 proxy with 1 worker:"), "{}", ran.out);
    });
    block_on(async {
        let mesh = Mesh::start(Setup::plain()).await.unwrap_or_else(|refused| panic!("{}", refused.log));
        let ran = beside(&["plan", "--from", &mesh.envoy.admin.to_string(), "--wait", "10ms"]).await;
        assert!(ran.code == 2 && ran.err.contains("the plugin is not at work there"), "{ran:?}");
    });
}

const PAGE: &str = "docs/scale.md";

/// Writes a figure of a table: `0.5`, `180`, `54,000`.
fn figure(figure: f64) -> String {
    if figure < 100.0 {
        return format!("{:.1}", figure).trim_end_matches(".0").to_owned();
    }
    let digits = format!("{figure:.0}");
    let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    parts.join(",")
}

/// Returns the rows of a table of the document, the first of which begins so.
fn table(page: &str, begin: &str) -> Vec<Vec<String>> {
    let rows = page.lines().skip_while(|line| !line.starts_with(begin)).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "{begin}");
    rows
}

#[test]
fn the_tables_of_the_document_are_what_is_planned() {
    let page = fs::read_to_string(format!("{ROOT}/{PAGE}")).unwrap();
    let (command, rest) =
        page.split_once("$ mirrorctl plan - ").unwrap().1.split_once(" --replicas 10 <<END\n").unwrap();
    let config: Value = serde_saphyr::from_str(rest.split_once("END\n").unwrap().0).unwrap();
    let plan = |replicas: &str, more: &[&str]| {
        let args: Vec<_> = command.split(' ').chain(["--replicas", replicas]).chain(more.iter().copied()).collect();
        planned(&config, &args)
    };
    let all = ["10", "1000", "20000"];
    let rows = table(&page, "| of all proxies |");
    let row = |name: &str, of: &dyn Fn(&str) -> f64| {
        let found = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(found[1..], all.map(|replicas| figure(of(replicas))), "{name}");
    };
    let field = |pointer: &'static str, unit: f64| {
        move |replicas: &str| {
            plan(replicas, &[]).1.pointer(pointer).unwrap().as_f64().unwrap() * replicas.parse::<f64>().unwrap() / unit
        }
    };
    row("copies a second", &field("/mirrors/0/copiesPerSecond", 1.0));
    row("in flight", &field("/mirrors/0/inFlight", 1.0));
    row("connections by HTTP/1.1", &field("/mirrors/0/connections", 1.0));
    let http2 = |replicas: &str| {
        plan(replicas, &["--http2"]).1["mirrors"][0]["connections"].as_f64().unwrap() * replicas.parse::<f64>().unwrap()
    };
    row("connections by HTTP/2", &http2);
    row("to the mirror, MiB/s", &field("/mirrors/0/sentBytesPerSecond", 1_048_576.0));
    row("CPU of the filter, cores", &field("/cpu/cores", 1.0));
    row("memory of the filter, GiB", &field("/memoryBytes/sum", 1_073_741_824.0));
    row("series", &field("/series/all", 1.0));
    row("series, `?usedonly`", &field("/series/used", 1.0));
    assert_eq!(rows.len(), 9);
    assert_eq!(all.map(|replicas| plan(replicas, &[]).0), [0, 0, 1]);
    assert_eq!(plan("20000", &["--used-only"]).0, 0);

    let one = |compare: bool| {
        let mut config = rule(json!([{ "cluster": "mirror" }]));
        config["rules"][0]["compare"] = if compare { json!({ "status": true }) } else { Value::Null };
        config
    };
    let thousand: Vec<_> =
        (0..1000).map(|index| json!({ "name": format!("r{index}"), "mirrors": [{ "cluster": "mirror" }] })).collect();
    let thousand = json!({ "rules": thousand });
    // Ten rules have all the traffic.
    let shares: Vec<_> =
        (0..1000).map(|index| format!("--share=r{index}={}", if index < 10 { 10 } else { 0 })).collect();
    let series = |config: &Value, what: &str| {
        let args: Vec<_> = ["--requests", "1"]
            .into_iter()
            .chain(shares.iter().map(|share| &**share).filter(|_| what == "used"))
            .collect();
        planned(config, &args).1["series"][what].as_f64().unwrap()
    };
    let found = table(&page, "| | a proxy | 1,000 proxies | 20,000 proxies |");
    let expected =
        [series(&one(false), "all"), series(&one(true), "all"), series(&thousand, "all"), series(&thousand, "used")];
    let expected: Vec<_> =
        expected.iter().map(|one| [1.0, 1000.0, 20_000.0].map(|n| figure(one * n)).to_vec()).collect();
    assert_eq!(found.iter().map(|row| row[1..].to_vec()).collect::<Vec<_>>(), expected);
    // What was measured is of the loads that are measured.
    for load in loads() {
        assert!(page.contains(&format!("| **{}** |", load.name)), "{}", load.name);
    }
}
