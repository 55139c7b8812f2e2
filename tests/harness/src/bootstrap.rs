//! Envoy's configuration for one test: listeners with and without the filter, and the clusters behind them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::process::{Folder, module};

const TYPES: &str = "type.googleapis.com/envoy";
const API: &str = "envoy.extensions";
/// The name of the filter, and of its ECDS resource.
pub const FILTER: &str = "traffic_mirror";

/// How the plugin's configuration is written down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON text in a `google.protobuf.StringValue`.
    Text,
    /// A `google.protobuf.Struct`.
    Struct,
}

/// Where Envoy gets the plugin's configuration from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The bootstrap.
    Static,
    /// A file of listeners that Envoy watches.
    Lds,
    /// A file of one filter that Envoy watches: Istio's way.
    Ecds,
}

/// The addresses behind the clusters.
pub struct Addresses {
    pub primary: SocketAddr,
    pub mirror: SocketAddr,
    pub mirror2: SocketAddr,
    /// Where nobody listens.
    pub refused: SocketAddr,
}

/// One listener; without a plugin configuration it is the plain Envoy to compare with.
pub struct Listener {
    pub name: String,
    pub plugin: Option<Value>,
    pub form: Form,
}

/// The bootstrap, and the files that it refers to.
pub fn bootstrap(folder: &Folder, listeners: &[Listener], delivery: Delivery, to: &Addresses, h2: bool) -> Value {
    let lds = delivery == Delivery::Lds;
    let all: Vec<Value> = listeners.iter().map(|l| listener(folder, l, delivery)).collect();
    let mut config = json!({
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": socket("127.0.0.1:0".parse().unwrap())},
        "stats_flush_interval": "0.1s",
        "stats_config": {"stats_tags": tags()},
        "static_resources": {"listeners": if lds { vec![] } else { all.clone() }, "clusters": clusters(to, h2)},
    });
    if lds {
        let path = replace_listeners(folder, all);
        config["dynamic_resources"] = json!({"lds_config": watched(&path)});
    }
    config
}

/// How Envoy turns the names of the metrics into labels: the regular expressions are those that Istio generates.
fn tags() -> Vec<Value> {
    let tag = |name| json!({"tag_name": name, "regex": format!("({name}=\\.=(.*?);\\.;)")});
    ["rule", "mirror", "outcome", "class", "reason", "result", "plugin", "field"].map(tag).into()
}

/// Puts the file of all listeners in place.
pub fn replace_listeners(folder: &Folder, mut all: Vec<Value>) -> PathBuf {
    for listener in &mut all {
        listener["@type"] = json!(format!("{TYPES}.config.listener.v3.Listener"));
    }
    folder.replace("lds.json", &json!({"resources": all}))
}

/// Puts the file of the filter in place.
pub fn replace_filter(folder: &Folder, wasm: &Value) -> PathBuf {
    let filter = json!({
        "@type": format!("{TYPES}.config.core.v3.TypedExtensionConfig"),
        "name": FILTER,
        "typed_config": wasm,
    });
    folder.replace("ecds.json", &json!({"resources": [filter]}))
}

fn watched(path: &Path) -> Value {
    json!({"resource_api_version": "V3", "path_config_source": {"path": path}})
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// The listener resource; under ECDS it also puts the filter's file in place.
pub fn listener(folder: &Folder, listener: &Listener, delivery: Delivery) -> Value {
    let mut filters = Vec::new();
    if let Some(plugin) = &listener.plugin {
        let wasm = wasm(plugin, listener.form);
        if delivery == Delivery::Ecds {
            let path = replace_filter(folder, &wasm);
            let discovery = json!({
                "config_source": watched(&path),
                "type_urls": [format!("{TYPES}.extensions.filters.http.wasm.v3.Wasm")],
            });
            filters.push(json!({"name": FILTER, "config_discovery": discovery}));
        } else {
            filters.push(json!({"name": FILTER, "typed_config": wasm}));
        }
    }
    let router = json!({"@type": format!("{TYPES}.extensions.filters.http.router.v3.Router")});
    filters.push(json!({"name": "envoy.filters.http.router", "typed_config": router}));
    let manager = json!({
        "@type": format!(
            "{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
        ),
        "stat_prefix": listener.name,
        "codec_type": "AUTO",
        // The client counts as internal, as a peer in a mesh does: else Envoy itself would drop the control headers
        // that the filter has to leave behind.
        "use_remote_address": true,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
        "preserve_external_request_id": true,
        // A second for each connection that Envoy closes after an error would make the tests slow.
        "delayed_close_timeout": "0.05s",
        "http_protocol_options":
            {"enable_trailers": true, "accept_http_10": true, "default_host_for_http_10": "service.test"},
        "http2_protocol_options": {"allow_connect": true},
        "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
        "http_filters": filters,
        "route_config": {
            "name": "routes",
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes()}],
        },
    });
    json!({
        "name": listener.name,
        "address": socket("127.0.0.1:0".parse().unwrap()),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
        }]}],
    })
}

fn routes() -> Value {
    json!([
        {"name": "direct", "match": {"path": "/direct"},
         "direct_response": {"status": 200, "body": {"inline_string": "direct"}}},
        {"name": "special", "match": {"prefix": "/special"}, "route": {"cluster": "primary"}},
        {"name": "connect", "match": {"connect_matcher": {}}, "route": {
            "cluster": "primary",
            "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}],
        }},
        {"name": "default", "match": {"prefix": "/"}, "route": {"cluster": "primary", "timeout": "60s"}},
    ])
}

/// The filter's own configuration.
pub fn wasm(plugin: &Value, form: Form) -> Value {
    let configuration = match form {
        Form::Text => json!({
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": plugin.as_str().map_or_else(|| plugin.to_string(), String::from),
        }),
        Form::Struct => json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": plugin}),
    };
    let mut config = json!({
        "name": FILTER,
        "root_id": FILTER,
        "failure_policy": "FAIL_OPEN",
        "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module()}}},
    });
    if !plugin.is_null() {
        config["configuration"] = configuration;
    }
    json!({"@type": format!("{TYPES}.extensions.filters.http.wasm.v3.Wasm"), "config": config})
}

fn clusters(to: &Addresses, h2: bool) -> Vec<Value> {
    let mut broken = cluster("broken", Some(to.mirror), h2);
    let zero = json!({"max_connections": 0, "max_pending_requests": 0, "max_requests": 0});
    broken["circuit_breakers"] = json!({"thresholds": [zero]});
    vec![
        cluster("primary", Some(to.primary), h2),
        cluster("mirror", Some(to.mirror), h2),
        cluster("mirror2", Some(to.mirror2), h2),
        cluster("outbound|9080|v1|mirror.test", Some(to.mirror), h2),
        cluster("outbound|9080||mirror.test", Some(to.mirror2), h2),
        cluster("refused", Some(to.refused), h2),
        cluster("dead", None, h2),
        broken,
    ]
}

/// A cluster of one address, or of none.
pub fn cluster(name: &str, to: Option<SocketAddr>, h2: bool) -> Value {
    let http = if h2 {
        json!({"http2_protocol_options": {}})
    } else {
        json!({"http_protocol_options": {"enable_trailers": true}})
    };
    let endpoints: Vec<Value> = to.map(|a| json!({"endpoint": {"address": socket(a)}})).into_iter().collect();
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        "typed_extension_protocol_options": {
            format!("{API}.upstreams.http.v3.HttpProtocolOptions"): {
                "@type": format!("{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": http,
            },
        },
    })
}
