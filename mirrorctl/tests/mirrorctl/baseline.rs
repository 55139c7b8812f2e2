//! `mirrorctl report --baseline`: what it says of counters that an admin endpoint shows, made so that the truth is known.

use crate::stats::{FRONT, beside};
use crate::{Ran, mirrorctl};
use harness::block_on;
use harness::client::Req;
use harness::process::Folder;
use harness::scene::{Ports, Scene};
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// In how many readings all comes, and how many pairs come with each.
const READINGS: u64 = 20;
const PAIRS: u64 = 500;
const WRONG: &str = "body/items/*/price";

/// The mirror of a rule that does not compare.
const UNCOMPARED: &str = "plain";

/// A mirror whose responses differ in so many of 50, in each of these fields.
#[derive(Clone)]
struct Shown {
    name: &'static str,
    fields: Vec<(String, u64)>,
}

impl Shown {
    fn new(name: &'static str, fields: &[(&str, u64)]) -> Self {
        Self { name, fields: fields.iter().map(|(field, of_50)| ((*field).to_owned(), *of_50)).collect() }
    }
}

/// Two of one version: ids and times differ in every response.
fn noisy(name: &'static str) -> Shown {
    Shown::new(name, &[("body/id", 50), ("body/time", 50)])
}

/// The same, and one field is wrong in one of 50.
fn wrong(name: &'static str) -> Shown {
    Shown::new(name, &[("body/id", 50), ("body/time", 50), (WRONG, 1)])
}

/// Writes Envoy's page as it is at a reading: the counters of rules, each with its mirrors.
fn page(rules: &[(&str, Vec<Shown>)], reading: u64) -> String {
    let pairs = reading.min(READINGS) * PAIRS;
    let mut page = format!("envoy_server_uptime{{}} {reading}\n");
    for (rule, mirrors) in rules {
        writeln!(page, "traffic_mirror_requests_total{{rule=\"{rule}\"}} {pairs}").unwrap();
        writeln!(page, "traffic_mirror_primary_responses_total{{rule=\"{rule}\",class=\"2xx\"}} {pairs}").unwrap();
        for Shown { name, fields } in mirrors {
            let mut line = |series: &str, label: &str, count: u64| {
                writeln!(page, "traffic_mirror_{series}{{rule=\"{rule}\",mirror=\"{name}\"{label}}} {count}").unwrap();
            };
            let different = fields.iter().map(|(_, of_50)| *of_50).max().unwrap_or_default() * pairs / 50;
            line("decided_total", "", pairs);
            line("copies_total", ",outcome=\"sent\"", pairs);
            line("responses_total", ",class=\"2xx\"", pairs);
            if *name == UNCOMPARED {
                continue;
            }
            line("compared_total", ",result=\"same\"", pairs - different);
            line("compared_total", ",result=\"different_body\"", different);
            for (field, of_50) in fields.iter().filter(|_| reading > 0) {
                line("differences_total", &format!(",field=\"{field}\""), of_50 * pairs / 50);
            }
            for series in ["slower_ms_bucket", "faster_ms_bucket", "response_time_ms_bucket"] {
                line(series, ",le=\"5\"", pairs / 2);
                line(series, ",le=\"+Inf\"", pairs / 2);
            }
        }
    }
    page
}

