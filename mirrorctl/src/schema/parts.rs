//! What several types of the configuration share: names, numbers, and fields that exclude or need each other.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use std::borrow::Cow;

/// The name of a header: a token.
pub(super) const HEADER: &str = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

/// The name of a header that a request is asked for, pseudo headers too.
pub(super) const ASKED_FOR: &str = r"^([A-Za-z0-9!#$%&'*+.^_`|~-]+|:authority|:method|:path|:scheme)$";

/// What may stand in a header's value.
pub(super) const VALUE: &str = r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$";

/// The name of a cookie, of a key in a query, or of a cluster.
pub(super) const NAME: &str = r"^[^\u0000-\u0008\u000a-\u001f\u007f]+$";

/// The name of a cookie that is hidden: nothing that splits cookies, no white space around it.
pub(super) const COOKIE: &str = r"^[^ ,;=\u0000-\u001f\u007f]([^,;=\u0000-\u001f\u007f]*[^ ,;=\u0000-\u001f\u007f])?$";

/// A JSON pointer.
pub(super) const POINTER: &str = r"^(/([^~/]|~[01])*)*$";

/// A duration as Go writes it.
pub(super) const DURATION: &str = r"^(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+$";

/// A whole number, which may be written as a string too.
pub(super) struct Whole<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> JsonSchema for Whole<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Whole".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "integer", "minimum": MIN, "maximum": MAX }, { "type": "string", "pattern": "^[0-9]+$" }]
        })
    }
}

/// Says that of these fields at most one is given; `null` means that it is not.
pub(super) fn at_most_one(fields: &[&str]) -> Value {
    json!({ "anyOf": fields.iter().map(|field| alone(fields, field)).collect::<Vec<_>>() })
}

/// Says that exactly one of these fields is given.
pub(super) fn exactly_one(fields: &[&str]) -> Value {
    let one = |field: &&str| json!({ "allOf": [given(field), alone(fields, field)] });
    json!({ "anyOf": fields.iter().map(one).collect::<Vec<_>>() })
}

/// Says that a field is given only where another one is.
pub(super) fn needs(field: &str, other: &str) -> Value {
    json!({ "anyOf": [{ "properties": { field: { "type": "null" } } }, given(other)] })
}

/// Says that a mirror has a name where its cluster's is one of these.
pub(super) fn needs_name_for(cluster: &str) -> Value {
    json!({ "anyOf": [given("name"), { "properties": { "cluster": { "not": { "type": "string", "pattern": cluster } } } }] })
}

/// Says that at least one of these fields is given.
pub(super) fn at_least_one(fields: &[&str]) -> Value {
    json!({ "anyOf": fields.iter().map(|field| given(field)).collect::<Vec<_>>() })
}

fn given(field: &str) -> Value {
    json!({ "required": [field], "properties": { field: { "not": { "type": "null" } } } })
}

fn alone(fields: &[&str], field: &str) -> Value {
    let others = fields.iter().filter(|other| **other != field);
    let absent: serde_json::Map<_, _> = others.map(|other| ((*other).to_owned(), json!({ "type": "null" }))).collect();
    json!({ "properties": absent })
}
