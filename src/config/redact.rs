//! What is hidden on a mirror's copies: which values, and what stands in their place.

use super::names::{HeaderName, Spellings, key};
use super::node::{Node, all, optional};

/// The most entries of one list: each member, parameter and cookie of a request is compared with all of them.
const MOST_ENTRIES: usize = 100;

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
    pub json: Vec<Pointer>,
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

/// A place in a JSON document: an RFC 6901 pointer in which `*` is any index or member. Empty: the complete document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Vec<Step>);

/// One step of a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To any member or item.
    Any,
    /// To the member of this name, or to the item with this number if it is one.
    To(Box<str>, Option<usize>),
}

impl Pointer {
    /// Reads a pointer; `None` where the text is none.
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        text.strip_prefix('/')?.split('/').map(Step::new).collect::<Option<_>>().map(Self)
    }

    /// Returns the steps from the document to the place.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl Step {
    fn new(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        // Each `~` begins an escape.
        let is_escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let name = is_escaped.then(|| text.replace("~1", "/").replace("~0", "~"))?;
        let is_index = name == "0" || (!name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit()));
        let index = if is_index { name.parse().ok() } else { None };
        Some(Self::To(name.into(), index))
    }
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
        let json = optional(json, |node| {
            let mut known = Vec::new();
            list(node, |node, text| {
                read_pointer(node, text).and_then(|pointer| once(&mut known, node, text).map(|()| pointer))
            })
        });
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

/// Reads a list of at least one text.
#[inline(never)]
fn list<T>(node: &Node<'_>, mut read: impl FnMut(&Node<'_>, &str) -> Option<T>) -> Option<Vec<T>> {
    let nodes: Vec<_> = node.list()?.collect();
    match nodes.len() {
        // It would hide nothing, where it reads as if it hid something.
        0 => node.refuse("a list of at least one; without the field: none"),
        1..=MOST_ENTRIES => all(nodes.iter().map(|node| read(node, node.text()?))),
        many => node.refuse_as(format_args!("{many} entries"), format_args!("at most {MOST_ENTRIES}")),
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

/// Refuses what stands in its list already.
#[inline(never)]
fn once(known: &mut Vec<Box<str>>, node: &Node<'_>, text: &str) -> Option<()> {
    if known.iter().any(|known| **known == *text) {
        return node.refuse("stands in the list already");
    }
    known.push(text.into());
    Some(())
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

#[inline(never)]
fn read_pointer(node: &Node<'_>, text: &str) -> Option<Pointer> {
    let allowed = "not a JSON pointer: empty, or a / before each step, in which ~ stands only as ~0 and / as ~1";
    Pointer::new(text).or_else(|| node.refuse(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_in_order_to_be_looked_up() {
        let text = br#"{"rules":[{"mirrors":[{"cluster":"c","redact":{"form":["b","c","a"],"cookies":["z","y"]}}]}]}"#;
        let config = crate::config::Config::from_bytes(text).unwrap();
        let redact = config.rules[0].mirrors[0].redact.as_ref().unwrap();
        assert_eq!(redact.form, ["a", "b", "c"].map(Box::from));
        assert_eq!(redact.cookies, ["y", "z"].map(Box::from));
    }

    #[test]
    fn pointers_are_those_of_rfc_6901_with_a_star_for_any_step() {
        let to = |name: &str, index| Step::To(name.into(), index);
        for (text, expected) in [
            ("", Some(vec![])),
            ("/", Some(vec![to("", None)])),
            ("/a/*/b", Some(vec![to("a", None), Step::Any, to("b", None)])),
            ("/0/10/01/-", Some(vec![to("0", Some(0)), to("10", Some(10)), to("01", None), to("-", None)])),
            ("/~01~1/**", Some(vec![to("~1/", None), to("**", None)])),
            ("/99999999999999999999999", Some(vec![to("99999999999999999999999", None)])),
            ("a", None),
            ("/~", None),
            ("/~2", None),
            ("/a~~0", None),
        ] {
            assert_eq!(Pointer::new(text).map(|pointer| pointer.0), expected, "{text}");
        }
    }
}