/// Starts an endpoint that shows these rules, a little later at each reading; returns its address.
fn endpoint(rules: &[(&'static str, Vec<Shown>)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let rules = rules.to_vec();
    thread::spawn(move || {
        let readings = AtomicU64::new(0);
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let Some(first) = head.first() else { continue };
            let body = if first.contains("/server_info") {
                json!({ "version": "c0ffee/1.40.0/Clean/RELEASE/BoringSSL" }).to_string()
            } else {
                page(&rules, readings.fetch_add(1, Ordering::Relaxed))
            };
            // Whoever asked may be gone.
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    address
}

/// Reports on endpoints beside the baseline `v1`.
fn reported(endpoints: &[String], args: &[&str]) -> Ran {
    let mut command = vec!["report"];
    command.extend(endpoints.iter().map(|address| &**address));
    // Four times as long as it takes, so that a busy machine reads all.
    command.extend(["--baseline", "v1", "--for", "4s", "--interval", "50ms"]);
    command.extend(args);
    mirrorctl(&command, "")
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))
}

#[test]
fn two_of_one_version_are_as_good_and_a_wrong_field_is_named() {
    let many = |count: usize| Shown {
        fields: (0..count).map(|index| (format!("body/{index}"), 50)).chain([("other".to_owned(), 3)]).collect(),
        ..noisy("v2")
    };
    for (name, own, baseline, word, answer) in [
        (
            "one version",
            noisy("v2"),
            noisy("v1"),
            "as-good",
            &["no field differs more often than in v1, the baseline"][..],
        ),
        (
            "one wrong field",
            wrong("v2"),
            noisy("v1"),
            "worse",
            &[
                "v2 differs more often than v1, the baseline, in body/items/*/price (2 % of 10,000 pairs; v1: none): worse",
            ],
        ),
        ("the baseline has it too", wrong("v2"), wrong("v1"), "as-good", &["no field differs more often"]),
        ("too many fields", many(64), noisy("v1"), "undecided", &["fields are not judged", "under `other`: undecided"]),
    ] {
        let ran = reported(&[endpoint(&[("shop", vec![own, baseline])])], &["--json"]);
        let report = json_of(&ran);
        let is_good = word == "as-good";
        assert_eq!((&report["verdict"], ran.code), (&json!(word), i32::from(!is_good)), "{name}: {report:#}");
        let said = report["answer"].as_str().unwrap();
        assert!(answer.iter().all(|part| said.contains(part)), "{name}: {said}");
        let [candidate, baseline] = [&report["mirrors"][0], &report["mirrors"][1]];
        assert_eq!((&candidate["baseline"], &candidate["isBaseline"]), (&json!("v1"), &json!(false)), "{name}");
        assert_eq!((&baseline["mirror"], &baseline["isBaseline"]), (&json!("v1"), &json!(true)), "{name}");
        assert_eq!((&baseline["verdict"], candidate["verdict"].as_str()), (&Value::Null, Some(word)), "{name}");
        assert_eq!(candidate["fieldsNotJudged"].is_string(), word == "undecided", "{name}");
    }
}

#[test]
fn json_tells_of_each_field_how_often_it_differs_on_both_sides() {
    let report = json_of(&reported(&[endpoint(&[("shop", vec![wrong("v2"), noisy("v1")])])], &["--json"]));
    let fields = report["mirrors"][0]["fields"].as_array().unwrap();
    let first = &fields[0];
    assert_eq!((&first["field"], &first["isDifferent"]), (&json!(WRONG), &json!(true)));
    assert_eq!((&first["mirror"]["pairs"], &first["baseline"]["pairs"]), (&json!(200), &json!(0)));
    let near = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 0.003;
    assert!(
        near(&first["low"], 0.02) && near(&first["high"], 0.02) && near(&first["mirror"]["share"], 0.02),
        "{first}"
    );
    let id = &fields[1];
    assert_eq!(
        (&id["field"], &id["isDifferent"], &id["mirror"]["share"]),
        (&json!("body/id"), &json!(false), &json!(1.0))
    );
    assert!(near(&id["low"], 0.0) && near(&id["high"], 0.0), "{id}");
}

#[test]
fn several_envoys_are_one_report() {
    let both = [wrong("v2"), noisy("v2")].map(|own| endpoint(&[("shop", vec![own, noisy("v1")])]));
    let ran = reported(&both, &["--json"]);
    let report = json_of(&ran);
    assert_eq!((&report["verdict"], &report["proxies"], ran.code), (&json!("worse"), &json!(2), 1), "{report:#}");
    let first = &report["mirrors"][0]["fields"][0];
    assert_eq!((&first["field"], &first["mirror"]["pairs"]), (&json!(WRONG), &json!(200)));
    assert!((first["mirror"]["share"].as_f64().unwrap() - 0.01).abs() < 1e-9, "{first}");
}

#[test]
fn a_rule_without_the_baseline_is_judged_by_the_primary_alone_and_a_baseline_alone_is_nothing() {
    let rules = [("shop", vec![noisy("v2"), noisy("v1")]), ("other", vec![noisy("v3")])];
    let ran = reported(&[endpoint(&rules)], &["--json"]);
    let report = json_of(&ran);
    let words: Vec<_> =
        report["mirrors"].as_array().unwrap().iter().map(|one| (&one["mirror"], &one["verdict"])).collect();
    let expected =
        [(&json!("v3"), &json!("different")), (&json!("v2"), &json!("as-good")), (&json!("v1"), &Value::Null)];
    assert_eq!(words, expected, "{report:#}");
    let text = reported(&[endpoint(&rules)], &[]).out;
    assert!(text.contains("baseline    its rule has no mirror v1: held against the primary alone"), "{text}");

    // A rule that does not compare is no answer.
    let rules = [("shop", vec![noisy("v2"), noisy("v1")]), ("quiet", vec![noisy(UNCOMPARED)])];
    let ran = reported(&[endpoint(&rules)], &[]);
    assert!(ran.code == 0 && ran.out.starts_with("v2 fails none of 10,000 requests"), "{}", ran.out);

    let alone = reported(&[endpoint(&[("shop", vec![noisy("v1")])])], &[]);
    assert_eq!(alone.code, 1);
    assert!(alone.out.starts_with("No mirror is beside the baseline in its rule: nothing compared\n"), "{}", alone.out);
}

#[test]
fn too_few_pairs_decide_nothing_and_a_name_that_no_mirror_has_is_wrong_usage() {
    let shop = endpoint(&[("shop", vec![wrong("v2"), noisy("v1")])]);
    let ran = mirrorctl(&["report", &shop, "--baseline", "v1", "--for", "400ms", "--interval", "100ms"], "");
    assert_eq!(ran.code, 1);
    let said = ran.out.split_once("\n\n").unwrap().0.replace('\n', " ");
    assert!(
        said.contains(" of v1, the baseline, in ") && said.ends_with("pieces with pairs of both are needed: too few"),
        "{said}"
    );

    // At once, and not after a week.
    let ran = mirrorctl(&["report", &shop, "--baseline", "v9", "--for", "7d"], "");
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("--baseline v9: no mirror of this name: v1, v2"), "{}", ran.err);
}

#[test]
fn the_verdict_stands_first_then_the_fields_then_the_times() {
    let folder = Folder::new();
    let file = folder.path("report.html");
    let rules = [("shop", vec![wrong("v2"), noisy("v1")])];
    let order = |text: &str, parts: &[&str]| {
        let mut rest = text;
        for part in parts {
            rest = rest.split_once(part).unwrap_or_else(|| panic!("{part} is not in its place:\n{text}")).1;
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let text = reported(&[endpoint(&rules)], &[]).out;
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            let parts = [
                ": worse\n",
                "fields that differ",
                "> body/items/*/price",
                "2 %",
                "none",
                "  body/id",
                "100 %",
                "p50",
                "the baseline\n",
            ];
            order(&text, &parts);
        });
        scope.spawn(|| {
            let text = reported(&[endpoint(&rules)], &["--markdown"]).out;
            order(
                &text,
                &[
                    "worse**",
                    "| fields that differ | mirror | baseline |",
                    "| **body/items/\\*/price** | 2 % | none | ",
                    "| p50 |",
                ],
            );
        });
        scope.spawn(|| {
            let ran = reported(&[endpoint(&rules)], &["--html", &file.display().to_string()]);
            assert_eq!((ran.code, &*ran.out), (1, ""));
            assert!(ran.err.starts_with("worse: v2 differs more often than v1"), "{}", ran.err);
        });
    });
    let page = fs::read_to_string(&file).unwrap();
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&page, options).unwrap();
    let text: String = document.descendants().filter_map(|node| node.text().filter(|_| node.is_text())).collect();
    order(
        &text,
        &[
            "price (2 % of 10,000 pairs; v1: none): worse",
            "Fields that differ more often than in v1, the baseline",
            WRONG,
            "Fields that do not surely differ more often",
            "body/id",
            "p50",
            "By how many milliseconds the mirror was slower",
            "shop \u{2192} v1: the baseline",
        ],
    );
    // A bar and its interval for each field and side; what is wrong in few is not small beside what differs always.
    let of_class = |name: &str| -> Vec<Node<'_, '_>> {
        let has =
            |node: &Node<'_, '_>| node.attribute("class").is_some_and(|class| class.split(' ').any(|one| one == name));
        document.descendants().filter(has).collect()
    };
    assert_eq!((of_class("bar").len(), of_class("interval").len()), (6, 6));
    let width = |node: &Node<'_, '_>| -> f64 {
        let style = node.attribute("style").unwrap();
        style.split_once("width:").unwrap().1.trim_end_matches('%').parse().unwrap()
    };
    let widths: Vec<_> = of_class("bar").iter().map(width).collect();
    assert!(widths[0] > 50.0 && widths[1] == 0.0 && widths[2..] == [100.0; 4], "{widths:?}");
    assert!(!page.contains("<script") && !page.contains("url(") && page.contains("prefers-color-scheme:dark"));
}

