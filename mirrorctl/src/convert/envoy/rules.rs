//! A route configuration as rules that decide as it does.

use super::domain::Domains;
use super::routes::{Host, Piece};
use super::{Heard, Lost};
use crate::convert::rules::Names;
use crate::tree::{Tree, join};
use traffic_mirror::config::Config;

/// A virtual host with the rules of its routes.
struct Hosted {
    pieces: Vec<Piece>,
    /// Domains and the virtual host's name, for messages and rules.
    name: String,
}

/// Domains that are tried one after the other, all of one virtual host.
struct Group {
    domains: Vec<Domains>,
    /// The place of the virtual host among those that were read.
    host: usize,
}

/// Writes the rules; none where nothing is mirrored.
pub(super) fn rules(table: &Tree, clusters: &[(String, Vec<Tree>)], names: &mut Names, heard: &Heard) -> Vec<Tree> {
    if table.get("vhost_header").is_some() {
        heard.warn("vhost_header", "virtual hosts are not chosen by the host: nothing is mirrored", Lost::Mirror);
        return Vec::new();
    }
    let virtual_hosts = table.get("virtual_hosts").map(Tree::children).unwrap_or_default();
    let routes = virtual_hosts.iter().flat_map(|(_, host)| host.get("routes").map(Tree::items).unwrap_or_default());
    let route_names: Vec<_> = routes.filter_map(|route| route.text_at(&["name"])).collect();
    let once = |name: &&str| route_names.iter().filter(|other| *other == name).count() == 1;
    let unique_names: Vec<_> = route_names.iter().copied().filter(once).collect();
    let ignores_port = table.get("ignore_port_in_host_matching") == Some(&Tree::Flag(true));
    let mut hosts = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    for (index, tree) in &virtual_hosts {
        let name = tree.text_at(&["name"]).unwrap_or("host");
        let path = join("virtual_hosts", index);
        let host = Host { name, path, tree, table, clusters, unique: &unique_names, heard };
        let domains = Domains::read(tree.get("domains").map(Tree::items).unwrap_or_default(), ignores_port);
        groups.extend(domains.into_iter().map(|domains| Group { domains: vec![domains], host: hosts.len() }));
        hosts.push(Hosted { pieces: trimmed(host.pieces()), name: name.to_owned() });
    }
    groups.sort_by_key(|group| group.domains.first().map(Domains::order));
    let mut joined: Vec<Group> = Vec::new();
    for group in groups {
        match joined.last_mut() {
            Some(last) if last.host == group.host => last.domains.extend(group.domains),
            _ => joined.push(group),
        }
    }
    let mirrors = |group: &Group| hosts.get(group.host).is_some_and(|host| !host.pieces.is_empty());
    let mut rules = Vec::new();
    for (index, group) in joined.iter().enumerate() {
        let Some(host) = hosts.get(group.host) else { continue };
        let mut later = joined.iter().skip(index.saturating_add(1)).filter(|later| mirrors(later));
        let overlaps =
            |later: &Group| later.domains.iter().any(|other| group.domains.iter().any(|own| own.overlaps(other)));
        let mut is_closed = false;
        for piece in &host.pieces {
            is_closed = is_closed || piece.entries.iter().any(super::entry::Entry::is_empty);
            rules.push(checked(write(piece, group, ignores_port, names), heard));
        }
        // Who is not routed by this virtual host is routed by no other.
        if !is_closed && later.any(overlaps) {
            let rest =
                Piece { name: format!("{}-rest", host.name), entries: vec![Default::default()], mirrors: Vec::new() };
            rules.push(checked(write(&rest, group, ignores_port, names), heard));
        }
    }
    rules
}

/// Leaves out what stands behind the last rule that mirrors.
fn trimmed(mut pieces: Vec<Piece>) -> Vec<Piece> {
    let last = pieces.iter().rposition(|piece| !piece.mirrors.is_empty());
    pieces.truncate(last.map_or(0, |last| last.saturating_add(1)));
    pieces
}

fn write(piece: &Piece, group: &Group, ignores_port: bool, names: &mut Names) -> Tree {
    let is_any = group.domains.contains(&Domains::Any);
    let conditions = if is_any {
        Vec::new()
    } else {
        group.domains.iter().flat_map(|domains| domains.conditions(ignores_port)).collect()
    };
    let mut written = Vec::new();
    for entry in &piece.entries {
        for condition in &conditions {
            let mut entry = entry.clone();
            entry.authority = Some(condition.clone());
            written.push(entry.write());
        }
        if conditions.is_empty() && !entry.is_empty() {
            written.push(entry.write());
        }
    }
    let every = conditions.is_empty() && piece.entries.iter().any(super::entry::Entry::is_empty);
    Tree::map([
        ("name", Some(names.unique(&piece.name).into())),
        ("match", (!every).then_some(written.into())),
        ("mirrors", Some(piece.mirrors.clone().into())),
    ])
}

/// Keeps of a rule what the plugin takes.
fn checked(rule: Tree, heard: &Heard) -> Tree {
    let refused = |rule: &Tree| {
        let config = Tree::field("rules", vec![rule.clone()]);
        Config::from_bytes(config.json().as_bytes()).err().map(|violations| violations.lines().collect::<Vec<_>>())
    };
    let Some(why) = refused(&rule) else { return rule };
    let name = rule.text_at(&["name"]).unwrap_or_default().to_owned();
    let mut rule = replaced(&rule, "mirrors", Tree::List(Vec::new()));
    let what = if refused(&rule).is_none() {
        "nothing is mirrored by it"
    } else {
        // The host alone decides: too many requests rather than too few are not mirrored.
        let authority =
            |entry: &Tree| entry.get("authority").map(|authority| Tree::field("authority", authority.clone()));
        let entries = rule.get("match").map(Tree::items).unwrap_or_default();
        let mut hosts: Vec<Tree> = Vec::new();
        for host in entries.iter().filter_map(authority) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        rule = replaced(&rule, "match", hosts.into());
        "nothing is mirrored by it, nor by what comes after it for the same hosts"
    };
    for line in why {
        heard.warn("", &format!("the plugin does not take the rule {name}: {line}: {what}"), Lost::Mirror);
    }
    rule
}

fn replaced(rule: &Tree, field: &str, value: Tree) -> Tree {
    let replace =
        |(name, own): &(String, Tree)| (name.clone(), if name == field { value.clone() } else { own.clone() });
    Tree::Map(rule.fields().iter().map(replace).collect())
}
