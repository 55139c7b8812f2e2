//! Reads JSON text in one walk without recursion, and finds places in it.
//!
//! A parser would hand over values, and not where they stand; what it hands over as text (`serde_json::value::RawValue`) would be
//! read again at each level. What is taken here as JSON is what RFC 8259 allows and UTF-16 can be told of: no half of a surrogate pair.

mod text;

#[cfg(feature = "compare")]
pub(super) use text::Characters;
pub(super) use text::decoded;

use crate::config::Pointers;
use text::Text;

/// How deep arrays and objects may be nested.
const DEEPEST: usize = 128;

/// Why text is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// It is not JSON.
    Malformed,
    /// It is nested too deeply.
    Nesting,
    /// Too many steps of pointers would have to be tried.
    Work,
}

/// Takes in what a walk meets.
pub(super) trait Visitor {
    /// Why the walk may end early.
    type Failed: From<Bad>;

    /// Takes in a value at one of the places, from its beginning to its end. Of what is inside it nothing is told.
    fn found(&mut self, start: usize, end: usize) -> Result<(), Self::Failed>;

    /// Takes in where any other value begins, and from where to where the name is written that it has as a member.
    fn begins(&mut self, _start: usize, _name: (usize, usize)) -> Result<(), Self::Failed> {
        Ok(())
    }

    /// Takes in where the last such value ends that began and has not ended yet.
    fn ends(&mut self, _end: usize) {}
}

/// An array or object that has begun.
struct Open {
    is_object: bool,
    /// How many members or items have begun.
    count: usize,
    /// Where, in the list of steps, those begin that may lead on from here.
    steps: usize,
}

/// Walks through a text. A value inside another that is at one of the places counts as part of it. `tries`: how many steps of
/// pointers may be tried; some pointers with `*` and long lists would take too long.
///
/// # Errors
/// The text is not JSON, is nested too deeply, or takes too many steps; or the visitor's own.
#[inline(never)]
pub(super) fn walk<V: Visitor>(
    body: &str,
    pointers: &Pointers,
    mut tries: usize,
    visitor: &mut V,
) -> Result<(), V::Failed> {
    let mut text = Text::new(body);
    let mut open: Vec<Open> = Vec::new();
    // Where pointers lead that may lead on, container by container; at the end those of the value that comes.
    let mut steps: Vec<usize> = pointers.start().into_iter().collect();
    let mut own = 0;
    // Where the container began that is one of the places, and how many stand around it.
    let mut within = None;
    // The name of the value that comes.
    let mut name = (0, 0);
    loop {
        text.space();
        let start = text.at();
        let is_place = steps.get(own..).is_some_and(|steps| steps.iter().any(|at| pointers.is_place(*at)));
        let is_told = !is_place && within.is_none();
        if is_place {
            steps.truncate(own);
        }
        if is_told {
            visitor.begins(start, name)?;
        }
        let opens = match text.peek() {
            Some(byte @ (b'{' | b'[')) => {
                text.skip(byte);
                Some(byte == b'{')
            }
            Some(b'"') => text.string().map(|_| None)?,
            Some(b't') => text.word(b"true").map(|()| None)?,
            Some(b'f') => text.word(b"false").map(|()| None)?,
            Some(b'n') => text.word(b"null").map(|()| None)?,
            _ => text.number().map(|()| None)?,
        };
        if let Some(is_object) = opens {
            if open.len() >= DEEPEST {
                return Err(Bad::Nesting.into());
            }
            if is_place {
                within = Some((start, open.len()));
            }
            open.push(Open { is_object, count: 0, steps: own });
        } else {
            steps.truncate(own);
            if is_place {
                visitor.found(start, text.at())?;
            }
            if is_told {
                visitor.ends(text.at());
            }
        }
        // To the next value, and out of what ends before it.
        loop {
            text.space();
            let Some(container) = open.last_mut() else {
                return if text.peek().is_none() { Ok(()) } else { Err(Bad::Malformed.into()) };
            };
            if text.skip(if container.is_object { b'}' } else { b']' }) {
                steps.truncate(container.steps);
                open.pop();
                match within {
                    None => visitor.ends(text.at()),
                    Some((start, depth)) if depth == open.len() => {
                        visitor.found(start, text.at())?;
                        within = None;
                    }
                    Some(_) => {}
                }
                continue;
            }
            if container.count > 0 && !text.skip(b',') {
                return Err(Bad::Malformed.into());
            }
            let (parent, index) = (container.steps, container.count);
            container.count = index.saturating_add(1);
            own = steps.len();
            name = (0, 0);
            if container.is_object {
                text.space();
                let before = text.at();
                let written = text.string()?;
                // Without the quotes.
                name = (before.saturating_add(1), text.at().saturating_sub(1));
                text.space();
                if !text.skip(b':') {
                    return Err(Bad::Malformed.into());
                }
                if parent < own {
                    let name = decoded(written).ok_or(Bad::Malformed)?;
                    text.space();
                    lead_on(pointers, &mut steps, parent, text.begins(), |at| pointers.to_member(at, &name));
                }
            } else if parent < own {
                text.space();
                lead_on(pointers, &mut steps, parent, text.begins(), |at| pointers.to_item(at, index));
            }
            tries = tries.checked_sub(own.saturating_sub(parent)).ok_or(Bad::Work)?;
            break;
        }
    }
}

/// Appends where the next steps lead from the places in the list, from one on, to a member or item. `begins`: it is an array or
/// object, else what leads further leads nowhere.
fn lead_on(
    pointers: &Pointers,
    steps: &mut Vec<usize>,
    first: usize,
    begins: bool,
    leads: impl Fn(usize) -> Option<usize>,
) {
    for number in first..steps.len() {
        let Some(at) = steps.get(number).copied() else { return };
        let next = [pointers.to_any(at), leads(at)].into_iter().flatten();
        steps.extend(next.filter(|next| begins || pointers.is_place(*next)));
    }
}
