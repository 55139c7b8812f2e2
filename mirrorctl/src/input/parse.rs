//! From text to trees: YAML of many documents, or JSON values one after another.

use crate::tree::Tree;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, Localizer, Location, MessageFormatter, UserMessageFormatter};
use std::borrow::Cow;

/// How deep a document may be: the reader calls itself for each level.
const DEEPEST: usize = 128;

/// A tree and the text that it was read from, where that is of no other tree; or what is wrong with it.
type Parsed<'t> = Result<(Tree, Option<&'t str>), String>;

/// Reads all documents of a text. One that cannot be read does not keep others from being read.
pub(super) fn parse(text: &str) -> Vec<Parsed<'_>> {
    // As JSON first: the tree keeps keys that stand twice, which the plugin has an error for, and YAML a worse one.
    json(text).unwrap_or_else(|| yaml(text))
}

/// Reads JSON values, with or without lines between them; `None` where the text is something else.
fn json(text: &str) -> Option<Vec<Parsed<'_>>> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Tree>();
    let mut parsed = Vec::new();
    let mut start = 0;
    while let Some(value) = values.next() {
        match value {
            Ok(tree) => {
                let end = values.byte_offset();
                parsed.push(Ok((tree, text.get(start..end).map(str::trim_start))));
                start = end;
            }
            Err(error) => {
                let rest = text.get(start..).unwrap_or_default().trim_start();
                // YAML takes much that looks like JSON, and separates it by lines of its own.
                if parsed.is_empty() || !rest.starts_with(['{', '[']) {
                    return None;
                }
                parsed.push(Err(format!("not JSON: {error}")));
            }
        }
    }
    Some(parsed)
}

/// Reads YAML documents.
pub(super) fn yaml(text: &str) -> Vec<Parsed<'_>> {
    let mut parsed = Vec::new();
    let mut has_template = false;
    for (lines, part) in parts(text) {
        match read(part) {
            Ok(trees) => {
                let text = (trees.len() == 1).then_some(part);
                parsed.extend(trees.into_iter().map(|tree| Ok((tree, text))));
            }
            // Once a file: each of its documents would say so.
            Err(_) if is_template(part) && has_template => {}
            Err(error) => {
                let words = error.render_with_formatter(&Words { lines }).replace('\n', " ");
                let hint = if is_template(part) { "a template: render it first: " } else { "" };
                has_template |= is_template(part);
                parsed.push(Err(format!("{hint}{words}")));
            }
        }
    }
    parsed
}

fn read(text: &str) -> Result<Vec<Tree>, Error> {
    // How much is read is the user's to decide; what may take more time and memory than the text has bytes is limited.
    let budget = serde_saphyr::budget! {
        max_depth: DEEPEST,
        max_documents: usize::MAX,
        max_nodes: usize::MAX,
        max_events: usize::MAX,
        max_total_scalar_bytes: usize::MAX,
    };
    serde_saphyr::from_multiple_with_options(text, serde_saphyr::options! { with_snippet: false, budget: budget })
}

/// Tells whether a text has marks of Helm, Go templates, Jinja or envsubst.
fn is_template(text: &str) -> bool {
    ["{{", "{%", "${"].iter().any(|mark| text.contains(mark))
}

/// Cuts a text where YAML documents begin, and counts the lines before each part. Indented, three dashes are text.
fn parts(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut end, mut first, mut has_content) = (0_usize, 0_usize, 0_usize, false);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_start =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        // Comments and directives before the first line belong to what follows.
        if is_start && has_content {
            parts.push((first, text.get(start..end).unwrap_or_default()));
            (start, first) = (end, number);
        }
        has_content |= is_start || !(line.trim().is_empty() || line.starts_with(['#', '%']));
        end = end.saturating_add(line.len());
    }
    parts.push((first, text.get(start..).unwrap_or_default()));
    parts
}

/// The words for what is wrong in a part of a file that has some lines before it.
struct Words {
    lines: usize,
}

impl Words {
    fn line(&self, location: Location) -> u64 {
        location.line().saturating_add(self.lines as u64)
    }
}

impl MessageFormatter for Words {
    fn localizer(&self) -> &dyn Localizer {
        self
    }

    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        match error {
            Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(),
            Error::Budget { .. } => {
                "too many anchors and aliases: split the file, or write out what they stand for".into()
            }
            _ => match UserMessageFormatter.format_message(error) {
                message if message.contains("recursion limit exceeded") => too_deep(),
                message => message,
            },
        }
    }
}

fn too_deep<'a>() -> Cow<'a, str> {
    format!("nested deeper than {DEEPEST} levels").into()
}

impl Localizer for Words {
    fn attach_location<'a>(&self, base: Cow<'a, str>, location: Location) -> Cow<'a, str> {
        if location == Location::UNKNOWN {
            return base;
        }
        format!("{base} at line {}, column {}", self.line(location), location.column()).into()
    }

    fn alias_defined_at(&self, location: Location) -> String {
        format!(" (defined at line {}, column {})", self.line(location), location.column())
    }

    fn alias_used_at(&self, location: Location) -> String {
        if location == Location::UNKNOWN {
            return String::new();
        }
        format!(" (used at line {}, column {})", self.line(location), location.column())
    }
}
