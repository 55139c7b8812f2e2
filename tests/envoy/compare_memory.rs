//! A thousand long responses compared at the same time: what that takes stays within docs/operations.md#memory.

use std::fs;
use std::process::{self, Command};
use std::sync::{Arc, LazyLock};

use harness::client::{BoxError, Client, Reply, Req};
use harness::process::Envoy;
use harness::upstream::{Answer, Handler, Received, Service};
use harness::usage::Usage;
use harness::{Mesh, Setup, eventually, run};
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::watch::{Receiver, Sender};
use tokio_stream::StreamExt;

const REQUESTS: usize = 1_000;
/// The length of each response, which is the longest that is compared.
const LENGTH: usize = 64 << 10;
const MIB: u64 = 1 << 20;
/// The request whose mirror responds otherwise.
const PLANTED: usize = 7;
/// What Envoy's allocator keeps beyond what is asked of it, and what connections to the mirror take.
const SLACK: u64 = 48 * MIB;

/// How far the test is. Nothing of a response comes before its stage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Requests,
    /// The primary's responses come, but for their last byte.
    Primary,
    /// The mirror's responses come.
    Mirror,
    /// The last bytes come.
    End,
}

/// How a side writes a document.
#[derive(Clone, Copy)]
enum Side {
    Primary,
    /// Members in another order: no bytes are equal, and all of the JSON has to be read.
    Mirror,
}

