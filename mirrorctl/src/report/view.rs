//! What there is to say of a period: the verdict in one sentence, then each mirror beside its primary, the worst first.

use super::baseline::{Candidate, differences};
use super::bounds::Blocks;
use super::fields::{Field, interval};
use super::judge::{Demands, Verdict, Word, judge};
use super::period::{Period, time};
use super::sentence::{self, sentence};
use crate::metrics::counters::{Counters, Mirror, Rule};
use crate::metrics::histogram::{Bin, difference, quantile};
use crate::metrics::words::{QUANTILES, counts, fine, grouped, milliseconds};
use std::cmp::Reverse;

/// A row of the table in which both sides stand.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) primary: String,
    pub(crate) mirror: String,
}

/// In which share of the pairs a field differs.
#[derive(Clone, Copy)]
pub(crate) struct Share {
    pub(crate) pairs: f64,
    pub(crate) share: f64,
    /// Its bounds.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Share {
    fn new(blocks: &Blocks) -> Self {
        let (low, high) = interval(blocks);
        Self { pairs: blocks.total().for_it, share: blocks.share(), low, high }
    }
}

/// A field that differs.
pub(crate) struct FieldRow {
    pub(crate) name: String,
    /// Whether it surely differs more often than in the baseline.
    pub(crate) is_different: bool,
    pub(crate) mirror: Share,
    pub(crate) baseline: Option<Share>,
    /// Between what bounds it differs more often; `None` where that is not judged.
    pub(crate) more: Option<(f64, f64)>,
}

impl FieldRow {
    fn new(field: &Field) -> Self {
        Self {
            name: field.name.clone(),
            is_different: field.is_different(),
            mirror: Share::new(&field.own),
            baseline: field.baseline.as_ref().map(Share::new),
            more: field.excess.as_ref().map(|excess| (excess.low(), excess.high())),
        }
    }
}

/// A rule and one of its mirrors.
pub(crate) struct Entry<'a> {
    pub(crate) rule: &'a str,
    pub(crate) name: &'a str,
    /// Where the rule compares, and it is not what others are compared with.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) is_baseline: bool,
    /// The mirror that it is compared with.
    pub(crate) baseline: Option<&'a str>,
    /// Those that are different first, then those that differ most.
    pub(crate) fields: Vec<FieldRow>,
    /// One sentence.
    pub(crate) sentence: String,
    pub(crate) rows: Vec<Row>,
    /// What is of both sides, or of the mirror alone.
    pub(crate) notes: Vec<(&'static str, String)>,
    pub(crate) counts: &'a Mirror,
    pub(crate) requests: f64,
}

/// The report.
pub(crate) struct View<'a> {
    pub(crate) entries: Vec<Entry<'a>>,
    /// Rules without a mirror, and how many requests they decided.
    pub(crate) nowhere: Vec<(&'a str, f64)>,
    pub(crate) source: String,
    pub(crate) when: String,
    pub(crate) events: &'a [String],
    pub(crate) demands: String,
}

impl<'a> View<'a> {
    /// Judges what came, beside a baseline where one is named, and puts it into words.
    pub(crate) fn new(period: &'a Period, total: &'a Counters, demands: &Demands, baseline: Option<&'a str>) -> Self {
        let mut entries: Vec<_> =
            total.pairs().map(|(rule, counts, name, mirror)| entry(rule, counts, name, mirror)).collect();
        for entry in &mut entries {
            entry.is_baseline = baseline == Some(entry.name);
            let has_it = |name: &&str| {
                total.rules.get(entry.rule).and_then(|rule| rule.mirrors.get(*name)).is_some_and(Mirror::compares)
            };
            entry.baseline = baseline.filter(has_it);
        }
        let is_judged = |entry: &&mut Entry<'_>| entry.counts.compares() && !entry.is_baseline;
        let candidate = |entry: &mut Entry<'a>| Candidate {
            pieces: period.pieces(entry.rule, entry.name),
            baseline: entry.baseline.map(|name| period.pieces(entry.rule, name)),
        };
        let candidates: Vec<_> = entries.iter_mut().filter(is_judged).map(candidate).collect();
        let mut verdicts = judge(&candidates, demands).into_iter();
        for entry in entries.iter_mut().filter(is_judged) {
            let Some(verdict) = verdicts.next() else { continue };
            entry.sentence = sentence(entry, &verdict, demands);
            entry.fields = verdict.fields.sorted().into_iter().map(FieldRow::new).collect();
            entry.notes.extend(beside(entry, &verdict, baseline));
            entry.verdict = Some(verdict);
        }
        for entry in entries.iter_mut().filter(|entry| entry.is_baseline && entry.counts.compares()) {
            entry.sentence = sentence::of_baseline(short(entry.name), &differences(entry.counts));
        }
        // Of two that are equally bad, the one with more failures. What is not judged comes last.
        let lost = |entry: &Entry<'_>| (share_lost(entry.counts) * 1e6) as u64;
        entries.sort_by_key(|entry| {
            let word = entry.verdict.as_ref().map(|one| one.word);
            (word.is_none(), word, !entry.is_baseline, Reverse(lost(entry)))
        });
        let nowhere = total.rules.iter().filter(|(_, rule)| rule.mirrors.is_empty());
        let seconds = period.to.duration_since(period.from).unwrap_or_default().as_secs();
        let length = humantime::format_duration(std::time::Duration::from_secs(seconds));
        let proxies = if period.proxies == 1 { "1 proxy".to_owned() } else { format!("{} proxies", period.proxies) };
        Self {
            entries,
            nowhere: nowhere.map(|(name, rule)| (&**name, rule.requests)).collect(),
            source: format!("{}, {proxies}{}", period.source, versions(period)),
            when: format!("{} to {} ({length})", time(period.from), time(period.to)),
            events: &period.events,
            demands: sentence::demands(demands, baseline),
        }
    }

    /// Returns the word for all together.
    pub(crate) fn word(&self) -> Word {
        self.entries
            .iter()
            .filter_map(|entry| Some(entry.verdict.as_ref()?.word))
            .min()
            .unwrap_or(Word::NothingCompared)
    }

    /// Returns the answer: the worst mirror's sentence, or that there is none.
    pub(crate) fn answer(&self) -> String {
        match self.entries.first().filter(|entry| entry.verdict.is_some()) {
            Some(entry) => entry.sentence.clone(),
            None if self.entries.iter().any(|entry| entry.is_baseline) => {
                "No mirror is beside the baseline in its rule: nothing compared".into()
            }
            None => "No rule has `compare`, so that nothing is said of which is better: nothing compared".into(),
        }
    }
}

