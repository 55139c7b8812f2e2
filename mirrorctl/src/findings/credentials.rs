//! What copies carry to where others may read it.

use super::{Finding, Subject, mirrors};
use crate::input::Document;
use crate::tree::{Tree, join};
use traffic_mirror::config::{Mirror, Target};

/// The headers by which clients show who they are.
const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];

/// Finds mirrors in another namespace, or in whatever cluster a request names, that get credentials as clients sent them.
pub(super) fn credentials_leave(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        let own = namespace_of(subject.documents, &found.place.to_string());
        for (path, mirror) in mirrors(config) {
            let carried: Vec<_> = CREDENTIALS.iter().filter(|name| carries(mirror, name)).copied().collect();
            let to = match &mirror.target {
                Target::Header { name, .. } => Some(format!("the cluster that {name} names")),
                Target::Cluster(cluster) => {
                    let other = namespace(cluster).filter(|other| own.is_some_and(|own| own != *other));
                    other.map(|other| format!("the namespace {other}"))
                }
            };
            if let (Some(to), false) = (to, carried.is_empty()) {
                let place = format!("{}: {}", found.place, join(&found.path, &path));
                let what = format!("copies carry {} as clients sent them to {to}", carried.join(" and "));
                let hint = "redact them, or name them in headers.remove";
                findings.push(Finding::warning("credentials-leave", place, what, hint));
            }
        }
    }
    findings
}

/// Tells whether a copy has a header as the client sent it. A cookie that is named is what there is to hide.
fn carries(mirror: &Mirror, header: &str) -> bool {
    let edits = &mirror.headers;
    let mut others = edits.remove.iter().chain(edits.set.iter().map(|(name, _)| name));
    let is_edited = others.any(|name| name.as_str() == header);
    let is_hidden = mirror.redact.as_ref().is_some_and(|redact| {
        let hides_cookies = header == "cookie" && !redact.cookies.is_empty();
        hides_cookies || redact.headers.iter().any(|name| name.as_str() == header)
    });
    !is_edited && !is_hidden
}

/// Returns the namespace that Istio's name of a cluster says: `outbound|80||mirror.NAMESPACE.svc.cluster.local`.
fn namespace(cluster: &str) -> Option<&str> {
    let host = cluster.strip_prefix("outbound|")?.rsplit('|').next()?;
    let mut labels = host.split('.').skip(1);
    let namespace = labels.next()?;
    (labels.next() == Some("svc")).then_some(namespace)
}

/// Returns the namespace of the resource at a place. One of the mesh's own says nothing of where the requests belong.
fn namespace_of<'d>(documents: &'d [Document], place: &str) -> Option<&'d str> {
    let document = documents.iter().find(|document| document.place.to_string() == place)?;
    let tree: &Tree = &document.tree;
    tree.text_at(&["metadata", "namespace"]).filter(|namespace| *namespace != "istio-system")
}
