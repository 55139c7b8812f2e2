//! Copies on which values are hidden, set beside their requests by another reader, which is slow and reads what is left of them:
//! either nothing is sent, or no listed value is in the copy and every other byte is as it was.

use crate::abi::KEY;
use crate::books;
use crate::envoy::Envoy;
use crate::host::Headers;
use arbitrary::{Result, Unstructured};
use hmac::{Hmac, KeyInit, Mac};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt;

/// The steps of pointers, which a target's input chooses from.
pub const PLACES: &[&[&str]] = &[&["a"], &["*", "b"], &["0"], &[], &["a", "*", "*"], &["", "é"], &["a", "0", "b"]];

/// Names of parameters, cookies and headers.
pub const NAMES: &[&str] = &["token", "a b", "é", "a;b"];

/// What bodies are said to be.
pub const KINDS: &[Option<&str>] = &[
    Some("application/json"),
    Some("application/x-www-form-urlencoded"),
    Some("application/problem+json; charset=utf-8"),
    Some("text/plain"),
    None,
];

/// A request, and what is hidden of it.
#[derive(Debug)]
pub struct Case {
    pub places: Vec<Vec<String>>,
    pub is_pseudonym: bool,
    pub kind: Option<String>,
    pub path: Vec<u8>,
    pub cookie: Vec<u8>,
    pub header: Vec<u8>,
    pub body: Vec<u8>,
}

/// Checks the copy of the request that the bytes spell.
pub fn check(bytes: &[u8]) {
    Case::read(&mut Unstructured::new(bytes)).unwrap().check();
}

impl Case {
    /// Reads a case; what remains of the bytes is its body.
    fn read(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let places = (0..bytes.int_in_range(1..=3)?).map(|_| bytes.choose(PLACES)).collect::<Result<Vec<_>>>()?;
        let mut places: Vec<Vec<String>> =
            places.iter().map(|place| place.iter().map(ToString::to_string).collect()).collect();
        places.sort();
        places.dedup();
        let is_pseudonym = bytes.arbitrary()?;
        let kind = bytes.choose(KINDS)?.map(str::to_owned);
        let mut text = || {
            let length = usize::from(bytes.arbitrary::<u8>()?).min(bytes.len());
            Ok(bytes.bytes(length)?.to_vec())
        };
        // Without a path there is no copy.
        let (path, cookie, header) = ([b"/", &text()?[..]].concat(), text()?, text()?);
        let body = bytes.bytes(bytes.len())?.to_vec();
        Ok(Self { places, is_pseudonym, kind, path, cookie, header, body })
    }

    fn configuration(&self) -> Value {
        let escaped = |step: &String| format!("/{}", step.replace('~', "~0").replace('/', "~1"));
        let pointers: Vec<String> = self.places.iter().map(|place| place.iter().map(escaped).collect()).collect();
        let cookies: Vec<_> = NAMES.iter().filter(|name| !name.contains(';')).collect();
        let with = if self.is_pseudonym { "pseudonym" } else { "mask" };
        let redact = json!({
            "json": pointers, "form": NAMES, "queryParams": NAMES, "cookies": cookies, "headers": ["x-token"], "with": with,
        });
        json!({ "rules": [{ "mirrors": [{ "cluster": "a", "redact": redact, "disableShadowHostSuffixAppend": true }] }] })
    }

    fn headers(&self) -> Headers {
        let mut headers: Headers =
            vec![(b":authority".to_vec(), b"primary".to_vec()), (b":method".to_vec(), b"POST".to_vec())];
        headers.push((b":path".to_vec(), self.path.clone()));
        headers.extend(self.kind.iter().map(|kind| (b"content-type".to_vec(), kind.clone().into_bytes())));
        headers.push((b"cookie".to_vec(), self.cookie.clone()));
        headers.push((b"x-token".to_vec(), self.header.clone()));
        headers.push((b"x-other".to_vec(), self.header.clone()));
        headers
    }

