//! `mirrorctl report`: what it says of the calculator's v3, which is fast, and wrong and slow where Lucas numbers are asked; and
//! of a v3 that is v1.

use crate::Ran;
use crate::mirrorctl;
use crate::stats::{FRONT, V3, beside, calculation};
use harness::block_on;
use harness::process::Folder;
use harness::readme::read;
use harness::scene::{Ports, Scene, yaml};
use roxmltree::{Document, ParsingOptions};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Clients that ask at the same time, and how often each does: in half of the period. The other half is for Envoy's histograms,
/// which show what they hold some seconds late.
const CLIENTS: usize = 10;
const TIMES: usize = 10;

/// Watches while one in `per` requests asks for Lucas numbers, and none if that is 0.
async fn watched(scene: &Scene, ports: &mut Ports, per: usize, args: &[&str]) -> Ran {
    let admin = scene.envoy.admin.to_string();
    let mut command = vec!["report", &admin, "--for", "9s", "--interval", "500ms", "--agreement", "95"];
    command.extend(args);
    let ask = async {
        // The first reading comes before the first request.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = scene.client(FRONT, ports).await;
            clients.push(tokio::spawn(async move {
                for number in 0..TIMES {
                    let path = if per > 0 && number % per == 0 { "/lucas" } else { "/fibonacci" };
                    assert_eq!(client.send(calculation(path)).await.status, 200);
                }
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
    };
    tokio::join!(beside(&command), ask).0
}

#[test]
fn v3_is_worse_where_it_is_wrong_and_better_elsewhere() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("calcbackend", "envoy.yaml", &mut ports).await;
        let good = watched(&scene, &mut ports, 0, &[]).await.ok();
        for line in [
            &*format!("desktop → {V3}"),
            "  verdict      better: of 100 pairs, 100 % (95 % confidence: 96.3 % to 100 %) are no worse by status; \
             more than 5 ms slower in 0 %, faster in 100 %",
            "  requests     100",
            "  copies       100 sent",
            "  responses    100 2xx",
            "  failures     0 (5xx, failed or timeout), 0 %",
            "  compared     100 same",
            "mobile: mirrored nowhere",
        ] {
            assert!(good.lines().any(|found| found == line), "{line}\n{good}");
        }

        // Now one in five is wrong; what was counted before is no part of it.
        let folder = Folder::new();
        let (file, admin) = (folder.path("report.html"), scene.envoy.admin.to_string());
        let html = ["report", &admin, "--for", "9s", "--agreement", "95", "--html", file.to_str().unwrap()];
        let (bad, page) = tokio::join!(watched(&scene, &mut ports, 5, &["--markdown"]), beside(&html));
        assert_eq!((page.code, &*page.out, &*page.err), (1, "", &*bad.err));
        is_whole(&fs::read_to_string(&file).unwrap());
        is_shown(&folder, &file);
        assert_eq!((bad.code, bad.err), (1, format!("Worse: desktop → {V3}\n")), "{}", bad.out);
        let escaped = V3.replace('|', "\\|");
        for line in [
            &*format!("## desktop → {escaped}"),
            "**worse**: of 100 pairs, 80 % (95 % confidence: 71.1 % to 86.7 %) are no worse by status; wanted are 95 %",
            "| responses | 80 2xx, 20 5xx |",
            "| failures | 20 (5xx, failed or timeout), 20 % |",
            "| compared | 20 mirror_error, 80 same |",
        ] {
            assert!(bad.out.lines().any(|found| found == line), "{line}\n{}", bad.out);
        }
        let by = bad.out.lines().find(|line| line.starts_with("| slower by |")).unwrap();
        let times: Vec<f64> = by.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // Of five, four take 180 ms less, and one 400 ms more.
        assert!(
            (-250.0..=-100.0).contains(&times[0]) && times[1..].iter().all(|time| (250.0..=500.0).contains(time)),
            "{by}"
        );

        let few = beside(&["report", &admin, "--for", "1s"]).await;
        assert_eq!((few.code, few.err), (1, format!("Too few to say: desktop → {V3}\n")));
        assert!(few.out.contains("too few to say: of 0 pairs"), "{}", few.out);
    });
}

