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

/// Places in JSON documents, as a tree of the steps that lead to them: they are looked for together, however many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pointers {
    count: usize,
    /// The first is at the document.
    turns: Vec<Turn>,
}

/// Where one step leads, and the next steps from there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Turn {
    is_place: bool,
    any: Option<usize>,
    /// By the names of members, in order.
    named: Vec<(Box<str>, usize)>,
    /// By the numbers of items, in order.
    numbered: Vec<(usize, usize)>,
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

impl Pointers {
    /// Reads a list of at least one pointer, none of them twice.
    #[inline(never)]
    pub(super) fn read(node: &Node<'_>) -> Option<Self> {
        let mut known = Vec::new();
        let pointers = list(node, |node, text| {
            read(node, text).and_then(|pointer| once(&mut known, node, text).map(|()| pointer))
        });
        pointers.map(|pointers| pointers.into_iter().collect())
    }

    /// Returns whether there is no place.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns how many places there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns where all begin, if there is any: at the document.
    pub fn start(&self) -> Option<usize> {
        (!self.is_empty()).then_some(0)
    }

    /// Returns whether the steps that lead here lead to one of the places.
    pub fn is_place(&self, at: usize) -> bool {
        self.turns.get(at).is_some_and(|turn| turn.is_place)
    }

    /// Returns where the next step leads that goes to any member or item.
    pub fn to_any(&self, at: usize) -> Option<usize> {
        self.turns.get(at)?.any
    }

    /// Returns where the next step leads that goes to a member.
    pub fn to_member(&self, at: usize, name: &[u8]) -> Option<usize> {
        let named = &self.turns.get(at)?.named;
        let found = named.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).ok()?;
        named.get(found).map(|(_, next)| *next)
    }

    /// Returns where the next step leads that goes to an item.
    pub fn to_item(&self, at: usize, index: usize) -> Option<usize> {
        let numbered = &self.turns.get(at)?.numbered;
        let found = numbered.binary_search_by_key(&index, |(known, _)| *known).ok()?;
        numbered.get(found).map(|(_, next)| *next)
    }

    fn add(&mut self, pointer: &Pointer) {
        self.count = self.count.saturating_add(1);
        let mut at = 0;
        for step in &pointer.0 {
            let new = self.turns.len();
            let Some(turn) = self.turns.get_mut(at) else { return };
            at = match step {
                Step::Any => *turn.any.get_or_insert(new),
                Step::To(name, index) => match turn.named.binary_search_by(|(known, _)| known.cmp(name)) {
                    Ok(found) => turn.named.get(found).map_or(new, |(_, next)| *next),
                    Err(place) => {
                        turn.named.insert(place, (name.clone(), new));
                        if let Some(index) = index {
                            let place = turn.numbered.partition_point(|(known, _)| known < index);
                            turn.numbered.insert(place, (*index, new));
                        }
                        new
                    }
                },
            };
            if at == new {
                self.turns.push(Turn::default());
            }
        }
        if let Some(turn) = self.turns.get_mut(at) {
            turn.is_place = true;
        }
    }
}

impl FromIterator<Pointer> for Pointers {
    fn from_iter<P: IntoIterator<Item = Pointer>>(pointers: P) -> Self {
        let mut all = Self { count: 0, turns: vec![Turn::default()] };
        pointers.into_iter().for_each(|pointer| all.add(&pointer));
        all
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

    #[test]
    fn pointers_that_begin_alike_share_their_steps() {
        let all: Pointers =
            ["/a/b", "/a/*", "/a/0", "/a", "/*/b", "/10"].map(|text| Pointer::new(text).unwrap()).into_iter().collect();
        assert_eq!((all.len(), all.turns.len()), (6, 8));
        let start = all.start().unwrap();
        let [a, any, ten] = [all.to_member(start, b"a"), all.to_any(start), all.to_item(start, 10)].map(Option::unwrap);
        assert_eq!([start, a, any, ten].map(|at| all.is_place(at)), [false, true, false, true]);
        assert_eq!(all.to_member(start, b"10"), Some(ten));
        assert_eq!((all.to_member(start, b"b"), all.to_item(start, 0), all.to_any(ten)), (None, None, None));
        let ends = [all.to_member(a, b"b"), all.to_any(a), all.to_item(a, 0), all.to_member(any, b"b")];
        assert!(ends.iter().all(|end| end.is_some_and(|end| all.is_place(end))), "{ends:?}");
        assert!(Pointers::default().start().is_none() && Pointers::default().is_empty());
    }
}
