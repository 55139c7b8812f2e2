//! What there is to say of a period: the verdict in one sentence, then each mirror beside its primary, the worst first.

use super::judge::{Demands, Kind, Quantity, SLOWER, Verdict, Word, judge};
use super::period::{Period, time};
use crate::metrics::counters::{Counters, Mirror, Rule};
use crate::metrics::histogram::{Bin, difference, quantile};
use crate::metrics::words::{self, QUANTILES, counts, fine, grouped, milliseconds};
use std::cmp::Reverse;

/// A row of the table in which both sides stand.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) primary: String,
    pub(crate) mirror: String,
}

/// A rule and one of its mirrors.
pub(crate) struct Entry<'a> {
    pub(crate) rule: &'a str,
    pub(crate) name: &'a str,
    /// Where the rule compares.
    pub(crate) verdict: Option<Verdict>,
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
    /// Judges what came, and puts it into words.
    pub(crate) fn new(period: &'a Period, total: &'a Counters, demands: &Demands) -> Self {
        let mut entries: Vec<_> =
            total.pairs().map(|(rule, counts, name, mirror)| entry(rule, counts, name, mirror)).collect();
        let compared: Vec<_> = total.pairs().filter(|(.., mirror)| mirror.compares()).collect();
        let pieces: Vec<_> = compared.iter().map(|(rule, _, name, _)| period.pieces(rule, name)).collect();
        let mut verdicts = judge(&pieces, demands).into_iter();
        for entry in entries.iter_mut().filter(|entry| entry.counts.compares()) {
            entry.verdict = verdicts.next();
            if let Some(verdict) = &entry.verdict {
                entry.sentence = sentence(short(entry.name), verdict, entry.counts, demands);
            }
        }
        // Of two that are equally bad, the one with more failures.
        let lost = |entry: &Entry<'_>| (share_lost(entry.counts) * 1e6) as u64;
        entries.sort_by_key(|entry| {
            (entry.verdict.as_ref().map_or(Word::NothingCompared, |one| one.word), Reverse(lost(entry)))
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
            demands: told(demands),
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
            None => "No rule has `compare`, so that nothing is said of which is better: nothing compared".into(),
        }
    }
}

/// Returns how a sentence calls a mirror: by its label, unless that is a cluster's long name.
fn short(name: &str) -> &str {
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

/// Says in one sentence what was found, with its numbers; it ends with the word.
fn sentence(name: &str, verdict: &Verdict, counts: &Mirror, demands: &Demands) -> String {
    let word = verdict.word;
    let errors = || verdict.quantity(Kind::Errors).map(|errors| failures(name, errors)).unwrap_or_default();
    let times = || verdict.quantity(Kind::Times).map(|times| slower(name, times, demands)).unwrap_or_default();
    let pairs = grouped(counts.results.sum());
    let said = match word {
        Word::NothingCompared => {
            let why = if counts.sent() > 0.0 {
                format!("{} copies were sent, and", grouped(counts.sent()))
            } else {
                "no copy was sent, and".into()
            };
            format!("{why} no pair of responses of {name} and the primary is complete")
        }
        Word::NotComparable => format!(
            "of {pairs} pairs of {name} and the primary the status is not known: this build of the module does not compare gRPC's \
             (the mirror's own responses: {})",
            words::counts(&counts.classes, None)
        ),
        Word::Unreachable => {
            format!("{name} responded to none of {} requests", grouped(counts.classes.sum().max(counts.results.sum())))
        }
        Word::Worse if verdict.quantity(Kind::Errors).is_some_and(Quantity::is_above) => errors(),
        Word::Worse => times(),
        Word::Different => verdict.quantity(Kind::Differences).map(|one| differing(name, one)).unwrap_or_default(),
        Word::TooFew => {
            let blocks = verdict.quantity(Kind::Errors).map_or(0, |errors| errors.blocks.count());
            format!(
                "{pairs} pairs of {name} and the primary in {blocks} pieces of time: at least {} pieces with pairs are needed",
                verdict.fewest
            )
        }
        Word::Undecided => format!("{}; {}", errors(), open(verdict, demands)),
        Word::AsGood | Word::Better => format!("{}; {}", errors(), times()),
    };
    format!("{said}: {word}")
}

fn part(count: f64, of: f64) -> String {
    if count > 0.0 { fine(count / of) } else { "none".into() }
}

fn failures(name: &str, errors: &Quantity) -> String {
    let total = errors.blocks.total();
    format!(
        "{name} fails {} of {} requests that the primary answers; the primary fails {} that {name} answers",
        part(total.for_it, total.of),
        grouped(total.of),
        part(total.against, total.of)
    )
}

fn slower(name: &str, times: &Quantity, demands: &Demands) -> String {
    let total = times.blocks.total();
    format!(
        "{name} is slower by more than {} in {} of {} pairs, and faster in {}",
        milliseconds(demands.tolerance),
        part(total.for_it, total.of),
        grouped(total.of),
        part(total.against, total.of)
    )
}

fn differing(name: &str, one: &Quantity) -> String {
    let total = one.blocks.total();
    format!(
        "{name} responds otherwise than the primary to {} of {} requests, failures apart",
        part(total.for_it, total.of),
        grouped(total.of)
    )
}

/// Says what is not decided.
fn open(verdict: &Verdict, demands: &Demands) -> String {
    if verdict.unknown > demands.margin {
        return format!("of {} of the pairs the status is not known", fine(verdict.unknown));
    }
    let open: Vec<_> = verdict.quantities.iter().filter(|quantity| !quantity.is_below()).collect();
    let one = |quantity: &&Quantity| {
        let (low, high) = (fine(quantity.low()), fine(quantity.high()));
        match quantity.kind {
            Kind::Times if quantity.blocks.total().of <= 0.0 => {
                "slower or faster: the times of no pair are known".to_owned()
            }
            Kind::Times => format!("slower more often than faster by {low} to {high} ({} is allowed)", fine(SLOWER)),
            Kind::Errors => format!("failing more often by {low} to {high} ({} is allowed)", fine(quantity.margin)),
            Kind::Differences => {
                format!("responding otherwise in {low} to {high} ({} is allowed)", fine(quantity.margin))
            }
        }
    };
    format!("it may be {}", open.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Tells what the demands are, and how sure verdicts are.
fn told(demands: &Demands) -> String {
    let looks = if demands.looks > 1.0 { format!(" of {} reports together", demands.looks) } else { String::new() };
    format!(
        "As good: fails no more often than the primary by {} of the pairs, is not more often slower than faster by more than {} in {}, and \
         responds otherwise in less than {}. Bounds come from up to 16 pieces of time; with a probability of at most 5 %{looks} any mirror \
         is called worse, or as good, that is not.",
        fine(demands.margin),
        milliseconds(demands.tolerance),
        fine(SLOWER),
        fine(demands.differing)
    )
}
