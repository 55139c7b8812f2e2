//! Lists of names and places: not empty, not too long, and nothing in them twice.

use super::node::{Node, all};

/// The most entries of one list: what a request or a response has is compared with all of them.
const MOST_ENTRIES: usize = 100;

/// Reads a list of at least one text.
#[inline(never)]
pub(super) fn list<T>(node: &Node<'_>, mut read: impl FnMut(&Node<'_>, &str) -> Option<T>) -> Option<Vec<T>> {
    let nodes: Vec<_> = node.list()?.collect();
    match nodes.len() {
        // It would do nothing, where it reads as if it did something.
        0 => node.refuse("a list of at least one; without the field: none"),
        1..=MOST_ENTRIES => all(nodes.iter().map(|node| read(node, node.text()?))),
        many => node.refuse_as(format_args!("{many} entries"), format_args!("at most {MOST_ENTRIES}")),
    }
}

/// Refuses what stands in its list already.
#[inline(never)]
pub(super) fn once(known: &mut Vec<Box<str>>, node: &Node<'_>, text: &str) -> Option<()> {
    if known.iter().any(|known| **known == *text) {
        return node.refuse("stands in the list already");
    }
    known.push(text.into());
    Some(())
}
