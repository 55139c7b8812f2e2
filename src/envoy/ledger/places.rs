//! Where the responses of pairs differ: a counter for each place, defined when it is first seen.

use super::{Counter, Kind, MetricId};
use std::cell::RefCell;

/// The most places of one mirror that have counters of their own: the host never frees one, and names can be data.
const MOST: usize = 64;

/// What stands for all other places.
const OTHER: &str = "other";

/// The places in which the responses of one mirror differed from the primary's.
#[derive(Debug)]
pub struct Places {
    /// What the names of their counters begin with.
    prefix: Box<str>,
    /// In the order of their names.
    known: RefCell<Vec<(Box<str>, Counter)>>,
    other: RefCell<Option<Counter>>,
}

impl Places {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), known: RefCell::default(), other: RefCell::default() }
    }

    /// Counts a pair that differs in these places, none of them twice, with the host's `define` and `count`. `also`: places that have
    /// counters elsewhere. `counted` gets each, and how often that was so far where it is worth a line in the log.
    pub fn count<E>(
        &self,
        places: &[Box<str>],
        also: usize,
        define: impl Fn(Kind, &str) -> Result<MetricId, E>,
        count: impl Fn(&Counter),
        mut counted: impl FnMut(&str, Option<u64>),
    ) {
        let name = |place: &str| format!("{}field=.={place};.;differences_total", self.prefix);
        let define = |place: &str| Counter::define(&mut |kind, name| define(kind, name), &name(place)).ok();
        let mut has_other = false;
        for place in places {
            let mut known = self.known.borrow_mut();
            let at = match known.binary_search_by(|(known, _)| known.cmp(place)) {
                Ok(at) => at,
                Err(_) if known.len().saturating_add(also) >= MOST => {
                    has_other = true;
                    continue;
                }
                Err(at) => {
                    let Some(new) = define(place) else { continue };
                    known.insert(at, (place.clone(), new));
                    at
                }
            };
            if let Some((place, counter)) = known.get(at) {
                count(counter);
                counted(place, counter.warning_due());
            }
        }
        if has_other {
            let mut other = self.other.borrow_mut();
            if other.is_none() {
                *other = define(OTHER);
            }
            if let Some(counter) = &*other {
                count(counter);
                counted(OTHER, counter.warning_due());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::BTreeMap;

    /// A host that knows how often each counter was counted.
    #[derive(Default)]
    struct Host {
        names: RefCell<Vec<String>>,
        counts: RefCell<BTreeMap<String, usize>>,
        is_full: Cell<bool>,
    }

    impl Host {
        fn count(&self, places: &Places, names: &[String], also: usize) -> Vec<(String, Option<u64>)> {
            let define = |_, name: &str| {
                if self.is_full.get() {
                    return Err(());
                }
                assert!(!self.names.borrow().contains(&name.to_owned()), "{name} is defined twice");
                self.names.borrow_mut().push(name.to_owned());
                Ok(u32::try_from(self.names.borrow().len() - 1).unwrap())
            };
            let count = |counter: &Counter| {
                let metric = usize::try_from(counter.next()).unwrap();
                let place = self.names.borrow()[metric].replace("P;field=.=", "").replace(";.;differences_total", "");
                *self.counts.borrow_mut().entry(place).or_default() += 1;
            };
            let mut told = Vec::new();
            let names: Vec<Box<str>> = names.iter().map(|name| name.as_str().into()).collect();
            places.count(&names, also, define, count, |place, due| told.push((place.to_owned(), due)));
            told
        }
    }

    fn names(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|number| format!("body/{number}")).collect()
    }

    #[test]
    fn each_place_is_counted_once_a_pair_and_told_at_powers_of_two() {
        let (host, places) = (Host::default(), Places::new("P;"));
        let due: Vec<_> = (0..4).map(|_| host.count(&places, &names(1..2), 1)[0].clone().1).collect();
        assert_eq!(due, [Some(1), Some(2), None, Some(4)]);
        host.count(&places, &["headers/x".into(), "body/0".into()], 1);
        let expected = [("body/0", 1), ("body/1", 4), ("headers/x", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(*host.counts.borrow(), BTreeMap::from(expected));
    }

    #[test]
    fn the_65th_place_and_all_further_ones_are_other_once_a_pair() {
        for (also, own) in [(0, 64), (1, 63)] {
            let (host, places) = (Host::default(), Places::new("P;"));
            host.count(&places, &names(0..own), also);
            assert!(!host.counts.borrow().contains_key("other"));
            host.count(&places, &names(own..own + 3), also);
            host.count(&places, &names(own - 1..own + 1), also);
            let counts = host.counts.borrow();
            assert_eq!((counts.len(), counts["other"]), (own + 1, 2));
            assert_eq!(counts[&format!("body/{}", own - 1)], 2);
        }
    }

    #[test]
    fn a_counter_that_the_host_refuses_costs_nothing_else() {
        let (host, places) = (Host::default(), Places::new("P;"));
        host.is_full.set(true);
        assert_eq!(host.count(&places, &names(0..1), 0), []);
        host.is_full.set(false);
        assert_eq!(host.count(&places, &names(0..1), 0).len(), 1);
    }
}
