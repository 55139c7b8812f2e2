//! Entries by texts that a value has to contain: one pass over the value finds all texts that stand in it.

use crate::config::Literal;
use daachorse::DoubleArrayAhoCorasick;
use std::fmt;

/// Shorter texts stand in too many values to tell any apart.
const SHORTEST: usize = 3;

/// The most bytes of a text that are looked for: its last ones.
const LONGEST: usize = 64;

/// The most bytes that all texts may have together: to make the finder takes a hundred times as many.
const MOST_BYTES: usize = 128 << 10;

/// Finds the entries whose texts a value contains.
pub(super) struct Within {
    /// `None`: there are too many texts to look for.
    texts: Option<DoubleArrayAhoCorasick<u32>>,
    /// By text, the positions of the entries that want it.
    positions: Vec<Vec<usize>>,
    /// Those of all entries.
    all: Vec<usize>,
}

impl fmt::Debug for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Within").field("all", &self.all).finish_non_exhaustive()
    }
}

impl Within {
    /// Tells whether it is worth while to look for what a condition's values contain.
    pub(super) fn pays(literal: &Literal<'_>) -> bool {
        !lists(literal).is_empty()
    }

    /// Makes the finder of entries, in order, each with what its values contain.
    pub(super) fn new(members: &[(usize, Literal<'_>)]) -> Self {
        let members: Vec<_> = members.iter().map(|(position, literal)| (*position, lists(literal))).collect();
        let all_lists = members.iter().flat_map(|(position, lists)| lists.iter().map(|texts| (*position, texts)));
        let wanted = pairs(all_lists);
        // What few entries want excludes most of them: `/api/` stands in most values.
        let uses = |text: &[u8]| {
            let below = wanted.partition_point(|(other, _)| *other < text);
            wanted.partition_point(|(other, _)| *other <= text).saturating_sub(below)
        };
        let most_uses = |texts: &&Vec<Vec<u8>>| texts.iter().map(|text| uses(text)).max();
        let mut texts: Vec<&[u8]> = Vec::new();
        let mut positions = Vec::new();
        let best =
            members.iter().filter_map(|(position, lists)| Some((*position, lists.iter().min_by_key(most_uses)?)));
        for (text, position) in pairs(best) {
            if texts.last() != Some(&text) {
                texts.push(text);
                positions.push(Vec::new());
            }
            positions.last_mut().into_iter().for_each(|positions| positions.push(position));
        }
        Self { texts: finder(&texts), positions, all: members.iter().map(|(position, _)| *position).collect() }
    }

    /// Appends lists of positions, each in order, with those of the entries of which some text stands in the value.
    pub(super) fn open<'i>(&'i self, value: &[u8], lists: &mut Vec<&'i [usize]>) {
        match self.find(value) {
            Some(found) => lists.extend(found),
            None => lists.push(&self.all),
        }
    }

    /// `None`: it would take too long, for texts that end with others are found with those at each place.
    fn find(&self, value: &[u8]) -> Option<Vec<&[usize]>> {
        let texts = self.texts.as_ref()?;
        let mut found = Vec::new();
        let mut is_known = vec![false; self.positions.len()];
        let mut left = value.len().saturating_add(self.positions.len());
        for text in texts.find_overlapping_iter(value.to_ascii_lowercase()) {
            left = left.checked_sub(1)?;
            let text = usize::try_from(text.value()).ok()?;
            let is_known = is_known.get_mut(text)?;
            if !std::mem::replace(is_known, true) {
                found.push(self.positions.get(text)?.as_slice());
            }
        }
        Some(found)
    }
}

/// Returns those lists of which a value has to contain a text each that can tell values apart, in lower case.
fn lists(literal: &Literal<'_>) -> Vec<Vec<Vec<u8>>> {
    let end = |text: &[u8]| text.get(text.len().saturating_sub(LONGEST)..).unwrap_or_default().to_ascii_lowercase();
    let mut lists = match literal {
        Literal::Contains(text) => vec![vec![end(text)]],
        Literal::Within(lists) => lists.iter().map(|texts| texts.iter().map(|text| end(text)).collect()).collect(),
        Literal::Exact(_) | Literal::Prefix(_) => Vec::new(),
    };
    lists.retain(|texts| texts.iter().all(|text| text.len() >= SHORTEST));
    lists
}

/// Returns the texts of lists with the positions of the entries that want them, in order, each pair once.
fn pairs<'l>(lists: impl Iterator<Item = (usize, &'l Vec<Vec<u8>>)>) -> Vec<(&'l [u8], usize)> {
    let mut pairs = Vec::new();
    lists.for_each(|(position, texts)| pairs.extend(texts.iter().map(|text| (text.as_slice(), position))));
    sort(&mut pairs);
    pairs
}