    /// Has the request served, and checks its copy; true: there is one.
    pub fn check(&self) -> bool {
        let (envoy, root) = Envoy::with(&self.configuration().to_string());
        let stream = envoy.begin(root, self.headers(), self.body.is_empty());
        if !self.body.is_empty() {
            envoy.body(stream, &self.body, true);
        }
        envoy.end(stream);
        envoy.answer_all("200");
        envoy.retire(root);
        envoy.check();
        let call = Envoy::host(|host| {
            let outcomes = books::by(host, "copies_total", "outcome");
            assert!(["sent", "redaction_failed"].contains(outcomes.keys().next().unwrap()), "{outcomes:?}");
            host.sent.first().cloned()
        });
        let Some(call) = call else { return false };
        let tokens = Tokens { is_pseudonym: self.is_pseudonym };
        let mut expected = self.headers();
        for (name, value) in &mut expected {
            match &name[..] {
                b":path" => *value = tokens.path(value),
                b"cookie" => *value = tokens.cookie(value),
                b"x-token" => *value = tokens.token(value),
                _ => {}
            }
        }
        expected.push((b"x-mirrored-request".to_vec(), b"true".to_vec()));
        let body = match self.kind.as_deref() {
            _ if self.body.is_empty() => Vec::new(),
            Some(kind) if kind.contains("json") => tokens.json(&self.body, &self.places),
            Some(kind) if kind.contains("form") => tokens.parameters(&self.body),
            _ => panic!("a body of {:?} was sent", self.kind),
        };
        assert_eq!(call.headers, expected);
        assert!(
            !may_be_a_cookie(&self.cookie),
            "sent, and servers may find a listed cookie: {:?}",
            self.cookie.escape_ascii()
        );
        assert!(call.body == body, "{:?}, not {:?}", call.body.escape_ascii(), body.escape_ascii());
        true
    }
}

/// What stands in place of values.
struct Tokens {
    is_pseudonym: bool,
}

impl Tokens {
    fn token(&self, value: &[u8]) -> Vec<u8> {
        if !self.is_pseudonym {
            return b"***".to_vec();
        }
        let mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap().chain_update(value).finalize();
        let digits: String = mac.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("p_{}", &digits[..16]).into_bytes()
    }

    fn path(&self, path: &[u8]) -> Vec<u8> {
        assert!(!path.contains(&b'#'), "sent, and servers may read it in two ways");
        match path.iter().position(|byte| *byte == b'?') {
            Some(mark) => [&path[..=mark], &self.parameters(&path[mark + 1..])].concat(),
            None => path.to_vec(),
        }
    }

    fn parameters(&self, text: &[u8]) -> Vec<u8> {
        let parameters = text.split(|byte| *byte == b'&').map(|parameter| {
            for part in parameter.split(|byte| *byte == b';').skip(1) {
                assert!(!is_listed(&unescaped(before(part, b'='))), "sent, and servers may read it in two ways");
            }
            assert!(!may_be_a_name(before(parameter, b'=')), "sent, and servers may read a name in two ways");
            match parameter.iter().position(|byte| *byte == b'=') {
                Some(at) if is_listed(&unescaped(&parameter[..at])) => {
                    [&parameter[..=at], &self.token(&unescaped(&parameter[at + 1..]))].concat()
                }
                _ => parameter.to_vec(),
            }
        });
        parameters.collect::<Vec<_>>().join(&b'&')
    }

    fn cookie(&self, line: &[u8]) -> Vec<u8> {
        let cookies = line.split(|byte| *byte == b';').map(|cookie| {
            let Some(at) = cookie.iter().position(|byte| *byte == b'=') else { return cookie.to_vec() };
            let name = String::from_utf8_lossy(&cookie[..at]).trim_ascii().to_owned();
            if name.contains(';') || !is_listed(name.as_bytes()) {
                return cookie.to_vec();
            }
            let value = &cookie[at + 1..];
            let (start, end) = (value.len() - value.trim_ascii_start().len(), value.trim_ascii_end().len());
            let (start, end) = if start > end { (start, start) } else { (start, end) };
            let is_quoted = end - start > 1 && value[start] == b'"' && value[end - 1] == b'"';
            let (start, end) = if is_quoted { (start + 1, end - 1) } else { (start, end) };
            assert!(is_quoted || value.get(start) != Some(&b'"'), "sent, and the quotes do not close");
            assert!(!is_quoted || !goes_on(&value[start..end]), "sent, and the last quote is one of the value's");
            let token = self.token(&value[start..end]);
            [&cookie[..=at], &value[..start], &token, &value[end..]].concat()
        });
        cookies.collect::<Vec<_>>().join(&b';')
    }

