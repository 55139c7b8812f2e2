//! The text of a regular expression → what it stands for: RE2's syntax, on bytes.

use super::{Ends, Fault};
use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassSet, ClassSetItem, Flag, Flags, FlagsItem, FlagsItemKind, GroupKind, RepetitionKind,
    RepetitionRange,
};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use std::fmt::Display;

/// RE2's bound on repetitions.
const MOST_REPEATED: u32 = 1000;

/// A regular expression.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) hir: Hir,
    pub(super) ends: Ends,
}

/// Parses an expression that has to match a whole value: what it begins and ends with is left out where that only says
/// that anything may stand there, or nothing. Values have no line breaks.
pub(super) fn whole(pattern: &str, ignore_case: bool) -> Result<Parsed, Fault> {
    let hir = parse(pattern, ignore_case)?;
    let mut parts = std::slice::from_ref(&hir);
    while let [part] = parts {
        parts = match part.kind() {
            HirKind::Concat(parts) => parts,
            HirKind::Capture(group) => std::slice::from_ref(&*group.sub),
            _ => break,
        };
    }
    let mut ends = Ends::default();
    while let [first, rest @ ..] = parts {
        let is_anything = is_anything(first);
        if !is_anything && (*first.kind() != HirKind::Look(Look::Start) || ends.open_start) {
            break;
        }
        ends.open_start |= is_anything;
        parts = rest;
    }
    while let [rest @ .., last] = parts {
        let is_anything = is_anything(last);
        if !is_anything && (*last.kind() != HirKind::Look(Look::End) || ends.open_end) {
            break;
        }
        ends.open_end |= is_anything;
        parts = rest;
    }
    Ok(Parsed { hir: Hir::concat(parts.to_vec()), ends })
}

/// Parses an expression. `\d`, `\w` and a dot are ASCII's or any byte, as in RE2, for values need not be UTF-8; an
/// expression that needs Unicode (`\pL`) gets it.
pub(super) fn parse(pattern: &str, ignore_case: bool) -> Result<Hir, Fault> {
    let ast = ast::parse::Parser::new().parse(pattern).map_err(syntax)?;
    if let Some(reason) = foreign(&ast) {
        return Err(Fault::Syntax(reason.to_owned()));
    }
    if !repeats_little(&ast, MOST_REPEATED) {
        return Err(Fault::Repetition);
    }
    let translate = |unicode| {
        let mut builder = TranslatorBuilder::new();
        builder.unicode(unicode).utf8(false).case_insensitive(ignore_case).build().translate(pattern, &ast)
    };
    translate(false).or_else(|_| translate(true)).map_err(syntax)
}

fn syntax(error: impl Display) -> Fault {
    // The library draws the place on lines of their own; the last line says what is wrong.
    let error = error.to_string();
    let reason = error.lines().last().unwrap_or_default();
    Fault::Syntax(reason.trim_start_matches("error: ").to_owned())
}

/// Finds what the library takes and RE2 does not know or, worse, takes for something else; returns what to write instead.
fn foreign(ast: &Ast) -> Option<&'static str> {
    match ast {
        Ast::Flags(flags) => foreign_flags(&flags.flags),
        Ast::Assertion(assertion) => match assertion.kind {
            AssertionKind::StartLine
            | AssertionKind::EndLine
            | AssertionKind::StartText
            | AssertionKind::EndText
            | AssertionKind::WordBoundary
            | AssertionKind::NotWordBoundary => None,
            _ => Some(r"\< and \> are < and > in RE2, and \b takes no braces: write <, > or \b"),
        },
        Ast::ClassBracketed(class) => foreign_class(&class.kind),
        Ast::Repetition(repetition) => foreign(&repetition.ast),
        Ast::Group(group) => match &group.kind {
            GroupKind::NonCapturing(flags) => foreign_flags(flags),
            GroupKind::CaptureIndex(_) | GroupKind::CaptureName { .. } => None,
        }
        .or_else(|| foreign(&group.ast)),
        Ast::Alternation(parts) => parts.asts.iter().find_map(foreign),
        Ast::Concat(parts) => parts.asts.iter().find_map(foreign),
        Ast::Empty(_) | Ast::Literal(_) | Ast::Dot(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) => None,
    }
}

