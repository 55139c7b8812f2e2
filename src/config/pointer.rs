//! Places in JSON documents: RFC 6901 pointers in which `*` is any index or member.

use super::list::{list, once};
use super::node::Node;

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

    /// Reads a list of at least one pointer, none of them twice.
    #[inline(never)]
    pub(super) fn read_list(node: &Node<'_>) -> Option<Vec<Self>> {
        let mut known = Vec::new();
        list(node, |node, text| read(node, text).and_then(|pointer| once(&mut known, node, text).map(|()| pointer)))
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

#[inline(never)]
fn read(node: &Node<'_>, text: &str) -> Option<Pointer> {
    let allowed = "not a JSON pointer: empty, or a / before each step, in which ~ stands only as ~0 and / as ~1";
    Pointer::new(text).or_else(|| node.refuse(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

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
