//! A configuration of which only the rules are read that no other configuration has: most of the time that a push takes
//! would go into the others.

use super::document::read_right;
use super::expression::Use;
use super::known::{Known, Source};
use super::rule::Rule;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// A configuration as a tree of values, with what its rules are made of.
pub(super) struct Outline {
    pub(super) value: Value,
    pub(super) origins: Vec<Origin>,
}

/// What a rule is made of.
pub(super) struct Origin {
    pub(super) source: Source,
    /// The rule itself and its expressions, where it is known. The tree has no value then.
    pub(super) known: Option<(Rc<Rule>, Rc<[Use]>)>,
}

impl Outline {
    /// Reads JSON text; `None`: something is wrong, which is for a reader of the complete text to say.
    pub(super) fn read(text: &[u8], known: &Known) -> Option<Self> {
        let Parts::Fields(fields) = Parts::of(text)? else { return None };
        let marker = fields.get("markerHeader").map_or("", |marker| marker.get());
        let (mut value, mut origins) = (Map::new(), Vec::new());
        for (name, text) in fields {
            let text = text.get().as_bytes();
            let field = if name == "rules" {
                let Parts::Items(rules) = Parts::of(text)? else { return None };
                let mut items = Vec::new();
                for (index, text) in rules.into_iter().map(RawValue::get).enumerate() {
                    let source = known.source(text, marker);
                    let known = known.rule(source, index);
                    items.push(if known.is_some() { Value::Null } else { read_right(text.as_bytes())? });
                    origins.push(Origin { source, known });
                }
                Value::Array(items)
            } else {
                read_right(text)?
            };
            value.insert(name, field);
        }
        Some(Self { value: Value::Object(value), origins })
    }
}

/// The parts of a JSON text, as text.
enum Parts<'a> {
    /// An object's, each of another name.
    Fields(BTreeMap<String, &'a RawValue>),
    /// A list's.
    Items(Vec<&'a RawValue>),
    Other,
}

impl<'a> Parts<'a> {
    /// Takes a text apart; `None`: it is no JSON.
    fn of(text: &'a [u8]) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let parts = reader.deserialize_any(Apart).ok()?;
        reader.end().ok()?;
        Some(parts)
    }
}

/// Tells of all that is neither an object nor a list what it is: the library's own words for that would print numbers, for
/// which it has 17 KB of code.
struct Apart;

impl<'de> Visitor<'de> for Apart {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Parts<'de>, E> {
        Ok(Parts::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Parts<'de>, E> {
        Ok(Parts::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Parts<'de>, E> {
        Ok(Parts::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Parts<'de>, E> {
        Ok(Parts::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Parts<'de>, E> {
        Ok(Parts::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Parts<'de>, E> {
        Ok(Parts::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parts<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Parts::Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Parts<'de>, A::Error> {
        let mut fields = BTreeMap::new();
        let mut is_unique = true;
        while let Some(name) = object.next_key()? {
            is_unique &= fields.insert(name, object.next_value()?).is_none();
        }
        Ok(if is_unique { Parts::Fields(fields) } else { Parts::Other })
    }
}
