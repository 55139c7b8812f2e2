//! The hosts that routes are for, and how the plugin asks for them: by `:authority`, which may have any case and a port.

use super::context::service_of;
use super::pattern::literal;
use crate::tree::Tree;
use std::cmp::Reverse;
use std::fmt;

/// The longest regular expression that the plugin takes, in characters.
const LONGEST: usize = 1024;

/// A port, or none: to Envoy, all that stands behind the last colon.
const PORT: &str = "(:[^:]*)?";

/// One of the domains by which Envoy chooses a virtual host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Domain {
    /// The names of one host.
    Names(Vec<Name>),
    /// `*.example.com`, as `.example.com`.
    Wildcard(String),
    /// `*`.
    Any,
}

/// A host by its full name, and how many of its labels must be there: a Service has shorter names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// What must be there, and what may follow, each only where the one before it does.
    parts: Vec<String>,
}

impl Name {
    fn literal(host: &str) -> Self {
        Self { parts: vec![host.to_owned()] }
    }

    /// Makes the names of a Service, from its shortest to its full one.
    pub(super) fn of_service(name: &str, namespace: &str, cluster_domain: &str) -> Self {
        Self { parts: vec![name.to_owned(), format!(".{namespace}"), ".svc".to_owned(), format!(".{cluster_domain}")] }
    }

    fn regex(&self) -> String {
        let escaped = self.parts.iter().map(|part| literal(part));
        escaped.rev().reduce(|rest, part| format!("{part}({rest})?")).unwrap_or_default()
    }

    /// Returns each way to write the name.
    pub(super) fn all(&self) -> impl Iterator<Item = String> {
        let longer = |name: &mut String, part: &String| {
            name.push_str(part);
            Some(name.clone())
        };
        self.parts.iter().scan(String::new(), longer)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(_) => f.write_str(&self.first_name().unwrap_or_default()),
            Self::Wildcard(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl Domain {
    /// Reads a host as VirtualServices and HTTPRoutes have it; `None` where it is not one.
    pub(super) fn new(host: &str) -> Option<Self> {
        if host == "*" {
            return Some(Self::Any);
        }
        let (wildcard, rest) = host.strip_prefix('*').map_or((false, host), |rest| (true, rest));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if rest.is_empty() || !rest.bytes().all(is_name) {
            return None;
        }
        let rest = rest.to_ascii_lowercase();
        Some(if wildcard { Self::Wildcard(rest) } else { Self::Names(vec![Name::literal(&rest)]) })
    }

    /// Reads a full name; that of a Service has its shorter ones.
    pub(super) fn of_mesh(host: &str, cluster_domain: &str) -> Option<Self> {
        let domain = Self::new(host)?;
        match service_of(host, cluster_domain) {
            Some((name, namespace)) => Some(Self::Names(vec![Name::of_service(name, namespace, cluster_domain)])),
            None => Some(domain),
        }
    }

    /// Returns the first way to write its first name, if it has names.
    pub(super) fn first_name(&self) -> Option<String> {
        match self {
            Self::Names(names) => names.iter().flat_map(Name::all).next(),
            _ => None,
        }
    }

    pub(super) fn names(&mut self) -> Option<&mut Vec<Name>> {
        match self {
            Self::Names(names) => Some(names),
            _ => None,
        }
    }

    /// Orders domains as Envoy tries them: names first, then the longest wildcard, then `*`.
    pub(super) fn order(&self) -> (u8, Reverse<usize>) {
        match self {
            Self::Names(_) => (0, Reverse(0)),
            Self::Wildcard(suffix) => (1, Reverse(suffix.len())),
            Self::Any => (2, Reverse(0)),
        }
    }

    /// Returns the domain and those around it, the narrowest first: where Envoy looks for the routes of its requests. Of several
    /// names, the first counts.
    pub(super) fn outward(&self) -> impl Iterator<Item = Self> {
        let (text, first) = match self {
            Self::Names(_) => (self.first_name().unwrap_or_default(), 1),
            Self::Wildcard(suffix) => (suffix.clone(), 1),
            Self::Any => (String::new(), 0),
        };
        let ends: Vec<_> = text.char_indices().skip(first).map(|(start, _)| start).collect();
        let suffixes = ends.into_iter().filter_map(move |start| Some(Self::Wildcard(text.get(start..)?.to_owned())));
        let own = Some(self.clone()).filter(|own| *own != Self::Any);
        own.into_iter().chain(suffixes).chain([Self::Any])
    }

    /// Tells whether a request may be for both domains.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Wildcard(one), Self::Wildcard(other)) => {
                one.ends_with(other.as_str()) || other.ends_with(one.as_str())
            }
            (Self::Names(names), Self::Wildcard(suffix)) | (Self::Wildcard(suffix), Self::Names(names)) => names
                .iter()
                .flat_map(Name::all)
                .any(|name| name.len() > suffix.len() && name.ends_with(suffix.as_str())),
            (Self::Names(one), Self::Names(other)) => {
                let other: Vec<_> = other.iter().flat_map(Name::all).collect();
                one.iter().flat_map(Name::all).any(|name| other.contains(&name))
            }
        }
    }

