//! From the bytes that Envoy hands over to one tree of values: JSON text or a `google.protobuf.Struct`.

use super::path::Path;
use super::violation::{Collector, Violation};
use prost::Message;
use prost_types::value::Kind;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::fmt;

/// The first byte of every Struct that has a field: field 1, length-delimited (Envoy 1.36 to 1.40 pass the
/// protobuf bytes, though the documentation of `PluginConfig.configuration` says JSON).
const STRUCT_TAG: u8 = 0x0a;

/// Returns the JSON text that `bytes` are: as they stand, unless they are a Struct and no JSON.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, [u8]> {
    let fields = || prost_types::Struct::decode(bytes).ok();
    let is_struct = bytes.first() == Some(&STRUCT_TAG) && serde_json::from_slice::<IgnoredAny>(bytes).is_err();
    let json = is_struct.then(fields).flatten().and_then(|fields| serde_json::to_vec(&from_struct(fields)).ok());
    json.map_or(Cow::Borrowed(bytes), Cow::Owned)
}

/// Reads JSON text.
///
/// A key that stands twice in one object is reported to `violations`; the first value is kept.
///
/// # Errors
/// One violation that says what was wanted, where it is no JSON.
pub(super) fn read(text: &[u8], violations: &Collector) -> Result<Value, Violation> {
    if text.is_empty() {
        return Err(Violation::new("", "nothing", "a configuration with at least one rule is required"));
    }
    parse(text, violations, None).map_err(|error| {
        let wanted = format!("neither JSON text ({error}) nor a google.protobuf.Struct");
        Violation::new("", format!("{} bytes", text.len()), wanted)
    })
}

/// Reads JSON text of which it does not matter where something is wrong; `None`: something is.
pub(super) fn read_right(text: &[u8]) -> Option<Value> {
    let violations = Collector::default();
    parse(text, &violations, None).ok().filter(|_| !violations.has_any())
}

/// Reads one field of the outermost object and looks at nothing else: what else is wrong does not matter, be it too deep, a
/// number too large or text that is none. `None` where the bytes are no object, or it has no such field.
pub(super) fn field(bytes: &[u8], name: &'static str) -> Option<Value> {
    if let Ok(found) = parse(bytes, &Collector::default(), Some(name)) {
        return found.get(name).cloned();
    }
    let entries = Fields::decode(bytes).ok()?.entries;
    // Of entries with one name the last counts, as in any map of protobuf.
    let value = entries.into_iter().rfind(|entry| entry.name == name.as_bytes())?.value;
    Some(from_proto(prost_types::Value::decode(&*value).ok()?))
}

/// A `google.protobuf.Struct` whose values are not read: a map has the encoding of a list of its entries, and a message that
/// of bytes.
#[derive(Clone, PartialEq, Message)]
struct Fields {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(bytes, tag = "1")]
    name: Vec<u8>,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

/// Parses JSON text; with `only`, of the outermost object this field alone.
fn parse(bytes: &[u8], violations: &Collector, only: Option<&'static str>) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Tree { path: Path::Root, violations, only }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

fn from_struct(message: prost_types::Struct) -> Value {
    let mut fields = Map::new();
    for (key, value) in message.fields {
        fields.insert(key, from_proto(value));
    }
    Value::Object(fields)
}

fn from_proto(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::NumberValue(number)) => from_double(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(from_proto).collect()),
        Some(Kind::StructValue(message)) => from_struct(message),
    }
}

/// Whole doubles become whole numbers: `5.0` means `5`, and a Struct knows doubles alone.
fn from_double(number: f64) -> Value {
    /// Up to here every whole number has its own double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[allow(clippy::cast_possible_truncation, reason = "whole and in range")]
        return Value::from(number as i64);
    }
    // What is not finite is not JSON either: as text it is refused.
    Number::from_f64(number).map_or_else(|| Value::from("not a finite number"), Value::Number)
}

/// Builds a [`Value`] as serde_json does, but notices keys that stand twice: the parser alone would keep the last
/// and lose the others without a word.
struct Tree<'a> {
    path: Path<'a>,
    violations: &'a Collector,
    /// The one field that is read of an object; what is in others is not even looked at.
    only: Option<&'static str>,
}

impl Tree<'_> {
    fn below<'b>(&'b self, path: Path<'b>) -> Tree<'b> {
        Tree { path, violations: self.violations, only: None }
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(from_double(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.below(Path::Item(&self.path, list.len())))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if self.only.is_some_and(|only| only != key) {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let path = Path::Field(&self.path, &key);
            let value = entries.next_value_seed(self.below(path))?;
            if map.contains_key(&key) {
                self.violations.push(Violation::new(path.to_string(), "stands twice", "each field once"));
            } else {
                map.insert(key, value);
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_alone(bytes: &[u8]) -> (Result<Value, Violation>, Vec<String>) {
        let violations = Collector::default();
        let value = read(&text(bytes), &violations);
        (value, violations.into_violations().lines().collect())
    }

    #[test]
    fn json_becomes_the_tree_it_spells() {
        let text = r#" {"a":[1.0,-2,1.5,"x",true,null,{}], "big":18446744073709551615}"#;
        let (value, violations) = read_alone(text.as_bytes());
        assert_eq!(value.unwrap(), json!({"a":[1,-2,1.5,"x",true,null,{}], "big":18446744073709551615u64}));
        assert!(violations.is_empty());
    }

    #[test]
    fn a_key_that_stands_twice_is_named_with_its_path() {
        let (value, violations) = read_alone(br#"{"rules":[{"name":"a","name":"b"}]}"#);
        assert_eq!(value.unwrap(), json!({"rules":[{"name":"a"}]}));
        assert_eq!(violations, ["rules[0].name: stands twice: each field once"]);
    }

    #[test]
    fn a_struct_becomes_the_same_tree_as_its_json() {
        let mut message = prost_types::Struct::default();
        let number = |n| prost_types::Value { kind: Some(Kind::NumberValue(n)) };
        let list = prost_types::ListValue { values: vec![number(1.0), number(0.5)] };
        message.fields.insert("l".into(), prost_types::Value { kind: Some(Kind::ListValue(list)) });
        message.fields.insert("n".into(), prost_types::Value { kind: Some(Kind::NullValue(0)) });
        let (value, _) = read_alone(&message.encode_to_vec());
        assert_eq!(value.unwrap(), json!({"l":[1,0.5],"n":null}));
    }

    #[test]
    fn anything_else_is_one_error_that_says_what_is_wanted() {
        for bytes in [&b"rules: []"[..], b"{\"rules\":", b"\x0a\xff\xff", b"{} x", &[0xff; 9]] {
            let error = read_alone(bytes).0.unwrap_err().to_string();
            assert!(error.contains("neither JSON text (") && error.contains("google.protobuf.Struct"), "{error}");
        }
        assert!(read_alone(b"").0.unwrap_err().to_string().contains("required"));
    }
}
