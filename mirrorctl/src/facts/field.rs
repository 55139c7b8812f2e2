//! Reads fields of Envoy's messages, which have two names each: `retry_policy` and `retryPolicy`.

use crate::tree::Tree;

/// Returns a field, and which of its names it has there.
pub(crate) fn named<'t>(tree: &'t Tree, snake: &str) -> Option<(String, &'t Tree)> {
    [snake.to_owned(), camel(snake)].into_iter().find_map(|name| tree.get(&name).map(|value| (name, value)))
}

/// Returns what stands at the end of a path of fields.
pub(crate) fn at<'t>(tree: &'t Tree, path: &[&str]) -> Option<&'t Tree> {
    path.iter().try_fold(tree, |tree, name| named(tree, name).map(|(_, value)| value))
}

/// Returns the text at the end of a path of fields.
pub(crate) fn text<'t>(tree: &'t Tree, path: &[&str]) -> Option<&'t str> {
    at(tree, path)?.text()
}

/// Tells whether the field at the end of a path is `true`.
pub(crate) fn is_set(tree: &Tree, path: &[&str]) -> bool {
    at(tree, path) == Some(&Tree::Flag(true))
}

/// Returns the items of the list at the end of a path; none where it is absent.
pub(crate) fn items<'t>(tree: &'t Tree, path: &[&str]) -> &'t [Tree] {
    at(tree, path).map(Tree::items).unwrap_or_default()
}

/// Tells whether a message says that it is of this type: the name, or the end of it.
pub(crate) fn is_type(tree: &Tree, name: &str) -> bool {
    tree.text_at(&["@type"]).is_some_and(|url| url.ends_with(name))
}

fn camel(snake: &str) -> String {
    let capital = |word: &str| {
        let (head, tail) = word.split_at_checked(1).unwrap_or_default();
        head.to_ascii_uppercase() + tail
    };
    let mut words = snake.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.map(capital).fold(first, |camel, word| camel + &word)
}
