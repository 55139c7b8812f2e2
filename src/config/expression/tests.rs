//! Expressions beside the regex crate, on patterns and values at random; and how much they may take.
#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use super::super::node::Node;
use super::super::violation::Collector;
use super::*;
use crate::config::{Config, Known, PathRewrite, Replacement, TooMuch};
use proptest::prelude::*;
use regex::bytes::{Captures, Regex, RegexBuilder};
use serde_json::json;
use std::rc::Rc;

/// Compiles as the regex crate does, with the same choice between bytes and Unicode.
fn reference(pattern: &str, ignore_case: bool) -> Option<Regex> {
    let build = |unicode| RegexBuilder::new(pattern).unicode(unicode).case_insensitive(ignore_case).build();
    build(false).or_else(|_| build(true)).ok()
}

fn pattern() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "ab", "/", "0", "_", "é", r"\.", " "]),
        6 => prop::sample::select(vec![".", "[ab]", "[^a]", r"\d", r"\w", r"\W", "[^/]", "(?s:.)", "(?i:a)", "[a-f0-9]"]),
        3 => prop::sample::select(vec!["^", "$", r"\b", r"\B", "(?m:^)", "(?m:$)", r"\A", r"\z", ""]),
        1 => prop::sample::select(vec![".*", ".*?", ".+", r"\pL"]),
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
pub(super) fn ended() -> impl Strategy<Value = String> {
    let ends = || prop::sample::select(vec!["", "", ".*", "(?s:.*)", ".*?"]);
    let (start, end) = (prop::sample::select(vec!["", "", "^"]), prop::sample::select(vec!["", "", "$"]));
    (start, ends(), pattern(), ends(), end)
        .prop_map(|(start, before, pattern, after, end)| format!("{start}{before}{pattern}{after}{end}"))
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![6 => prop::sample::select(&b"abAB/0_. \xc3\xa9\r\n"[..]), 1 => any::<u8>()];
    prop::collection::vec(byte, 0..12)
}

pub(super) fn values() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(value(), 1..20)
}

/// What is made of a pattern, both ways.
fn both(pattern: &str, ignore_case: bool) -> Result<(Table, Option<Positions>), Fault> {
    let parsed = syntax::whole(pattern, ignore_case)?;
    let nfa = automaton(&parsed.hir, HEAVIEST, WhichCaptures::None)?;
    Ok((Table::new(&nfa, parsed.ends, usize::MAX).unwrap().0, Positions::new(&nfa, parsed.ends)))
}

