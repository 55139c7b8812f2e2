//! What a body is, as the headers of its request say.

use super::Failed;
use crate::config::Redact;
use crate::core::header_map::HeaderMap;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Json,
    Form,
}

impl Content {
    /// Finds out what the body is, of what is looked at.
    ///
    /// # Errors
    /// It is something else, or it cannot be told.
    #[inline(never)]
    pub(super) fn of(headers: &HeaderMap, redact: &Redact) -> Result<Self, Failed> {
        let mut kind = None;
        for (name, value) in headers.iter() {
            if is(name, b"content-encoding") {
                return Err(Failed::ContentEncoding);
            }
            if is(name, b"content-type") && kind.replace(value).is_some() {
                return Err(Failed::ContentType);
            }
        }
        let mut parts = kind.unwrap_or_default().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default();
        let content = if is(kind, b"application/x-www-form-urlencoded") {
            Self::Form
        } else if is_json(kind) {
            Self::Json
        } else {
            return Err(Failed::ContentType);
        };
        let is_listed = match content {
            Self::Json => !redact.json.is_empty(),
            Self::Form => !redact.form.is_empty(),
        };
        for parameter in parts {
            // Two types in one line: who reads it may take either.
            if parameter.contains(&b',') {
                return Err(Failed::ContentType);
            }
            if says_charset(parameter) && !is_utf_8(parameter) {
                return Err(Failed::Charset);
            }
        }
        if is_listed { Ok(content) } else { Err(Failed::ContentType) }
    }
}

/// Returns whether this is `application/json`, or a type whose subtype ends in `+json`.
fn is_json(kind: &[u8]) -> bool {
    let is_subtype = |subtype: &[u8]| {
        let suffix = subtype.len().checked_sub(b"+json".len()).and_then(|at| subtype.get(at..));
        suffix.is_some_and(|suffix| is(suffix, b"+json"))
    };
    let mut parts = kind.split(|byte| *byte == b'/');
    match (parts.next(), parts.next(), parts.next()) {
        // What is no type may be cut somewhere: `application/x-www-form-urlencoded x/y+json` is a form to some.
        (Some(first), Some(second), None) if is_token(first) && is_token(second) => {
            is(kind, b"application/json") || is_subtype(second)
        }
        _ => false,
    }
}

/// Returns whether a text is a token of RFC 9110, such as both parts of a type.
fn is_token(text: &[u8]) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_of_token)
}

/// Returns whether `charset` stands anywhere in a parameter: also where it is written in a way that is not known here.
fn says_charset(parameter: &[u8]) -> bool {
    parameter.windows(b"charset".len()).any(|part| is(part, b"charset"))
}

fn is_utf_8(parameter: &[u8]) -> bool {
    [&b"charset=utf-8"[..], b"charset=\"utf-8\""].iter().any(|known| is(parameter, known))
}

/// Returns whether two texts are the same but for the case of letters: one call, where it would be inlined at each place.
#[inline(never)]
fn is(text: &[u8], other: &[u8]) -> bool {
    text.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Pointer, Pointers, With};

    #[test]
    fn a_body_is_what_one_content_type_of_utf_8_says() {
        let both = Redact {
            headers: Vec::new(),
            cookies: Vec::new(),
            query_params: Vec::new(),
            form: vec!["a".into()],
            json: Pointer::new("/a").into_iter().collect(),
            with: With::Mask,
        };
        let kind = |kinds: &[&str]| kinds.iter().map(|kind| ("content-type", kind.to_string())).collect::<Vec<_>>();
        let encoded =
            |encoding: &str| [kind(&["application/json"]), vec![("content-encoding", encoding.into())]].concat();
        for (headers, expected) in [
            (kind(&["application/json"]), Ok(Content::Json)),
            (kind(&["Application/JSON ; Charset=\"UTF-8\"; q=1"]), Ok(Content::Json)),
            (kind(&["application/vnd.api+json;charset=utf-8"]), Ok(Content::Json)),
            (kind(&["image/x+JSON"]), Ok(Content::Json)),
            (kind(&["application/x-www-form-urlencoded"]), Ok(Content::Form)),
            (kind(&["APPLICATION/X-WWW-FORM-URLENCODED; charset=UTF-8"]), Ok(Content::Form)),
            (kind(&[]), Err(Failed::ContentType)),
            (kind(&[""]), Err(Failed::ContentType)),
            (kind(&["text/json"]), Err(Failed::ContentType)),
            (kind(&["+json"]), Err(Failed::ContentType)),
            (kind(&["/+json"]), Err(Failed::ContentType)),
            (kind(&["a/b/c+json"]), Err(Failed::ContentType)),
            (kind(&["application/x-www-form-urlencoded x/y+json"]), Err(Failed::ContentType)),
            (kind(&["application/x-www-form-urlencoded\tx/y+json"]), Err(Failed::ContentType)),
            (kind(&["application/json5"]), Err(Failed::ContentType)),
            (kind(&["multipart/form-data; boundary=a"]), Err(Failed::ContentType)),
            (kind(&["application/json", "application/json"]), Err(Failed::ContentType)),
            (kind(&["application/json, text/x"]), Err(Failed::ContentType)),
            (kind(&["text/x, application/x+json"]), Err(Failed::ContentType)),
            (kind(&["application/json; q=1, text/x"]), Err(Failed::ContentType)),
            (kind(&["application/json; charset=utf-16"]), Err(Failed::Charset)),
            (kind(&["application/json; charset"]), Err(Failed::Charset)),
            (kind(&["application/json; charset*=utf-8"]), Err(Failed::Charset)),
            (kind(&["application/json; charset=utf-8; charset=latin1"]), Err(Failed::Charset)),
            (kind(&["application/json; a=\"; charset=latin1\""]), Err(Failed::Charset)),
            (encoded("gzip"), Err(Failed::ContentEncoding)),
            (encoded("identity"), Err(Failed::ContentEncoding)),
            (encoded(""), Err(Failed::ContentEncoding)),
        ] {
            let map = HeaderMap::from_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
            assert_eq!(Content::of(&map, &both), expected, "{headers:?}");
        }
        let map = |kind: &'static str| HeaderMap::from_pairs([(&b"content-type"[..], kind.as_bytes())]);
        let (no_form, no_json) =
            (Redact { form: Vec::new(), ..both.clone() }, Redact { json: Pointers::default(), ..both });
        assert_eq!(Content::of(&map("application/x-www-form-urlencoded"), &no_form), Err(Failed::ContentType));
        assert_eq!(Content::of(&map("application/json"), &no_json), Err(Failed::ContentType));
    }
}