fn foreign_flags(flags: &Flags) -> Option<&'static str> {
    let is_known = |item: &FlagsItem| match item.kind {
        FlagsItemKind::Negation => true,
        FlagsItemKind::Flag(flag) => {
            matches!(flag, Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed)
        }
    };
    (!flags.items.iter().all(is_known)).then_some("RE2 has the flags i, m, s and U alone")
}

fn foreign_class(set: &ClassSet) -> Option<&'static str> {
    match set {
        ClassSet::BinaryOp(_) => {
            Some(r"&&, -- and ~~ are no operators in RE2's classes: write a backslash before the second")
        }
        ClassSet::Item(ClassSetItem::Bracketed(_)) => Some(r"a class within a class is none in RE2: write \[ for ["),
        ClassSet::Item(ClassSetItem::Union(union)) => {
            let nested = |item: &ClassSetItem| matches!(item, ClassSetItem::Bracketed(_));
            union.items.iter().any(nested).then_some(r"a class within a class is none in RE2: write \[ for [")
        }
        ClassSet::Item(_) => None,
    }
}

/// Returns whether no part is repeated more than `most` times, the repetitions around it multiplied. As RE2, it takes a
/// repetition without an upper bound for its lower one.
///
/// <https://github.com/google/re2/blob/main/re2/parse.cc>, `RepetitionWalker`
fn repeats_little(ast: &Ast, most: u32) -> bool {
    match ast {
        Ast::Repetition(repetition) => {
            let (min, max) = match &repetition.op.kind {
                RepetitionKind::Range(RepetitionRange::Exactly(times)) => (*times, *times),
                RepetitionKind::Range(RepetitionRange::AtLeast(min)) => (*min, *min),
                RepetitionKind::Range(RepetitionRange::Bounded(min, max)) => (*min, *max),
                _ => (0, 0),
            };
            let most = most.checked_div(max).unwrap_or(most);
            min <= MOST_REPEATED && most > 0 && repeats_little(&repetition.ast, most)
        }
        Ast::Group(group) => repeats_little(&group.ast, most),
        Ast::Alternation(parts) => parts.asts.iter().all(|part| repeats_little(part, most)),
        Ast::Concat(parts) => parts.asts.iter().all(|part| repeats_little(part, most)),
        _ => true,
    }
}

/// Returns whether a part is `.*`, in whichever spelling, that takes all that a value can hold.
fn is_anything(hir: &Hir) -> bool {
    let HirKind::Repetition(repetition) = hir.kind() else { return false };
    let HirKind::Class(Class::Bytes(class)) = repetition.sub.kind() else { return false };
    let mut ranges = class.iter().map(|range| (range.start(), range.end()));
    let is_any =
        matches!((ranges.next(), ranges.next()), (Some((0, b'\t')), Some((0x0b, 0xff))) | (Some((0, 0xff)), None));
    is_any && repetition.min == 0 && repetition.max.is_none()
}

/// Estimates how many states the automaton of an expression has, a state for each byte and each range of bytes: what it
/// takes is known before it is made.
pub(super) fn weight(hir: &Hir) -> usize {
    let sum = |parts: &[Hir]| parts.iter().map(weight).fold(1_usize, usize::saturating_add);
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        // A range of characters is some sequences of ranges of bytes.
        HirKind::Class(Class::Unicode(class)) => class.ranges().len().saturating_mul(4),
        HirKind::Capture(group) => weight(&group.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => sum(parts),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(repetition.min).max(1);
            let times = usize::try_from(times).unwrap_or(usize::MAX);
            weight(&repetition.sub).saturating_add(1).saturating_mul(times)
        }
    }
}
