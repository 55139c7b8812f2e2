//! Two responses, set beside each other by another reader, which is slow and makes a tree of each: they differ in the same places,
//! in both directions, or one of them cannot be compared.

use super::redact::{Members, PLACES};
use arbitrary::{Result, Unstructured};
use flate2::read::MultiGzDecoder;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use traffic_mirror::config::{Compare, Config};
use traffic_mirror::core::compare::{Body, Differences, Response, differences};

/// What bodies are encoded with, as their responses say.
pub const ENCODINGS: &[Option<&str>] = &[None, Some("gzip"), Some("identity"), Some("br")];

/// The longest bodies that are compared.
pub const SIZES: &[usize] = &[65_536, 1000, 20];

/// What of JSON is compared.
#[derive(Debug)]
struct Rules {
    ignore: Vec<Vec<String>>,
    unordered_arrays: bool,
    null_is_absent: bool,
}

/// Two responses, and how they are compared; without rules, by their bytes.
#[derive(Debug)]
struct Case {
    rules: Option<Rules>,
    most: usize,
    encodings: [Option<&'static str>; 2],
    bodies: [Vec<u8>; 2],
}

/// Checks the comparison of the responses that the bytes spell.
pub fn check(bytes: &[u8]) {
    Case::read(&mut Unstructured::new(bytes)).unwrap().check();
}

impl Case {
    /// Reads a case. The second body is the rest of the bytes, or the first with the rest in place of some of it.
    fn read(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let places = (0..bytes.int_in_range(0..=3)?).map(|_| bytes.choose(PLACES)).collect::<Result<BTreeSet<_>>>()?;
        let ignore = places.iter().map(|place| place.iter().map(ToString::to_string).collect()).collect();
        let rules = Rules { ignore, unordered_arrays: bytes.arbitrary()?, null_is_absent: bytes.arbitrary()? };
        let is_exact: bool = bytes.arbitrary()?;
        let most = *bytes.choose(SIZES)?;
        let encodings = [*bytes.choose(ENCODINGS)?, *bytes.choose(ENCODINGS)?];
        let edit = if bytes.arbitrary()? { Some((bytes.arbitrary::<u16>()?, bytes.arbitrary::<u8>()?)) } else { None };
        let length = usize::from(bytes.arbitrary::<u16>()?).min(bytes.len());
        let one = bytes.bytes(length)?.to_vec();
        let rest = bytes.bytes(bytes.len())?;
        let other = match edit {
            Some((start, count)) => {
                let start = usize::from(start).min(one.len());
                let end = (start + usize::from(count)).min(one.len());
                [&one[..start], rest, &one[end..]].concat()
            }
            None => rest.to_vec(),
        };
        Ok(Self { rules: (!is_exact).then_some(rules), most, encodings, bodies: [one, other] })
    }

    fn compare(&self) -> Compare {
        let mut body = match &self.rules {
            Some(rules) => {
                let escaped = |step: &String| format!("/{}", step.replace('~', "~0").replace('/', "~1"));
                let pointer = |place: &Vec<String>| place.iter().map(escaped).collect::<String>();
                let ignore: Vec<_> = rules.ignore.iter().map(pointer).collect();
                json!({ "json": {
                    "ignore": ignore, "unorderedArrays": rules.unordered_arrays, "nullIsAbsent": rules.null_is_absent,
                } })
            }
            None => json!({ "exact": true }),
        };
        body["maxBytes"] = self.most.into();
        let config = json!({ "rules": [{ "mirrors": [], "compare": { "body": body } }] });
        Compare::clone(Config::from_bytes(config.to_string().as_bytes()).unwrap().rules[0].compare.as_ref().unwrap())
    }

    fn check(&self) {
        let compare = self.compare();
        let response = |at: usize| Response {
            headers: Vec::new(),
            encoding: self.encodings[at].map(|encoding| encoding.as_bytes().into()),
            body: Body::Complete(self.bodies[at].clone()),
        };
        let (one, other) = (response(0), response(1));
        let found = differences(&compare, &one, &other);
        assert_eq!(found, differences(&compare, &other, &one), "in the other direction");
        assert!(!found.headers && found.body != found.places.is_empty() && !(found.body && found.not_compared));
        let places: BTreeSet<_> = found.places.iter().map(|place| place.to_string()).collect();
        assert!(places.len() == found.places.len() && places.len() <= 64, "{places:?}");
        let is_label = |c: char| c.is_ascii_alphanumeric() || "_/*-".contains(c);
        assert!(places.iter().all(|place| place.len() <= 96 && place.chars().all(is_label)), "{places:?}");
        self.check_places(&found, &places);
    }

