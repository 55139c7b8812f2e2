//! `mirrorctl convert`: from the mirrors of VirtualServices, HTTPRoutes and GRPCRoutes to rules that decide as they do.

mod configuration;
mod context;
mod cut;
mod delegate;
mod envoy;
mod envoy_gateway;
mod export;
mod gateways;
mod grants;
mod hosts;
mod http_route;
mod listener;
mod matches;
mod mirror;
mod nothing;
mod options;
mod originals;
mod output;
mod overlap;
mod owner;
mod pattern;
mod plan;
mod ports;
mod route;
mod rules;
mod services;
mod stripped;
mod table;
mod uri;
mod virtual_service;

use crate::check::at;
use crate::input::{Document, documents, documents_with_text, files};
use crate::node::Mismatches;
use crate::reply::Reply;
use crate::tree::Tree;
use configuration::{Converted, at_its_source, name};
use context::{Around, Manifest, Notes, Origin, Resource};
use delegate::Delegates;
use gateways::{Gateways, Proxy};
use grants::Grants;
pub(crate) use options::Conversion;
use options::Form;
use output::{Clients, Installation};
use owner::Owner;
use plan::{Chosen, Plan, Workload};
use ports::{OfPorts, Ports};
use services::Services;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use traffic_mirror::config::Config;

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
    if converted.is_empty() {
        notes.untimed.set(0);
    }
    let warnings = notes.warnings.borrow().clone();
    conversion.say(&all, &mismatches, &notes, &mut reply);
    if converted.is_empty() && !reply.has_findings() {
        nothing::lines(&all, &warnings).iter().for_each(|line| reply.finding(line));
    }
    if reply.has_findings() {
        return Ok(reply);
    }
    for one in &converted {
        let config = Tree::field("rules", one.rules.clone());
        if let Err(violations) = Config::from_bytes(config.json().as_bytes()) {
            violations.lines().for_each(|line| reply.finding(at_its_source(&line, &one.sources, &all)));
        }
    }
    if reply.has_findings() {
        return Ok(reply);
    }
    let are_several = converted.len() > 1;
    let mut is_first = true;
    for one in &converted {
        let config = Tree::field("rules", one.rules.clone());
        let mut parts = Vec::new();
        if conversion.output != Form::Routes {
            let comment = if are_several || !one.ports.is_empty() { one.comment() } else { String::new() };
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
        gateways.sort();
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
            let proxy = workload.proxies.first();
            let clients = proxy.filter(|proxy| **proxy == Proxy::Mesh).and_then(|_| workload.only_namespace());
            let namespace = proxy.and_then(|proxy| gateways.namespace(proxy)).or(clients.as_deref());
            let mut ports = Ports::default();
            for manifest in &workload.routes {
                let (proxies, owner, extra) = (&workload.proxies, &owner, &extra);
                let resource = Resource { manifest, around: &around, proxies, owner, namespace, extra };
                match manifest.kind {
                    "VirtualService" => virtual_service::add(&mut ports, &resource, &delegates),
                    _ => http_route::add(&mut ports, &resource),
                }
            }
            let extra: Vec<_> = extra.take().into_values().flatten().collect();
            let of_ports = ports.rules();
            if let Some(proxy) = proxy.filter(|_| of_ports.iter().any(|one| !one.ports.is_empty())) {
                let what = "its ports mirror in different ways, and a configuration is for the ports that the comment before it names";
                notes.words.borrow_mut().push(format!("{proxy}: {what}"));
            }
            for OfPorts { ports, rules, sources } in of_ports {
                carried.extend(sources.iter().flat_map(|source| &source.mirrors).cloned());
                let installation = self.installation(workload, &gateways, &ports);
                let proxies = workload.proxies.clone();
                let extra = extra.clone();
                converted.push(Converted { proxies, ports, rules, sources, installation, extra });
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
                warn(format!("not converted: {proxy} is Envoy Gateway's: convert it with -o envoyextensionpolicy"));
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
                warn(format!("not converted: {proxy} is Istio's: convert it with -o wasmplugin"));
                None
            }
            Owner::Other(controller) => {
                warn(format!(
                    "not converted: {proxy} is made by {controller}, and how its clusters are called is not known"
                ));
                None
            }
            owner => Some(owner),
        }
    }

    /// Finds out where the plugin is to be installed.
    fn installation(&self, workload: &Workload<'_>, gateways: &Gateways, ports: &[u64]) -> Installation {
        let mut mirroring = workload.routes.iter().filter(|manifest| manifest.mirrors());
        let only = workload.only_namespace();
        let namespace = only.as_deref().or_else(|| mirroring.next().map(|manifest| manifest.namespace));
        let clients = Clients { namespace: namespace.unwrap_or(&self.namespace), are_known: only.is_some() };
        Installation::find("traffic-mirror".to_owned(), &workload.proxies, ports, gateways, clients)
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
