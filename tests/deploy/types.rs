//! The resources in `deploy/`, as far as those who take them know them: written by hand, and no other field is taken.
//! Istio's are those of its custom resource definitions for 1.30, Envoy Gateway's those of v1alpha1.
#![allow(dead_code, reason = "what a type has is what a resource may have; the tests look at a part of it")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What every resource of Kubernetes has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource<S> {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    pub spec: S,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
}

/// Either of Istio's two resources for a module.
#[derive(Debug)]
pub struct Plugin {
    pub metadata: Metadata,
    pub target: Target,
    pub wasm: Wasm,
}

/// Which proxies get the module, and where in them it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    pub selector: Option<Selector>,
    pub target_refs: Option<Vec<TargetRef>>,
    pub r#match: Vec<Match>,
    pub phase: Phase,
    pub priority: Option<i32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WasmPlugin {
    selector: Option<Selector>,
    target_refs: Option<Vec<TargetRef>>,
    r#match: Vec<Match>,
    phase: Phase,
    priority: Option<i32>,
    url: String,
    sha256: Option<String>,
    image_pull_policy: Option<ImagePullPolicy>,
    image_pull_secret: Option<String>,
    plugin_name: Option<String>,
    r#type: PluginType,
    fail_strategy: FailStrategy,
    plugin_config: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficExtension {
    selector: Option<Selector>,
    target_refs: Option<Vec<TargetRef>>,
    r#match: Vec<Match>,
    phase: Phase,
    priority: Option<i32>,
    wasm: Wasm,
}

/// What concerns the module.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wasm {
    pub url: String,
    pub sha256: Option<String>,
    pub image_pull_policy: Option<ImagePullPolicy>,
    pub image_pull_secret: Option<String>,
    pub plugin_name: Option<String>,
    pub r#type: PluginType,
    pub fail_strategy: FailStrategy,
    pub plugin_config: Value,
}

impl From<Resource<WasmPlugin>> for Plugin {
    fn from(resource: Resource<WasmPlugin>) -> Self {
        let WasmPlugin { selector, target_refs, r#match, phase, priority, url, sha256, .. } = resource.spec;
        let WasmPlugin {
            image_pull_policy, image_pull_secret, plugin_name, r#type, fail_strategy, plugin_config, ..
        } = resource.spec;
        Self {
            metadata: resource.metadata,
            target: Target { selector, target_refs, r#match, phase, priority },
            wasm: Wasm {
                url,
                sha256,
                image_pull_policy,
                image_pull_secret,
                plugin_name,
                r#type,
                fail_strategy,
                plugin_config,
            },
        }
    }
}

impl From<Resource<TrafficExtension>> for Plugin {
    fn from(resource: Resource<TrafficExtension>) -> Self {
        let TrafficExtension { selector, target_refs, r#match, phase, priority, wasm } = resource.spec;
        Self { metadata: resource.metadata, target: Target { selector, target_refs, r#match, phase, priority }, wasm }
    }
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    pub match_labels: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetRef {
    pub group: String,
    pub kind: String,
    pub name: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    pub mode: Mode,
    pub ports: Option<Vec<Port>>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    pub number: u16,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    Client,
    Server,
    ClientAndServer,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    Authn,
    Authz,
    Stats,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PluginType {
    Http,
    Network,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub enum FailStrategy {
    #[serde(rename = "FAIL_CLOSE")]
    Close,
    #[serde(rename = "FAIL_OPEN")]
    Open,
    #[serde(rename = "FAIL_RELOAD")]
    Reload,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub enum ImagePullPolicy {
    IfNotPresent,
    Always,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sidecar {
    pub workload_selector: WorkloadSelector,
    pub egress: Vec<Egress>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadSelector {
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    pub hosts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualService {
    pub gateways: Vec<String>,
    pub hosts: Vec<String>,
    pub http: Vec<HttpRouteOfIstio>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRouteOfIstio {
    pub route: Vec<WeightedDestination>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedDestination {
    pub destination: Destination,
    pub weight: i32,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    pub host: String,
    pub port: Port,
    pub subset: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationRule {
    pub host: String,
    pub traffic_policy: TrafficPolicy,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficPolicy {
    pub connection_pool: ConnectionPool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionPool {
    pub tcp: TcpSettings,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpSettings {
    pub max_connection_duration: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvoyFilter {
    pub workload_selector: WorkloadSelector,
    pub config_patches: Vec<ConfigPatch>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigPatch {
    pub apply_to: ApplyTo,
    pub r#match: PatchMatch,
    pub patch: Patch,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ApplyTo {
    Cluster,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchMatch {
    pub context: PatchContext,
    pub cluster: ClusterMatch,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PatchContext {
    SidecarOutbound,
    Gateway,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterMatch {
    pub service: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    pub operation: PatchOperation,
    /// A part of Envoy's cluster.
    pub value: Value,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PatchOperation {
    Merge,
}

/// Values of istiod's Helm chart.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IstiodValues {
    pub mesh_config: MeshConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshConfig {
    pub default_config: ProxyConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyConfig {
    pub extra_stat_tags: Vec<String>,
}

/// The Gateway API's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRoute {
    pub parent_refs: Vec<ParentRef>,
    pub hostnames: Vec<String>,
    pub rules: Vec<HttpRouteRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParentRef {
    pub name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRouteRule {
    pub backend_refs: Vec<BackendRef>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendRef {
    pub name: String,
    pub port: u16,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvoyExtensionPolicy {
    pub target_refs: Vec<TargetRef>,
    pub wasm: Vec<WasmOfEnvoyGateway>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTrafficPolicy {
    pub target_refs: Vec<TargetRef>,
    pub timeout: Timeout,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeout {
    pub http: HttpTimeout,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpTimeout {
    pub max_connection_duration: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WasmOfEnvoyGateway {
    pub name: String,
    #[serde(rename = "rootID")]
    pub root_id: Option<String>,
    pub code: Code,
    pub fail_open: bool,
    pub config: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Code {
    pub r#type: CodeType,
    pub image: Image,
    pub pull_policy: Option<ImagePullPolicy>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub enum CodeType {
    Image,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub url: String,
    pub sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvoyProxy {
    pub bootstrap: Bootstrap,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    pub r#type: BootstrapType,
    /// YAML.
    pub value: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub enum BootstrapType {
    Merge,
}
