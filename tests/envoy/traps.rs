//! What comes of a trap. The filter offers none: this one is in a module built for the test, with a panic at requests
//! that carry `x-trap`. The table of docs/operations.md is held against what is seen.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use harness::client::{Body, BoxError, Req, raw, read_until};
use harness::process::{ROOT, trapping_module};
use harness::upstream::{Answer, Received, Service};
use harness::{Mesh, Setup, eventually, run_into_a_trap};

/// The table of docs/operations.md: a setting, and what comes of a trap.
const SETTINGS: [&str; 4] =
    ["fail_open: true", "failure_policy: FAIL_OPEN", "failure_policy: FAIL_RELOAD", "failure_policy: FAIL_CLOSED"];

/// At this age a VM is no longer young: Envoy draws from 1 to 1.5 s.
const OLD_ENOUGH: Duration = Duration::from_millis(1600);

/// A primary that answers `/waits` when the gate opens; of `/begins`, the first half comes at once.
fn primary(gate: &Arc<Semaphore>) -> Service {
    let gate = Arc::clone(gate);
    Service::script(move |request: &Received| {
        let half = match request.path.as_str() {
            "/waits" => None,
            "/begins" => Some("half"),
            _ => return Answer::status(200),
        };
        let gate = Arc::clone(&gate);
        Answer::Handled(Arc::new(move |_| Box::pin(in_two(half, Arc::clone(&gate)))))
    })
}

async fn in_two(half: Option<&'static str>, gate: Arc<Semaphore>) -> Response<Body> {
    let (frames, body) = mpsc::channel::<Result<Frame<Bytes>, BoxError>>(2);
    let rest = async move {
        gate.acquire().await.unwrap().forget();
        let _ = frames.send(Ok(Frame::data("whole".into()))).await;
    };
    if half.is_some() {
        tokio::spawn(rest);
    } else {
        rest.await;
    }
    let half = tokio_stream::iter(half.map(|half| Ok(Frame::data(half.into()))));
    Response::new(StreamBody::new(tokio_stream::StreamExt::chain(half, ReceiverStream::new(body))).boxed_unsync())
}

/// Envoy with the trap in its filter, and told by `setting` what to do then.
fn setup(setting: &str, gate: &Arc<Semaphore>) -> Setup {
    let module = trapping_module();
    let (field, value) = setting.split_once(": ").unwrap();
    let (field, value) = (field.to_owned(), value.parse().map_or_else(|_| json!(value), Value::Bool));
    let plugin = json!({"rules": [{"mirrors": [{"cluster": "mirror"}]}]});
    Setup::new(plugin).primary(primary(gate)).changed(move |bootstrap| {
        let manager = &mut bootstrap["static_resources"]["listeners"][1]["filter_chains"][0]["filters"][0];
        let config = &mut manager["typed_config"]["http_filters"][0]["typed_config"]["config"];
        config["vm_config"]["code"]["local"]["filename"] = json!(module);
        config.as_object_mut().unwrap().remove("failure_policy");
        config[field] = value;
    })
}

/// What the table calls a response.
fn said(status: u16) -> &'static str {
    match status {
        200 => "unaffected",
        503 => "503",
        other => panic!("{other}"),
    }
}

async fn get(mesh: &Mesh, path: &str) -> &'static str {
    said(mesh.send(Req::get(path)).await.status)
}

async fn trap(mesh: &Mesh) -> &'static str {
    said(mesh.send(Req::get("/trap").header("x-trap", "1")).await.status)
}

/// Sends a request and tells whether a copy of it was sent: Envoy knows before it answers.
async fn is_mirrored(mesh: &Mesh) -> &'static str {
    let before = mesh.ledger().await.copies("rule-0", "mirror", "sent");
    get(mesh, "/mirrored").await;
    if mesh.ledger().await.copies("rule-0", "mirror", "sent") > before { "yes" } else { "no" }
}

