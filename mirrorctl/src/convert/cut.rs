//! Takes fields and items out of a document's text; all else stays as it was written, comments and order included.

use crate::input::yaml;
use crate::tree::Tree;
use serde_saphyr::granit_parser::{Event, Parser, Span, StructureStyle};
use std::ops::Range;

/// Makes the text of `after` out of that of `before`, which has fields and items that `after` has not; `None` where cutting
/// does not do it.
pub(super) fn cut(text: &str, before: &Tree, after: &Tree) -> Option<String> {
    let value = Reader::new(text).document()?;
    let mut cuts = Cuts { text, ranges: Vec::new() };
    cuts.compare(&value, before, after, true)?;
    let shorter = cuts.apply()?;
    // Whatever a text may look like, what comes out is what was meant.
    let [Ok(tree)] = &yaml(&shorter)[..] else { return None };
    (tree == after).then_some(shorter)
}

/// A value and where it stands in the text, without the lines behind it.
struct Value {
    start: usize,
    end: usize,
    children: Children,
}

enum Children {
    None,
    Items(StructureStyle, Vec<Value>),
    /// Names, where they begin, and what stands there.
    Fields(StructureStyle, Vec<(String, usize, Value)>),
}

struct Reader<'t> {
    events: Parser<'t, serde_saphyr::granit_parser::StrInput<'t>>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self { events: Parser::new_from_str(text) }
    }

    fn event(&mut self) -> Option<(Event<'t>, Range<usize>)> {
        let (event, span): (_, Span) = self.events.next()?.ok()?;
        Some((event, span.byte_range()?))
    }

    fn document(&mut self) -> Option<Value> {
        loop {
            match self.event()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (event, range) => return self.value(event, range),
            }
        }
    }

    fn value(&mut self, event: Event<'t>, range: Range<usize>) -> Option<Value> {
        let Range { start, mut end } = range;
        let children = match event {
            Event::Scalar(..) | Event::Alias(_) => Children::None,
            Event::SequenceStart(style, ..) => {
                let mut items = Vec::new();
                loop {
                    match self.event()? {
                        (Event::SequenceEnd, range) if style == StructureStyle::Flow => break end = range.end,
                        (Event::SequenceEnd, _) => break,
                        (event, range) => items.push(self.value(event, range)?),
                    }
                }
                Children::Items(style, items)
            }
            Event::MappingStart(style, ..) => {
                let mut fields = Vec::new();
                loop {
                    let name = match self.event()? {
                        (Event::MappingEnd, range) if style == StructureStyle::Flow => break end = range.end,
                        (Event::MappingEnd, _) => break,
                        (Event::Scalar(name, ..), range) => (name.into_owned(), range),
                        _ => return None,
                    };
                    let (event, range) = self.event()?;
                    let mut value = self.value(event, range)?;
                    // One that is empty stands nowhere.
                    value.end = value.end.max(name.1.end);
                    fields.push((name.0, name.1.start, value));
                }
                Children::Fields(style, fields)
            }
            _ => return None,
        };
        // What a collection of lines ends with is the end of its last line.
        let last = match &children {
            Children::Items(StructureStyle::Block, items) => items.last().map(|item| item.end),
            Children::Fields(StructureStyle::Block, fields) => fields.last().map(|(_, _, value)| value.end),
            _ => None,
        };
        Some(Value { start, end: last.unwrap_or(end), children })
    }
}

struct Cuts<'t> {
    text: &'t str,
    ranges: Vec<Range<usize>>,
}

