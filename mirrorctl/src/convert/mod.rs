//! `mirrorctl convert`: from the mirrors of VirtualServices, HTTPRoutes and GRPCRoutes to rules that decide as they do.

mod context;
mod cut;
mod delegate;
mod envoy;
mod envoy_gateway;
mod gateways;
mod grants;
mod hosts;
mod http_route;
mod mirror;
mod nothing;
mod originals;
mod output;
mod overlap;
mod owner;
mod pattern;
mod plan;
mod route;
mod services;
mod stripped;
mod uri;
mod virtual_service;

use crate::check::at;
use crate::input::{Document, documents, documents_with_text, files};
use crate::node::Mismatches;
use crate::reply::Reply;
use crate::tree::Tree;
use clap::{Args, ValueEnum};
use context::{Around, Manifest, Notes, Origin, Resource};
use delegate::Delegates;
use gateways::{Api, Gateways, Proxy};
use grants::Grants;
use output::{Clients, Installation};
use owner::Owner;
use plan::{Chosen, Plan, Workload};
use route::Table;
use services::Services;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use traffic_mirror::config::Config;

/// What is converted, and how.
#[derive(Args)]
pub(crate) struct Conversion {
    /// Files, folders or patterns (`'*.yaml'`) with VirtualServices, HTTPRoutes, GRPCRoutes, and the Gateways and Services that
    /// they name, or with Envoy's own routes: bootstraps, files of resources, dumps; HOST:PORT is a running Envoy's admin endpoint; `-` is
    /// standard input
    #[arg(required = true)]
    files: Vec<String>,
    /// What to write
    #[arg(short, long, value_enum, default_value = "config")]
    output: Form,
    /// Write the files' documents too, without the mirrors that were carried over; `-o routes` writes only them
    #[arg(long)]
    routes: bool,
    /// Make an error of what cannot be carried over
    #[arg(long)]
    strict: bool,
    /// Convert what is for this gateway; may be given more than once
    #[arg(long = "gateway", value_name = "NAMESPACE/NAME", value_parser = gateway)]
    gateways: Vec<String>,
    /// Convert what is for the mesh
    #[arg(long)]
    mesh: bool,
    /// Convert one of Envoy's route configurations alone
    #[arg(long, value_name = "NAME")]
    route_config: Option<String>,
    /// The namespace of resources that name none
    #[arg(long, default_value = "default", value_parser = namespace)]
    namespace: String,
    /// The domain of the cluster's Services
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN", value_parser = domain)]
    cluster_domain: String,
    /// The port of a host that no file tells, or of all such hosts (`*`); may be given more than once
    #[arg(long = "port", value_name = "HOST=PORT", value_parser = host_and_port)]
    ports: Vec<(String, u64)>,
    /// Let copies have `-shadow` behind their host, as Istio's before 1.28 and Envoy Gateway's before 1.6
    #[arg(long)]
    shadow_host_suffix: bool,
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

/// A configuration, and what it is for.
struct Converted {
    proxies: Vec<Proxy>,
    rules: Vec<Tree>,
    installation: Installation,
    /// Routes that make the clusters of mirrors, and what belongs to them.
    extra: Vec<Tree>,
}

/// Converts files.
///
/// # Errors
/// What to tell the user where a file cannot be read, or an option is about nothing in the files.
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
    let (converted, carried) = conversion.convert(&all, &mismatches, &notes)?;
    conversion.say(&all, &mismatches, &notes, &mut reply);
    if converted.is_empty() && !reply.has_findings() {
        nothing::lines(&all).iter().for_each(|line| reply.finding(line));
    }
    if reply.has_findings() {
        return Ok(reply);
    }
    let are_several = converted.len() > 1;
    let mut is_first = true;
    for one in converted {
        let config = Tree::field("rules", one.rules);
        if let Err(violations) = Config::from_bytes(config.json().as_bytes()) {
            for line in violations.lines() {
                reply.finding(format_args!("what was converted is not a configuration: {line}"));
            }
            return Ok(reply);
        }
        let mut parts = Vec::new();
        if conversion.output != Form::Routes {
            let proxies: Vec<_> = one.proxies.iter().map(Proxy::to_string).collect();
            let comment = if are_several { format!("# For {}.\n", proxies.join(" and ")) } else { String::new() };
            parts.push(comment + &output::write(conversion.output, config, &one.installation)?);
        }
        if conversion.writes_routes() || conversion.output == Form::Envoyextensionpolicy {
            parts.extend(one.extra.iter().map(output::yaml).collect::<Result<Vec<_>, _>>()?);
        }
        for part in parts {
            reply.text(if is_first { "" } else { "---\n" });
            reply.text(&part);
            is_first = false;
        }
    }
    if conversion.writes_routes() {
        let strip = |tree: &Tree, number| stripped::without_mirrors(tree, number, &carried);
        reply.text(&originals::write(&all, strip, !is_first)?);
    }
    Ok(reply)
}

