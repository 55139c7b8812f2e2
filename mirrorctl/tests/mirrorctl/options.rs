//! The JSON Schema of the configuration as Markdown: a table for each object, those with several places last.

use serde_json::Value;
use std::fmt::Write;

/// Writes the tables.
pub fn tables(schema: &Value) -> String {
    let mut tables = Tables { root: schema, all: schema.to_string(), text: String::new(), shared: Vec::new() };
    tables.object("", "The configuration", schema);
    while let Some(name) = tables.shared.iter().find(|name| !tables.text.contains(&heading(&title(name)))).copied() {
        let target = tables.target(name);
        tables.object("", &title(name), target);
    }
    tables.text.trim_end().to_owned()
}

struct Tables<'a> {
    root: &'a Value,
    /// The schema as text, in which references are counted.
    all: String,
    text: String,
    /// References to objects that may stand in several places.
    shared: Vec<&'a str>,
}

impl<'a> Tables<'a> {
    fn target(&self, reference: &str) -> &'a Value {
        self.root.pointer(reference.trim_start_matches('#')).unwrap()
    }

    /// Writes the table of an object, and those of the objects in it.
    fn object(&mut self, path: &str, name: &str, schema: &'a Value) {
        let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        let mut inner = Vec::new();
        writeln!(self.text, "{}\n\n{}\n", heading(name), describe(schema).0).unwrap();
        self.text.push_str("| field | value | default | meaning |\n|---|---|---|---|\n");
        let mut fields: Vec<_> = schema["properties"].as_object().unwrap().iter().collect();
        fields.sort_by_key(|(name, _)| !required(name));
        for (name, property) in fields {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let value = self.value(&below, property, &mut inner);
            let (meaning, default) = describe(property);
            let (name, default) = if required(name) {
                (format!("**`{name}`**"), "required".to_owned())
            } else {
                (format!("`{name}`"), default)
            };
            writeln!(self.text, "| {name} | {value} | {} | {} |", escape(&default), escape(&meaning)).unwrap();
        }
        self.text.push('\n');
        for (path, schema) in inner {
            self.object(&path, &format!("`{path}`"), schema);
        }
    }

    /// Says what may stand in a field.
    ///
    /// Objects that may stand only there are put to `inner`.
    fn value(&mut self, path: &str, schema: &'a Value, inner: &mut Vec<(String, &'a Value)>) -> String {
        if let Some(name) = schema["$ref"].as_str() {
            let target = self.target(name);
            if target.get("properties").is_none() {
                return self.value(path, target, inner);
            }
            let heading = if self.all.matches(&format!("\"{name}\"")).count() > 1 {
                self.shared.push(name);
                title(name)
            } else {
                inner.push((path.to_owned(), target));
                path.to_owned()
            };
            return format!("[{}]({})", title(name).to_lowercase(), anchor(&heading));
        }
        if let Some(values) = schema["enum"].as_array() {
            let shown = values.iter().filter(|value| !value.is_null()).map(|value| match value {
                Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`"),
            });
            return shown.collect::<Vec<_>>().join(" or ");
        }
        if let Some(value) = schema.get("const") {
            return format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").and_then(Value::as_str),
            kind => kind.as_str(),
        };
        match kind {
            Some("array") => {
                let items = self.value(&format!("{path}[]"), &schema["items"], inner);
                let least = schema["minItems"].as_u64().map_or(String::new(), |least| format!(", at least {least}"));
                let items = items.strip_prefix("string").map_or_else(|| items.clone(), |rest| format!("strings{rest}"));
                format!("list of {items}{least}")
            }
            Some("object") => format!("map of name to {}", self.value(path, &schema["additionalProperties"], inner)),
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("integer") => format!("whole number{}", range(schema)),
            Some("number") => format!("number{}", range(schema)),
            Some("string") => schema["maxLength"].as_u64().map_or_else(
                || "string".to_owned(),
                |most| format!("string, at most {} characters", grouped(&most.to_string())),
            ),
            _ => self.choice(path, schema, inner),
        }
    }

    /// Says what may stand in a field that takes either of several; `null` aside, which means that the field is absent.
    fn choice(&mut self, path: &str, schema: &'a Value, inner: &mut Vec<(String, &'a Value)>) -> String {
        let choices = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
        let choices = choices.unwrap_or_else(|| panic!("{path}: a value of no type: {schema}"));
        // A whole number may be text, too, which the page says once.
        let is_number = choices.iter().any(|choice| choice["type"] == "integer");
        let given =
            choices.iter().filter(|choice| choice["type"] != "null" && !(is_number && choice["type"] == "string"));
        given.map(|choice| self.value(path, choice, inner)).collect::<Vec<_>>().join(" or ")
    }
}

/// Says between which bounds a number is.
fn range(schema: &Value) -> String {
    let shown = |bound: &str| match &schema[bound] {
        // The largest of a type is no bound that anybody meets.
        Value::Number(number) if number.as_u64() != Some(u64::MAX) => Some(grouped(&number.to_string())),
        _ => None,
    };
    match (shown("minimum").filter(|least| least != "0"), shown("maximum")) {
        (None, None) => String::new(),
        (Some(least), None) => format!(", at least {least}"),
        (least, Some(most)) => format!(" from {} to {most}", least.unwrap_or_else(|| "0".to_owned())),
    }
}

/// Puts commas between thousands.
fn grouped(number: &str) -> String {
    let digits = number.trim_end_matches(".0");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

/// Returns what is said of a field, and its default, which stands in the same text: `Default 5s.` or `Default: none.`
fn describe(schema: &Value) -> (String, String) {
    let text = schema["description"].as_str().unwrap_or_default();
    let Some((before, rest)) = text.split_once("Default").filter(|(_, rest)| rest.starts_with([' ', ':'])) else {
        return (text.to_owned(), String::new());
    };
    let rest = rest.trim_start_matches(':').trim_start();
    let end = rest.find("; ").or_else(|| rest.find(". ")).unwrap_or(rest.trim_end_matches('.').len());
    let (default, after) = rest.split_at(end);
    let after = after.trim_start_matches([';', '.', ' ']);
    (format!("{}{after}", if after.is_empty() { before.trim_end() } else { before }), default.to_owned())
}

/// Returns a definition's name as words: `StringMatch` is a string match.
fn title(reference: &str) -> String {
    let mut words = String::new();
    for character in reference.rsplit('/').next().unwrap().chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push(' ');
            words.extend(character.to_lowercase());
        } else {
            words.push(character);
        }
    }
    words
}

fn heading(name: &str) -> String {
    format!("### {name}")
}

/// Returns the link to a heading.
fn anchor(heading: &str) -> String {
    let plain = heading.chars().filter(|character| character.is_alphanumeric() || *character == ' ');
    format!("#{}", plain.collect::<String>().to_lowercase().replace(' ', "-"))
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}