impl Cuts<'_> {
    /// Finds what is to go; the metadata of the document may have more in the text than in the tree.
    fn compare(&mut self, value: &Value, before: &Tree, after: &Tree, is_document: bool) -> Option<()> {
        match &value.children {
            Children::None => Some(()),
            Children::Fields(style, fields) => {
                let goes: Vec<_> =
                    fields.iter().map(|(name, ..)| !after.fields().iter().any(|(kept, _)| kept == name)).collect();
                let places: Vec<_> = fields.iter().map(|(_, start, value)| *start..value.end).collect();
                self.remove(*style, &places, &goes, false)?;
                for ((name, _, value), _) in fields.iter().zip(goes).filter(|(_, goes)| !goes) {
                    let is_metadata = is_document && name == "metadata";
                    let (before, after) = (before.field_of(name)?, after.field_of(name)?);
                    if is_metadata || before != after {
                        self.compare(value, before, after, false)?;
                    }
                }
                Some(())
            }
            Children::Items(style, items) => {
                let (before, after) = (before.items(), after.items());
                let mut kept = after.iter().peekable();
                let is_same_length = before.len() == after.len();
                let goes: Vec<_> =
                    before.iter().map(|item| !is_same_length && kept.next_if(|kept| *kept == item).is_none()).collect();
                let places: Vec<_> = items.iter().map(|item| item.start..item.end).collect();
                self.remove(*style, &places, &goes, true)?;
                if is_same_length {
                    for ((item, before), after) in items.iter().zip(before).zip(after) {
                        self.compare(item, before, after, false)?;
                    }
                }
                Some(())
            }
        }
    }

    /// Removes some of the children of a value, but not all.
    fn remove(&mut self, style: StructureStyle, places: &[Range<usize>], goes: &[bool], are_items: bool) -> Option<()> {
        if goes.iter().all(|goes| *goes) && !goes.is_empty() {
            return None;
        }
        let mut before: Option<&Range<usize>> = None;
        let mut rest = places.iter().zip(goes).peekable();
        while let Some((place, goes)) = rest.next() {
            if !goes {
                before = Some(place);
                continue;
            }
            // A run of those that go, and what stands behind it.
            let mut last = place;
            let mut lines = vec![place];
            while let Some((place, _)) = rest.next_if(|(_, goes)| **goes) {
                last = place;
                lines.push(place);
            }
            let next = rest.peek().map(|(place, _)| place.start);
            let start = if are_items && style == StructureStyle::Block { self.dash(place.start)? } else { place.start };
            if style == StructureStyle::Flow {
                self.ranges.push(match (next, before) {
                    (Some(next), _) => place.start..next,
                    (None, before) => before?.end..last.end,
                });
            } else if self.begins_line(start) {
                for place in lines {
                    let start = if are_items { self.dash(place.start)? } else { place.start };
                    self.ranges.push(self.line_start(start)..self.line_end(place.end));
                }
            } else {
                // Behind the dash of an item: what comes next takes its place.
                self.ranges.push(start..next?);
            }
        }
        Some(())
    }

    fn line_start(&self, place: usize) -> usize {
        let before = self.text.get(..place).unwrap_or_default();
        before.rfind('\n').map_or(0, |end| end.saturating_add(1))
    }

    fn begins_line(&self, place: usize) -> bool {
        self.text.get(self.line_start(place)..place).is_some_and(|before| before.trim().is_empty())
    }

    /// Returns the end of the line in which a value ends, for a block of text includes what follows it.
    fn line_end(&self, end: usize) -> usize {
        let before = self.text.get(..end).unwrap_or_default().trim_end().len();
        let rest = self.text.get(before..).unwrap_or_default();
        rest.find('\n').map_or(self.text.len(), |length| before.saturating_add(length).saturating_add(1))
    }

    /// Finds the dash before an item, which may have an anchor and a tag.
    fn dash(&self, start: usize) -> Option<usize> {
        let mut before = self.text.get(..start)?.trim_end();
        while let Some((rest, _)) =
            before.rsplit_once(char::is_whitespace).filter(|(_, word)| word.starts_with(['&', '!']))
        {
            before = rest.trim_end();
        }
        before.ends_with('-').then(|| before.len().saturating_sub(1))
    }

    fn apply(mut self) -> Option<String> {
        self.ranges.sort_by_key(|range| range.start);
        let mut kept = String::new();
        let mut from = 0;
        for range in self.ranges {
            kept.push_str(self.text.get(from..range.start).unwrap_or_default());
            from = from.max(range.end);
        }
        kept.push_str(self.text.get(from..)?);
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Tree {
        yaml(text).remove(0).unwrap()
    }

    #[test]
    fn what_goes_is_cut_out_and_nothing_else_changes() {
        for (text, after, expected) in [
            ("a: 1 # one\nb: 2 # two\n# end\nc: 3\n", "{a: 1, c: 3}", Some("a: 1 # one\n# end\nc: 3\n")),
            ("a: 1\nb:\n  c: 2\n  # in\n  d: |\n    x\n\n    y\ne: 3\n", "{a: 1, e: 3}", Some("a: 1\ne: 3\n")),
            ("l:\n- a: 1\n  b: 2\n- b: 3\n", "l: [{b: 2}, {b: 3}]", Some("l:\n- b: 2\n- b: 3\n")),
            ("l:\n- a: 1\n  b: 2\n  c: 3\n", "l: [{c: 3}]", Some("l:\n- c: 3\n")),
            ("l:\n  - a\n  # why\n  - b # x\n  - c\n", "l: [a, c]", Some("l:\n  - a\n  # why\n  - c\n")),
            ("l:\n- a: 1\n- b:\n    c: 1\n- d\n", "l: [{a: 1}, d]", Some("l:\n- a: 1\n- d\n")),
            ("{a: 1, b: {c: 2}, d: 3}\n", "{a: 1, d: 3}", Some("{a: 1, d: 3}\n")),
            ("{a: 1, b: {c: 2}, d: 3}\n", "{a: 1}", Some("{a: 1}\n")),
            ("{a: 1, b: {c: 2}, d: 3}\n", "{d: 3}", Some("{d: 3}\n")),
            ("{\n  \"a\": [1, 2, 3],\n  \"b\": 2\n}", "a: [1, 3]", Some("{\n  \"a\": [1, 3]\n}")),
            ("---\n# first\na: 1\nb: &x 2\n", "a: 1", Some("---\n# first\na: 1\n")),
            ("a: 1\nb:\nc: 2", "{a: 1, c: 2}", Some("a: 1\nc: 2")),
            ("a: ü\r\nb: 2\r\nc: 3\r\n", "{a: ü, c: 3}", Some("a: ü\r\nc: 3\r\n")),
            ("metadata:\n  managedFields: [1]\n  name: a\n", "metadata: {name: a}", Some("metadata:\n  name: a\n")),
            ("l:\n- &x !!map\n  a: 1\n- b\n- *x\n", "l: [b]", Some("l:\n- b\n")),
            // Nothing would be left where something has to stand, or another name is needed.
            ("l:\n- a: 1\n", "l: [{}]", None),
            ("a: &x 1\nb: *x\n", "b: 1", None),
            ("x: &x {a: 1}\ny: {<<: *x, b: 2}\n", "{x: {a: 1}, y: {a: 1}}", None),
        ] {
            assert_eq!(cut(text, &tree(text), &tree(after)).as_deref(), expected, "{text}");
        }
    }
}
