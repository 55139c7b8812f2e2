//! A rule: which requests it decides, and to which mirrors they are copied.

use super::compare::Compare;
use super::mirror::Mirror;
use super::names::{HeaderName, RuleName, Spellings, key};
use super::node::{Node, all, optional};
use super::string_match::StringMatch;
use ipnet::{IpNet, Ipv4Net};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

/// One rule of the configuration.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The label in metrics and logs.
    pub name: RuleName,
    /// The rule decides a request for which any of these holds, or every request where there is none.
    pub matches: Vec<Match>,
    /// Where copies go; empty: the rule's requests are mirrored nowhere.
    pub mirrors: Vec<Mirror>,
    /// What of the responses of primary and mirrors is compared; `None`: nothing.
    pub compare: Option<Rc<Compare>>,
    /// What becomes of requests that no upstream gets.
    pub unrouted: Unrouted,
    /// Whether some mirror waits for the primary's response.
    pub waits: bool,
}

/// What becomes of requests that Envoy has no cluster for: without a route, redirected, or responded to by Envoy itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    /// They are never mirrored.
    Ignore,
    /// They are mirrored as all others.
    Mirror,
}

/// Conditions on a request, all of which have to hold (Istio's `HTTPMatchRequest`).
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// On the path without query and fragment.
    pub uri: Option<StringMatch>,
    /// On `:method`.
    pub method: Option<StringMatch>,
    /// On `:scheme`.
    pub scheme: Option<StringMatch>,
    /// On the whole `:authority`, port included.
    pub authority: Option<StringMatch>,
    /// On headers, several values of one name joined with `,`.
    pub headers: Vec<(HeaderName, StringMatch)>,
    /// On headers, the other way round: the conditions fail when one of these holds.
    pub without_headers: Vec<(HeaderName, StringMatch)>,
    /// On the first value of a key in the query, as it stands there.
    pub query_params: Vec<(Box<str>, StringMatch)>,
    /// On cookies.
    pub cookies: Vec<(Box<str>, StringMatch)>,
    /// On the address of the downstream peer; empty: any.
    pub source_cidrs: Vec<IpNet>,
    /// On the name of Envoy's route.
    pub route_name: Option<StringMatch>,
    /// On the name of the cluster that the route leads to.
    pub cluster_name: Option<StringMatch>,
}

impl Rule {
    /// Tells whether no request can be copied by this rule.
    pub fn is_off(&self) -> bool {
        self.mirrors.iter().all(Mirror::is_off)
    }

    /// Reads a rule. `marker`: the header that no edit of a copy may name.
    #[inline(never)]
    pub(super) fn read(node: &Node<'_>, index: usize, marker: Option<&HeaderName>) -> Option<Self> {
        let mut object = node.object()?;
        let name = object.field("name");
        let matches = object.field("match");
        let mirrors = object.field("mirrors");
        let [compare, unrouted] = ["compare", "unrouted"].map(|name| object.field(name));
        object.finish();

        let name = match name {
            Some(node) => RuleName::read(&node),
            None => Some(RuleName::by_index(index)),
        };
        let matches = match matches {
            Some(node) => all(node.list()?.map(|entry| Match::read(&entry))),
            None => Some(Vec::new()),
        };
        // rewrite.uri replaces what a condition matched, so there has to be one, whichever entry it was.
        let rewritable = matches.as_ref().is_none_or(|entries| {
            let has_prefix = |entry: &Match| entry.uri.as_ref().is_some_and(|uri| uri.rewritten_len().is_some());
            !entries.is_empty() && entries.iter().all(has_prefix)
        });
        let mirrors = match mirrors {
            Some(node) => read_mirrors(&node, rewritable, marker),
            None => object.missing("mirrors", "a list of mirrors; [] mirrors nowhere"),
        };
        let compare = optional(compare, Compare::read);
        let unrouted = optional(unrouted, |node| match node.text()? {
            "ignore" => Some(Unrouted::Ignore),
            "mirror" => Some(Unrouted::Mirror),
            _ => node.refuse("ignore or mirror"),
        });
        let mirrors = mirrors?;
        Some(Self {
            name: name?,
            matches: matches?,
            waits: mirrors.iter().any(|mirror| !mirror.when.is_empty()),
            mirrors,
            compare: compare?.flatten().map(Rc::new),
            unrouted: unrouted?.unwrap_or(Unrouted::Ignore),
        })
    }
}

