//! What `mirrorctl convert` makes of routes decides as Envoy's own mirror does: both serve the same requests, side by side.
//!
//! [`native`] turns the files into Envoy's routes, as Istio does.

mod native;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use serde_json::{Value, json};

use harness::client::{Client, Req};
use harness::process::{Envoy, Folder, ROOT};
use harness::upstream::{Answer, Received, Service, Upstream};
use harness::{block_on, eventually};

const TYPES: &str = "type.googleapis.com/envoy.extensions.filters";

/// A request, and the clusters that get a copy of it.
type Row = (Req, &'static [&'static str]);

/// Requests of which no table says anything: each of these hosts with each path, method and set of headers.
struct Others {
    hosts: &'static [&'static str],
    paths: &'static [&'static str],
    headers: &'static [&'static [(&'static str, &'static str)]],
}

impl Others {
    fn requests(&self) -> impl Iterator<Item = Req> {
        let mut requests = Vec::new();
        for (host, path) in self.hosts.iter().flat_map(|host| self.paths.iter().map(move |path| (host, path))) {
            for (method, headers) in
                ["GET", "POST"].iter().flat_map(|method| self.headers.iter().map(move |set| (method, set)))
            {
                let req = Req::new(method, path).authority(host);
                requests.push(headers.iter().fold(req, |req, (name, value)| req.header(name, value)));
            }
        }
        requests.into_iter()
    }
}

/// A copy as an upstream gets it: cluster, method, path, authority, and the headers that the files are about.
type Copied = BTreeSet<(String, String, String, String, String)>;

#[test]
fn routes_of_a_service_and_their_older_spellings() {
    let to = |host: &str, path: &str| Req::get(path).authority(host);
    let rest: &[&str] =
        &["outbound|9080|v2|shadow.test.svc.cluster.local", "outbound|80||recorder.audit.svc.cluster.local"];
    let tester: &[&str] = &["outbound|9080||shadow.test.svc.cluster.local"];
    side_by_side(
        "reviews.yaml",
        vec![
            (to("reviews", "/reviews/0").header("end-user", "tester"), tester),
            (to("reviews:9080", "/health").header("end-user", "tester"), tester),
            (to("reviews", "/").header("end-user", "Tester"), rest),
            (to("reviews", "/health"), &[]),
            (to("reviews", "/health?x=y"), &[]),
            (to("reviews", "/health/"), rest),
            (to("reviews", "/internal/x"), &[]),
            (Req::post("/internal/x", "body").authority("reviews"), rest),
            (to("reviews", "/x/internal/x"), rest),
            (to("reviews.test", "/"), rest),
            (to("reviews.test.svc", "/"), rest),
            (to("REVIEWS.test.svc.cluster.local:80", "/"), rest),
            (to("reviews.other", "/"), &[]),
            (to("other", "/").header("end-user", "tester"), &[]),
            (to("xreviews", "/"), &[]),
            (to("reviews.test.svc.cluster", "/"), &[]),
        ],
        &Others {
            hosts: &["reviews", "Reviews:1", "reviews.test.svc", "reviews.tes", "reviews.test:x"],
            paths: &["/", "/health", "/healthz", "/internal", "/internal/a?b"],
            headers: &[&[], &[("end-user", "tester")], &[("end-user", "")]],
        },
    );
}

