//! A route of the original, and its precedence.

use super::context::Origin;
use crate::tree::Tree;

/// A route of the original.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Route {
    /// What its rule is called after.
    pub(super) name: String,
    /// Conditions as the plugin writes them, one of which must hold; none: every request.
    pub(super) entries: Vec<Tree>,
    /// Whether Istio takes it for a route of every request: those come last in a gateway, and end the routes of a resource.
    pub(super) is_catch_all: bool,
    /// Mirrors as the plugin writes them.
    pub(super) mirrors: Vec<Tree>,
    /// Where they stand in the files.
    pub(super) origins: Vec<Origin>,
    /// Its place among the routes of a host, where that is not the order in which they stand.
    pub(super) rank: Option<Rank>,
}

/// The precedence of a Gateway API match: the smallest decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Most specific first: kind and length of the path, method, headers, query parameters, each negated.
    pub(super) specificity: Vec<i64>,
    /// The oldest route first; without an age, as its namespace and name sort.
    pub(super) age: (String, String),
    pub(super) position: usize,
}

impl Route {
    /// Tells whether no request goes past it.
    pub(super) fn takes_all(&self) -> bool {
        self.is_catch_all || self.entries.is_empty()
    }
}