    fn check_places(&self, found: &Differences, places: &BTreeSet<String>) {
        let [one, other] = &self.bodies;
        if one.len().max(other.len()) > self.most {
            assert!(found.not_compared);
            return;
        }
        if one == other {
            assert!(!found.not_compared && !found.body);
            return;
        }
        let decoded = [0, 1].map(|at| self.decoded(at));
        let [Some(one), Some(other)] = &decoded else {
            // The checksum of gzip is not looked at.
            let is_gzip = |at: usize| self.encodings[at] == Some("gzip");
            assert!(found.not_compared || is_gzip(0) || is_gzip(1));
            return;
        };
        // The blocks of gzip are bounded.
        let is_given_up = found.not_compared && self.encodings.contains(&Some("gzip"));
        if is_given_up {
            return;
        }
        if one == other {
            assert!(!found.not_compared && !found.body);
            return;
        }
        let Some(rules) = self.rules.as_ref().filter(|_| !one.is_empty() && !other.is_empty()) else {
            assert_eq!(*places, BTreeSet::from(["body".to_owned()]));
            return;
        };
        let (Some(one), Some(other)) = (Tree::read(one), Tree::read(other)) else {
            assert!(found.not_compared, "{found:?}");
            return;
        };
        let mut expected = BTreeSet::new();
        rules.compare(&mut Vec::new(), Some(&one), Some(&other), &mut expected);
        assert!(!found.not_compared, "{expected:?}");
        let labels: BTreeSet<_> = expected.iter().map(|place| label(place)).collect();
        assert!(
            if expected.len() <= 64 { *places == labels } else { places.is_subset(&labels) },
            "{places:?} {labels:?}"
        );
        assert_eq!(places.is_empty(), expected.is_empty());
    }

    fn decoded(&self, at: usize) -> Option<Vec<u8>> {
        let body = &self.bodies[at];
        match self.encodings[at] {
            Some("gzip") if !body.is_empty() => {
                let mut decoded = Vec::new();
                MultiGzDecoder::new(&body[..]).take(self.most as u64 + 1).read_to_end(&mut decoded).ok()?;
                (decoded.len() <= self.most).then_some(decoded)
            }
            Some("br") if !body.is_empty() => None,
            _ => Some(body.clone()),
        }
    }
}

/// A value of JSON. Of members with one name, all are there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tree {
    /// `true`, `false`, `null`; also a number with a long exponent, as it is written.
    Word(String),
    /// Its digits, and the power of ten that they are multiplied with.
    Number(bool, String, i128),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Reads a document; `None`: it is none, or is nested too deeply.
    fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let document: &serde_json::value::RawValue = serde_json::from_str(text).ok()?;
        let (mut depth, mut is_string, mut is_escaped) = (0, false, false);
        for byte in text.bytes() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_string = !is_string,
                b'[' | b'{' if !is_string => depth += 1,
                b']' | b'}' if !is_string => depth -= 1,
                _ => {}
            }
            if depth > 128 {
                return None;
            }
        }
        Self::of(document.get())
    }

    fn of(text: &str) -> Option<Self> {
        match text.as_bytes()[0] {
            b'"' => serde_json::from_str(text).ok().map(Self::Text),
            first @ (b'{' | b'[') => {
                let members = Members::of(text)?.0.into_iter();
                let trees = members.map(|(name, value)| Some((name, Self::of(value)?))).collect::<Option<Vec<_>>>()?;
                let items = || trees.iter().map(|(_, tree)| tree.clone()).collect();
                Some(if first == b'[' { Self::Array(items()) } else { Self::Object(trees) })
            }
            b't' | b'f' | b'n' => Some(Self::Word(text.to_owned())),
            _ => Some(Self::number(text)),
        }
    }

    fn number(text: &str) -> Self {
        let number = text.to_ascii_lowercase();
        let (mantissa, exponent) = number.split_once('e').unwrap_or((&number, "0"));
        let (whole, part) =
            mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
        let digits = format!("{whole}{part}");
        let digits = digits.trim_start_matches('0');
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() {
            return Self::Number(false, String::new(), 0);
        }
        if exponent.trim_start_matches(['+', '-']).trim_start_matches('0').len() > 18 {
            return Self::Word(text.to_owned());
        }
        let power = exponent.trim_start_matches('+').parse::<i128>().unwrap();
        let power = power - part.len() as i128 + (digits.len() - significant.len()) as i128;
        Self::Number(mantissa.starts_with('-'), significant.to_owned(), power)
    }
}

