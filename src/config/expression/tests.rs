//! Expressions beside the regex crate, on patterns and values at random; and how much they may take.

use super::super::node::Node;
use super::super::violation::Collector;
use super::*;
use crate::config::Replacement;
use proptest::prelude::*;
use regex::bytes::{Captures, Regex, RegexBuilder};

/// Compiles as the regex crate does, with the same choice between bytes and Unicode.
fn reference(pattern: &str, ignore_case: bool) -> Option<Regex> {
    let build = |unicode| RegexBuilder::new(pattern).unicode(unicode).case_insensitive(ignore_case).build();
    build(false).or_else(|_| build(true)).ok()
}

fn pattern() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "ab", "/", "0", "_", "é", r"\.", " "]),
        6 => prop::sample::select(vec![".", "[ab]", "[^a]", r"\d", r"\w", r"\W", "[^/]", "(?s:.)", "(?i:a)", "[a-f0-9]"]),
        3 => prop::sample::select(vec!["^", "$", r"\b", r"\B", "(?m:^)", "(?m:$)", r"\A", r"\z", r"\<", r"\>", ""]),
        1 => prop::sample::select(vec![".*", ".*?", ".+", r"\pL", "(?R:.)"]),
    ];
    atom.prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
        let repeated = prop::sample::select(vec!["*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{0,2}?", "{2,}"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join("|"))),
            (inner, repeated).prop_map(|(part, repeated)| format!("(?:{part}){repeated}")),
        ]
    })
}

/// A pattern, often with what takes anything at its ends.
fn ended() -> impl Strategy<Value = String> {
    let ends = || prop::sample::select(vec!["", "", ".*", "(?s:.*)", ".*?"]);
    let (start, end) = (prop::sample::select(vec!["", "", "^"]), prop::sample::select(vec!["", "", "$"]));
    (start, ends(), pattern(), ends(), end)
        .prop_map(|(start, before, pattern, after, end)| format!("{start}{before}{pattern}{after}{end}"))
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![6 => prop::sample::select(&b"abAB/0_. \xc3\xa9\r"[..]), 1 => any::<u8>()];
    prop::collection::vec(byte, 0..12)
}

fn values() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(value(), 1..20)
}

/// What is made of a pattern, both ways.
fn both(pattern: &str, ignore_case: bool) -> Result<(Table, Option<Positions>), Fault> {
    let parsed = syntax::whole(pattern, ignore_case)?;
    let nfa = automaton(&parsed.hir, HEAVIEST, WhichCaptures::None)?;
    Ok((Table::new(&nfa, parsed.ends, usize::MAX).unwrap().0, Positions::new(&nfa, parsed.ends)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_expression_matches_what_the_regex_crate_matches(pattern in ended(), ignore_case: bool, values in values()) {
        let reference = reference(&format!(r"\A(?:{pattern})\z"), ignore_case);
        let both = both(&pattern, ignore_case);
        prop_assert!(reference.is_some() == both.is_ok() || matches!(both, Err(Fault::TooManyStates)));
        let Some((reference, (table, positions))) = reference.zip(both.ok()) else { return Ok(()) };
        for value in values {
            // No value has a line break; `.*` at an end would take it.
            let value: Vec<_> = value.into_iter().filter(|byte| *byte != b'\n').collect();
            let expected = reference.is_match(&value);
            prop_assert_eq!(table.is_match(&value), expected, "table of {} for {:?}", pattern, value.escape_ascii());
            if let Some(positions) = &positions {
                prop_assert_eq!(positions.is_match(&value), expected, "positions of {} for {:?}", pattern, value);
            }
        }
    }

    #[test]
    fn a_table_matches_what_its_positions_match(pattern in ended(), mut values in values(), at: prop::sample::Index) {
        let Ok((table, Some(positions))) = both(&pattern, false) else { return Ok(()) };
        for value in &mut values {
            value.insert(at.index(value.len().max(1)).min(value.len()), b'\n');
            prop_assert_eq!(table.is_match(value), positions.is_match(value), "{} for {:?}", pattern, value);
        }
    }

    #[test]
    fn a_rewrite_replaces_what_the_regex_crate_replaces(
        pattern in pattern(), values in values(), pieces in prop::collection::vec("[01x]", 0..4),
    ) {
        let (reference, own) = (reference(&pattern, false), Pattern::new(&pattern));
        prop_assert!(reference.is_some() == own.is_ok() || matches!(own, Err(Fault::TooManyStates)));
        let Some((reference, own)) = reference.zip(own.ok()) else { return Ok(()) };
        prop_assert_eq!(own.groups(), reference.captures_len());
        let group = |piece: &str| piece.parse::<usize>().ok().filter(|group| *group < reference.captures_len());
        let text: String =
            pieces.iter().map(|piece| group(piece).map_or("x".to_owned(), |group| format!("\\{group}"))).collect();
        let replacement = replacement(&text);
        for value in values {
            let expected = reference.replace_all(&value, |found: &Captures<'_>| {
                let piece = |piece: &String| group(piece).map(|group| found.get(group).map_or(&b""[..], |m| m.as_bytes()));
                pieces.iter().map(|text| piece(text).unwrap_or(b"x")).collect::<Vec<_>>().concat()
            });
            let rewritten = replacement.apply(&own, &value, b"?q").unwrap();
            let expected = reference.is_match(&value).then(|| [&expected[..], b"?q"].concat());
            prop_assert_eq!(rewritten, expected, "{} -> {} in {:?}", pattern, text, value.escape_ascii());
        }
    }
}

fn replacement(text: &str) -> Replacement {
    let (violations, shared) = (Collector::default(), Expressions::default());
    Replacement::read(&Node::root(&text.into(), &violations, &Compiler::new(&shared)), None).unwrap()
}