/// Tells what there is to know of the baseline of a mirror.
fn beside(entry: &Entry<'_>, verdict: &Verdict, named: Option<&str>) -> Vec<(&'static str, String)> {
    match (&verdict.fields.baseline, named) {
        (None, None) => Vec::new(),
        (None, Some(name)) => {
            vec![("baseline", format!("its rule has no mirror {name}: held against the primary alone"))]
        }
        (Some(beside), _) => {
            let of = |blocks: &Blocks| format!("{} of {}", sentence::part(blocks.total()), grouped(blocks.total().of));
            let name = short(entry.baseline.unwrap_or_default());
            let text = format!("{} pairs differ; of {name}, {}", of(&beside.own), of(&beside.others));
            let unjudged = beside.unjudged.map(|why| ("not judged", format!("fields: {why}")));
            [("differences", text)].into_iter().chain(unjudged).collect()
        }
    }
}

/// Returns how a sentence calls a baseline when it comes up.
pub(crate) fn baseline(name: &str) -> String {
    if name == "baseline" { "the baseline".into() } else { format!("{}, the baseline", short(name)) }
}

/// Returns how a sentence calls a mirror: by its label, unless that is a cluster's long name.
pub(crate) fn short(name: &str) -> &str {
    if name.chars().count() <= 24 { name } else { "the mirror" }
}

fn versions(period: &Period) -> String {
    let versions: Vec<_> = period.versions.iter().map(String::as_str).collect();
    if versions.is_empty() { String::new() } else { format!(", Envoy {}", versions.join(", ")) }
}

fn share_lost(mirror: &Mirror) -> f64 {
    mirror.failures() / mirror.classes.sum().max(1.0)
}

fn entry<'a>(rule: &'a str, counts: &Rule, name: &'a str, mirror: &'a Mirror) -> Entry<'a> {
    let is_compared = mirror.compares();
    let of = |count: f64, all: f64| match (count > 0.0, all > 0.0) {
        (false, _) => "0".to_owned(),
        (true, true) => format!("{} ({})", grouped(count), fine(count / all)),
        (true, false) => grouped(count),
    };
    let (primaries, responses) = (counts.primary.sum(), mirror.classes.sum());
    let primary = |text: String| if is_compared { text } else { "-".into() };
    let row = |name: &str, primary: String, mirror: String| Row { name: name.into(), primary, mirror };
    let mut rows = vec![row("requests", primary(grouped(primaries)), grouped(responses))];
    for class in ["1xx", "2xx", "3xx", "4xx", "5xx"] {
        let (left, right) = (counts.primary.get(class), mirror.classes.get(class));
        if left + right > 0.0 {
            rows.push(row(class, primary(of(left, primaries)), of(right, responses)));
        }
    }
    let (left, right) = (counts.primary.get("none"), mirror.classes.some(&["failed", "timeout"]));
    rows.push(row("no response", primary(of(left, primaries)), of(right, responses)));
    let (left, right) = (counts.primary_time.bins(), mirror.response_time.bins());
    for (name, q) in QUANTILES {
        let time = |bins: &[Bin]| quantile(bins, q).map_or("-".into(), milliseconds);
        rows.push(row(name, primary(time(&left)), time(&right)));
    }
    Entry {
        rule,
        name,
        verdict: None,
        is_baseline: false,
        baseline: None,
        fields: Vec::new(),
        sentence: "its rule has no `compare`: not compared".into(),
        rows,
        notes: notes(counts, mirror),
        counts: mirror,
        requests: counts.requests,
    }
}

fn notes(rule: &Rule, mirror: &Mirror) -> Vec<(&'static str, String)> {
    let mut notes = vec![("decided", grouped(mirror.decided.unwrap_or(rule.requests)))];
    notes.push(("copies", counts(&mirror.outcomes, None)));
    if mirror.compares() {
        notes.push(("pairs", counts(&mirror.results, None)));
        let bins = difference(&mirror.slower, &mirror.faster);
        let times: Vec<_> = QUANTILES
            .into_iter()
            .filter_map(|(name, q)| Some(format!("{name} {}", milliseconds(quantile(&bins, q)?))))
            .collect();
        if !times.is_empty() {
            notes.push(("slower by", format!("{} (negative: faster)", times.join(", "))));
        }
    }
    notes
}