/// A step to a value: its name or number, and whether it is an item of an array.
type Step = (String, bool);

impl Rules {
    fn is_ignored(&self, path: &[Step]) -> bool {
        let leads = |(step, (name, _)): (&String, &Step)| step == "*" || step == name;
        self.ignore.iter().any(|place| place.len() == path.len() && place.iter().zip(path).all(leads))
    }

    /// Returns the members of an object that count.
    fn members<'t>(&self, members: &'t [(String, Tree)]) -> BTreeMap<&'t str, &'t Tree> {
        let mut last: BTreeMap<_, _> = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
        last.retain(|_, value| !(self.null_is_absent && **value == Tree::Word("null".to_owned())));
        last
    }

    /// Collects the places where two values differ, which are at one place.
    fn compare(
        &self,
        path: &mut Vec<Step>,
        one: Option<&Tree>,
        other: Option<&Tree>,
        places: &mut BTreeSet<Vec<Step>>,
    ) {
        if self.is_ignored(path) {
            return;
        }
        let mut inside = |step: Step, one, other| {
            path.push(step);
            self.compare(path, one, other, places);
            path.pop();
        };
        match (one, other) {
            (Some(Tree::Object(one)), Some(Tree::Object(other))) => {
                let (one, other) = (self.members(one), self.members(other));
                for name in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
                    inside(((*name).to_owned(), false), one.get(name).copied(), other.get(name).copied());
                }
            }
            (Some(one @ Tree::Array(_)), Some(other @ Tree::Array(_))) if self.unordered_arrays => {
                if self.in_order(path, one) != self.in_order(path, other) {
                    path.push(("0".to_owned(), true));
                    places.insert(place(path));
                    path.pop();
                }
            }
            (Some(Tree::Array(one)), Some(Tree::Array(other))) => {
                for at in 0..one.len().max(other.len()) {
                    inside((at.to_string(), true), one.get(at), other.get(at));
                }
            }
            _ if one == other => {}
            _ => drop(places.insert(place(path))),
        }
    }

    /// Writes a value with all that is in it in one order, without what is ignored.
    fn in_order(&self, path: &mut Vec<Step>, tree: &Tree) -> String {
        let inside = |path: &mut Vec<Step>, step: Step, value: &Tree| {
            path.push(step);
            let written = (!self.is_ignored(path)).then(|| self.in_order(path, value));
            path.pop();
            written
        };
        match tree {
            Tree::Array(items) => {
                let items = items.iter().enumerate().map(|(at, item)| inside(path, (at.to_string(), true), item));
                let mut items: Vec<_> = items.collect::<Vec<_>>().into_iter().flatten().collect();
                items.sort();
                format!("[{}]", items.join(","))
            }
            Tree::Object(members) => {
                let members = self.members(members).into_iter().map(|(name, value)| {
                    inside(path, (name.to_owned(), false), value).map(|value| format!("{name:?}:{value}"))
                });
                format!("{{{}}}", members.collect::<Vec<_>>().into_iter().flatten().collect::<Vec<_>>().join(","))
            }
            scalar => format!("{scalar:?}"),
        }
    }
}

/// Returns the place that a path leads to, whatever the numbers of items.
fn place(path: &[Step]) -> Vec<Step> {
    let step = |(name, is_item): &Step| if *is_item { ("*".to_owned(), true) } else { (name.clone(), false) };
    path.iter().map(step).collect()
}

fn label(place: &[Step]) -> String {
    let step = |(name, _): &Step| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    let label = format!("body{}", place.iter().map(step).collect::<String>());
    label.chars().map(|c| if c.is_ascii_alphanumeric() || "_/*-".contains(c) { c } else { '_' }).take(96).collect()
}
