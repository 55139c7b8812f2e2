//! Which of many domains share requests with one, without asking each of them.

use super::hosts::{Domain, Name};
use std::collections::BTreeSet;

/// Domains, from their ends on: those that end alike stand together.
#[derive(Debug, Default)]
pub(super) struct Domains {
    has_any: bool,
    names: BTreeSet<String>,
    wildcards: BTreeSet<String>,
}

impl Domains {
    pub(super) fn add(&mut self, domain: &Domain) {
        match domain {
            Domain::Any => self.has_any = true,
            Domain::Wildcard(suffix) => drop(self.wildcards.insert(reversed(suffix))),
            Domain::Names(names) => self.names.extend(names.iter().flat_map(Name::all).map(|name| reversed(&name))),
        }
    }

    /// Tells whether a request may be for a domain and for one of these, as [`Domain::overlaps`] does for two.
    pub(super) fn overlap(&self, domain: &Domain) -> bool {
        let is_empty = self.names.is_empty() && self.wildcards.is_empty();
        self.has_any
            || match domain {
                Domain::Any => !is_empty,
                Domain::Wildcard(suffix) => {
                    let suffix = reversed(suffix);
                    is_longer(&self.names, &suffix)
                        || is_longer(&self.wildcards, &suffix)
                        || starts(&suffix).any(|start| self.wildcards.contains(start))
                        || self.wildcards.contains(&suffix)
                }
                Domain::Names(names) => names.iter().flat_map(Name::all).any(|name| {
                    let name = reversed(&name);
                    self.names.contains(&name) || starts(&name).any(|start| self.wildcards.contains(start))
                }),
            }
    }
}

/// Tells whether one of some texts goes on after a start.
fn is_longer(texts: &BTreeSet<String>, start: &str) -> bool {
    let mut from = texts.range::<str, _>((std::ops::Bound::Excluded(start), std::ops::Bound::Unbounded));
    from.next().is_some_and(|text| text.starts_with(start))
}

/// Returns all that a text starts with, but for nothing and itself.
fn starts(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().skip(1).filter_map(|(end, _)| text.get(..end))
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn domain() -> impl Strategy<Value = Domain> {
        prop_oneof![
            Just("*".to_owned()),
            "\\*[.]?[ab](\\.[ab]){0,2}",
            "[ab]{1,2}(\\.[ab]){0,3}",
            "[ab]\\.[ab]\\.svc\\.cluster\\.local"
        ]
        .prop_map(|host| Domain::of_mesh(&host, "cluster.local").unwrap())
    }

    proptest! {
        #[test]
        fn many_overlap_where_one_of_them_does(all in prop::collection::vec(domain(), 0..5), one in domain()) {
            let mut domains = Domains::default();
            all.iter().for_each(|domain| domains.add(domain));
            prop_assert_eq!(domains.overlap(&one), all.iter().any(|domain| domain.overlaps(&one)));
        }
    }
}