/// The price of a planted item, and what the mirror says instead.
const PRICES: [&str; 2] = [r#""price":500}"#, r#""price":501}"#];

static ITEMS: LazyLock<String> = LazyLock::new(|| {
    let items: Vec<_> = (0..1_500).map(|item| format!(r#"{{"sku":{item},"price":{item}}}"#)).collect();
    items.join(",")
});

/// Returns the document of a request: two are alike but for what is planted.
fn document(number: usize, side: Side) -> Bytes {
    let id = format!(r#""id":"{number:04}""#);
    let text = match side {
        Side::Primary => format!("{{{id},\"items\":[{}]", *ITEMS),
        Side::Mirror if number == PLANTED => format!("{{\"items\":[{}],{id}", ITEMS.replace(PRICES[0], PRICES[1])),
        Side::Mirror => format!("{{\"items\":[{}],{id}", *ITEMS),
    };
    let rest = LENGTH - text.len() - r#","rest":""}"#.len();
    format!(r#"{text},"rest":"{}"}}"#, "x".repeat(rest)).into()
}

/// Responds with these pieces of the document, each from its stage on.
fn server(side: Side, stages: &Receiver<Stage>, pieces: fn(Bytes) -> Vec<(Stage, Bytes)>) -> Service {
    let stages = stages.clone();
    Service::script(move |request: &Received| {
        let (stages, number) = (stages.clone(), request.path[1..].parse().unwrap());
        let handler: Handler = Arc::new(move |_| {
            let stages = stages.clone();
            Box::pin(async move {
                let pieces = pieces(document(number, side));
                reached(stages.clone(), pieces[0].0).await;
                let piece = move |(stage, bytes)| {
                    let stages = stages.clone();
                    async move {
                        reached(stages, stage).await;
                        Ok::<_, BoxError>(Frame::data(bytes))
                    }
                };
                let body = StreamBody::new(tokio_stream::iter(pieces).then(piece)).boxed_unsync();
                let mut response = Response::new(body);
                response.headers_mut().insert("content-length", LENGTH.into());
                response
            })
        });
        Answer::Handled(handler)
    })
}

async fn reached(mut stages: Receiver<Stage>, stage: Stage) {
    // Where the test is over, nobody waits.
    let _ = stages.wait_for(|now| *now >= stage).await;
}

/// What is compared, and what comes of it.
struct Case {
    name: &'static str,
    limits: Value,
    /// `maxBufferedBytes`.
    buffered: u64,
    /// How many of the mirror's responses find room beside the primary's.
    kept: usize,
}

impl Case {
    /// What docs/operations.md says of these limits: requests without bodies, and responses of at most 64 KiB.
    fn formula(&self) -> u64 {
        self.buffered + (REQUESTS * LENGTH) as u64
    }

    /// The part of it that is in the VM: an eighth and 1 KiB more for each body, and 2 KiB for each request and each response.
    fn in_vm(&self) -> u64 {
        self.buffered + self.buffered / 8 + (REQUESTS * (2 * (1 << 10) + 3 * (2 << 10))) as u64
    }

    fn setup(&self, stages: &Receiver<Stage>) -> Setup {
        let mut limits = self.limits.clone();
        limits["maxBodyBytes"] = json!(0);
        limits["maxInFlight"] = json!(REQUESTS);
        let compare = json!({"status": true, "body": {"json": {}}});
        let mirrors = json!([{"cluster": "mirror", "timeout": "60s"}]);
        let plugin = json!({"rules": [{"name": "r", "compare": compare, "mirrors": mirrors}], "limits": limits});
        let primary = server(Side::Primary, stages, |mut document| {
            let last = document.split_off(LENGTH - 1);
            vec![(Stage::Primary, document), (Stage::End, last)]
        });
        let mirror = server(Side::Mirror, stages, |document| vec![(Stage::Mirror, document)]);
        Setup::new(plugin).comparing().primary(primary).mirror(mirror).changed(|config| {
            let layer = json!({"http.async_response_buffer_limit": LENGTH});
            config["layered_runtime"] = json!({"layers": [{"name": "static", "static_layer": layer}]});
        })
    }
}

/// Lets this process and the Envoys that it starts have the sockets that they need: in many places 1,024 are the default.
fn open_many_files() {
    const FILES: u64 = 12_000;
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    // Where there is no limit, it is no number.
    if line.split_whitespace().next().unwrap().parse().is_ok_and(|limit: u64| limit < FILES) {
        let pid = process::id().to_string();
        let done = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={FILES}:")]).status();
        assert!(done.is_ok_and(|status| status.success()), "{FILES} open files are needed: {line}");
    }
}

/// Sends all requests, each on a connection of its own.
fn asked(mesh: &Mesh, listener: &str) -> Vec<tokio::task::JoinHandle<Reply>> {
    let address = mesh.address(listener);
    let ask = |number: usize| async move { Client::h1(address).await.send(Req::get(&format!("/{number}"))).await };
    (0..REQUESTS).map(|number| tokio::spawn(ask(number))).collect()
}

/// Waits until Envoy has read all of the primary's responses but for their last bytes.
async fn primary_is_open(envoy: &Envoy) {
    eventually("the primary's responses", async || {
        let stats = envoy.admin("/stats?filter=cluster.primary.upstream_cx_rx_bytes_total").await;
        let read: usize = stats.trim().rsplit(' ').next().unwrap().parse().unwrap();
        if read >= REQUESTS * (LENGTH - 1) { Ok(()) } else { Err(stats) }
    })
    .await;
}

async fn check_replies(replies: Vec<tokio::task::JoinHandle<Reply>>) {
    for (number, reply) in replies.into_iter().enumerate() {
        let reply = reply.await.unwrap();
        assert!(reply.status == 200 && reply.body == document(number, Side::Primary), "{number}: {}", reply.status);
    }
}

/// Returns the most that is resident while these responses are under way without the filter.
fn peak_without(case: &Case) -> u64 {
    let (stage, mut peak) = (Sender::new(Stage::Requests), 0);
    run(case.setup(&stage.subscribe()), async |mesh| {
        let usage = Usage::watch(mesh.envoy.pid());
        let replies = asked(mesh, "plain");
        mesh.primary.received(REQUESTS).await;
        stage.send_replace(Stage::Primary);
        primary_is_open(&mesh.envoy).await;
        stage.send_replace(Stage::End);
        check_replies(replies).await;
        peak = usage.peak();
    });
    peak
}

fn is_within_the_formula(case: &Case) {
    open_many_files();
    let without = peak_without(case);
    let stage = Sender::new(Stage::Requests);
    run(case.setup(&stage.subscribe()), async |mesh| {
        let usage = Usage::watch(mesh.envoy.pid());
        let linear = usage.linear();
        assert!(linear > 0, "the VM's memory was not found");
        let replies = asked(mesh, "main");
        mesh.primary.received(REQUESTS).await;
        mesh.mirror.received(REQUESTS).await;
        stage.send_replace(Stage::Primary);
        primary_is_open(&mesh.envoy).await;
        let primary = (REQUESTS * (LENGTH - 1)) as i64;
        mesh.until("the primary's responses", |ledger| ledger.buffered_bytes() == primary).await;
        stage.send_replace(Stage::Mirror);
        mesh.until("the mirror's responses", |ledger| ledger.in_flight() == 0).await;
        let open = primary + (case.kept * LENGTH) as i64;
        mesh.until("all that there is room for", |ledger| ledger.buffered_bytes() == open).await;
        assert!(open as u64 <= case.buffered);
        let while_open = usage.now();

        stage.send_replace(Stage::End);
        check_replies(replies).await;
        let results = mesh.pairs("r", "mirror", REQUESTS as i64).await;
        mesh.settle().await;
        let (peak, vm) = (usage.peak(), usage.linear() - linear);
        println!(
            "{}: formula {} MiB; peak without the filter {}, with it {}, while all are open {}; the VM's growth {}; {results:?}",
            case.name,
            case.formula() / MIB,
            without / MIB,
            peak / MIB,
            while_open / MIB,
            vm / MIB
        );
        let count = |result: &str| results.get(result).copied().unwrap_or(0);
        let compared = count("same") + count("different_body");
        assert_eq!((compared, count("not_compared")), (case.kept as i64, (REQUESTS - case.kept) as i64));
        if case.kept == REQUESTS {
            assert_eq!(count("different_body"), 1, "{}", case.name);
        }
        assert!(peak.saturating_sub(without) <= case.formula() + SLACK, "{}", case.name);
        assert!(vm <= case.in_vm(), "{}", case.name);
    });
}

#[test]
fn a_thousand_responses_that_all_find_room_are_compared_within_the_formula() {
    let buffered = 128 * MIB;
    let limits = json!({"maxBufferedBytes": buffered});
    is_within_the_formula(&Case { name: "room for all", limits, buffered, kept: REQUESTS });
}

#[test]
fn a_thousand_responses_beyond_the_default_limit_are_not_all_compared_and_take_no_more_than_it() {
    // 64 MiB are 1,024 responses, and the primary's are there first.
    is_within_the_formula(&Case { name: "by default", limits: json!({}), buffered: 64 * MIB, kept: 24 });
}