#[test]
fn hosts_that_lie_inside_each_other_and_every_condition() {
    let shop = |path: &str| Req::get(path).authority("shop.example.com");
    let tenant = |host: &str, path: &str| Req::get(path).authority(host);
    let everything: &[&str] = &["outbound|80||everything.shop.svc.cluster.local"];
    let tenants: &[&str] = &["outbound|80||tenants.shop.svc.cluster.local"];
    let only: &[&str] = &["outbound|80||only.shop.svc.cluster.local"];
    let api: &[&str] = &["outbound|80||api-next.shop.svc.cluster.local"];
    let regex: &[&str] = &["outbound|80|regex|api-next.shop.svc.cluster.local"];
    side_by_side(
        "shop.yaml",
        vec![
            (tenant("elsewhere.org", "/Cart"), everything),
            (tenant("example.com", "/Cart"), everything),
            (tenant("a.example.com", "/cart/1"), tenants),
            (tenant("A.Example.COM:8080", "/CART"), tenants),
            (tenant("a.b.example.com", "/Carton"), tenants),
            (tenant("a.example.com", "/"), &[]),
            (tenant("only.example.com", "/"), only),
            (tenant("only.example.com", "/cart"), tenants),
            (tenant("only.eu.example.com", "/"), only),
            (tenant("x.eu.example.com", "/"), &[]),
            (shop("/old/x"), &[]),
            (shop("/cart"), &[]),
            (shop("/api/v1/x?v=2"), api),
            (shop("/api/v1/x?v=2&v=3"), api),
            (shop("/api/v1/x?v=3&v=2"), &[]),
            (shop("/api/v1?v=2"), &[]),
            (
                Req::post("/api/v1/?v=2", "body")
                    .authority("shop.example.org:80")
                    .header("x-secret", "1")
                    .header("x-added", "one"),
                api,
            ),
            (shop("/api"), api),
            (shop("/api?v"), api),
            (shop("/api").header("x-internal", ""), &[]),
            (shop("/api").header("x-stage", "prod"), &[]),
            (shop("/r12?q").header("x-any", ""), api),
            (shop("/r12"), &[]),
            (Req::new("DELETE", "/r12").authority("shop.example.com").header("x-any", "1"), &[]),
            (shop("/r12/x").header("x-any", "1"), &[]),
            (shop("/regex/abc/d?e=/regex/f/"), regex),
            (shop("/regex/"), regex),
            (shop("/back1?q"), api),
            (shop("/back"), &[]),
            (shop("/a+(b)$/c?q"), api),
            (shop("/aab"), &[]),
        ],
        &Others {
            hosts: &[
                "shop.example.com",
                "SHOP.example.org:8",
                "x.example.com",
                "only.x.eu.example.com",
                "eu.example.com",
                "org",
            ],
            paths: &[
                "/",
                "/old",
                "/cart",
                "/CARTS?v=2",
                "/api",
                "/api/v1/?v=2",
                "/api/v1/a?w&v=2",
                "/r1",
                "/regex/a/regex/b/",
            ],
            headers: &[
                &[],
                &[("x-any", "1")],
                &[("x-internal", "1")],
                &[("x-stage", "prod")],
                &[("x-stage", "x"), ("x-secret", "1")],
            ],
        },
    );
}

