//! A bootstrap of Envoy's mirrors as before when it is moved: Envoy runs it with its policies and as `convert -o bootstrap`
//! writes it, both get the same requests, and the copies have the same clusters, paths, hosts and edited headers.

mod cases;
mod sources;
mod tables;

use crate::converted::{cluster, socket};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use harness::client::{Client, Req};
use harness::process::{Envoy, Folder, validate};
use harness::upstream::{Answer, Service, Upstream};
use harness::{block_on, eventually, ports};

const TYPES: &str = "type.googleapis.com/envoy.extensions";
/// Mirrors' clusters; the last has policies of its own in no test, and every request to `x-c: nowhere` has none.
pub const MIRRORS: [&str; 4] = ["m0", "m1", "m2", "m3"];
/// Primaries' clusters; the last mirrors by itself, where Envoy can.
pub const PRIMARIES: [&str; 3] = ["p0", "p1", "p2"];

/// The trace of all requests that have one.
pub const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A route configuration and the requests that it gets.
#[derive(Debug, Clone)]
pub struct Table {
    pub routes: Value,
    pub requests: Vec<Sent>,
}

/// A request that can be shown.
#[derive(Debug, Clone)]
pub struct Sent {
    pub method: &'static str,
    pub host: String,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
}

impl Sent {
    fn req(&self) -> Req {
        let req = Req::new(self.method, &self.path).authority(&self.host);
        self.headers.iter().fold(req, |req, (name, value)| req.header(name, value))
    }
}

/// A copy as its mirror gets it: cluster, method, path, host, and the headers that are not Envoy's.
pub type Copy = (String, String, String, String, Vec<(String, String)>);

/// Copies by table and request.
type Copies = BTreeMap<(usize, usize), Vec<Copy>>;

/// What an Envoy can.
#[derive(Debug, Clone, Copy)]
pub struct Abilities {
    /// Policies of clusters, and policies that rewrite hosts and headers: since 1.37.
    pub has_policies_of_clusters: bool,
}

/// Asks the Envoy that is tested what it can.
pub fn abilities() -> Abilities {
    block_on(async {
        let bootstrap = json!({"admin": {"address": socket(0)}});
        let envoy =
            Envoy::start(Folder::new(), &bootstrap, 1).await.unwrap_or_else(|refused| panic!("{}", refused.log));
        let info: Value = serde_json::from_str(&envoy.admin("/server_info").await).unwrap();
        let version = info["version"].as_str().unwrap().split('/').nth(1).unwrap().to_owned();
        let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
        Abilities { has_policies_of_clusters: minor >= 37 }
    })
}

/// Runs tables before and after, and lets Envoy validate the file that comes after; returns the copies of each request as Envoy itself makes them, and as the plugin does.
pub fn both(tables: &[Table], own: &Value) -> (Copies, Copies, String) {
    let (native, plugin, moved) = run_both(tables, own);
    let folder = Folder::new();
    let file = folder.path("moved.yaml");
    fs::write(&file, &moved).unwrap();
    validate(&file).unwrap_or_else(|said| panic!("{said}\n{moved}"));
    (native, plugin, moved)
}

fn run_both(tables: &[Table], own: &Value) -> (Copies, Copies, String) {
    block_on(async {
        let mut mirrors = Vec::new();
        for name in MIRRORS {
            mirrors.push((name, Upstream::start("mirror", Service::from(Answer::status(200))).await));
        }
        let primary = Upstream::start("primary", Service::from(Answer::status(200))).await;
        let bootstrap = bootstrap(tables, &mirrors, primary.address, own);
        let moved = moved(&bootstrap);
        let after: Value = serde_saphyr::from_str(&moved).unwrap();
        let mut envoys = Vec::new();
        for bootstrap in [&bootstrap, &after] {
            let envoy = Envoy::start(Folder::new(), bootstrap, 1).await;
            envoys.push(envoy.unwrap_or_else(|refused| panic!("{}", refused.log)));
        }
        for (side, envoy) in ["native", "plugin"].into_iter().zip(&envoys) {
            let ports = ports(envoy, tables.len()).await;
            for (table, Table { requests, .. }) in tables.iter().enumerate() {
                let address: SocketAddr = (Ipv4Addr::LOCALHOST, ports[&format!("t{table}")]).into();
                let mut client = Client::h1(address).await;
                for (number, request) in requests.iter().enumerate() {
                    client.send(request.req().header("x-row", format!("{side}/{table}/{number}"))).await;
                }
            }
        }
        let mut before = None;
        eventually("all copies", async || {
            let arrived: usize = mirrors.iter().map(|(_, upstream)| upstream.so_far().len()).sum();
            let mut now = (0, 0);
            for envoy in &envoys {
                now.0 += sum(envoy, "upstream_rq_total").await;
                now.1 += sum(envoy, "upstream_rq_(pending_)?active").await;
            }
            // Seen twice: Envoy reads its counters one by one.
            let is_settled = before.replace(now) == Some(now) && now == (arrived, 0);
            if is_settled { Ok(()) } else { Err(format!("{now:?}, {arrived} arrived")) }
        })
        .await;
        let (native, plugin) = collected(&mirrors);
        (native, plugin, moved)
    })
}

