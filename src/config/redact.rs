//! What is hidden on a mirror's copies: which values, and what stands in their place.

use super::list::{list, once};
use super::names::{HeaderName, Spellings, key};
use super::node::{Node, optional};
use super::pointer::Pointers;

/// The values that copies to a mirror do not have.
#[derive(Debug, Clone)]
pub struct Redact {
    /// Headers, each line of them.
    pub headers: Vec<HeaderName>,
    /// Cookies, in order.
    pub cookies: Vec<Box<str>>,
    /// Parameters of the query, as their names decode, in order.
    pub query_params: Vec<Box<str>>,
    /// Parameters of a form in the body, as their names decode, in order; empty: a form is not looked at.
    pub form: Vec<Box<str>>,
    /// Places in a JSON body; empty: JSON is not looked at.
    pub json: Pointers,
    /// What stands in place of a value.
    pub with: With,
}

/// What stands in place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// The same for all.
    Mask,
    /// What is the same for equal values alone, and says nothing of them to who has no key.
    Pseudonym,
}

impl Redact {
    /// Returns whether bodies are looked at.
    pub fn has_body(&self) -> bool {
        !(self.form.is_empty() && self.json.is_empty())
    }

    /// Reads what is hidden. `removed` are the headers that copies do not have anyway, `marker` the one that every copy carries.
    #[inline(never)]
    pub(super) fn read(node: &Node<'_>, removed: &[HeaderName], marker: Option<&HeaderName>) -> Option<Self> {
        let mut object = node.object()?;
        let lists = ["headers", "cookies", "queryParams", "form", "json"];
        let [headers, cookies, query_params, form, json] = lists.map(|name| object.field(name));
        let with = object.field("with");
        if !object.has_any(&lists) {
            object.refuse("{}", format_args!("at least one of {}", lists.join(", ")));
        }
        object.finish();

        let headers = optional(headers, |node| {
            let mut known = Spellings::default();
            list(node, |node, text| known.add(node, text, read_header(node, text, removed, marker)?))
        });
        let cookies = optional(cookies, |node| names(node, read_cookie));
        let [query_params, form] = [query_params, form].map(|field| optional(field, |node| names(node, key)));
        let json = optional(json, Pointers::read);
        let with = optional(with, |node| match node.text()? {
            "mask" => Some(With::Mask),
            "pseudonym" => Some(With::Pseudonym),
            _ => node.refuse("mask or pseudonym"),
        });
        Some(Self {
            headers: headers?.unwrap_or_default(),
            cookies: cookies?.unwrap_or_default(),
            query_params: query_params?.unwrap_or_default(),
            form: form?.unwrap_or_default(),
            json: json?.unwrap_or_default(),
            with: with?.unwrap_or(With::Mask),
        })
    }
}

#[inline(never)]
fn names(node: &Node<'_>, read: fn(&Node<'_>, &str) -> Option<Box<str>>) -> Option<Vec<Box<str>>> {
    let mut known = Vec::new();
    let mut names =
        list(node, |node, text| read(node, text).and_then(|name| once(&mut known, node, text).map(|()| name)))?;
    // Short ones first, as they are looked for.
    names.sort_unstable_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    Some(names)
}

#[inline(never)]
fn read_header(node: &Node<'_>, text: &str, removed: &[HeaderName], marker: Option<&HeaderName>) -> Option<HeaderName> {
    let name = HeaderName::edited(node, text, marker)?;
    if ["content-type", "content-encoding"].contains(&name.as_str()) {
        return node.refuse("what the body is cannot be hidden");
    }
    if removed.contains(&name) {
        return node.refuse("headers.remove of the mirror names it too: leave it there alone");
    }
    Some(name)
}

#[inline(never)]
fn read_cookie(node: &Node<'_>, text: &str) -> Option<Box<str>> {
    if text.contains([';', '=', ',']) || text.trim_ascii() != text {
        return node.refuse("no cookie has such a name");
    }
    key(node, text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_kept_in_order_to_be_looked_up() {
        let text = br#"{"rules":[{"mirrors":[{"cluster":"c","redact":{"form":["b","c","a"],"cookies":["z","y"]}}]}]}"#;
        let config = crate::config::Config::from_bytes(text).unwrap();
        let redact = config.rules[0].mirrors[0].redact.as_ref().unwrap();
        assert_eq!(redact.form, ["a", "b", "c"].map(Box::from));
        assert_eq!(redact.cookies, ["y", "z"].map(Box::from));
    }
}
