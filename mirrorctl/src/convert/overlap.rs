//! Which of many domains share requests with one, without asking each of them.

use super::hosts::{Domain, Name};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// Domains and what belongs to them, from their ends on: those that end alike stand together.
#[derive(Debug)]
pub(super) struct Domains<T> {
    any: Vec<T>,
    names: BTreeMap<String, Vec<T>>,
    wildcards: BTreeMap<String, Vec<T>>,
}

impl<T> Default for Domains<T> {
    fn default() -> Self {
        Self { any: Vec::new(), names: BTreeMap::new(), wildcards: BTreeMap::new() }
    }
}

impl<T: Copy> Domains<T> {
    pub(super) fn add(&mut self, domain: &Domain, value: T) {
        match domain {
            Domain::Any => self.any.push(value),
            Domain::Wildcard(suffix) => self.wildcards.entry(reversed(suffix)).or_default().push(value),
            Domain::Names(names) => {
                for name in names.iter().flat_map(Name::all) {
                    self.names.entry(reversed(&name)).or_default().push(value);
                }
            }
        }
    }

    /// Tells whether a request may be for a domain and for one of these, as [`Domain::overlaps`] does for two.
    pub(super) fn overlap(&self, domain: &Domain) -> bool {
        self.overlapping(domain).next().is_some()
    }

    /// Returns what belongs to those that share requests with a domain.
    pub(super) fn overlapping(&self, domain: &Domain) -> impl Iterator<Item = T> {
        let inside: Box<dyn Iterator<Item = &Vec<T>>> = match domain {
            Domain::Any => Box::new(self.names.values().chain(self.wildcards.values())),
            Domain::Wildcard(suffix) => {
                let suffix = reversed(suffix);
                Box::new(longer(&self.names, &suffix).chain(longer(&self.wildcards, &suffix)))
            }
            Domain::Names(_) => Box::new(std::iter::empty()),
        };
        self.around(domain).chain(inside.flatten().copied())
    }

    /// Returns what belongs to those that have all requests to a domain, or to one of its names.
    pub(super) fn around(&self, domain: &Domain) -> impl Iterator<Item = T> {
        let mut found = vec![&self.any];
        match domain {
            Domain::Any => {}
            Domain::Wildcard(suffix) => {
                let suffix = reversed(suffix);
                found.extend(starts(&suffix).filter_map(|start| self.wildcards.get(start)));
                found.extend(self.wildcards.get(&suffix));
            }
            Domain::Names(names) => {
                for name in names.iter().flat_map(Name::all).map(|name| reversed(&name)) {
                    found.extend(self.names.get(&name));
                    found.extend(starts(&name).filter_map(|start| self.wildcards.get(start)));
                }
            }
        }
        found.into_iter().flatten().copied()
    }
}

/// Returns those of some texts that go on after a start.
fn longer<'a, T>(texts: &'a BTreeMap<String, T>, start: &str) -> impl Iterator<Item = &'a T> + use<'a, T> {
    let from = texts.range::<str, _>((Excluded(start), Unbounded));
    let start = start.to_owned();
    from.take_while(move |(text, _)| text.starts_with(&start)).map(|(_, value)| value)
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
            all.iter().enumerate().for_each(|(number, domain)| domains.add(domain, number));
            let mut found: Vec<_> = domains.overlapping(&one).collect();
            found.sort_unstable();
            found.dedup();
            let expected: Vec<_> = (0..all.len()).filter(|number| all[*number].overlaps(&one)).collect();
            prop_assert_eq!(domains.overlap(&one), !expected.is_empty());
            prop_assert_eq!(found, expected);
            let mut found: Vec<_> = domains.around(&one).collect();
            found.sort_unstable();
            found.dedup();
            let holds = |number: &usize| all[*number].overlaps(&one) && all[*number].order() >= one.order();
            prop_assert_eq!(found, (0..all.len()).filter(holds).collect::<Vec<_>>());
        }
    }
}
