//! Who makes the proxies of a Gateway, and so how their clusters are called.

use super::context::Manifest;
use std::collections::HashMap;

/// Who makes a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    Istio,
    EnvoyGateway,
    /// Another controller, by its name.
    Other(String),
    /// The files do not tell.
    Unknown,
}

/// The controllers of GatewayClasses, by their names.
#[derive(Debug, Default)]
pub(super) struct Classes(HashMap<String, Owner>);

impl Classes {
    /// Adds a document, if it is a GatewayClass.
    pub(super) fn add(&mut self, manifest: &Manifest<'_>) {
        let ("GatewayClass", Some(name)) = (manifest.kind, manifest.name) else { return };
        let Some(controller) = manifest.spec.as_ref().and_then(|spec| spec.text_at("controllerName")) else { return };
        let owner = match controller.split_once('/').map_or(controller, |(domain, _)| domain) {
            "istio.io" => Owner::Istio,
            "gateway.envoyproxy.io" => Owner::EnvoyGateway,
            _ => Owner::Other(controller.to_owned()),
        };
        self.0.insert(name.to_owned(), owner);
    }

    /// Finds out whose a class is. Istio makes its own classes itself.
    pub(super) fn owner(&self, class: Option<&str>) -> Owner {
        let Some(class) = class else { return Owner::Unknown };
        match self.0.get(class) {
            Some(owner) => owner.clone(),
            None if ["istio", "istio-remote", "istio-waypoint", "istio-east-west"].contains(&class) => Owner::Istio,
            None => Owner::Unknown,
        }
    }
}
