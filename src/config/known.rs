//! What configurations that live at the same time share: a new one reads nothing again that an older one has.
//!
//! Most pushes change one rule of many, and while a configuration is read its worker serves no request.

use super::expression::{Expressions, Use};
use super::rule::Rule;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::{Rc, Weak};
use xxhash_rust::xxh64::xxh64;

/// Rules and expressions of configurations that are still there.
#[derive(Debug)]
pub struct Known {
    pub(super) expressions: Expressions,
    rules: RefCell<HashMap<Source, KnownRule>>,
    /// Nobody who writes a configuration knows it.
    seed: u64,
}

/// What a rule is made of: the hash of its text, and of what else decides how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(u64);

#[derive(Debug)]
struct KnownRule {
    rule: Weak<Rule>,
    expressions: Rc<[Use]>,
    /// Its place, where it has its name of that.
    place: Option<usize>,
}

impl Default for Known {
    fn default() -> Self {
        Self { expressions: Expressions::default(), rules: RefCell::default(), seed: RandomState::new().hash_one(()) }
    }
}

impl Known {
    /// Forgets what no configuration has any more.
    pub(super) fn forget(&self) {
        self.rules.borrow_mut().retain(|_, known| known.rule.strong_count() > 0);
    }

    /// Hashes what a rule is made of. `marker`: the configuration's text of that name, which no edit may touch.
    pub(super) fn source(&self, rule: &str, marker: &str) -> Source {
        Source(xxh64(rule.as_bytes(), xxh64(marker.as_bytes(), self.seed)))
    }

    /// Finds a rule that was made of the same, and the expressions that it uses.
    pub(super) fn rule(&self, source: Source, place: usize) -> Option<(Rc<Rule>, Rc<[Use]>)> {
        let rules = self.rules.borrow();
        let known = rules.get(&source)?;
        let rule = known.place.is_none_or(|known| known == place).then(|| known.rule.upgrade()).flatten()?;
        Some((rule, Rc::clone(&known.expressions)))
    }

    /// Keeps a rule for those configurations that come while it is there. `place`: that which it has its name of, if it does.
    pub(super) fn keep(&self, source: Source, rule: &Rc<Rule>, expressions: Box<[Use]>, place: Option<usize>) {
        let known = KnownRule { rule: Rc::downgrade(rule), expressions: expressions.into(), place };
        self.rules.borrow_mut().insert(source, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use serde_json::{Value, json};

    fn read(known: &Known, config: &Value) -> Config {
        Config::from_bytes_sharing(config.to_string().as_bytes(), known).unwrap()
    }

    #[test]
    fn a_rule_is_shared_with_a_configuration_that_has_the_same_and_with_no_other() {
        let rule = |fields: Value| {
            let mut rule = json!({ "mirrors": [{ "cluster": "c" }] });
            rule.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
            rule
        };
        let named = rule(json!({ "name": "n" }));
        let by_text = rule(json!({ "name": "r", "match": [{ "uri": { "regex": "/a[0-9]b" } }] }));
        let known = Known::default();
        let first = read(&known, &json!({ "rules": [named, rule(json!({})), by_text] }));
        for (config, expected) in [
            (json!({ "rules": [named, rule(json!({})), by_text] }), [Some(0), Some(1), Some(2)]),
            // Other limits change no rule; another place changes one without a name, and another marker all.
            (
                json!({ "rules": [rule(json!({})), named, rule(json!({}))], "limits": { "maxInFlight": 1 } }),
                [None, Some(0), None],
            ),
            (json!({ "rules": [named, rule(json!({})), by_text], "markerHeader": "x-other" }), [None; 3]),
        ] {
            let second = read(&known, &config);
            for (rule, expected) in second.rules.iter().zip(expected) {
                let same = first.rules.iter().position(|known| Rc::ptr_eq(known, rule));
                assert_eq!(same, expected, "{} of {config}", rule.name);
            }
        }
    }

    #[test]
    fn what_a_configuration_means_does_not_depend_on_what_was_read_before() {
        let rule =
            |name: Value, share: Value| json!({ "name": name, "mirrors": [{ "cluster": "c", "percentage": share }] });
        let bits = 50.5_f64.to_bits();
        let rules = [
            rule(json!(null), json!(5)),
            rule(json!(null), json!(50.5)),
            rule(json!("a"), json!(50.5)),
            rule(json!("a"), json!(bits)),
            rule(json!("rule-0"), json!(5)),
            json!({ "mirrors": [] }),
        ];
        let told = |known: &Known, rules: &[&Value]| {
            let read = Config::from_bytes_sharing(json!({ "rules": rules }).to_string().as_bytes(), known);
            let names = |config: Config| config.rules.iter().map(|rule| rule.name.to_string()).collect::<Vec<_>>();
            (read.as_ref().ok().cloned(), read.map(names).map_err(|violations| violations.lines().collect::<Vec<_>>()))
        };
        let known = Known::default();
        let mut kept = Vec::new();
        for first in &rules {
            for second in &rules {
                let (config, found) = told(&known, &[first, second]);
                assert_eq!(found, told(&Known::default(), &[first, second]).1, "{first} {second}");
                kept.push(config);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_each_time() {
        let known = Known::default();
        let wrong =
            json!({ "rules": [{ "name": "a", "mirrors": [] }, { "name": "b", "mirrors": [], "x": 1 }] }).to_string();
        let told = || Config::from_bytes_sharing(wrong.as_bytes(), &known).unwrap_err().lines().collect::<Vec<_>>();
        let first = told();
        assert_eq!(first.len(), 1);
        assert_eq!(told(), first);
        let twice = json!({ "rules": [{ "name": "a", "mirrors": [] }, { "name": "a", "mirrors": [] }] }).to_string();
        for _ in 0..2 {
            let error = Config::from_bytes_sharing(twice.as_bytes(), &known).unwrap_err();
            assert!(error.lines().any(|line| line.contains("already the name of")));
        }
    }

    #[test]
    fn what_no_configuration_has_any_more_is_forgotten() {
        let known = Known::default();
        drop(read(&known, &json!({ "rules": [{ "mirrors": [] }] })));
        let kept = read(&known, &json!({ "rules": [{ "name": "kept", "mirrors": [] }] }));
        known.forget();
        assert_eq!(known.rules.borrow().len(), kept.rules.len());
    }
}
