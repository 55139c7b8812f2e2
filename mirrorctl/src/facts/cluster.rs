//! A cluster of Envoy's, as far as it matters for copies.

use super::field::{at, is_set, is_type, items, named, text};
use crate::input::Place;
use crate::tree::{Tree, join};

/// The options of a cluster that concern HTTP.
const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// A cluster.
#[derive(Debug)]
pub(crate) struct Cluster<'t> {
    pub(crate) place: &'t Place,
    /// Its path in the document.
    pub(crate) path: String,
    pub(crate) name: &'t str,
    pub(crate) tree: &'t Tree,
}

impl<'t> Cluster<'t> {
    /// Returns its options for HTTP, with their path.
    pub(crate) fn options(&self) -> Option<(String, &'t Tree)> {
        let (field, extensions) = named(self.tree, "typed_extension_protocol_options")?;
        let (key, options) = extensions.fields().iter().find(|(_, options)| is_type(options, OPTIONS))?;
        Some((join(&join(&self.path, &field), key), options))
    }

    /// Returns an option for HTTP, with its path.
    pub(crate) fn option(&self, name: &str) -> Option<(String, &'t Tree)> {
        let (path, options) = self.options()?;
        let (field, value) = named(options, name)?;
        Some((join(&path, &field), value))
    }

    /// Tells whether it spreads requests by a hash of what it knows of them, and has no hash policy of its own.
    pub(crate) fn hashes_blindly(&self) -> bool {
        let is_hash = |kind: &str| kind.ends_with("RingHash") || kind.ends_with("Maglev");
        match at(self.tree, &["load_balancing_policy"]) {
            Some(policy) => items(policy, &["policies"]).iter().any(|policy| {
                let config = at(policy, &["typed_extension_config", "typed_config"]).unwrap_or(&Tree::Null);
                let own = items(config, &["consistent_hashing_lb_config", "hash_policy"]);
                config.text_at(&["@type"]).is_some_and(is_hash) && own.is_empty()
            }),
            None => matches!(text(self.tree, &["lb_policy"]), Some("RING_HASH" | "MAGLEV")),
        }
    }

    /// Tells whether it has no host for a request without metadata.
    pub(crate) fn wants_metadata(&self) -> bool {
        let is_strict = |subsets: &Tree| {
            let fallback = text(subsets, &["fallback_policy"]).unwrap_or("NO_FALLBACK");
            fallback == "NO_FALLBACK" && !items(subsets, &["subset_selectors"]).is_empty()
        };
        let policies = items(self.tree, &["load_balancing_policy", "policies"]);
        let configs = policies.iter().filter_map(|policy| at(policy, &["typed_extension_config", "typed_config"]));
        let mut subsets = configs.filter(|config| is_type(config, "subset.v3.Subset"));
        at(self.tree, &["lb_subset_config"]).is_some_and(is_strict) || subsets.any(is_strict)
    }

    /// Tells whether its host is where the client connected to.
    pub(crate) fn follows_the_connection(&self) -> bool {
        text(self.tree, &["type"]) == Some("ORIGINAL_DST")
            && !is_set(self.tree, &["original_dst_lb_config", "use_http_header"])
    }

    /// Returns the option by which TLS takes its name from the host of a request, with its path.
    pub(crate) fn names_itself_by_host(&self) -> Option<String> {
        let (path, options) = self.option("upstream_http_protocol_options")?;
        if text(options, &["override_auto_sni_header"]).is_some_and(|header| !header.is_empty()) {
            return None;
        }
        let set = ["auto_sni", "auto_san_validation"].into_iter().find(|name| is_set(options, &[name]))?;
        named(options, set).map(|(field, _)| join(&path, &field))
    }

    /// Tells whether all requests go by HTTP/1.1.
    pub(crate) fn is_http1(&self) -> bool {
        match self.options() {
            Some((_, options)) => at(options, &["explicit_http_config", "http_protocol_options"]).is_some(),
            None => at(self.tree, &["http2_protocol_options"]).is_none(),
        }
    }
}
