//! What an Envoy of the faults is started with, and what an operator may set it to: JSON for its listeners, its filter,
//! and its clusters.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::Behaviour;
use harness::bootstrap::{self, Delivery, FILTER, Form, Listener};
use harness::process::{Folder, compares, module};

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
/// A filter that lets everything pass.
const NOTHING: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";

/// The listeners, in the order of the columns.
pub const LISTENERS: [&str; 3] = ["none", "native", "filter"];
/// The rule of [`mirroring`].
pub const RULE: &str = "all";
/// How long a copy waits for its answer, and any request for the primary's.
pub const TIMEOUT: Duration = Duration::from_secs(1);
pub const ROUTE_TIMEOUT: Duration = Duration::from_secs(3);

/// What one Envoy is started with.
#[derive(Clone)]
pub struct Plan {
    /// The cluster that the mirrors are in.
    pub cluster: &'static str,
    pub mirror: Behaviour,
    pub primary: Behaviour,
    pub plugin: Value,
    /// HTTP/2 to the upstreams.
    pub h2: bool,
    /// Listeners come from a file, and under ECDS the filter from another, which an operator replaces.
    pub delivery: Delivery,
    /// The VM that the filter begins in.
    pub vm: Vm,
    /// One more listener with the filter, `inbound`, as a sidecar has it: the plugin has a root for each direction.
    pub directions: bool,
    /// What is changed in each listener's connection manager.
    pub shape: fn(&mut Value),
    /// What is changed in the bootstrap.
    pub boot: fn(&mut Value),
}

impl Default for Plan {
    fn default() -> Self {
        let mirror = Behaviour::Healthy;
        let plugin = mirroring(RULE, "mirror");
        Self {
            cluster: "mirror",
            mirror,
            primary: mirror,
            plugin,
            h2: false,
            delivery: Delivery::Static,
            vm: Vm::default(),
            directions: false,
            shape: |_| (),
            boot: |_| (),
        }
    }
}

impl Plan {
    /// The healthy rig, its mirrors in another cluster.
    pub fn to(cluster: &'static str) -> Self {
        Self { cluster, plugin: mirroring(RULE, cluster), ..Self::default() }
    }
}

/// A configuration that mirrors all there is, and compares the answers, within small limits.
pub fn mirroring(rule: &str, cluster: &str) -> Value {
    let timeout = format!("{}ms", TIMEOUT.as_millis());
    let mut compare = json!({"status": true});
    if compares() {
        compare["headers"] = json!(["content-type"]);
        compare["body"] = json!({"json": {}});
    }
    json!({
        "rules": [{"name": rule, "mirrors": [{"cluster": cluster, "timeout": timeout}], "compare": compare}],
        "limits": {"maxBodyBytes": 1 << 20, "maxBufferedBytes": 8 << 20, "maxInFlight": 64},
    })
}

/// A connection to the mirror gets no request any more after a second, and ends with its last one.
pub fn short_connections(bootstrap: &mut Value) {
    for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().unwrap() {
        if cluster["name"] == "mirror" {
            let options = cluster["typed_extension_protocol_options"].as_object_mut().unwrap();
            let http = options.get_mut("envoy.extensions.upstreams.http.v3.HttpProtocolOptions").unwrap();
            http["common_http_protocol_options"] = json!({"max_connection_duration": "1s"});
        }
    }
}

/// A limit for [`small_answers`]. Envoy's own is 32 MiB.
pub const ANSWER_LIMIT: u64 = 64 << 10;

/// Envoy gives a mirror's answer up as soon as it is above [`ANSWER_LIMIT`].
pub fn small_answers(bootstrap: &mut Value) {
    let limit = json!({"http.async_response_buffer_limit": ANSWER_LIMIT});
    bootstrap["layered_runtime"] = json!({"layers": [{"name": "static", "static_layer": limit}]});
}

/// What the listeners are set to.
pub struct Settings {
    /// Of the filter's listener.
    pub plugin: Option<Value>,
    /// Where the native listener mirrors to.
    pub native: Option<&'static str>,
    /// A number that every listener has in it: another one makes Envoy replace them all.
    pub version: u64,
    /// The VM that the filter runs in.
    pub vm: Vm,
}

impl Settings {
    /// In the VM that Envoy began with.
    pub fn new(plugin: Option<Value>, native: Option<&'static str>, version: u64) -> Self {
        Self { plugin, native, version, vm: Vm::default() }
    }
}

