//! Where two JSON documents differ, in one walk through both without recursion.

use super::NotCompared;
use super::digest::Digests;
use super::document::{Document, Member, means_the_same};
use super::number::are_equal;
use super::place::{MOST, Places};
use crate::config::JsonRules;
use crate::core::json::Characters;
use std::cmp::Ordering;

/// Compares two texts, and adds the places where they differ; false: they do.
///
/// # Errors
/// One of them is not JSON, or it would take too long.
pub(super) fn compare(
    rules: &JsonRules,
    primary: &[u8],
    mirror: &[u8],
    places: &mut Places,
) -> Result<bool, NotCompared> {
    let [primary, mirror] = [primary, mirror].map(|text| Document::read(text, &rules.ignore));
    let mut comparison = Comparison {
        rules,
        primary: primary?,
        mirror: mirror?,
        places,
        links: Vec::new(),
        work: Vec::new(),
        different: Vec::new(),
    };
    let mut walked = Ok(());
    // Ignored is the document of both, or of none.
    if let (Some(primary), Some(mirror)) = (comparison.primary.root(), comparison.mirror.root()) {
        let mut root = Place { parent: None, step: Step::Root, link: None, differs: false };
        walked = comparison.pair(primary, mirror, &mut root).and_then(|()| comparison.walk());
    }
    // A difference that was found is one, whatever could not be compared behind it.
    if comparison.different.is_empty() { walked.map(|()| true) } else { Ok(false) }
}

/// How a value is reached from what it is in.
#[derive(Debug, Clone, Copy)]
enum Step<'t> {
    /// It is the document.
    Root,
    /// It is an item of an array, whichever.
    Item,
    /// It is a member, whose name is written so and has this hash.
    Member(&'t str, u64),
}

/// A step, after those that lead to what the value is in.
#[derive(Debug, Clone, Copy)]
struct Link<'t> {
    parent: Option<u32>,
    step: Step<'t>,
    /// The hash of all steps.
    hash: u64,
}

/// Where values stand that are being compared; a link is made of it if it is needed.
struct Place<'t> {
    parent: Option<u32>,
    step: Step<'t>,
    link: Option<u32>,
    /// Whether it is known that something differs there.
    differs: bool,
}

struct Comparison<'a> {
    rules: &'a JsonRules,
    primary: Document<'a>,
    mirror: Document<'a>,
    places: &'a mut Places,
    /// The steps to all arrays and objects that are compared.
    links: Vec<Link<'a>>,
    /// Pairs of arrays or of objects that are still to be compared, with their links.
    work: Vec<(u32, u32, u32)>,
    /// The hashes of the places that differ, in order.
    different: Vec<u64>,
}

impl<'a> Comparison<'a> {
    /// Compares what is inside of arrays and objects, until there is none left or enough has been found.
    fn walk(&mut self) -> Result<(), NotCompared> {
        let mut members = [Vec::new(), Vec::new()];
        let mut digests = [Digests::default(), Digests::default()];
        while let Some((primary, mirror, link)) = self.work.pop() {
            if self.different.len() >= MOST {
                break;
            }
            let mut items = Place { parent: Some(link), step: Step::Item, link: None, differs: false };
            if self.primary.first(primary) == b'{' {
                self.objects(primary, mirror, link, &mut members)?;
            } else if self.rules.unordered_arrays {
                let [of_primary, of_mirror] = &mut digests;
                let null_is_absent = self.rules.null_is_absent;
                let is_same = self.primary.written(primary) == self.mirror.written(mirror)
                    || of_primary.array(&self.primary, primary, null_is_absent)?
                        == of_mirror.array(&self.mirror, mirror, null_is_absent)?;
                if !is_same {
                    self.differs(&mut items)?;
                }
            } else {
                self.arrays(primary, mirror, &mut items)?;
            }
        }
        Ok(())
    }

    fn arrays(&mut self, primary: u32, mirror: u32, place: &mut Place<'a>) -> Result<(), NotCompared> {
        let ends = (self.primary.after(primary), self.mirror.after(mirror));
        let (mut primary, mut mirror) = (primary.saturating_add(1), mirror.saturating_add(1));
        while primary < ends.0 && mirror < ends.1 {
            self.pair(primary, mirror, place)?;
            (primary, mirror) = (self.primary.after(primary), self.mirror.after(mirror));
        }
        if primary < ends.0 || mirror < ends.1 {
            self.differs(place)?;
        }
        Ok(())
    }

