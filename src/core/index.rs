//! Which entries of the rules can match a request at all, so that a thousand rules cost about what ten do.
//!
//! Entries that want a header, path, authority, query parameter or cookie to be, to begin with or to contain a certain text are
//! found by that text; the others are candidates always.

mod within;

use crate::config::{HeaderName, Literal, Match, StringMatch};
use crate::core::request::Request;
use std::borrow::Cow;
use std::collections::HashMap;
use within::Within;

/// Fewer entries than this are tested one by one: that is cheaper than looking them up.
const WORTH_A_TABLE: usize = 8;

/// Finds candidates among entries, which it knows by their positions.
#[derive(Debug)]
pub struct Index {
    /// In the order of their first entries.
    groups: Vec<Group>,
    others: Vec<usize>,
}

/// Entries that look at the same subject.
#[derive(Debug)]
struct Group {
    subject: Subject,
    first: usize,
    finder: Finder,
}

/// How a group's candidates are found.
#[derive(Debug)]
enum Finder {
    /// By what a value is or begins with.
    Texts {
        exact: Table,
        /// A table for each length of prefix.
        prefixes: Vec<(usize, Table)>,
    },
    /// By what a value contains.
    Within(Within),
}

/// Positions, in order, by the text that their entries want.
type Table = HashMap<Box<[u8]>, Vec<usize>>;

/// What entries look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Header(HeaderName),
    Path,
    Authority,
    QueryParam(Box<str>),
    Cookie(Box<str>),
}

impl Index {
    /// Makes the tables; an entry without conditions always matches.
    pub fn new<'m>(entries: impl Iterator<Item = Option<&'m Match>>) -> Self {
        let mut others = Vec::new();
        let mut by_subject: HashMap<_, Vec<_>> = HashMap::new();
        for (position, entry) in entries.enumerate() {
            match entry.and_then(key) {
                Some((subject, literal)) => {
                    by_subject.entry((subject, is_within(&literal))).or_default().push((position, literal));
                }
                None => others.push(position),
            }
        }
        let mut groups = Vec::new();
        for ((subject, _), members) in by_subject {
            match members.first() {
                Some((first, _)) if members.len() >= WORTH_A_TABLE => {
                    groups.push(Group { subject, first: *first, finder: Finder::new(&members) });
                }
                _ => others.extend(members.iter().map(|(position, _)| *position)),
            }
        }
        others.sort_unstable();
        groups.sort_unstable_by_key(|group| group.first);
        Self { groups, others }
    }

    /// Walks over the entries that can match a request, in order. The request is not asked for a group's subject before
    /// that group's first entry is due.
    pub fn candidates<'i, 'r>(&'i self, request: &'r Request<'i>) -> Candidates<'i, 'r> {
        Candidates { request, unopened: &self.groups, others: &self.others, open: Vec::new() }
    }
}

impl Finder {
    fn new(members: &[(usize, Literal<'_>)]) -> Self {
        let mut exact = Table::new();
        let mut prefixes: HashMap<_, Table> = HashMap::new();
        let mut within = Vec::new();
        for (position, literal) in members {
            let (table, text) = match *literal {
                Literal::Exact(text) => (&mut exact, text),
                Literal::Prefix(text) => (prefixes.entry(text.len()).or_default(), text),
                literal => {
                    within.push((*position, literal));
                    continue;
                }
            };
            table.entry(text.into()).or_default().push(*position);
        }
        if within.is_empty() {
            Self::Texts { exact, prefixes: prefixes.into_iter().collect() }
        } else {
            Self::Within(Within::new(&within))
        }
    }
}

impl Group {
    /// Appends the lists of this group's candidates, each in order.
    fn open<'i>(&'i self, request: &Request<'i>, lists: &mut Vec<&'i [usize]>) {
        let Some(value) = self.subject.of(request) else { return };
        match &self.finder {
            Finder::Texts { exact, prefixes } => {
                let exact = exact.get(&*value);
                let prefixes = prefixes.iter().filter_map(|(length, table)| table.get(value.get(..*length)?));
                lists.extend(exact.into_iter().chain(prefixes).map(Vec::as_slice));
            }
            Finder::Within(within) => within.open(&value, lists),
        }
    }
}

impl Subject {
    fn of<'r, 'i>(&'i self, request: &'r Request<'i>) -> Option<Cow<'r, [u8]>> {
        match self {
            Self::Header(name) => request.header(name),
            Self::Path => request.path().map(Cow::Borrowed),
            Self::Authority => request.authority().map(Cow::Borrowed),
            Self::QueryParam(key) => request.query_param(key).map(Cow::Borrowed),
            Self::Cookie(name) => request.cookie(name).map(Cow::Borrowed),
        }
    }
}

/// Finds the condition by which an entry is looked up, if it has one: by what a value is or begins with, which is looked up
/// faster, before what it contains.
fn key(entry: &Match) -> Option<(Subject, Literal<'_>)> {
    key_of(entry, |test| test.literal().filter(|literal| !is_within(literal)))
        .or_else(|| key_of(entry, |test| test.literal().filter(Within::pays)))
}

fn is_within(literal: &Literal<'_>) -> bool {
    matches!(literal, Literal::Contains(_) | Literal::Within(_))
}

fn key_of<'m>(
    entry: &'m Match,
    literal: impl Fn(&'m StringMatch) -> Option<Literal<'m>>,
) -> Option<(Subject, Literal<'m>)> {
    let header = entry.headers.iter().find_map(|(name, test)| Some((Subject::Header(name.clone()), literal(test)?)));
    let uri = || Some((Subject::Path, literal(entry.uri.as_ref()?)?));
    let authority = || Some((Subject::Authority, literal(entry.authority.as_ref()?)?));
    let query =
        || entry.query_params.iter().find_map(|(key, test)| Some((Subject::QueryParam(key.clone()), literal(test)?)));
    let cookie = || entry.cookies.iter().find_map(|(name, test)| Some((Subject::Cookie(name.clone()), literal(test)?)));
    header.or_else(uri).or_else(authority).or_else(query).or_else(cookie)
}

/// The positions of the entries that can match a request.
pub struct Candidates<'i, 'r> {
    request: &'r Request<'i>,
    unopened: &'i [Group],
    others: &'i [usize],
    open: Vec<&'i [usize]>,
}

impl Iterator for Candidates<'_, '_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            let lists = std::iter::once(&mut self.others).chain(&mut self.open);
            let next = lists.filter(|list| !list.is_empty()).min_by_key(|list| list.first().copied());
            let position = next.as_ref().and_then(|list| list.first().copied());
            match self.unopened.split_first() {
                Some((group, rest)) if position.is_none_or(|position| group.first < position) => {
                    self.unopened = rest;
                    group.open(self.request, &mut self.open);
                }
                _ => {
                    let list = next?;
                    *list = list.get(1..).unwrap_or_default();
                    return position;
                }
            }
        }
    }
}
