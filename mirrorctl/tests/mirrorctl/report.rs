//! `mirrorctl report`: its word on situations that are made, each with a real Envoy, and what it shows of them.

use crate::mirrorctl;
use crate::stats::{FRONT, beside, calculation};
use harness::client::{Client, Req};
use harness::process::{Folder, version};
use harness::scene::{Ports, Scene};
use harness::upstream::{Answer, Service};
use harness::{Mesh, Setup, block_on, eventually, run};
use roxmltree::{Document, ParsingOptions};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Clients that ask at the same time, for how long, and how long each waits between two requests.
const CLIENTS: usize = 4;
const LOAD: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(4);
/// How long is watched: before and after the load, too.
const PERIOD: &str = "8s";

/// Makes a rule that mirrors to a cluster and compares.
fn compared(cluster: &str) -> Value {
    json!({ "rules": [{ "name": "shop", "mirrors": [{ "name": "v2", "cluster": cluster }], "compare": { "status": true } }] })
}

/// A server that fails for every so-many-th of the requests that it gets.
fn failing(every: usize) -> Service {
    let count = AtomicUsize::new(0);
    Service::script(move |_| {
        Answer::status(if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(every) { 500 } else { 200 })
    })
}

/// Asks for as long as the load takes.
async fn load(mesh: &Mesh, request: &Req) {
    // The first reading comes before the first request.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (mut client, request) = (mesh.client().await, request.clone());
        clients.push(tokio::spawn(async move {
            let start = Instant::now();
            while start.elapsed() < LOAD {
                client.send(request.clone()).await;
                tokio::time::sleep(PAUSE).await;
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
}

/// Watches an Envoy under load; returns the exit code and the report.
fn reported(setup: Setup, request: &Req, args: &[&str]) -> (i32, Value, String) {
    let mut found = None;
    run(setup, async |mesh| {
        let admin = mesh.envoy.admin.to_string();
        let mut command = vec!["report", &admin, "--for", PERIOD, "--interval", "200ms", "--margin", "2%", "--json"];
        command.extend(args);
        let (ran, ()) = tokio::join!(beside(&command), load(mesh, request));
        found = Some((ran.code, serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}")), ran.err));
    });
    found.unwrap()
}

/// What is made, and what is to be said of it.
struct Situation {
    name: &'static str,
    plugin: Value,
    primary: Service,
    mirror: Service,
    request: Req,
    /// Equal services are as fast within what a busy machine does to one of the two.
    tolerance: &'static str,
    word: &'static str,
    /// How the answer reads, each part in its place.
    says: &'static [&'static str],
}

impl Situation {
    fn new(name: &'static str, word: &'static str, says: &'static [&'static str]) -> Self {
        let ok = || Service::from(Answer::status(200));
        let (plugin, request) = (compared("mirror"), Req::get("/"));
        Self { name, plugin, primary: ok(), mirror: ok(), request, tolerance: "100", word, says }
    }
}

fn situations() -> Vec<Situation> {
    let slow = || Service::from(Answer::after(Duration::from_millis(40)));
    let noisy = |seed: usize| {
        let count = AtomicUsize::new(seed);
        Service::script(move |_| {
            let turn = count.fetch_add(1, Ordering::Relaxed) * 7919 % 100;
            let (after, status) = (Duration::from_millis(turn as u64 % 10), if turn < 3 { 503 } else { 200 });
            match Answer::status(status) {
                Answer::Reply { status, headers, body, trailers, .. } => {
                    Answer::Reply { status, headers, body, trailers, after }
                }
                other => other,
            }
        })
    };
    let start = Instant::now();
    let down_half = move || {
        let first = std::sync::OnceLock::new();
        Service::script(move |_| match first.get_or_init(|| start.elapsed()) {
            first if start.elapsed() - *first < LOAD / 2 => Answer::status(200),
            _ => Answer::Half,
        })
    };
    let grpc = |status: &'static str| Answer::Reply {
        status: 200,
        headers: vec![("content-type", "application/grpc"), ("grpc-status", status)],
        body: "",
        trailers: vec![],
        after: Duration::ZERO,
    };
    let call = Req::post("/shop.Cart/Add", "").header("content-type", "application/grpc");
    let uncompared = json!({ "rules": [{ "name": "shop", "mirrors": [{ "name": "v2", "cluster": "mirror" }] }] });
    vec![
        Situation {
            primary: failing(20),
            ..Situation::new("better", "better", &["v2 fails none of ", "the primary fails 5", "that v2 answers"])
        },
        Situation {
            mirror: failing(10),
            ..Situation::new("worse", "worse", &["v2 fails 10 % of ", "the primary fails none that v2 answers: worse"])
        },
        Situation::new("as good", "as-good", &["v2 fails none of ", ": as good"]),
        Situation {
            primary: noisy(0),
            mirror: noisy(37),
            ..Situation::new("noisy", "as-good", &["v2 fails ", ": as good"])
        },
        Situation {
            primary: failing(1),
            ..Situation::new("primary failing", "better", &["v2 fails none of ", "the primary fails 100 % that v2"])
        },
        Situation {
            mirror: down_half(),
            ..Situation::new("mirror down half of the time", "worse", &["v2 fails ", "the primary fails none that v2"])
        },
        Situation {
            mirror: slow(),
            tolerance: "5",
            ..Situation::new("slow", "worse", &["v2 is slower by more than 5 ms in ", "faster in none: worse"])
        },
        Situation {
            primary: slow(),
            tolerance: "5",
            ..Situation::new("fast", "better", &["v2 is slower by more than 5 ms in ", "and faster in "])
        },
        Situation {
            plugin: compared("mirror"),
            primary: grpc("0").into(),
            mirror: grpc("13").into(),
            request: call,
            ..Situation::new("gRPC", "not-comparable", &["none could be compared", " 5xx", "not comparable"])
        },
        Situation {
            plugin: uncompared,
            ..Situation::new("nothing compared", "nothing-compared", &["No rule has `compare`"])
        },
        Situation {
            plugin: compared("refused"),
            ..Situation::new("mirror down", "unreachable", &["v2 responded to none of ", ": unreachable"])
        },
    ]
}

#[test]
fn the_word_is_right_in_situations_that_are_made() {
    // A few at a time: each has an Envoy and servers of its own.
    let mut left = situations();
    while !left.is_empty() {
        let few: Vec<_> = left.drain(..left.len().min(3)).collect();
        thread::scope(|scope| {
            for situation in few {
                scope.spawn(move || is_judged(situation));
            }
        });
    }
}

fn is_judged(situation: Situation) {
    let Situation { name, plugin, primary, mirror, request, tolerance, word, says } = situation;
    let setup = Setup::new(plugin).primary(primary).mirror(mirror);
    let (code, report, err) = reported(setup, &request, &["--tolerance", tolerance]);
    let is_good = matches!(word, "better" | "as-good");
    println!("{name}: {}", report["answer"].as_str().unwrap());
    assert_eq!((&report["verdict"], code), (&json!(word), i32::from(!is_good)), "{name}: {report:#}");
    let mut answer = report["answer"].as_str().unwrap();
    for part in says {
        answer = answer.split_once(part).unwrap_or_else(|| panic!("{name}: {part}: {}", report["answer"])).1;
    }
    assert_eq!(err.is_empty(), is_good, "{name}: {err}");
    assert_eq!((&report["version"], &report["proxies"]), (&json!(1), &json!(1)), "{name}");
    let (major, minor) = version();
    let envoy = report["envoyVersions"][0].as_str().unwrap();
    assert!(envoy.starts_with(&format!("{major}.{minor}.")), "{name}: {envoy}");
}

#[test]
fn it_reads_well_in_a_terminal_in_a_pull_request_and_as_a_page() {
    let folder = Folder::new();
    let file = folder.path("report.html");
    run(Setup::new(compared("mirror")).mirror(failing(10)), async |mesh| {
        let admin = mesh.envoy.admin.to_string();
        let report = ["report", &admin, "--for", PERIOD, "--interval", "200ms"];
        let with =
            |args: &[&'static str]| -> Vec<String> { report.iter().chain(args).map(|arg| (*arg).to_owned()).collect() };
        let (text, markdown, request) = (with(&[]), with(&["--markdown"]), Req::get("/"));
        let mut page = with(&["--html"]);
        page.push(file.display().to_string());
        let beside = async |args: Vec<String>| beside(&args.iter().map(|arg| &**arg).collect::<Vec<_>>()).await;
        let (text, markdown, page, ()) =
            tokio::join!(beside(text), beside(markdown), beside(page), load(mesh, &request));
        assert_eq!([text.code, markdown.code, page.code], [1; 3], "{}", text.out);
        assert!(
            text.err.is_empty() && markdown.err.is_empty() && page.err.starts_with("worse: v2 fails"),
            "{}",
            page.err
        );
        assert!(text.out.starts_with("v2 fails 10 % of ") && page.out.is_empty(), "{}", text.out);
        assert!(text.out.lines().all(|line| line.chars().count() <= 80), "{}", text.out);
        assert!(text.out.is_ascii() || !text.out.contains('\x1b'), "{}", text.out);
        let has = |text: &str, line: &[&str]| {
            let is = |found: &str| found.split_whitespace().collect::<Vec<_>>().starts_with(line);
            assert!(text.lines().any(is), "{line:?}\n{text}");
        };
        has(&text.out, &["shop", "→", "v2:", "worse"]);
        has(&text.out, &["primary", "mirror"]);
        has(&text.out, &["no", "response", "0", "0"]);
        for name in ["requests", "2xx", "5xx", "p50", "p90", "p99", "decided", "copies", "pairs", "slower by"] {
            has(&text.out, &name.split(' ').collect::<Vec<_>>());
        }
        assert!(markdown.out.starts_with("**v2 fails 10 % of "), "{}", markdown.out);
        for line in ["### shop → v2: worse", "| | primary | mirror |", "|---|---:|---:|"] {
            assert!(markdown.out.lines().any(|found| found == line), "{line}\n{}", markdown.out);
        }
    });
    is_complete(&fs::read_to_string(&file).unwrap());
    is_shown(&folder, &file);
}

/// The page can be read as XML, has all figures, and asks for nothing else.
fn is_complete(page: &str) {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(page, options).unwrap();
    let text: String = document.descendants().filter_map(|node| node.text().filter(|_| node.is_text())).collect();
    for part in
        ["Mirror report: worse", "v2 fails 10 % of ", "shop → v2: worse", "How many milliseconds the mirror took"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let bars = document.descendants().filter(|node| node.attribute("class") == Some("bars")).count();
    assert_eq!(bars, 2);
    let asks = |node: &roxmltree::Node<'_, '_>| ["src", "href", "data"].iter().any(|name| node.has_attribute(*name));
    assert!(!document.descendants().any(|node| asks(&node)) && !page.contains("url(") && !page.contains("@import"));
}

/// Chromium, where there is one, shows the page at the width of a telephone without anything beside it.
fn is_shown(folder: &Folder, file: &Path) {
    let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let Some(name) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_there) else {
        eprintln!("no Chromium on PATH: the page was read, but not looked at");
        return;
    };
    // The page tells how wide its content is; the narrowest window of Chromium's is 500, so that it is put into a frame of 360.
    let outer = folder.path("outer.html");
    let script = "const frame = document.querySelector('iframe').contentDocument.documentElement; \
                  document.title = frame.scrollWidth + ' of ' + frame.clientWidth";
    fs::write(&outer, format!("<title></title><iframe src=\"report.html\" style=\"width:360px;height:800px;border:0\" onload=\"{script}\"></iframe>")).unwrap();
    let profile = format!("--user-data-dir={}", folder.path("chromium").display());
    let args =
        ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", &profile, "--dump-dom"];
    let output = Command::new(name).args(args).arg(format!("file://{}", outer.display())).output().unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let (wide, room) =
        dom.split_once("<title>").unwrap().1.split_once("</title>").unwrap().0.split_once(" of ").unwrap();
    assert_eq!(wide, room, "{dom}");
    assert_eq!(file.parent(), outer.parent());
}

#[test]
fn many_envoys_are_one_report_that_goes_on_where_counters_are_reset_and_one_is_gone() {
    block_on(async {
        let (mut ports, mut others) = (Ports::default(), Ports::default());
        let first = Scene::start("calcbackend", "envoy.yaml", &mut ports).await;
        let second = Scene::start("calcbackend", "envoy.yaml", &mut others).await;
        let (one, two) = (first.envoy.admin.to_string(), second.envoy.admin.to_string());
        let command = ["report", &one, &two, "--for", "16s", "--interval", "200ms", "--json"];
        let mut clients = [first.client(FRONT, &mut ports).await, second.client(FRONT, &mut others).await];
        let admin = first.envoy.admin;
        let ask = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for half in 0..2 {
                for _ in 0..5 {
                    for client in &mut clients {
                        client.send(calculation("/fibonacci")).await;
                    }
                }
                if half == 0 {
                    first.settle().await;
                    // A reset is told from a restart by the histograms, which Envoy shows some seconds late.
                    eventually("the histograms", async || {
                        let stats = first.envoy.admin("/stats/prometheus?filter=response_time_ms").await;
                        let has_times = stats.lines().any(|line| line.contains("_count{") && !line.ends_with(" 0"));
                        if has_times { Ok(()) } else { Err(stats) }
                    })
                    .await;
                    // What was counted is read before it is thrown away.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Client::h1(admin).await.send(Req::post("/reset_counters", "")).await;
                }
            }
            second.settle().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(second);
        };
        let (ran, ()) = tokio::join!(beside(&command), ask);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        let mirror = &report["mirrors"][0];
        assert_eq!((&report["proxies"], &mirror["compared"]["same"]), (&json!(2), &json!(20)), "{report:#}");
        let events = report["events"].to_string();
        for event in [format!("{one} had its counters reset"), format!("{two} could not be read")] {
            assert!(events.contains(&event), "{event}: {events}");
        }
    });
}

#[test]
fn what_watching_means_is_said_before_it_begins() {
    run(Setup::new(compared("mirror")), async |mesh| {
        let admin = mesh.envoy.admin.to_string();
        // The histograms have their boundaries from the start.
        let ran = beside(&["report", &admin, "--for", "1s", "--tolerance", "7"]).await;
        assert_eq!((ran.code, &*ran.out), (2, ""), "{ran:?}");
        assert!(ran.err.contains("--tolerance 7: not a boundary of Envoy's histograms: 1, 5, 10, 25, "), "{}", ran.err);

        let command = Command::new(env!("CARGO_BIN_EXE_mirrorctl"))
            .args(["report", &admin, "--for", "7d"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut week = command.unwrap();
        let mut said = String::new();
        BufReader::new(week.stderr.take().unwrap()).read_line(&mut said).unwrap();
        week.kill().unwrap();
        week.wait().unwrap();
        for part in ["every 1s until ", "nothing is known of before", "--prometheus URL"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    });
}

#[test]
fn what_cannot_be_watched_is_wrong_usage() {
    for args in [
        &["report", "Cargo.toml"][..],
        &["report", "-"],
        &["report"],
        &["report", "127.0.0.1:1", "--prometheus", "http://127.0.0.1:1"],
        &["report", "127.0.0.1:1", "--selector", "{}"],
        &["report", "--prometheus", "https://127.0.0.1:1"],
        &["report", "--prometheus", "http://127.0.0.1:1", "--selector", "namespace=shop"],
        &["report", "127.0.0.1:1", "--margin", "0"],
        &["report", "127.0.0.1:1", "--margin", "101%"],
        &["report", "127.0.0.1:1", "--agreement", "100"],
        &["report", "127.0.0.1:1", "--looks", "0"],
        &["report", "127.0.0.1:1", "--tolerance", "0.5"],
        &["report", "127.0.0.1:1", "--interval", "0s"],
        &["report", "127.0.0.1:1", "--for", "soon"],
    ] {
        let ran = mirrorctl(args, "");
        assert_eq!((ran.code, &*ran.out), (2, ""), "{args:?}");
    }
}