#[test]
fn http_routes_by_their_precedence_and_whole_elements_of_a_path() {
    let web = |path: &str| Req::get(path).authority("web.example.com");
    let root: &[&str] = &["outbound|80||root.web.svc.cluster.local"];
    let prefix: &[&str] = &["outbound|80||prefix.web.svc.cluster.local", "outbound|80||second.audit.svc.cluster.local"];
    let method: &[&str] = &["outbound|80||method.web.svc.cluster.local"];
    let headers: &[&str] = &["outbound|80||headers.web.svc.cluster.local"];
    let strip: &[&str] = &["outbound|80||strip.web.svc.cluster.local"];
    let any: &[&str] = &["outbound|80||any.web.svc.cluster.local"];
    let special = |path: &str| Req::get(path).authority("special.example.com");
    let specials: &[&str] = &["outbound|80||special.web.svc.cluster.local"];
    let httpbin: &[&str] = &["outbound|8000||httpbin-v2.web.svc.cluster.local"];
    side_by_side(
        "gateway-api.yaml",
        vec![
            (web("/"), root),
            (web("/foobar"), root),
            (web("/Foo/x"), root),
            (web("/foo"), &[]),
            (web("/foo?q=1"), &[]),
            (web("/foo/"), prefix),
            (web("/foo/x?y"), prefix),
            (web("/foo/bar"), &[]),
            (web("/foo/bar/x"), &[]),
            (web("/foo/barn"), prefix),
            (Req::post("/foo/x", "body").authority("web.example.com:443"), method),
            (Req::post("/foo", "").authority("web.example.com"), &[]),
            (Req::post("/foo/x?q=1", "").authority("web.example.com").header("x-a", "1").header("x-b", "2"), method),
            (web("/foo/x").header("x-a", "1").header("x-b", "22"), headers),
            (web("/foo/x").header("x-a", "1").header("x-b", "b2"), prefix),
            (web("/foo/x").header("x-a", "1"), prefix),
            (web("/foo/x?q=1"), headers),
            (web("/foo/x?q=2"), prefix),
            (web("/strip").header("x-secret", "1"), strip),
            (web("/strip/"), strip),
            (web("/strip/a/b?c=/strip/").header("x-stage", "prod"), strip),
            (web("/stripes"), root),
            (web("/any"), root),
            (Req::get("/any/x").authority("a.example.com"), any),
            (Req::get("/anything").authority("a.example.com"), &[]),
            (Req::get("/any").authority("example.com"), &[]),
            (special("/a+b"), specials),
            (special("/a+b/"), specials),
            (special("/a+b/a+b?/a+b"), specials),
            (special("/aab"), &[]),
            (special("/a(b)$"), specials),
            (special("/a(b)$/x"), specials),
            (special("/ab"), &[]),
            (special("/a*"), specials),
            (special("/a*/x"), specials),
            (special("/aaa/x"), &[]),
            (special("/a.b/x"), specials),
            (special("/axb/x"), &[]),
            (special("/[ab]/x"), specials),
            (special("/a"), &[]),
            (special("/full?q=1"), specials),
            (Req::get("/x").authority("httpbin:8000"), httpbin),
            (Req::get("/x").authority("httpbin.web"), httpbin),
            (Req::get("/x").authority("httpbin.other"), &[]),
        ],
        &Others {
            hosts: &["web.example.com", "web.example.com:1", "a.web.example.com", "HTTPBIN.web.svc", "org"],
            paths: &[
                "/",
                "/foo",
                "/foo/",
                "/foo//",
                "/foo?q=1",
                "/foo/bar/",
                "/foo/bar?q=1",
                "/fo",
                "/foo/x?q=1&q=2",
                "/strip//x",
                "/any/",
            ],
            headers: &[&[], &[("x-a", "1"), ("x-b", "1")], &[("x-a", "1"), ("x-b", "1x")]],
        },
    );
}