#[inline(never)]
fn sort(pairs: &mut Vec<(&[u8], usize)>) {
    pairs.sort_unstable();
    pairs.dedup();
}

/// Makes what finds texts, each by its number. A function of its own: Envoy compiles small ones with less memory.
#[inline(never)]
fn finder(texts: &[&[u8]]) -> Option<DoubleArrayAhoCorasick<u32>> {
    let bytes = texts.iter().map(|text| text.len()).fold(0, usize::saturating_add);
    if bytes > MOST_BYTES { None } else { DoubleArrayAhoCorasick::new(texts).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Texts;
    use proptest::prelude::*;

    fn texts(members: &[Vec<Texts>]) -> Within {
        Within::new(&(3..).zip(members.iter().map(|lists| Literal::Within(lists))).collect::<Vec<_>>())
    }

    fn open(within: &Within, value: &[u8]) -> Vec<usize> {
        let mut lists = Vec::new();
        within.open(value, &mut lists);
        assert!(lists.iter().all(|list| list.is_sorted()));
        let mut found = lists.concat();
        found.sort_unstable();
        found.dedup();
        found
    }

    proptest! {
        #[test]
        fn an_entry_is_found_where_its_values_contain_a_text_of_each_list(
            members in prop::collection::vec(prop::collection::vec(prop::collection::vec("[abAB]{3,4}", 1..4), 1..3), 1..12),
            value in "[abAB]{0,24}",
        ) {
            let bytes = |text: &String| text.to_ascii_lowercase().into_bytes().into_boxed_slice();
            let list = |texts: &Vec<String>| texts.iter().map(bytes).collect();
            let members: Vec<Vec<Texts>> = members.iter().map(|lists| lists.iter().map(list).collect()).collect();
            let within = texts(&members);
            let found = open(&within, value.as_bytes());
            let contains = |text: &[u8]| value.as_bytes().windows(text.len()).any(|part| part.eq_ignore_ascii_case(text));
            let has_one = |texts: &Texts| texts.iter().any(|text| contains(text));
            for (position, lists) in (3..).zip(&members) {
                let is_found = found.contains(&position);
                prop_assert!(is_found || !lists.iter().all(has_one), "{lists:?}");
                // Where it would take too long, all are found.
                prop_assert!(!is_found || lists.iter().any(has_one) || within.find(value.as_bytes()).is_none(), "{lists:?}");
            }
        }
    }

    #[test]
    fn an_entry_is_found_by_what_few_others_want() {
        let member =
            |number: u8| vec![vec![b"/catalogue/"[..].into()], vec![[b"item-", &[number][..]].concat().into()]];
        let members: Vec<_> = (b'a'..b'k').map(member).collect();
        let within = texts(&members);
        assert_eq!(open(&within, b"/catalogue/x"), [0; 0]);
        assert_eq!(open(&within, b"/catalogue/x/Item-C"), [5]);
    }

    #[test]
    fn texts_that_end_with_others_are_not_looked_for_at_each_place() {
        let members: Vec<_> = (3..40).map(|length| vec![vec![vec![b'a'; length].into()]]).collect();
        let within = texts(&members);
        assert_eq!(within.find(&[b'a'; 7]).map(|found| found.len()), Some(5));
        assert!(within.find(&[b'a'; 1000]).is_none());
        assert_eq!(within.find(&[b'b'; 1000]).map(|found| found.len()), Some(0));
    }

    #[test]
    fn so_many_texts_that_the_finder_would_be_large_are_not_looked_for() {
        let member = |number: usize| vec![vec![format!("{number:0>64}").into_bytes().into()]];
        for (count, expected) in [(2048, 1), (2049, 2049)] {
            let members: Vec<_> = (0..count).map(member).collect();
            assert_eq!(open(&texts(&members), format!("{:0>64}", 7).as_bytes()).len(), expected);
        }
    }

    #[test]
    fn a_long_text_is_found_by_its_end_and_a_short_one_is_not_looked_for() {
        let text = [&[b'x'; 100][..], b"end"].concat();
        let within = Within::new(&[(5, Literal::Contains(&text))]);
        assert_eq!(open(&within, &[&[b'X'; 70][..], b"END"].concat()), [5]);
        assert!(Within::pays(&Literal::Contains(b"abc")));
        for literal in [Literal::Contains(b"ab"), Literal::Exact(b"abc"), Literal::Within(&[])] {
            assert!(!Within::pays(&literal), "{literal:?}");
        }
    }
}
