//! What the user asks of `mirrorctl convert`.

use clap::{Args, ValueEnum};

/// What is converted, and how.
#[derive(Args)]
pub(crate) struct Conversion {
    /// Files, folders or patterns (`'*.yaml'`) with VirtualServices, HTTPRoutes, GRPCRoutes, and the Gateways and Services that
    /// they name, or with Envoy's own routes: bootstraps, files of resources, dumps; HOST:PORT is a running Envoy's admin endpoint; `-` is
    /// standard input
    #[arg(required = true)]
    pub(super) files: Vec<String>,
    /// What to write
    #[arg(short, long, value_enum, default_value = "config")]
    pub(super) output: Form,
    /// Write the files' documents too, without the mirrors that were carried over; `-o routes` writes only them
    #[arg(long)]
    pub(super) routes: bool,
    /// Make an error of what cannot be carried over
    #[arg(long)]
    pub(super) strict: bool,
    /// Convert what is for this gateway; may be given more than once
    #[arg(long = "gateway", value_name = "NAMESPACE/NAME", value_parser = gateway)]
    pub(super) gateways: Vec<String>,
    /// Convert what is for the mesh
    #[arg(long)]
    pub(super) mesh: bool,
    /// Convert one of Envoy's route configurations alone
    #[arg(long, value_name = "NAME")]
    pub(super) route_config: Option<String>,
    /// The namespace of resources that name none
    #[arg(long, default_value = "default", value_parser = namespace)]
    pub(super) namespace: String,
    /// The domain of the cluster's Services
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN", value_parser = domain)]
    pub(super) cluster_domain: String,
    /// The port of a host that no file tells, or of all such hosts (`*`); may be given more than once
    #[arg(long = "port", value_name = "HOST=PORT", value_parser = host_and_port)]
    pub(super) ports: Vec<(String, u64)>,
    /// Let copies have `-shadow` behind their host, as Istio's before 1.28 and Envoy Gateway's before 1.6
    #[arg(long)]
    pub(super) shadow_host_suffix: bool,
}

/// A form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// The plugin's configuration
    Config,
    /// Istio's WasmPlugin
    Wasmplugin,
    /// Istio's TrafficExtension
    Trafficextension,
    /// Envoy Gateway's EnvoyExtensionPolicy, and routes that make the mirrors' clusters
    Envoyextensionpolicy,
    /// An HTTP filter for Envoy's configuration
    Envoy,
    /// A bootstrap of Envoy's as a whole, moved; of bootstrap files alone
    Bootstrap,
    /// The files' documents without their mirrors, and without what a cluster has added; comments and order are kept
    Routes,
}

fn host_and_port(text: &str) -> Result<(String, u64), String> {
    let (host, port) = text.split_once('=').ok_or("not HOST=PORT")?;
    let port = port.parse().ok().filter(|port| (1..=65_535).contains(port)).ok_or("not a port")?;
    Ok((host.to_owned(), port))
}

fn namespace(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = !text.is_empty() && text.len() <= 63 && text.bytes().all(is_allowed);
    let is_label = is_label && !text.starts_with('-') && !text.ends_with('-');
    if is_label { Ok(text.to_owned()) } else { Err("not a name in Kubernetes: lower case, digits and `-`".to_owned()) }
}

fn domain(text: &str) -> Result<String, String> {
    let is_domain = text.split('.').all(|label| namespace(label).is_ok());
    if is_domain { Ok(text.to_owned()) } else { Err("not a domain, such as cluster.local".to_owned()) }
}

fn gateway(text: &str) -> Result<String, String> {
    let parts = text.split_once('/').filter(|(own, name)| namespace(own).is_ok() && domain(name).is_ok());
    parts.map(|_| text.to_owned()).ok_or_else(|| "not NAMESPACE/NAME".to_owned())
}

impl Conversion {
    pub(super) fn writes_routes(&self) -> bool {
        self.routes || self.output == Form::Routes
    }
}
