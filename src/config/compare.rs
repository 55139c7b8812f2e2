//! What of the responses of primary and mirrors is compared.
//!
//! Headers and bodies are compared by the compare build alone: it has the callbacks that they need.

use super::node::{Node, optional};
#[cfg(feature = "compare")]
use super::{
    list::list,
    names::{HeaderName, Spellings},
    pointer::Pointers,
};

/// What of the responses of primary and mirrors is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// Their status codes, and for gRPC their grpc-status.
    pub status: bool,
    /// These headers, the values of one name joined with `,`.
    #[cfg(feature = "compare")]
    pub headers: Vec<HeaderName>,
    /// Their bodies.
    #[cfg(feature = "compare")]
    pub body: Option<CompareBody>,
    /// Whether it is counted and logged in which places they differ.
    pub fields: bool,
}

/// How bodies are compared.
#[cfg(feature = "compare")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompareBody {
    /// What is equal.
    pub how: How,
    /// The longest body that is compared, of each side and decoded, in bytes.
    pub max_bytes: usize,
}

/// Which bodies are equal.
#[cfg(feature = "compare")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Those with the same bytes.
    Exact,
    /// Those with the same JSON.
    Json(JsonRules),
}

/// What of JSON documents is compared.
#[cfg(feature = "compare")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonRules {
    /// Places that are not.
    pub ignore: Pointers,
    /// Whether the order of items does not count.
    pub unordered_arrays: bool,
    /// Whether a member that is null is as if it were absent.
    pub null_is_absent: bool,
}

impl Compare {
    /// Returns whether headers or bodies are compared.
    pub fn needs_content(&self) -> bool {
        #[cfg(feature = "compare")]
        let needs = !self.headers.is_empty() || self.body.is_some();
        #[cfg(not(feature = "compare"))]
        let needs = false;
        needs
    }

    /// Reads what is compared; `Some(None)`: nothing.
    #[inline(never)]
    pub(super) fn read(node: &Node<'_>) -> Option<Option<Self>> {
        let mut object = node.object()?;
        let [status, headers, body, fields] = ["status", "headers", "body", "fields"].map(|name| object.field(name));
        if !object.has_any(&["status", "headers", "body"]) {
            object.refuse("{}", "at least one of status, headers, body");
        }
        object.finish();

        let [status, fields] = [status, fields].map(|field| optional(field, Node::flag));
        #[cfg(feature = "compare")]
        let (headers, body) = (optional(headers, read_headers), optional(body, CompareBody::read));
        #[cfg(not(feature = "compare"))]
        let (headers, body) = (optional(headers, elsewhere), optional(body, elsewhere));
        #[cfg_attr(not(feature = "compare"), allow(unused_variables, reason = "there are none"))]
        let (headers, body) = (headers?, body?);
        let compare = Self {
            status: status?.unwrap_or_default(),
            #[cfg(feature = "compare")]
            headers: headers.unwrap_or_default(),
            #[cfg(feature = "compare")]
            body,
            fields: fields?.unwrap_or(true),
        };
        Some(Some(compare).filter(|compare| compare.status || compare.needs_content()))
    }
}

/// Refuses what another build compares.
#[cfg(not(feature = "compare"))]
fn elsewhere(node: &Node<'_>) -> Option<()> {
    node.refuse("only traffic_mirror_compare.wasm compares it, the module of the image whose tag ends in -compare")
}

/// Reads the names of response headers.
#[cfg(feature = "compare")]
fn read_headers(node: &Node<'_>) -> Option<Vec<HeaderName>> {
    let mut known = Spellings::default();
    list(node, |node, text| match HeaderName::new(text) {
        Some(name) => known.add(node, text, name),
        None if text == ":status" => node.refuse("a pseudo header: use status"),
        None => node.refuse("not the name of a header"),
    })
}

#[cfg(feature = "compare")]
impl CompareBody {
    /// The longest body that is compared where none is given.
    const DEFAULT: usize = 64 << 10;

    /// The longest body that may be asked to be compared: it is done in one callback.
    const MOST: u64 = 1 << 20;

    #[inline(never)]
    fn read(node: &Node<'_>) -> Option<Self> {
        const KINDS: [&str; 2] = ["json", "exact"];
        let mut object = node.object()?;
        let how = object.choice(&KINDS);
        let max_bytes = object.field("maxBytes");
        if !object.has_any(&KINDS) {
            object.refuse("neither", "exactly one of json, exact");
        }
        object.finish();

        let max_bytes = optional(max_bytes, |node| usize::try_from(node.whole(1..=Self::MOST)?).ok());
        let how = match how? {
            ("json", node) => JsonRules::read(&node).map(How::Json),
            (_, node) if node.flag()? => Some(How::Exact),
            (_, node) => node.refuse("true, or json instead"),
        };
        Some(Self { how: how?, max_bytes: max_bytes?.unwrap_or(Self::DEFAULT) })
    }
}

#[cfg(feature = "compare")]
impl JsonRules {
    #[inline(never)]
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let [ignore, unordered_arrays, null_is_absent] =
            ["ignore", "unorderedArrays", "nullIsAbsent"].map(|name| object.field(name));
        object.finish();
        // To ignore nothing is what it says, unlike a list of what is compared that is empty.
        let is_empty = |node: &Node<'_>| node.value().as_array().is_some_and(Vec::is_empty);
        let ignore = optional(ignore.filter(|node| !is_empty(node)), Pointers::read);
        let [unordered_arrays, null_is_absent] =
            [unordered_arrays, null_is_absent].map(|field| optional(field, Node::flag));
        Some(Self {
            ignore: ignore?.unwrap_or_default(),
            unordered_arrays: unordered_arrays?.unwrap_or_default(),
            null_is_absent: null_is_absent?.unwrap_or_default(),
        })
    }
}
