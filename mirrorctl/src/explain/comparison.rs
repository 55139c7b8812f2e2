//! What of the responses is set side by side.

use crate::reply::Reply;
use traffic_mirror::config::{Compare, How};

/// Explains what is compared of the responses of primary and mirrors.
pub(crate) fn explain(reply: &mut Reply, compare: &Compare) {
    let mut parts = Vec::new();
    if compare.status {
        parts.push("status".to_owned());
    }
    if !compare.headers.is_empty() {
        let names: Vec<_> = compare.headers.iter().map(ToString::to_string).collect();
        parts.push(format!("headers ({})", names.join(", ")));
    }
    if let Some(body) = &compare.body {
        let how = if let How::Json(_) = body.how { "as JSON" } else { "byte by byte" };
        parts.push(format!("body ({how}, up to {} bytes)", body.max_bytes));
    }
    reply.line(format_args!("compare: a mirror's {} and time are set beside the primary's", parts.join(", ")));
    if let Some(How::Json(rules)) = compare.body.as_ref().map(|body| &body.how) {
        let places = match rules.ignore.len() {
            0 => "all places count".to_owned(),
            1 => "1 place is ignored".to_owned(),
            many => format!("{many} places are ignored"),
        };
        let order = if rules.unordered_arrays { ", the order in arrays does not count" } else { "" };
        let null = if rules.null_is_absent { ", a member that is null is as if it were absent" } else { "" };
        reply.line(format_args!("  in JSON: {places}{order}{null}"));
    }
    if !compare.fields {
        reply.line("  where they differ is neither counted nor logged");
    }
    if compare.needs_content() {
        reply.line("  traffic_mirror_compare.wasm does this; the other module refuses the rule");
    }
}
