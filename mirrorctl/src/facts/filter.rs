//! The HTTP filters of a connection manager.

use super::field::{at, text};
use crate::tree::Tree;

/// An HTTP filter.
#[derive(Debug)]
pub(crate) struct Filter<'t> {
    /// Its path in the document.
    pub(crate) path: String,
    pub(crate) name: &'t str,
    /// What it is: `ext_authz`, `lua`; of a filter that comes by ECDS, what is known of its name.
    pub(crate) kind: &'t str,
    /// Its own configuration; `Null` where there is none.
    pub(crate) config: &'t Tree,
    /// The types that its configuration may have, if it comes by ECDS.
    pub(crate) discovered: Option<&'t Tree>,
}

impl<'t> Filter<'t> {
    pub(crate) fn new(path: String, tree: &'t Tree) -> Self {
        let name = tree.text_at(&["name"]).unwrap_or_default();
        let typed = at(tree, &["typed_config"]);
        let url = typed.and_then(|typed| typed.text_at(&["@type"])).unwrap_or_default();
        // A TypedStruct has the type, and the configuration, one level deeper.
        let (url, config) = match typed {
            Some(typed) if url.ends_with(".TypedStruct") => {
                (text(typed, &["type_url"]).unwrap_or_default(), typed.get("value"))
            }
            typed => (url, typed),
        };
        let of_type = url.split_once(".filters.http.").map(|(_, rest)| rest);
        let of_name = name.strip_prefix("envoy.filters.http.");
        let kind = of_type.or(of_name).and_then(|rest| rest.split('.').next()).unwrap_or_default();
        Self { path, name, kind, config: config.unwrap_or(&Tree::Null), discovered: at(tree, &["config_discovery"]) }
    }
}