#[test]
fn what_re2_takes_for_something_else_is_refused_with_what_to_write() {
    for (pattern, hint) in [
        (r"\<html\>", "write <, >"),
        (r"(a|\b{start}b)", r"or \b"),
        ("[a&&b]", "backslash"),
        ("x[a-z--b]*", "backslash"),
        ("[a~~b]", "backslash"),
        ("[a[b]c]", r"\["),
        ("[[b]]", r"\["),
        ("(?x)a b", "flags"),
        ("(?u:a)", "flags"),
        ("(?Rm:^)a", "flags"),
    ] {
        match both(pattern, false) {
            Err(Fault::Syntax(reason)) => assert!(reason.contains(hint), "{pattern}: {reason}"),
            other => panic!("{pattern}: {other:?}"),
        }
    }
    for pattern in ["[[:alpha:]_]", r"[a\[b]", r"[a\-\-b]", "(?ims)a", "(?U:a*)", "(?-s:.)", r"<html>", r"\bx\B"] {
        assert!(both(pattern, false).is_ok(), "{pattern}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn an_expression_matches_what_the_regex_crate_matches(pattern in ended(), ignore_case: bool, values in values()) {
        let reference = reference(&format!(r"\A(?:{pattern})\z"), ignore_case);
        let both = both(&pattern, ignore_case);
        prop_assert!(reference.is_some() == both.is_ok() || matches!(both, Err(Fault::TooManyStates)));
        let Some((reference, (table, positions))) = reference.zip(both.ok()) else { return Ok(()) };
        for value in values {
            // No value has a line break; `.*` at an end would take it.
            let keeps_breaks = syntax::whole(&pattern, ignore_case).unwrap().ends == Ends::default();
            let value: Vec<_> = value.into_iter().filter(|byte| keeps_breaks || *byte != b'\n').collect();
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
    let (violations, shared) = (Collector::default(), Known::default());
    Replacement::read(&Node::root(&text.into(), &violations, &Compiler::new(&shared.expressions)), None).unwrap()
}

/// Words as they stand in lists, `length` characters of them.
fn words(length: usize) -> String {
    let word =
        |n: usize| (0..7).map(|k| char::from(b"aeinorstlucdmpgh"[(n * 31 + k * (n + 7)) % 16])).collect::<String>();
    let mut text = (0..).map(word).take(length / 8 + 1).collect::<Vec<_>>().join("|");
    text.truncate(length);
    text
}

#[test]
fn what_users_write_makes_small_tables() {
    let (short, long) = (words(100), words(1000));
    let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    for (pattern, ignore_case, most) in [
        ("/api/[^/]+/items", false, 2_000),
        ("^/api/v[0-9]+/users/[^/]+/(orders|carts)/?$", false, 4_000),
        (".*(iPhone|iPad|Android).*Version/([0-9]+)\\.([0-9]+).*", false, 15_000),
        (".*\\b(foo|bar)\\b.*", false, 2_000),
        (uuid, false, 2_000),
        (&format!(".*{uuid}.*"), true, 4_000),
        ("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", false, 15_000),
        ("[a-z0-9-]{1,63}(\\.[a-z0-9-]{1,63}){1,15}", false, 60_000),
        ("(([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])\\.?){4}", false, 30_000),
        ("eyJ[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+", false, 2_000),
        (&short, false, 10_000),
        (&format!(".*({short}).*"), true, 50_000),
        (&long, false, 80_000),
        (&long, true, 150_000),
        (&format!(".*({long}).*"), true, 700_000),
        (".{1,1000}", false, 30_000),
        ("\\pL+", false, 150_000),
        ("(.*a){20}e", false, 5_000),
    ] {
        let made = Expression::whole(pattern, ignore_case).unwrap_or_else(|fault| panic!("{pattern}: {fault}"));
        assert!(matches!(made.engine, Engine::Table(_)), "{pattern}: no table");
        assert!(made.size <= most, "{pattern}: {}", made.size);
    }
}

#[test]
fn a_short_expression_that_makes_no_table_is_taken_all_the_same() {
    for pattern in [".*a.{20}b", ".*id=.{8,36}&.*", ".*foo.{1,100}bar.*", "(?:a|b)*a(?:a|b){14}", ".*[ab].{124}[cd]"] {
        let made = Expression::whole(pattern, false).unwrap_or_else(|fault| panic!("{pattern}: {fault}"));
        assert!(matches!(made.engine, Engine::Positions(_)), "{pattern}");
    }
}

#[test]
fn what_would_take_long_is_refused() {
    for pattern in [
        ".*[ab].{125}[cd]",
        ".*[ab].{900}[cd].*",
        ".*foo.{1,500}bar.*",
        "(?:.*a.{250}){4}b",
        ".*(?:\\w{1,300}[0-9a-f]{1,100}){2}z",
        // Positions cannot look around.
        ".*\\bfoo\\b.{1,50}bar",
        "(?:0123456789abcdef){1000}",
        "\\pL{1,30}",
        // Known by its weight: to make an automaton of it would take long.
        "(?:[^a]{1000}[^b]{1000}){1}(?:\\pL\\pN){50}",
    ] {
        assert_eq!(Expression::whole(pattern, false).err(), Some(Fault::TooManyStates), "{pattern}");
    }
    assert_eq!(Pattern::new("a{1000}b{1000}c{1000}").err(), Some(Fault::TooManyStates));
}

#[test]
fn repetitions_are_bounded_as_in_re2() {
    for (pattern, is_taken) in [
        ("a{1000}", true),
        ("a{1001}", false),
        ("a{1001,}", false),
        ("a{0,1001}", false),
        ("(?:a{10}){100}", true),
        ("(?:a{11}){91}", false),
        ("(?:(?:a{2}){2}){250}", true),
        ("(?:(?:a{2}){2}){251}", false),
        ("(?:a{0,500}){2,}", true),
        ("(?:a{0,501}){2,}", false),
        // Neither multiplies.
        ("(?:a{1000})*", true),
        ("(?:a{1000}){0,1}", true),
        ("(?:a{1000}){0}", true),
        ("a{1000}b{1000}", true),
        ("(?:b|c(?:a{1000}){2})", false),
    ] {
        let made = Expression::whole(pattern, false);
        assert_eq!(made.err(), (!is_taken).then_some(Fault::Repetition), "{pattern}");
    }
}

#[test]
fn a_rewrite_ends_after_a_bounded_number_of_steps() {
    let (path, replacement) = ("a".repeat(60_000), replacement("x"));
    for pattern in ["a[^b]*b|a", "a.*b|a", "(?:[ab]?){30}[ab]{30}c", "(?:a?){300}a{300}"] {
        let pattern = Pattern::new(pattern).unwrap();
        let rewrite = |length| replacement.apply(&pattern, &path.as_bytes()[..length], b"");
        assert!(rewrite(60).is_ok(), "{pattern:?}");
        assert_eq!(rewrite(path.len()), Err(TooMuch), "{pattern:?}");
    }
    for (pattern, expected) in [("a", 60_000), ("^a.*$", 1), ("b", 60_000), ("(a|b)*$", 1)] {
        let rewritten = replacement.apply(&Pattern::new(pattern).unwrap(), path.as_bytes(), b"").unwrap();
        assert_eq!(rewritten.map_or(path.len(), |path| path.len()), expected, "{pattern}");
    }
}

#[test]
fn a_rewrite_makes_no_more_than_envoy_takes() {
    let (pattern, replacement) = (Pattern::new(".").unwrap(), replacement(&"x".repeat(1024)));
    let rewrite = |length: usize, query: &[u8]| replacement.apply(&pattern, &b"/".repeat(length), query);
    assert_eq!(rewrite(1024, b"").map(|path| path.unwrap().len()), Ok(1 << 20));
    assert_eq!(rewrite(1024, b"?"), Err(TooMuch));
    assert_eq!(rewrite(50_000, b""), Err(TooMuch));
}

fn configuration(patterns: &[String]) -> Vec<u8> {
    let rule = |pattern| json!({ "match": [{ "uri": { "regex": pattern } }], "mirrors": [] });
    json!({ "rules": patterns.iter().map(rule).collect::<Vec<_>>() }).to_string().into()
}

#[test]
fn all_expressions_of_a_configuration_together_are_bounded() {
    // Two that are the same count once.
    let large = |n: usize| format!("\\pL{{1,6}}{n}");
    let mut patterns: Vec<_> = (0..38).chain(0..38).map(large).collect();
    let shared = Known::default();
    let taken = Config::from_bytes_sharing(&configuration(&patterns), &shared).unwrap();
    patterns.push(large(38));
    // What is refused does not depend on what is there already.
    for shared in [&shared, &Known::default()] {
        let violations = Config::from_bytes_sharing(&configuration(&patterns), shared).unwrap_err();
        let violations: Vec<_> = violations.lines().collect();
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert!(violations[0].starts_with("rules[76].match[0].uri.regex: \"\\\\pL{1,6}38\": too large together"));
    }
    drop(taken);
}

#[test]
fn configurations_that_live_at_the_same_time_share_their_expressions() {
    let regex = |config: &Config| match &config.rules[0].mirrors[0].path {
        PathRewrite::Regex(pattern, _) => Rc::as_ptr(pattern),
        path => panic!("{path:?}"),
    };
    let text = |host: &str| {
        let rewrite = json!({ "authority": host, "uriRegexRewrite": { "match": "a+", "rewrite": "b" } });
        let rule =
            json!({ "match": [{ "uri": { "regex": "a+" } }], "mirrors": [{ "cluster": "a", "rewrite": rewrite }] });
        json!({ "rules": [rule] }).to_string()
    };
    let shared = Known::default();
    let read = |host| Config::from_bytes_sharing(text(host).as_bytes(), &shared).unwrap();
    let (one, other) = (read("one"), read("other"));
    assert_eq!(regex(&one), regex(&other));
    assert_eq!(shared.expressions.len(), 2);
    drop((one, other));
    Config::from_bytes_sharing(&configuration(&["b+".to_owned()]), &shared).unwrap();
    assert_eq!(shared.expressions.len(), 1, "what no configuration has is still there");
}