    fn json(&self, body: &[u8], places: &[Vec<String>]) -> Vec<u8> {
        let text = std::str::from_utf8(body).expect("sent, and not UTF-8");
        let document: &RawValue = serde_json::from_str(text).expect("sent, and no JSON");
        let mut ranges = BTreeMap::new();
        for place in places {
            let steps: Vec<_> = place.iter().map(String::as_str).collect();
            values(document.get(), &steps, &mut |value| {
                let start = value.as_ptr() as usize - text.as_ptr() as usize;
                ranges.insert(start, start + value.len());
            });
        }
        let (mut hidden, mut kept) = (Vec::new(), 0);
        for (start, end) in ranges {
            // What is inside another goes with that.
            if start >= kept {
                hidden.extend_from_slice(&body[kept..start]);
                let value = &text[start..end];
                let value = serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned());
                hidden.extend([b"\"", &self.token(value.as_bytes())[..], b"\""].concat());
                kept = end;
            }
        }
        hidden.extend_from_slice(&body[kept..]);
        hidden
    }
}

fn is_listed(name: &[u8]) -> bool {
    NAMES.iter().any(|listed| listed.as_bytes() == name)
}

/// Tells whether a name that is not listed is one to a server that takes off white space, a `?`, or what follows a zero byte.
fn may_be_a_name(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(&unescaped(name)).into_owned();
    let mut rest = &name[..];
    while let Some(first) = rest.chars().next().filter(|first| first.is_whitespace() || *first <= ' ' || *first == '?')
    {
        rest = &rest[first.len_utf8()..];
    }
    let ends = [rest.find('\0').map(|end| &rest[..end]), Some(rest.trim_end())];
    !is_listed(name.as_bytes()) && ends.into_iter().flatten().any(|name| is_listed(name.as_bytes()))
}

/// Tells whether a server finds a listed cookie behind white space or a comma in one that is not listed.
fn may_be_a_cookie(line: &[u8]) -> bool {
    line.split(|byte| *byte == b';').any(|cookie| {
        let name = before(cookie, b'=').trim_ascii();
        let others = cookie.split(|byte| matches!(byte, b',' | b' ' | b'\t' | 0x80..)).map(|part| before(part, b'='));
        !is_listed(name) && others.into_iter().any(is_listed)
    })
}

/// Tells whether a text, as Python reads quoted ones, goes on behind the quote that follows it.
fn goes_on(inner: &[u8]) -> bool {
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'\\' && bytes.next().is_none() {
            return true;
        }
    }
    false
}

fn before(text: &[u8], separator: u8) -> &[u8] {
    text.split(|byte| *byte == separator).next().unwrap()
}

/// Decodes a text as URLs are, digit by digit.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match (text[at], digits) {
            (b'%', Some(digits)) => {
                decoded.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
                at += 2;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    decoded
}

/// Calls for each value at a place, reading the text anew at each step.
fn values<'t>(text: &'t str, steps: &[&str], found: &mut dyn FnMut(&'t str)) {
    let [first, rest @ ..] = steps else { return found(text) };
    for (name, value) in Members::of(text).expect("sent, and no JSON").0 {
        if *first == "*" || *first == name {
            values(value, rest, found);
        }
    }
}

/// The members of an object, repeated ones included, or the items of an array with their numbers.
pub(super) struct Members<'t>(pub(super) Vec<(String, &'t str)>);

impl<'t> Members<'t> {
    /// Reads those of a value; `None`: a name is no text.
    pub(super) fn of(text: &'t str) -> Option<Self> {
        match text.as_bytes()[0] {
            b'{' => serde_json::from_str(text).ok(),
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                let numbered = items.iter().enumerate().map(|(number, item)| (number.to_string(), item.get()));
                Some(Self(numbered.collect()))
            }
            _ => Some(Self(Vec::new())),
        }
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}