impl Conversion {
    fn writes_routes(&self) -> bool {
        self.routes || self.output == Form::Routes
    }

    /// Converts documents: what there is for each workload, and which mirrors went there from everywhere.
    fn convert(
        &self,
        all: &[Document],
        mismatches: &[Mismatches],
        notes: &Notes,
    ) -> Result<(Vec<Converted>, HashSet<Origin>), String> {
        let read = all.iter().zip(mismatches).enumerate();
        let manifests: Vec<_> = read
            .filter_map(|(number, (document, found))| Manifest::read(number, document, &self.namespace, found, notes))
            .collect();
        let mut services = Services::new(&self.ports);
        let mut gateways = Gateways::default();
        let mut grants = Grants::default();
        let mut delegates = Delegates::default();
        for manifest in &manifests {
            services.add(manifest, &self.cluster_domain);
            gateways.add(manifest);
            grants.add(manifest);
            delegates.add(manifest);
        }
        delegates.warn_of_lone(&manifests, notes);
        let around = Around {
            cluster_domain: &self.cluster_domain,
            has_suffix: self.shadow_host_suffix,
            services: &services,
            gateways: &gateways,
            grants: &grants,
            notes,
        };
        let chosen = Chosen { gateways: &self.gateways, mesh: self.mesh };
        let mut plan = Plan::new(&manifests, &gateways, &chosen, notes);
        if let Some(missing) = chosen.missing(&plan.named) {
            return Err(missing);
        }
        let mut carried = HashSet::new();
        let mut converted: Vec<Converted> = Vec::new();
        for workload in &plan.workloads {
            let Some(owner) = self.owner(workload, &around) else {
                plan.needed.extend(workload.routes.iter().map(|manifest| manifest.number));
                continue;
            };
            let extra = RefCell::new(BTreeMap::new());
            let mut table = Table::default();
            for manifest in &workload.routes {
                let (proxies, owner, extra) = (&workload.proxies, &owner, &extra);
                let resource = Resource { manifest, around: &around, proxies, owner, extra };
                match manifest.kind {
                    "VirtualService" => virtual_service::add(&mut table, &resource, &delegates),
                    _ => http_route::add(&mut table, &resource),
                }
            }
            let (rules, origins) = table.rules();
            carried.extend(origins);
            if !rules.is_empty() {
                let extra = extra.take().into_values().flatten().collect();
                let installation = self.installation(workload, &gateways);
                converted.push(Converted { proxies: workload.proxies.clone(), rules, installation, extra });
            }
        }
        if let Some(host) = services.unused().filter(|_| chosen.takes_all() && notes.errors.borrow().is_empty()) {
            return Err(format!("--port {host}: no mirror in these files names this host"));
        }
        delegates.add_needed(&manifests, &mut plan.needed);
        carried.retain(|(number, _)| !plan.needed.contains(number));
        name(&mut converted);
        Ok((converted, carried))
    }

    /// Finds out who makes the proxies of a workload; `None`: their clusters' names are not known.
    fn owner(&self, workload: &Workload<'_>, around: &Around<'_>) -> Option<Owner> {
        let proxy = workload.proxies.first()?;
        let warn = |what: String| {
            let mirrors = workload.routes.iter().find(|manifest| manifest.mirrors());
            if let Some(manifest) = mirrors {
                let notes = around.notes;
                notes.note(&notes.warnings, manifest.place, "spec.parentRefs", what);
            }
        };
        let is_istios = matches!(self.output, Form::Wasmplugin | Form::Trafficextension);
        let is_envoy_gateways = self.output == Form::Envoyextensionpolicy;
        match around.gateways.owner(proxy) {
            Owner::Unknown if is_istios => Some(Owner::Istio),
            Owner::Unknown if is_envoy_gateways => Some(Owner::EnvoyGateway),
            Owner::Unknown => {
                warn(format!(
                    "whose gateway {} is, no file tells: the names of clusters are Istio's; give its Gateway and \
                     GatewayClass too, or write -o envoyextensionpolicy for Envoy Gateway",
                    proxy.name()
                ));
                Some(Owner::Istio)
            }
            Owner::EnvoyGateway if is_istios => {
                warn(format!("left out: {proxy} is Envoy Gateway's: convert it with -o envoyextensionpolicy"));
                None
            }
            Owner::EnvoyGateway if !is_envoy_gateways && !self.writes_routes() => {
                warn(format!(
                    "the clusters of {proxy} are made by routes that -o envoyextensionpolicy writes, and --routes"
                ));
                Some(Owner::EnvoyGateway)
            }
            Owner::Istio if is_envoy_gateways => {
                if matches!(proxy, Proxy::Unnamed) {
                    return Some(Owner::EnvoyGateway);
                }
                warn(format!("left out: {proxy} is Istio's: convert it with -o wasmplugin"));
                None
            }
            Owner::Other(controller) => {
                warn(format!(
                    "left out: {proxy} is made by {controller}, and how its clusters are called is not known"
                ));
                None
            }
            owner => Some(owner),
        }
    }