    fn objects(
        &mut self,
        primary: u32,
        mirror: u32,
        link: u32,
        [of_primary, of_mirror]: &mut [Vec<Member>; 2],
    ) -> Result<(), NotCompared> {
        self.primary.members(primary, self.rules.null_is_absent, of_primary)?;
        self.mirror.members(mirror, self.rules.null_is_absent, of_mirror)?;
        let (mut of_primary, mut of_mirror) = (of_primary.iter().peekable(), of_mirror.iter().peekable());
        loop {
            let order = match (of_primary.peek(), of_mirror.peek()) {
                (Some(primary), Some(mirror)) => primary.hash.cmp(&mirror.hash),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Ok(()),
            };
            let primary = if order.is_le() { of_primary.next() } else { None };
            let mirror = if order.is_ge() { of_mirror.next() } else { None };
            let names = (
                primary.map(|member| (self.primary.name(member.value), member)),
                mirror.map(|member| (self.mirror.name(member.value), member)),
            );
            let place = |(name, member): (&'a str, &Member)| Place {
                parent: Some(link),
                step: Step::Member(name, member.hash),
                link: None,
                differs: false,
            };
            match names {
                (Some((name, primary)), Some((other, mirror))) => {
                    if !means_the_same(name, other) {
                        return Err(NotCompared);
                    }
                    self.pair(primary.value, mirror.value, &mut place((name, primary)))?;
                }
                (Some(alone), None) | (None, Some(alone)) => self.differs(&mut place(alone))?,
                (None, None) => {}
            }
        }
    }

    /// Compares two values, or keeps arrays and objects for later.
    fn pair(&mut self, primary: u32, mirror: u32, place: &mut Place<'a>) -> Result<(), NotCompared> {
        let kinds = [self.primary.first(primary), self.mirror.first(mirror)].map(kind);
        if kinds == [b'{'; 2] || kinds == [b'['; 2] {
            let link = self.link(place)?;
            return push(&mut self.work, (primary, mirror, link));
        }
        let [one, other] = [self.primary.written(primary), self.mirror.written(mirror)];
        let is_same = one == other
            || match kinds {
                [b'"', b'"'] => means_the_same(one, other),
                [b'0', b'0'] => are_equal(one, other),
                _ => false,
            };
        if is_same { Ok(()) } else { self.differs(place) }
    }

    /// Takes in a place where the documents differ.
    fn differs(&mut self, place: &mut Place<'a>) -> Result<(), NotCompared> {
        if place.differs || self.different.len() >= MOST {
            return Ok(());
        }
        place.differs = true;
        let link = self.link(place)?;
        let hash = self.links.get(link as usize).map_or(0, |link| link.hash);
        let Err(at) = self.different.binary_search(&hash) else { return Ok(()) };
        self.different.insert(at, hash);
        let mut steps = Vec::new();
        let mut next = Some(link);
        while let Some(link) = next.and_then(|at| self.links.get(at as usize)) {
            steps.push(link.step);
            next = link.parent;
        }
        self.places.add(steps.iter().rev().flat_map(|step| step.label()));
        Ok(())
    }

    /// Returns the link of a place.
    fn link(&mut self, place: &mut Place<'a>) -> Result<u32, NotCompared> {
        if let Some(link) = place.link {
            return Ok(link);
        }
        let before = place.parent.and_then(|at| self.links.get(at as usize)).map_or(0, |link| link.hash);
        let hash = before.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place.step.hash();
        let link = u32::try_from(self.links.len()).unwrap_or(u32::MAX);
        push(&mut self.links, Link { parent: place.parent, step: place.step, hash })?;
        place.link = Some(link);
        Ok(link)
    }
}

/// Appends to a list that may become long, if there is memory.
fn push<T>(list: &mut Vec<T>, value: T) -> Result<(), NotCompared> {
    list.try_reserve(1).map_err(|_| NotCompared)?;
    list.push(value);
    Ok(())
}

impl<'t> Step<'t> {
    fn hash(self) -> u64 {
        match self {
            Self::Root => 0,
            Self::Item => 1,
            Self::Member(_, hash) => hash,
        }
    }

    /// Returns what it adds to a label. Names are escaped as in pointers.
    fn label(self) -> impl Iterator<Item = char> {
        let (before, name) = match self {
            Self::Root => ("body", ""),
            Self::Item => ("/*", ""),
            Self::Member(name, _) => ("/", name),
        };
        let escaped = |character| match character {
            '~' => ['~', '0'],
            '/' => ['~', '1'],
            _ => [character, '\0'],
        };
        before.chars().chain(Characters::new(name).flat_map(move |character| {
            let [first, second] = escaped(character);
            std::iter::once(first).chain(Some(second).filter(|second| *second != '\0'))
        }))
    }
}

/// Returns what stands for all first bytes of values of a type.
fn kind(first: u8) -> u8 {
    match first {
        b'-' | b'0'..=b'9' => b'0',
        b'f' => b't',
        other => other,
    }
}