    /// Returns the domain of the requests that are for both.
    pub(super) fn meet(&self, other: &Self) -> Option<Self> {
        // One lies inside the other, or they share nothing: names cannot share some of their requests only.
        let narrower = self.order().min(other.order());
        let inside = if narrower == self.order() { self } else { other };
        self.overlaps(other).then(|| inside.clone())
    }

    /// Writes the conditions on `:authority`, one of which holds for a request to this domain; none: all do.
    pub(super) fn conditions(&self) -> Vec<Tree> {
        let regex = |text: String| Tree::map([("regex", Some(text.into())), ("ignoreCase", Some(true.into()))]);
        match self {
            Self::Any => Vec::new(),
            Self::Wildcard(suffix) => vec![regex(format!(".+{}{PORT}", literal(suffix)))],
            Self::Names(names) => {
                let mut groups: Vec<String> = Vec::new();
                for name in names.iter().map(Name::regex) {
                    match groups.last_mut() {
                        Some(group) if group.len().saturating_add(name.len()) < LONGEST / 2 => {
                            group.push('|');
                            group.push_str(&name);
                        }
                        _ => groups.push(name),
                    }
                }
                let whole = |group: String| if group.contains('|') { format!("({group}){PORT}") } else { group + PORT };
                groups.into_iter().map(whole).map(regex).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_asked_for_by_all_their_names() {
        for (host, expected) in [
            ("reviews.test.svc.cluster.local", r"reviews(\.test(\.svc(\.cluster\.local)?)?)?(:[^:]*)?"),
            ("Shop.example.com", r"shop\.example\.com(:[^:]*)?"),
            ("*.example.com", r".+\.example\.com(:[^:]*)?"),
            ("a.b.c.svc.cluster.local", r"a\.b\.c\.svc\.cluster\.local(:[^:]*)?"),
        ] {
            let conditions = Domain::of_mesh(host, "cluster.local").unwrap().conditions();
            let regexes: Vec<_> = conditions.iter().filter_map(|condition| condition.text_at(&["regex"])).collect();
            assert_eq!(regexes, [expected], "{host}");
        }
        let unusual = Domain::Names(vec![Name::of_service("a+b", "c", "d.e")]).conditions();
        assert_eq!(unusual[0].text_at(&["regex"]), Some(r"a\+b(\.c(\.svc(\.d\.e)?)?)?(:[^:]*)?"));
        assert!(Domain::new("*").unwrap().conditions().is_empty());
        assert_eq!(Domain::new("a b"), None);
        assert_eq!(Domain::new(""), None);
    }

    #[test]
    fn two_domains_meet_in_the_narrower_one() {
        let domain = |host| Domain::new(host).unwrap();
        for (one, other, expected) in [
            ("*", "*", Some("*")),
            ("*", "*.b.c", Some("*.b.c")),
            ("*.b.c", "*.c", Some("*.b.c")),
            ("a.b.c", "*.c", Some("a.b.c")),
            ("a.b.c", "a.b.c", Some("a.b.c")),
            ("a.b.c", "*.d", None),
        ] {
            assert_eq!(domain(one).meet(&domain(other)), expected.map(domain), "{one} {other}");
            assert_eq!(domain(other).meet(&domain(one)), expected.map(domain), "{other} {one}");
        }
    }

    #[test]
    fn the_domains_around_a_domain_end_with_all() {
        for (host, expected) in
            [("a.b", &["a.b", "*.b", "*b", "*"][..]), ("*.b.c", &["*.b.c", "*b.c", "*.c", "*c", "*"]), ("*", &["*"])]
        {
            let around: Vec<_> = Domain::new(host).unwrap().outward().map(|domain| domain.to_string()).collect();
            assert_eq!(around, expected, "{host}");
        }
    }

    #[test]
    fn domains_overlap_where_a_request_may_be_for_both() {
        let domain = |host| Domain::of_mesh(host, "cluster.local").unwrap();
        for (one, other, expected) in [
            ("*", "a", true),
            ("a.b.svc.cluster.local", "a.b", true),
            ("a.b.svc.cluster.local", "b", false),
            ("*.b.c", "a.b.c", true),
            ("*.b.c", ".b.c", false),
            ("*.b.c", "*.c", true),
            ("*.b.c", "*.d", false),
        ] {
            assert_eq!(domain(one).overlaps(&domain(other)), expected, "{one} {other}");
            assert_eq!(domain(other).overlaps(&domain(one)), expected, "{other} {one}");
        }
    }
}