    /// Finds out where the plugin is to be installed.
    fn installation(&self, workload: &Workload<'_>, gateways: &Gateways) -> Installation {
        let mut namespaces =
            workload.routes.iter().filter(|manifest| manifest.mirrors()).map(|manifest| manifest.namespace);
        let namespace = namespaces.next().unwrap_or(&self.namespace);
        // What is exported to its own namespace alone acts there alone.
        let is_private = |manifest: &&Manifest<'_>| -> bool {
            let to = manifest.items("exportTo");
            !to.is_empty() && to.iter().all(|to| to.text() == Some("."))
        };
        let are_known = namespaces.all(|other| other == namespace) && workload.routes.iter().all(is_private);
        Installation::find("traffic-mirror".to_owned(), &workload.proxies, gateways, Clients { namespace, are_known })
    }

    /// Says what is wrong with documents, and what was noted of them.
    fn say(&self, all: &[Document], mismatches: &[Mismatches], notes: &Notes, reply: &mut Reply) {
        let warn = |reply: &mut Reply, warning: String| {
            if self.strict {
                reply.finding(warning);
            } else {
                reply.note(format_args!("warning: {warning}"));
            }
        };
        notes.warnings.take().into_iter().for_each(|warning| warn(reply, warning));
        for (document, mismatches) in all.iter().zip(mismatches) {
            for warning in mismatches.take_warnings() {
                warn(reply, at(&document.place, &warning));
            }
            mismatches.take().iter().for_each(|mismatch| reply.finding(at(&document.place, mismatch)));
        }
        notes.errors.take().iter().for_each(|error| reply.finding(error));
        if reply.has_findings() {
            return;
        }
        notes.words.take().iter().for_each(|word| reply.note(format_args!("note: {word}")));
        if notes.untimed.get() > 0 {
            reply.note(
                "note: routes without a timeout wait for ever, their copies 5s: `timeout` of a mirror changes it",
            );
        }
    }
}

/// Gives resources names of their own where there are several, and joins those that say the same.
fn name(converted: &mut Vec<Converted>) {
    let mut joined: Vec<Converted> = Vec::new();
    for one in converted.drain(..) {
        // Where neither says which workload it is for, one resource is as good as two.
        match joined.iter_mut().find(|other| other.is_like(&one)) {
            Some(other) => other.proxies.extend(one.proxies),
            None => joined.push(one),
        }
    }
    *converted = joined;
    if converted.len() < 2 {
        return;
    }
    let mut names = HashSet::new();
    for one in converted {
        let name = match one.proxies.first() {
            Some(Proxy::Gateway(_, key)) => key.split_once('/').map_or("gateway", |(_, name)| name),
            Some(Proxy::Unnamed) => "routes",
            Some(Proxy::Mesh) | None => "mesh",
        };
        let mut own = format!("traffic-mirror-{name}");
        let mut number = 1u64;
        while !names.insert(own.clone()) {
            number = number.saturating_add(1);
            own = format!("traffic-mirror-{name}-{number}");
        }
        one.installation.name = own;
    }
}

impl Converted {
    fn is_like(&self, other: &Self) -> bool {
        let is_istios = |one: &Self| matches!(one.proxies.first(), Some(Proxy::Gateway(Api::Istio, _)));
        let is_unknown = |one: &Self| is_istios(one) && !one.installation.has_labels();
        is_unknown(self) && is_unknown(other) && self.rules == other.rules
    }
}
