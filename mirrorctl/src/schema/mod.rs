//! `mirrorctl schema`: the JSON Schema of the configuration, for editors.

mod parts;
mod types;

use crate::reply::Reply;
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

/// Prints the schema.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn run() -> Result<Reply, String> {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(unwrap_description));
    let schema = settings.into_generator().into_root_schema_for::<types::Configuration>();
    let text = serde_json::to_string_pretty(&schema).map_err(|error| error.to_string())?;
    let mut reply = Reply::default();
    reply.line(text);
    Ok(reply)
}

/// Joins the lines of a description, which are as long as the source's.
fn unwrap_description(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}