#[test]
fn a_v3_that_is_v1_is_as_good() {
    block_on(async {
        let mut config = yaml(&read("calcbackend", "envoy.yaml")).remove(0);
        let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
        let v3 = clusters.iter_mut().find(|cluster| cluster["name"] == V3).unwrap();
        *port(v3) = json!(10001);
        let mut ports = Ports::default();
        let scene = Scene::of(config, &mut ports).await;
        // A busy machine makes one of two equal services slower by more than the default 5 ms, now and then.
        let said = watched(&scene, &mut ports, 5, &["--tolerance", "100"]).await.ok();
        let verdict =
            "  verdict      as good: of 100 pairs, 100 % (95 % confidence: 96.3 % to 100 %) are no worse by status; ";
        assert!(said.lines().any(|line| line.starts_with(verdict)), "{said}");
    });
}

/// The port of a cluster's only endpoint.
fn port(cluster: &mut Value) -> &mut Value {
    let path = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/port_value";
    cluster.pointer_mut(path).unwrap()
}

/// What the page's charts are called, and bars of theirs: v3 takes 20 ms, or 600 ms; v1 always 200 ms.
const CHARTS: [(&str, &[&str]); 2] = [
    ("By how much the mirror was slower (negative: faster)", &["-250 to -100", "250 to 500", "80.0 %", "20.0 %"]),
    // One answer or another may take a little longer.
    ("How long the mirror took", &["10 to 25", "500 to 1000"]),
];

/// The page can be read as XML, has all figures, and asks for nothing else.
fn is_whole(page: &str) {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(page, options).unwrap();
    let text = |node: roxmltree::Node<'_, '_>| {
        node.descendants()
            .filter(|node| node.is_text())
            .filter_map(|node| Some(node.text()?.trim().into()))
            .collect::<Vec<String>>()
    };
    let words = text(document.root_element());
    for word in ["worse", "80 2xx, 20 5xx", "20 mirror_error, 80 same", "20 (5xx, failed or timeout), 20 %"] {
        assert!(words.iter().any(|found| found == word), "{word}\n{words:#?}");
    }
    let charts: Vec<_> =
        document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "svg"))).collect();
    assert_eq!(charts.len(), CHARTS.len());
    for (chart, (title, bars)) in charts.iter().zip(CHARTS) {
        let words = text(*chart);
        for word in [title].iter().chain(bars) {
            assert!(words.iter().any(|found| found == word), "{word}\n{words:#?}");
        }
    }
    let asks = |node: &roxmltree::Node<'_, '_>| ["src", "href", "data"].iter().any(|name| node.has_attribute(*name));
    assert!(!document.descendants().any(|node| asks(&node)) && !page.contains("url(") && !page.contains("@import"));
}

/// Chromium, where there is one, shows the charts' bars in their colours.
fn is_shown(folder: &Folder, file: &Path) {
    let url = format!("file://{}", file.display());
    let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let Some(name) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_there) else {
        eprintln!("no Chromium on PATH: the page was read, but not looked at");
        return;
    };
    let chromium = |args: &[&str]| {
        let profile = format!("--user-data-dir={}", folder.path("chromium").display());
        let fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=860,1400", &profile];
        Command::new(name).args(fixed).args(args).arg(&url).output().unwrap()
    };
    let dom = String::from_utf8_lossy(&chromium(&["--dump-dom"]).stdout).into_owned();
    assert_eq!(dom.matches("<svg").count(), CHARTS.len(), "{dom}");
    assert!(["#2E7D32", "#C62828", "#1565C0"].iter().all(|colour| dom.contains(colour)), "{dom}");
    let picture = folder.path("report.png");
    chromium(&[&format!("--screenshot={}", picture.display())]);
    // An empty page of this size is some 5 kB.
    assert!(fs::metadata(&picture).unwrap().len() > 20_000);
}

#[test]
fn what_cannot_be_watched_is_wrong_usage() {
    for args in [
        &["report", "Cargo.toml"][..],
        &["report", "-"],
        &["report", "127.0.0.1:1", "--agreement", "100"],
        &["report", "127.0.0.1:1", "--tolerance", "0.5"],
        &["report", "127.0.0.1:1", "--interval", "0s"],
        &["report", "127.0.0.1:1", "--for", "soon"],
    ] {
        let ran = mirrorctl(args, "");
        assert_eq!((ran.code, &*ran.out), (2, ""), "{args:?}");
    }
}
