//! What a configuration with errors does. It can say so however wrong the rest of it is.

use super::document;
use super::node::Node;
use serde_json::Value;

/// What a configuration with errors does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum OnInvalid {
    /// It is refused.
    #[default]
    Refuse,
    /// It is taken, and the last good configuration goes on.
    KeepLast,
}

impl OnInvalid {
    /// Reads the field alone, from JSON text or from the bytes of a `google.protobuf.Struct`. What is no object, or says
    /// nothing that is known, is refused.
    ///
    /// ```
    /// use traffic_mirror::config::OnInvalid;
    ///
    /// assert_eq!(OnInvalid::of(br#"{"rules":[7],"onInvalid":"keepLast"}"#), OnInvalid::KeepLast);
    /// assert_eq!(OnInvalid::of(br#"{"rules":[7]}"#), OnInvalid::Refuse);
    /// ```
    pub fn of(bytes: &[u8]) -> Self {
        document::field(bytes, "onInvalid").as_ref().and_then(Value::as_str).and_then(Self::named).unwrap_or_default()
    }

    pub(super) fn read(node: &Node<'_>) -> Option<Self> {
        Self::named(node.text()?).or_else(|| node.refuse("refuse or keepLast"))
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "refuse" => Some(Self::Refuse),
            "keepLast" => Some(Self::KeepLast),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost_types::value::Kind;

    #[test]
    fn json_says_so_however_wrong_the_rest_is() {
        let deep = format!(r#"{{"rules":{}{},"onInvalid":"keepLast"}}"#, "[".repeat(9999), "]".repeat(9999));
        for text in [
            r#"{"onInvalid":"keepLast"}"#,
            r#" {"on\u0049nvalid":"keep\u004cast"} "#,
            r#"{"rules":"none","x":{},"onInvalid":"keepLast"}"#,
            // Such numbers and text do not fit into what a value can be.
            r#"{"rules":[1e999,"\ud800"],"onInvalid":"keepLast"}"#,
            r#"{"onInvalid":"keepLast","onInvalid":"refuse"}"#,
            &deep,
        ] {
            assert_eq!(OnInvalid::of(text.as_bytes()), OnInvalid::KeepLast, "{text:.80}");
        }
    }

    #[test]
    fn what_does_not_say_so_is_refused() {
        for text in [
            "",
            "{}",
            "null",
            r#""keepLast""#,
            r#"["onInvalid","keepLast"]"#,
            r#"{"onInvalid":"refuse"}"#,
            r#"{"onInvalid":"refuse","onInvalid":"keepLast"}"#,
            r#"{"onInvalid":null}"#,
            r#"{"onInvalid":"KeepLast"}"#,
            r#"{"onInvalid":["keepLast"]}"#,
            r#"{"oninvalid":"keepLast"}"#,
            r#"{"rules":{"onInvalid":"keepLast"}}"#,
            r#"{"onInvalid":"keepLast""#,
            r#"{"onInvalid":"keepLast"} x"#,
            "onInvalid: keepLast",
        ] {
            assert_eq!(OnInvalid::of(text.as_bytes()), OnInvalid::Refuse, "{text}");
        }
    }

    #[test]
    fn a_struct_says_so_however_deep_the_rest_is() {
        let value = |kind| prost_types::Value { kind: Some(kind) };
        let deep = (0..200).fold(value(Kind::BoolValue(true)), |inner, _| {
            value(Kind::ListValue(prost_types::ListValue { values: vec![inner] }))
        });
        for (said, expected) in [
            (Kind::StringValue("keepLast".into()), OnInvalid::KeepLast),
            (Kind::StringValue("refuse".into()), OnInvalid::Refuse),
            (Kind::BoolValue(true), OnInvalid::Refuse),
        ] {
            let mut message = prost_types::Struct::default();
            message.fields.insert("rules".into(), deep.clone());
            message.fields.insert("onInvalid".into(), value(said));
            assert_eq!(OnInvalid::of(&message.encode_to_vec()), expected);
        }
        for bytes in [&b"\x0a"[..], b"\x0a\xff\xff", b"\x0a\x02\x0a\x00"] {
            assert_eq!(OnInvalid::of(bytes), OnInvalid::Refuse);
        }
    }
}