/// What tells one VM from another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vm {
    /// Other than 0: a module of other bytes that does the same.
    pub module: u8,
    /// Other than 0: a `vm_id`.
    pub id: u8,
    /// Envoy's default failure policy instead of `fail_open`.
    pub closes: bool,
}

/// The filter itself; one that does nothing, where there is no plugin.
pub fn filter(folder: &Folder, settings: &Settings) -> Value {
    let Some(plugin) = &settings.plugin else { return json!({"@type": NOTHING}) };
    let mut wasm = bootstrap::wasm(plugin, Form::Text);
    let config = wasm["config"].as_object_mut().unwrap();
    config.remove("failure_policy");
    let Vm { module, id, closes } = settings.vm;
    if !closes {
        config.insert("fail_open".to_owned(), json!(true));
    }
    if module > 0 {
        config["vm_config"]["code"]["local"]["filename"] = json!(other_module(folder, module));
    }
    if id > 0 {
        config["vm_config"]["vm_id"] = json!(format!("vm-{id}"));
    }
    wasm
}

/// The module with one more section, which nobody reads.
fn other_module(folder: &Folder, number: u8) -> PathBuf {
    let path = folder.path(&format!("module-{number}.wasm"));
    if !path.exists() {
        let section = [&[0, 8, 6], &b"faults"[..], &[number]].concat();
        fs::write(&path, [fs::read(module()).unwrap(), section].concat()).unwrap();
    }
    path
}

impl Plan {
    pub fn listeners(&self, folder: &Folder, settings: &Settings) -> Vec<Value> {
        let inbound = self.directions.then_some("inbound");
        LISTENERS.into_iter().chain(inbound).map(|name| self.listener(name, folder, settings)).collect()
    }

    fn listener(&self, name: &str, folder: &Folder, settings: &Settings) -> Value {
        let of = Listener { name: name.to_owned(), plugin: None, form: Form::Text };
        let mut listener = bootstrap::listener(folder, &of, Delivery::Static);
        let filtered = matches!(name, "filter" | "inbound");
        if self.directions && filtered {
            listener["traffic_direction"] = json!(if name == "inbound" { "INBOUND" } else { "OUTBOUND" });
        }
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let filter = match self.delivery {
            Delivery::Ecds => Some(json!({"name": FILTER, "config_discovery": {
                "config_source": {
                    "resource_api_version": "V3", "path_config_source": {"path": folder.path("ecds.json")},
                },
                "type_urls": [WASM, NOTHING],
            }})),
            _ if settings.plugin.is_none() => None,
            _ => Some(json!({"name": FILTER, "typed_config": filter(folder, settings)})),
        };
        if let Some(filter) = filter.filter(|_| filtered) {
            manager["http_filters"].as_array_mut().unwrap().insert(0, filter);
        }
        let routes = &mut manager["route_config"];
        routes["name"] = json!(format!("routes-{}", settings.version));
        // Else Envoy would not take a route that mirrors to a cluster which it does not know.
        routes["validate_clusters"] = json!(false);
        for route in routes["virtual_hosts"][0]["routes"].as_array_mut().unwrap() {
            let Some(route) = route.get_mut("route") else { continue };
            route["timeout"] = json!(format!("{}s", ROUTE_TIMEOUT.as_secs()));
            if let Some(cluster) = settings.native.filter(|_| name == "native") {
                route["request_mirror_policies"] = json!([{"cluster": cluster}]);
            }
        }
        (self.shape)(manager);
        listener
    }
}

/// The clusters that the tests have, and one that speaks TLS to a mirror which does not. The breakers are wide open, so
/// that none of Envoy's own limits answers for a fault.
pub fn clusters(clusters: &mut Value, mirror: SocketAddr) {
    let clusters = clusters.as_array_mut().unwrap();
    let most = 1_000_000;
    let breakers = json!({"thresholds": [
        {"max_connections": most, "max_pending_requests": most, "max_requests": most, "max_retries": most},
    ]});
    let mut tls = bootstrap::cluster("tls", Some(mirror), false);
    tls["transport_socket"] = json!({
        "name": "tls",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"},
    });
    clusters.push(tls);
    for cluster in clusters {
        if cluster.get("circuit_breakers").is_none() {
            cluster["circuit_breakers"] = breakers.clone();
        }
    }
}
