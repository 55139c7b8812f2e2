//! Which texts a value must contain so that an expression can match it at all.

use regex_syntax::hir::{Class, Hir, HirKind};

/// More texts than this are not looked for: some of so many stand in most values.
const MOST: usize = 16;

/// Texts of which one at least is in each value that an expression matches; in lower case, since case is not looked at.
pub type Texts = Vec<Box<[u8]>>;

/// Finds texts by which values can be excluded: of each of these lists, a value has to contain one.
pub(super) fn required(hir: &Hir) -> Vec<Texts> {
    let mut lists = Vec::new();
    add(hir, &mut lists);
    lists
}

fn add(hir: &Hir, lists: &mut Vec<Texts>) {
    match hir.kind() {
        HirKind::Capture(group) => add(&group.sub, lists),
        HirKind::Repetition(repetition) if repetition.min > 0 => add(&repetition.sub, lists),
        HirKind::Concat(parts) => {
            // Neighbours may spell a text together.
            let mut run = Vec::new();
            for part in parts {
                if !spell(part, &mut run) {
                    lists.extend(text(&mut run));
                    add(part, lists);
                }
            }
            lists.extend(text(&mut run));
        }
        HirKind::Alternation(parts) => lists.extend(one_of(parts)),
        HirKind::Literal(_) => {
            let mut run = Vec::new();
            spell(hir, &mut run);
            lists.extend(text(&mut run));
        }
        HirKind::Class(_) | HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => {}
    }
}

fn text(run: &mut Vec<u8>) -> Option<Texts> {
    (!run.is_empty()).then(|| vec![std::mem::take(run).into()])
}

/// Some part has to match: one list of each, together; `None` where one has none, or they are too many.
fn one_of(parts: &[Hir]) -> Option<Texts> {
    let mut all = Texts::new();
    for part in parts {
        let shortest = |texts: &Texts| texts.iter().map(|text| text.len()).min();
        all.extend(required(part).into_iter().max_by_key(shortest)?);
    }
    (all.len() <= MOST).then_some(all)
}

/// Appends what a part spells, in lower case; false: it can be more than one text.
fn spell(part: &Hir, run: &mut Vec<u8>) -> bool {
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => {
            run.extend(literal.0.to_ascii_lowercase());
            true
        }
        HirKind::Class(class) => {
            let letter = letter(class);
            run.extend(letter);
            letter.is_some()
        }
        _ => false,
    }
}

/// Returns the letter, in lower case, of which a class has the two cases and nothing else.
fn letter(class: &Class) -> Option<u8> {
    let members: Vec<u8> = match class {
        Class::Bytes(class) => {
            let ranges = class.iter().map(|range| (range.start() == range.end()).then_some(range.start()));
            ranges.collect::<Option<_>>()?
        }
        Class::Unicode(class) => {
            let only = |range: &regex_syntax::hir::ClassUnicodeRange| {
                u8::try_from(range.start()).ok().filter(|_| range.start() == range.end())
            };
            class.iter().map(only).collect::<Option<_>>()?
        }
    };
    match *members {
        [upper, lower] if upper.is_ascii_uppercase() && upper.to_ascii_lowercase() == lower => Some(lower),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{syntax, tests};
    use super::*;
    use proptest::prelude::*;

    fn of(pattern: &str, ignore_case: bool) -> Vec<String> {
        let hir = syntax::whole(pattern, ignore_case).unwrap().hir;
        required(&hir).iter().map(|texts| String::from_utf8_lossy(&texts.join(&b'|')).into_owned()).collect()
    }

    #[test]
    fn texts_that_must_stand_in_a_value_are_found() {
        for (pattern, ignore_case, expected) in [
            ("/API/v[0-9]+/users", false, &["/api/v", "/users"][..]),
            ("/api/v[0-9]+/Users", true, &["/api/v", "/users"]),
            ("/(?:abc|defg)/[0-9]+", false, &["/", "abc|defg", "/"]),
            ("/(?:abc|[0-9])/[0-9]+", false, &["/", "/"]),
            ("(?:[0-9]/abc/)+", false, &["/abc/"]),
            ("(?:/abc/[0-9])*", false, &[]),
            ("(?:/abc/[0-9]|[a-z]+)", false, &[]),
            ("(?:/abc/[0-9]de|x[a-z]+)", false, &["/abc/|x"]),
            (r"[0-9]\bfoo\b-[0-9]", false, &["foo-"]),
            ("(?i)[0-9]mobile.*", false, &["mobile"]),
            ("[Aa][Bb][Cc]", false, &["abc"]),
            ("[0-9]+", false, &[]),
        ] {
            assert_eq!(of(pattern, ignore_case), expected, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn a_value_that_matches_has_one_text_of_each_list(pattern in tests::ended(), ignore_case: bool, values in tests::values()) {
            let Ok(expression) = super::super::Expression::whole(&pattern, ignore_case) else { return Ok(()) };
            for value in values.iter().filter(|value| expression.is_match(value)) {
                let value = value.to_ascii_lowercase();
                for texts in expression.required() {
                    let has_one = texts.iter().any(|text| value.windows(text.len()).any(|part| *part == **text));
                    prop_assert!(has_one, "{pattern}: {texts:?} {value:?}");
                }
            }
        }
    }
}