/// Lets a VM trap, and tells what comes of it: the cells of the table.
async fn observe(mesh: &Mesh, gate: &Semaphore) -> Vec<String> {
    tokio::time::sleep(OLD_ENOUGH).await;
    assert_eq!(is_mirrored(mesh).await, "yes");

    let mut client = mesh.client().await;
    let waiting = tokio::spawn(async move { client.send(Req::get("/waits")).await.status });
    let mut download = raw(mesh.address("main"), b"GET /begins HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    read_until(&mut download, |text| text.contains("half")).await;
    let half = b"POST /upload HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello";
    let mut upload = raw(mesh.address("main"), half).await;
    mesh.until("the half to be held", |l| l.buffered_bytes() == 5).await;
    mesh.primary.received(3).await;

    let itself = trap(mesh).await;
    let later = get(mesh, "/later").await;

    gate.add_permits(2);
    let mut in_flight = said(waiting.await.unwrap()).to_owned();
    let _ = upload.write_all(b"world").await;
    let uploaded = read_until(&mut upload, |text| text.contains("\r\n\r\n")).await;
    assert_eq!(said(uploaded[9..12].parse().unwrap()), in_flight, "{uploaded}");
    if !read_until(&mut download, |text| text.ends_with("0\r\n\r\n")).await.contains("whole") {
        in_flight += ", or cut off";
    }

    // Where Envoy made a new VM, that one is young.
    trap(mesh).await;
    let soon = get(mesh, "/soon").await;
    tokio::time::sleep(OLD_ENOUGH).await;
    assert_eq!(get(mesh, "/after-all").await, later);
    let later = if soon == later { later.to_owned() } else { format!("{later}; {soon} while the VM is young") };
    eventually("a VM that died", async || mesh.dead_vms().first().map(drop).ok_or_else(|| mesh.envoy.log())).await;
    let log = mesh.envoy.log();
    // Up to 1.36 it has ten lines, of which none is ours.
    let is_readable = |line: &str| line.ends_with(" - std::process::abort");
    assert!(log.lines().any(is_readable), "no such line in the backtrace: {log}");
    // Nobody is left to count the dead VM's bytes down.
    assert_eq!(mesh.ledger().await.buffered_bytes(), 5);
    vec![itself.to_owned(), in_flight, later, is_mirrored(mesh).await.to_owned()]
}

/// Returns the rows of the table: a setting, and the cells beside it.
fn table() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/operations.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| setting | the request itself |"));
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let setting = cells.next().unwrap().split('`').nth(1).unwrap().to_owned();
        (setting, cells.map(str::to_owned).collect())
    };
    table.skip(2).take_while(|line| line.starts_with('|')).map(row).collect()
}

fn as_operations_md_says(setting: &str) {
    let gate = Arc::new(Semaphore::new(0));
    run_into_a_trap(setup(setting, &gate), async |mesh| {
        let seen = observe(mesh, &gate).await;
        let (_, said) = table().into_iter().find(|(row, _)| row == setting).unwrap();
        assert_eq!(seen, said, "{setting}: seen, and in docs/operations.md");
    });
}

#[test]
fn operations_md_tells_of_each_setting() {
    let told: Vec<_> = table().into_iter().map(|(setting, _)| setting).collect();
    assert_eq!(told, SETTINGS);
}

#[test]
fn after_a_trap_requests_go_on_with_fail_open() {
    as_operations_md_says(SETTINGS[0]);
}

#[test]
fn after_a_trap_later_requests_go_on_with_the_policy_to_fail_open() {
    as_operations_md_says(SETTINGS[1]);
}

#[test]
fn after_a_trap_requests_are_mirrored_again_with_the_policy_to_reload() {
    as_operations_md_says(SETTINGS[2]);
}

#[test]
fn after_a_trap_requests_are_refused_with_the_policy_to_fail_closed() {
    as_operations_md_says(SETTINGS[3]);
}