/// Sorts what the mirrors got by side, table and request.
fn collected(mirrors: &[(&str, Upstream)]) -> (Copies, Copies) {
    let (mut native, mut plugin) = (Copies::new(), Copies::new());
    for (cluster, upstream) in mirrors {
        for received in upstream.so_far() {
            let row = received.value("x-row").unwrap();
            let mut parts = row.split('/');
            let side = if parts.next() == Some("native") { &mut native } else { &mut plugin };
            let place: Vec<usize> = parts.map(|part| part.parse().unwrap()).collect();
            let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (name, value) in &received.headers {
                // What the two differ in by design: docs/moving.md says it.
                let is_own =
                    ["host", "x-row", "x-request-id", "x-mirrored-request", "x-forwarded-for", "content-length"];
                let text = String::from_utf8_lossy(value).into_owned();
                // Each has a span of its own, and Envoy begins a trace where the request has none.
                let traced = text.strip_prefix(&format!("00-{TRACE}-")).and_then(|rest| rest.split_once('-'));
                let text = match (&**name, traced) {
                    ("traceparent", None) | ("tracestate", _) => continue,
                    ("traceparent", Some((_, flags))) => flags.to_owned(),
                    _ => text,
                };
                if !is_own.contains(&&**name) && !name.starts_with("x-envoy-") {
                    headers.entry(name.clone()).or_default().push(text);
                }
            }
            // A list of values means what the values mean one by one.
            let headers = headers.into_iter().map(|(name, values)| (name, values.join(","))).collect();
            let copy = ((*cluster).to_owned(), received.method, received.path, received.authority, headers);
            side.entry((place[0], place[1])).or_default().push(copy);
        }
    }
    native.values_mut().chain(plugin.values_mut()).for_each(|copies| copies.sort());
    (native, plugin)
}

async fn sum(envoy: &Envoy, counter: &str) -> usize {
    let stats = envoy.admin(&format!("/stats?filter=^cluster.m[0-9].{counter}$")).await;
    stats.lines().filter_map(|line| line.rsplit_once(": ")?.1.parse::<usize>().ok()).sum()
}

/// Moves a bootstrap.
pub fn moved(bootstrap: &Value) -> String {
    let (code, out, err) = convert(&["-o", "bootstrap", "-"], &bootstrap.to_string());
    assert_eq!(code, 0, "{err}\n{bootstrap:#}");
    out
}

/// Runs `mirrorctl convert`: exit code, output, errors.
pub fn convert(args: &[&str], stdin: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mirrorctl"))
        .arg("convert")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    let writer = std::thread::spawn(move || {
        let _ = input.write_all(text.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A bootstrap with a listener for each table. `own`: the policies of the last primary's cluster.
fn bootstrap(tables: &[Table], mirrors: &[(&str, Upstream)], primary: SocketAddr, own: &Value) -> Value {
    let listeners: Vec<_> = tables.iter().enumerate().map(|(number, table)| listener(number, &table.routes)).collect();
    let mirrors = mirrors.iter().map(|(name, upstream)| (*name, upstream.address));
    let mut clusters: Vec<_> = mirrors.chain(PRIMARIES.map(|name| (name, primary))).map(cluster).collect();
    // What is reported to it is lost: the traces' headers are looked at.
    clusters.insert(0, cluster(("collector", primary)));
    if own.as_array().is_some_and(|own| !own.is_empty()) {
        clusters.last_mut().unwrap()["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": {"http_protocol_options": {}},
                "request_mirror_policies": own,
            }
        });
    }
    json!({
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": socket(0)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

fn listener(number: usize, routes: &Value) -> Value {
    let router = json!({"name": "envoy.filters.http.router", "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")}});
    let tracer = json!({
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}},
    });
    let manager = json!({
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": format!("t{number}"),
        "http_filters": [router],
        "route_config": routes,
        "tracing": {"provider": {"name": "envoy.tracers.opentelemetry", "typed_config": tracer}},
    });
    let filter = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    json!({"name": format!("t{number}"), "address": socket(0), "filter_chains": [{"filters": [filter]}]})
}

/// The rules of a table in a moved bootstrap.
pub fn rules(moved: &str, table: usize) -> String {
    let bootstrap: Value = serde_saphyr::from_str(moved).unwrap();
    let manager = &bootstrap["static_resources"]["listeners"][table]["filter_chains"][0]["filters"][0]["typed_config"];
    format!("{:#}", manager["http_filters"][0]["typed_config"]["config"]["configuration"])
}