#[inline(never)]
fn read_mirrors(node: &Node<'_>, rewritable: bool, marker: Option<&HeaderName>) -> Option<Vec<Mirror>> {
    let nodes: Vec<_> = node.list()?.collect();
    let mirrors: Vec<_> = nodes.iter().map(|node| Mirror::read(node, rewritable, marker)).collect();
    let mut seen = HashMap::new();
    for (node, mirror) in nodes.iter().zip(&mirrors) {
        if let Some(mirror) = mirror
            && let Some(first) = seen.insert(mirror.label.as_str(), &node.path)
        {
            let hint = format_args!("already the label of {first}: give one of the two a name");
            node.refuse_as::<()>(format_args!("label {}", mirror.label), hint);
        }
    }
    mirrors.into_iter().collect()
}

impl Match {
    #[inline(never)]
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let uri = object.field("uri");
        let ignore_uri_case = object.field("ignoreUriCase");
        let [method, scheme, authority] = ["method", "scheme", "authority"].map(|name| object.field(name));
        let [route_name, cluster_name] = ["routeName", "clusterName"].map(|name| object.field(name));
        let [headers, without_headers] = ["headers", "withoutHeaders"].map(|name| object.field(name));
        let [query_params, cookies] = ["queryParams", "cookies"].map(|name| object.field(name));
        let source_cidrs = object.field("sourceCidrs");
        object.finish();

        let ignore_uri_case = match ignore_uri_case {
            Some(node) => node.flag(),
            None => Some(false),
        };
        let uri = optional(uri, |node| StringMatch::read(node, ignore_uri_case.unwrap_or_default()));
        let [method, scheme, authority, route_name, cluster_name] =
            [method, scheme, authority, route_name, cluster_name]
                .map(|field| optional(field, |node| StringMatch::read(node, false)));
        let [headers, without_headers] = [headers, without_headers].map(|field| {
            let mut known = Spellings::default();
            map(field, |node, text| known.add(node, text, HeaderName::asked_for(node, text)?))
        });
        let [query_params, cookies] = [query_params, cookies].map(|field| map(field, key));
        let source_cidrs = match source_cidrs {
            Some(node) => read_ranges(&node),
            None => Some(Vec::new()),
        };
        ignore_uri_case?;
        Some(Self {
            uri: uri?,
            method: method?,
            scheme: scheme?,
            authority: authority?,
            headers: headers?,
            without_headers: without_headers?,
            query_params: query_params?,
            cookies: cookies?,
            source_cidrs: source_cidrs?,
            route_name: route_name?,
            cluster_name: cluster_name?,
        })
    }
}

fn map<K>(
    field: Option<Node<'_>>,
    mut read_key: impl FnMut(&Node<'_>, &str) -> Option<K>,
) -> Option<Vec<(K, StringMatch)>> {
    let Some(node) = field else { return Some(Vec::new()) };
    let entry = |(name, node): (&str, Node<'_>)| {
        let key = read_key(&node, name);
        let value = StringMatch::read(&node, false);
        Some((key?, value?))
    };
    all(node.entries()?.map(entry))
}

#[inline(never)]
fn read_ranges(node: &Node<'_>) -> Option<Vec<IpNet>> {
    let nodes: Vec<_> = node.list()?.collect();
    if nodes.is_empty() {
        // It would hold for every request, where it reads as if it held for none.
        return node.refuse("a list of at least one range; without the field: any address");
    }
    all(nodes.iter().map(read_range))
}

#[inline(never)]
fn read_range(node: &Node<'_>) -> Option<IpNet> {
    let text = node.text()?;
    let range = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match range {
        Ok(range) => unmapped(range).or_else(|| {
            node.refuse("an IPv4-mapped range shorter than /96, which has other addresses too: write it as IPv4")
        }),
        Err(_) => node.refuse("not an address range such as 10.0.0.0/8 or fd00::/8"),
    }
}

/// Returns the IPv4 range that is mapped into an IPv6 one, for a peer's address is compared as IPv4 where it is mapped; any
/// other range as it is. `None` where more than mapped addresses are in it: who writes `::ffff:10.0.0.0/8` means `/104`.
fn unmapped(range: IpNet) -> Option<IpNet> {
    let IpNet::V6(wide) = range else { return Some(range) };
    let Some(address) = wide.addr().to_ipv4_mapped() else { return Some(range) };
    Ipv4Net::new(address, wide.prefix_len().checked_sub(96)?).ok().map(IpNet::V4)
}
