//! The domains by which Envoy chooses a virtual host, in the order in which it tries them.

use crate::convert::pattern::literal;
use crate::tree::Tree;
use std::cmp::Reverse;

/// How long a regular expression of several names may get; the plugin takes twice as much.
const LONGEST: usize = 512;
/// Up to so many names are asked for one by one, which costs less than an expression.
const FEW: usize = 4;
/// A port, which may not count.
const PORT: &str = "(:[0-9]+)?";

/// Domains of one virtual host that Envoy tries at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Domains {
    /// Whole hosts.
    Exact(Vec<String>),
    /// `*.example.com`, as `.example.com`.
    Suffix(String),
    /// `example.*`, as `example.`.
    Prefix(String),
    /// `*`.
    Any,
}

impl Domains {
    /// Reads the domains of a virtual host, in the order in which they are tried.
    pub(super) fn read(texts: &[Tree]) -> Vec<Self> {
        let mut exact = Vec::new();
        let mut others = Vec::new();
        for text in texts.iter().filter_map(Tree::text).map(str::to_ascii_lowercase) {
            if text == "*" {
                others.push(Self::Any);
            } else if let Some(suffix) = text.strip_prefix('*') {
                others.push(Self::Suffix(suffix.to_owned()));
            } else if let Some(prefix) = text.strip_suffix('*') {
                others.push(Self::Prefix(prefix.to_owned()));
            } else {
                exact.push(text);
            }
        }
        let exact = (!exact.is_empty()).then_some(Self::Exact(exact));
        exact.into_iter().chain(others).collect()
    }

    /// Orders domains as Envoy tries them.
    pub(super) fn order(&self) -> (u8, Reverse<usize>) {
        match self {
            Self::Exact(_) => (0, Reverse(0)),
            Self::Suffix(suffix) => (1, Reverse(suffix.len())),
            Self::Prefix(prefix) => (2, Reverse(prefix.len())),
            Self::Any => (3, Reverse(0)),
        }
    }

    /// Tells whether a host may be in both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let with = |names: &[String], holds: &dyn Fn(&str) -> bool| names.iter().any(|name| holds(name));
        match (self, other) {
            (Self::Any, _)
            | (_, Self::Any)
            | (Self::Suffix(_), Self::Prefix(_))
            | (Self::Prefix(_), Self::Suffix(_)) => true,
            (Self::Exact(one), Self::Exact(other)) => one.iter().any(|name| other.contains(name)),
            (Self::Exact(names), Self::Suffix(part)) | (Self::Suffix(part), Self::Exact(names)) => {
                with(names, &|name| name.len() > part.len() && name.ends_with(part.as_str()))
            }
            (Self::Exact(names), Self::Prefix(part)) | (Self::Prefix(part), Self::Exact(names)) => {
                with(names, &|name| name.len() > part.len() && name.starts_with(part.as_str()))
            }
            (Self::Suffix(one), Self::Suffix(other)) => one.ends_with(other.as_str()) || other.ends_with(one.as_str()),
            (Self::Prefix(one), Self::Prefix(other)) => {
                one.starts_with(other.as_str()) || other.starts_with(one.as_str())
            }
        }
    }

    /// Writes the conditions on the authority, one of which holds for a request to these domains; none: all do.
    pub(super) fn conditions(&self, ignores_port: bool) -> Vec<Tree> {
        let regex = |text: String| {
            let text = if ignores_port { text + PORT } else { text };
            Tree::map([("regex", Some(text.into())), ("ignoreCase", Some(true.into()))])
        };
        let exact =
            |name: &String| Tree::map([("exact", Some(name.clone().into())), ("ignoreCase", Some(true.into()))]);
        match self {
            Self::Any => Vec::new(),
            Self::Exact(names) if names.len() <= FEW && !ignores_port => names.iter().map(exact).collect(),
            Self::Exact(names) => {
                let mut groups: Vec<String> = Vec::new();
                for name in names.iter().map(|name| literal(name)) {
                    match groups.last_mut() {
                        Some(group) if group.len().saturating_add(name.len()) < LONGEST => {
                            group.push('|');
                            group.push_str(&name);
                        }
                        _ => groups.push(name),
                    }
                }
                let whole = |group: String| if group.contains('|') { format!("({group})") } else { group };
                groups.into_iter().map(whole).map(regex).collect()
            }
            Self::Suffix(suffix) => vec![regex(format!(".+{}", literal(suffix)))],
            Self::Prefix(prefix) if ignores_port => vec![regex(format!("{}[^:].*", literal(prefix)))],
            Self::Prefix(prefix) => vec![regex(format!("{}.+", literal(prefix)))],
        }
    }
}