#[test]
fn the_example_names_the_field_that_is_wrong() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("compare-json", "envoy.yaml", &mut ports).await;
        let admin = scene.envoy.admin.to_string();
        let mut client = scene.client(FRONT, &mut ports).await;
        let command = ["report", &admin, "--baseline", "baseline", "--for", "6s", "--interval", "100ms", "--json"];
        let ask = async {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(5) {
                for path in ["/tea", "/tea", "/tea", "/tea", "/cups"] {
                    client.send(Req::get(path).authority("catalogue")).await;
                }
            }
        };
        let (ran, ()) = tokio::join!(beside(&command), ask);
        let report = json_of(&ran);
        let said = report["answer"].as_str().unwrap();
        let begins = "candidate differs more often than the baseline in body/items/*/price (20 % of ";
        assert!(ran.code == 1 && said.starts_with(begins) && said.ends_with("; baseline: none): worse"), "{report:#}");
        let fields = report["mirrors"][0]["fields"].as_array().unwrap();
        let mut told: Vec<_> =
            fields.iter().map(|field| (field["field"].as_str().unwrap(), &field["isDifferent"])).collect();
        // Counters are read one by one, so that of what differs always, one may seem to differ a little more.
        told[1..].sort_by_key(|(field, _)| *field);
        let [yes, no] = [true, false].map(Value::Bool);
        assert_eq!(told, [("body/items/*/price", &yes), ("body/id", &no), ("body/time", &no)]);
    });
}