/// Serves each request twice, by the routes of a file as they are and without their mirrors but with the filter; checks that
/// both send the copies that the table says, and the same, also of requests that the table does not have.
fn side_by_side(file: &str, rows: Vec<Row>, others: &Others) {
    let rows: Vec<_> = rows.into_iter().map(|(req, clusters)| (req, Some(clusters))).collect();
    let rows: Vec<_> = rows.into_iter().chain(others.requests().map(|req| (req, None))).collect();
    let path = format!("{ROOT}/mirrorctl/tests/mirrorctl/routes/{file}");
    let output =
        Command::new(env!("CARGO_BIN_EXE_mirrorctl")).args(["convert", "-o", "envoy", &path]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Here one proxy is the gateway and the mesh: no host is of both.
    let filters: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let hosts = native::virtual_hosts(&std::fs::read_to_string(path).unwrap());
    let clusters = native::clusters(&hosts);
    block_on(async {
        let mut upstreams = BTreeMap::new();
        for cluster in &clusters {
            upstreams.insert(cluster.clone(), Upstream::start("mirror", Service::from(Answer::status(200))).await);
        }
        let primary = Upstream::start("primary", Service::from(Answer::status(200))).await;
        let mut plain = hosts.clone();
        native::strip(&mut plain);
        let listeners = [listener("native", &hosts, Vec::new()), listener("plugin", &plain, filters)];
        let addresses = upstreams.iter().map(|(name, upstream)| (name.as_str(), upstream.address));
        let clusters: Vec<_> = addresses.chain([("primary", primary.address)]).map(cluster).collect();
        let bootstrap = json!({
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": socket(0)},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        });
        let envoy =
            Envoy::start(Folder::new(), &bootstrap, 1).await.unwrap_or_else(|refused| panic!("{}", refused.log));
        for side in ["native", "plugin"] {
            let mut client = Client::h1(address(&envoy, side).await).await;
            for (number, (req, _)) in rows.iter().enumerate() {
                let reply = client.send(req.clone().header("x-row", format!("{side}-{number}"))).await;
                assert!([200, 301, 404].contains(&reply.status), "{side} {number}: {}", reply.status);
            }
        }
        let mut copies: BTreeMap<String, Copied> = BTreeMap::new();
        let mut before = None;
        eventually("all copies", async || {
            copies = received(&upstreams);
            let arrived: usize = copies.values().map(BTreeSet::len).sum();
            let now = (begun(&envoy).await, waiting(&envoy).await);
            // Seen twice: Envoy reads its counters one by one.
            let is_settled = before.replace(now) == Some(now) && now == (arrived, 0);
            if is_settled { Ok(()) } else { Err(format!("{now:?}, {arrived} arrived; {copies:#?}\n{text}")) }
        })
        .await;
        for (number, (_, clusters)) in rows.iter().enumerate() {
            let [native, plugin] =
                ["native", "plugin"].map(|side| copies.remove(&format!("{side}-{number}")).unwrap_or_default());
            if let Some(clusters) = clusters {
                let reached: BTreeSet<&str> = native.iter().map(|(cluster, ..)| cluster.as_str()).collect();
                assert_eq!(reached, clusters.iter().copied().collect(), "row {number} of {file}, by Envoy");
            }
            assert_eq!(plugin, native, "row {number} of {file}\n{text}");
        }
    });
}

/// Collects what the upstreams got, by side and row.
fn received(upstreams: &BTreeMap<String, Upstream>) -> BTreeMap<String, Copied> {
    let mut copies: BTreeMap<String, Copied> = BTreeMap::new();
    for (cluster, upstream) in upstreams {
        for Received { method, path, authority, headers, body, .. } in upstream.so_far() {
            let about = |name: &str| ["x-secret", "x-stage", "x-added", "x-a", "x-any"].contains(&name);
            let named = headers.iter().filter(|(name, _)| about(name));
            let told: Vec<_> =
                named.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect();
            let row = headers
                .iter()
                .find(|(name, _)| name == "x-row")
                .map(|(_, row)| String::from_utf8_lossy(row).into_owned());
            let content = format!("{}\n{}", told.join("\n"), String::from_utf8_lossy(&body));
            copies.entry(row.unwrap()).or_default().insert((cluster.clone(), method, path, authority, content));
        }
    }
    copies
}

/// Counts the requests that Envoy has begun to send to mirrors.
async fn begun(envoy: &Envoy) -> usize {
    sum(envoy, "upstream_rq_total").await
}

/// Counts those that wait for a connection or for an answer.
async fn waiting(envoy: &Envoy) -> usize {
    sum(envoy, "upstream_rq_(pending_)?active").await
}

async fn sum(envoy: &Envoy, counter: &str) -> usize {
    let stats = envoy.admin(&format!("/stats?filter=^cluster.outbound.*{counter}$")).await;
    stats.lines().filter_map(|line| line.rsplit_once(": ")?.1.parse::<usize>().ok()).sum()
}

async fn address(envoy: &Envoy, listener: &str) -> SocketAddr {
    let listeners: Value = serde_json::from_str(&envoy.admin("/listeners?format=json").await).unwrap();
    let status = listeners["listener_statuses"].as_array().unwrap().iter().find(|status| status["name"] == listener);
    let port = status.unwrap()["local_address"]["socket_address"]["port_value"].as_u64().unwrap();
    (Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()).into()
}

/// An address of this machine.
pub fn socket(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

/// A cluster of one server.
pub fn cluster((name, address): (&str, SocketAddr)) -> Value {
    let endpoint = json!({"endpoint": {"address": socket(address.port())}});
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    })
}

/// A listener that routes by the hosts, whatever port a request names, as Istio's do.
fn listener(name: &str, hosts: &[Value], filters: Vec<Value>) -> Value {
    let router = json!({"name": "envoy.filters.http.router", "typed_config": {"@type": format!("{TYPES}.http.router.v3.Router")}});
    let manager = json!({
        "@type": format!("{TYPES}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": name,
        "http_filters": filters.into_iter().chain([router]).collect::<Vec<_>>(),
        "route_config": {"name": name, "virtual_hosts": hosts, "ignore_port_in_host_matching": true},
    });
    let chain =
        json!({"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]});
    json!({"name": name, "address": socket(0), "filter_chains": [chain]})
}
