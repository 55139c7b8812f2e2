//! A document as it was written: one tree for YAML and JSON that keeps the order of fields, and those that stand twice.

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use std::fmt;

/// A value of a document.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Tree {
    #[default]
    Null,
    Flag(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// Makes an object of its fields; those that are `None` are left out.
    pub(crate) fn map<const N: usize>(fields: [(&str, Option<Tree>); N]) -> Self {
        let given = |(name, value): (&str, Option<Tree>)| Some((name.to_owned(), value?));
        Self::Map(fields.into_iter().filter_map(given).collect())
    }

    /// Makes an object with one field.
    pub(crate) fn field(name: &str, value: impl Into<Tree>) -> Self {
        Self::Map(vec![(name.to_owned(), value.into())])
    }

    /// Returns a field of an object; `null` means that it is absent.
    pub(crate) fn get(&self, name: &str) -> Option<&Tree> {
        self.field_of(name).filter(|value| **value != Self::Null)
    }

    /// Returns a field of an object, `null` included.
    pub(crate) fn field_of(&self, name: &str) -> Option<&Tree> {
        self.fields().iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Returns what stands at the end of a path of fields.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Tree> {
        path.iter().try_fold(self, |tree, name| tree.get(name))
    }

    /// Returns the text at the end of a path of fields.
    pub(crate) fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.text()
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items of a list; of anything else, none.
    pub(crate) fn items(&self) -> &[Tree] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// Returns the fields of an object; of anything else, none.
    pub(crate) fn fields(&self) -> &[(String, Tree)] {
        match self {
            Self::Map(fields) => fields,
            _ => &[],
        }
    }

    /// Returns all fields and items with their names: `name` or `[index]`.
    pub(crate) fn children(&self) -> Vec<(String, &Tree)> {
        match self {
            Self::List(items) => items.iter().enumerate().map(|(index, item)| (format!("[{index}]"), item)).collect(),
            _ => self.fields().iter().map(|(name, value)| (name.clone(), value)).collect(),
        }
    }

    /// Writes JSON text.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Appends a child's name to the path of its parent.
pub(crate) fn join(path: &str, child: &str) -> String {
    if path.is_empty() || child.starts_with('[') { format!("{path}{child}") } else { format!("{path}.{child}") }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Tree {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u64> for Tree {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<f64> for Tree {
    fn from(number: f64) -> Self {
        // What is not finite is not JSON: as text it is refused with what it is.
        Number::from_f64(number).map_or_else(|| Self::Text(number.to_string()), Self::Number)
    }
}

impl From<Vec<Tree>> for Tree {
    fn from(items: Vec<Tree>) -> Self {
        Self::List(items)
    }
}

impl From<Vec<(String, Tree)>> for Tree {
    fn from(fields: Vec<(String, Tree)>) -> Self {
        Self::Map(fields)
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(number.into())
    }

    fn visit_i128<E>(self, number: i128) -> Result<Tree, E> {
        Ok((number as f64).into())
    }

    fn visit_u128<E>(self, number: u128) -> Result<Tree, E> {
        Ok((number as f64).into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, mut value)) = entries.next_entry::<String, Tree>()? {
            // Who wrote which field of a resource is often the most of it, and nobody's to read.
            if let ("metadata", Tree::Map(metadata)) = (&*name, &mut value) {
                metadata.retain(|(name, _)| name != "managedFields");
            }
            fields.push((name, value));
        }
        Ok(Tree::Map(fields))
    }
}
