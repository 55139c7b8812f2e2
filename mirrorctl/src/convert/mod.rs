//! `mirrorctl convert`: from the mirrors of VirtualServices and HTTPRoutes to rules that decide as they do.

mod context;
mod cut;
mod envoy;
mod hosts;
mod http_route;
mod mirror;
mod nothing;
mod originals;
mod output;
mod overlap;
mod pattern;
mod route;
mod virtual_service;

use crate::check::at;
use crate::input::{documents, documents_with_text, files};
use crate::node::{Mismatches, Node};
use crate::reply::Reply;
use crate::tree::Tree;
use clap::{Args, ValueEnum};
use context::{Gateways, Manifest, Notes, Ports, Resource};
use output::Installation;
use route::Table;
use traffic_mirror::config::Config;

/// What is converted, and how.
#[derive(Args)]
pub(crate) struct Conversion {
    /// Files, folders or patterns (`'*.yaml'`) with VirtualServices, HTTPRoutes, and the Services that they name, or with
    /// Envoy's own routes: bootstraps, files of resources, dumps; HOST:PORT is a running Envoy's admin endpoint; `-` is standard input
    #[arg(required = true)]
    files: Vec<String>,
    /// What to write
    #[arg(short, long, value_enum, default_value = "config")]
    output: Form,
    /// Write the files' documents too, without their mirrors; `-o routes` writes only them
    #[arg(long)]
    routes: bool,
    /// Make an error of what cannot be carried over
    #[arg(long)]
    strict: bool,
    /// Convert one of Envoy's route configurations alone
    #[arg(long, value_name = "NAME")]
    route_config: Option<String>,
    /// The namespace of resources that name none
    #[arg(long, default_value = "default")]
    namespace: String,
    /// The domain of the cluster's Services
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    cluster_domain: String,
    /// The port of a host that no file tells; may be given more than once
    #[arg(long = "port", value_name = "HOST=PORT", value_parser = host_and_port)]
    ports: Vec<(String, u64)>,
}

/// A form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The plugin's configuration
    Config,
    /// Istio's WasmPlugin
    Wasmplugin,
    /// Istio's TrafficExtension
    Trafficextension,
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

/// Converts files.
///
/// # Errors
/// What to tell the user where a file cannot be read.
pub(crate) fn run(conversion: &Conversion) -> Result<Reply, String> {
    let mut reply = Reply::default();
    let mut all = Vec::new();
    let mut running = Vec::new();
    let mut named = conversion.files.clone();
    // An address is no file.
    named.retain(|name| envoy::running(name).map(|dump| running.push((name.clone(), dump))).is_none());
    for file in files(&named)? {
        let documents = if conversion.writes_routes() { documents_with_text(&file)? } else { documents(&file)? };
        for document in documents {
            match document {
                Ok(document) => all.push(document),
                Err(error) => reply.finding(error),
            }
        }
    }
    let running = running.into_iter().map(|(name, dump)| Ok((name, dump?))).collect::<Result<Vec<_>, String>>()?;
    if !running.is_empty() || all.iter().any(|document| envoy::is_envoys(&document.tree)) {
        return envoy::run(conversion, &all, &running, reply);
    }
    if let Some(name) = &conversion.route_config {
        return Err(format!("--route-config {name}: these files have none of Envoy's route configurations"));
    }
    if conversion.output == Form::Bootstrap {
        return Err("-o bootstrap takes bootstrap files of Envoy's".to_owned());
    }
    let notes = Notes::default();
    let mismatches: Vec<_> = all.iter().map(|_| Mismatches::default()).collect();
    let read = all.iter().zip(&mismatches);
    let manifests: Vec<_> =
        read.filter_map(|(document, found)| Manifest::read(document, &conversion.namespace, found)).collect();
    let rules = conversion.rules(&manifests, &notes);
    let installation = conversion.installation(&manifests);
    for warning in notes.warnings.take() {
        if conversion.strict {
            reply.finding(warning);
        } else {
            reply.note(format_args!("warning: {warning}"));
        }
    }
    for (document, mismatches) in all.iter().zip(&mismatches) {
        for warning in mismatches.take_warnings() {
            let warning = at(&document.place, &warning);
            if conversion.strict {
                reply.finding(warning);
            } else {
                reply.note(format_args!("warning: {warning}"));
            }
        }
        mismatches.take().iter().for_each(|mismatch| reply.finding(at(&document.place, mismatch)));
    }
    notes.errors.take().iter().for_each(|error| reply.finding(error));
    if rules.is_empty() && !reply.has_findings() {
        nothing::lines(&all).iter().for_each(|line| reply.finding(line));
    }
    if reply.has_findings() {
        return Ok(reply);
    }
    let config = Tree::field("rules", rules);
    if let Err(violations) = Config::from_bytes(config.json().as_bytes()) {
        for line in violations.lines() {
            reply.finding(format_args!("what was converted is not a configuration: {line}"));
        }
        return Ok(reply);
    }
    if conversion.output != Form::Routes {
        reply.text(&output::write(conversion.output, config, &installation)?);
    }
    if conversion.writes_routes() {
        reply.text(&originals::write(&all, conversion.output != Form::Routes)?);
    }
    Ok(reply)
}

impl Conversion {
    fn writes_routes(&self) -> bool {
        self.routes || self.output == Form::Routes
    }

    fn rules(&self, manifests: &[Manifest<'_>], notes: &Notes) -> Vec<Tree> {
        let mut ports = Ports::new(&self.ports);
        let mut gateways = Gateways::default();
        for manifest in manifests {
            ports.add(manifest, &self.cluster_domain);
            gateways.add(manifest);
        }
        let mut table = Table::default();
        for manifest in manifests {
            let resource =
                Resource { manifest, cluster_domain: &self.cluster_domain, ports: &ports, gateways: &gateways, notes };
            match manifest.kind {
                "VirtualService" => virtual_service::add(&mut table, &resource),
                "HTTPRoute" => http_route::add(&mut table, &resource),
                _ => {}
            }
        }
        table.rules()
    }

    /// Finds out where the plugin is to be installed.
    fn installation(&self, manifests: &[Manifest<'_>]) -> Installation {
        let of_kind = |kind: &'static str| manifests.iter().filter(move |manifest| manifest.kind == kind);
        let mut routes = of_kind("VirtualService").chain(of_kind("HTTPRoute"));
        // All are read, though the first counts: each may have something of the wrong type.
        let selectors = of_kind("Gateway").filter_map(|gateway| labels(&gateway.spec.as_ref()?.field("selector")?));
        let mut labels: Vec<_> = selectors.collect();
        labels.truncate(1);
        let parents = of_kind("HTTPRoute").flat_map(|route| route.items("parentRefs"));
        let gateways = parents.filter(|parent| parent.text_at("kind").unwrap_or("Gateway") == "Gateway");
        let mut gateways: Vec<_> = gateways.filter_map(|parent| parent.text_at("name")).map(str::to_owned).collect();
        gateways.dedup();
        Installation {
            namespace: routes.next().map_or(&*self.namespace, |route| route.namespace).to_owned(),
            labels: labels.pop(),
            gateways,
        }
    }
}

/// Reads the labels of a gateway's workload.
fn labels(selector: &Node<'_>) -> Option<Tree> {
    let labels = selector.entries().into_iter();
    labels.map(|(name, value)| Some((name.to_owned(), value.text()?.into()))).collect::<Option<Vec<_>>>().map(Tree::Map)
}
