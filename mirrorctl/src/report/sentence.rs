//! What was found of a mirror, in one sentence with its numbers.

use super::bounds::Block;
use super::fields::{Beside, Field};
use super::judge::{Demands, Kind, Quantity, SLOWER, Verdict, Word};
use super::view::{self, Entry, short};
use crate::metrics::words::{self, fine, grouped, milliseconds};

/// How many fields a sentence names.
const MOST_NAMED: usize = 3;

/// Says in one sentence what was found, with its numbers; it ends with the word.
pub(crate) fn sentence(entry: &Entry<'_>, verdict: &Verdict, demands: &Demands) -> String {
    let (name, counts, word) = (short(entry.name), entry.counts, verdict.word);
    let baseline = || verdict.fields.baseline.as_ref().map(|beside| (entry.baseline.unwrap_or_default(), beside));
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
            "of {pairs} pairs of {name} and the primary none could be compared: gRPC, which the module without response bodies does not \
             compare, or bodies that are too long, cut off or encoded (the mirror's own responses: {})",
            words::counts(&counts.classes, None)
        ),
        Word::Unreachable => {
            format!("{name} responded to none of {} requests", grouped(counts.classes.sum().max(counts.results.sum())))
        }
        Word::Worse if verdict.quantity(Kind::Errors).is_some_and(Quantity::is_above) => errors(),
        Word::Worse if verdict.quantity(Kind::Times).is_some_and(Quantity::is_above) => times(),
        Word::Worse => match baseline() {
            Some((other, beside)) => more_often(name, other, verdict, beside),
            None => times(),
        },
        Word::Different => verdict.quantity(Kind::Differences).map(|one| differing(name, one)).unwrap_or_default(),
        Word::TooFew => {
            let blocks = verdict.blocks();
            let (beside, of_both) = match baseline() {
                Some((other, beside)) => {
                    (format!(", {} of {},", grouped(beside.others.total().of), view::baseline(other)), " of both")
                }
                None => (String::new(), ""),
            };
            format!(
                "{pairs} pairs of {name} and the primary{beside} in {blocks} pieces of time: at least {} pieces with pairs{of_both} are \
                 needed",
                verdict.fewest
            )
        }
        Word::Undecided => format!("{}; {}", errors(), open(verdict, demands)),
        Word::AsGood | Word::Better => match baseline() {
            Some((other, _)) => {
                format!("{}; {}; no field differs more often than in {}", errors(), times(), view::baseline(other))
            }
            None => format!("{}; {}", errors(), times()),
        },
    };
    format!("{said}: {word}")
}

/// Says of a baseline what it shows.
pub(crate) fn of_baseline(name: &str, differences: &Block) -> String {
    let (part, of) = (part(*differences), grouped(differences.of));
    format!("{name} responds otherwise than the primary to {part} of {of} requests, failures apart")
}

/// Writes a part of a whole.
pub(crate) fn part(block: Block) -> String {
    share(block.for_it, block.of)
}

fn share(count: f64, of: f64) -> String {
    if count > 0.0 { fine(count / of) } else { "none".into() }
}

/// Says which fields differ more often than in the baseline, or that the responses do of which no field is known.
fn more_often(name: &str, other: &str, verdict: &Verdict, beside: &Beside) -> String {
    let different: Vec<_> = verdict.fields.different().collect();
    let total = beside.own.total();
    let Some(first) = different.first() else {
        let (own, others) = (part(total), part(beside.others.total()));
        let of = grouped(total.of);
        return format!(
            "{name} responds otherwise than the primary to {own} of {of} requests, failures apart, and {} to {others}",
            view::baseline(other)
        );
    };
    let of = format!(" of {} pairs", grouped(first.own.total().of));
    let more = match different.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        1 => " and 1 more field".into(),
        more => format!(" and {more} more fields"),
    };
    let one = |(index, field): (usize, &&Field)| {
        let baseline = field.baseline.as_ref().map_or("none".into(), |baseline| part(baseline.total()));
        let of = if index == 0 { &*of } else { "" };
        format!("{} ({}{of}; {}: {baseline})", field.name, part(field.own.total()), short(other))
    };
    let named: Vec<_> = different.iter().take(MOST_NAMED).enumerate().map(one).collect();
    let comma = if other == "baseline" { "" } else { "," };
    format!("{name} differs more often than {}{comma} in {}{more}", view::baseline(other), named.join(", "))
}

fn failures(name: &str, errors: &Quantity) -> String {
    let total = errors.blocks.total();
    format!(
        "{name} fails {} of {} requests that the primary answers; the primary fails {} that {name} answers",
        share(total.for_it, total.of),
        grouped(total.of),
        share(total.against, total.of)
    )
}

fn slower(name: &str, times: &Quantity, demands: &Demands) -> String {
    let total = times.blocks.total();
    format!(
        "{name} is slower by more than {} in {} of {} pairs, and faster in {}",
        milliseconds(demands.tolerance),
        share(total.for_it, total.of),
        grouped(total.of),
        share(total.against, total.of)
    )
}

fn differing(name: &str, one: &Quantity) -> String {
    let total = one.blocks.total();
    format!(
        "{name} responds otherwise than the primary to {} of {} requests, failures apart",
        share(total.for_it, total.of),
        grouped(total.of)
    )
}

/// Says what is not decided.
fn open(verdict: &Verdict, demands: &Demands) -> String {
    if verdict.unknown > demands.margin {
        return format!("{} of the pairs are not compared", fine(verdict.unknown));
    }
    let all_below = verdict.quantities.iter().all(Quantity::is_below);
    if let Some(why) = verdict.fields.baseline.as_ref().and_then(|beside| beside.unjudged).filter(|_| all_below) {
        return format!("fields are not judged: {why}");
    }
    let has_baseline = verdict.fields.baseline.is_some();
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
                let more = if has_baseline { " more often than the baseline" } else { "" };
                format!("responding otherwise{more} in {low} to {high} ({} is allowed)", fine(quantity.margin))
            }
            Kind::Field => format!("more often than in the baseline by {low} to {high}"),
        }
    };
    let fields: Vec<_> =
        verdict.fields.list.iter().filter(|field| field.excess.as_ref().is_some_and(|one| !one.is_below())).collect();
    let mut said: Vec<_> = open.iter().map(one).collect();
    if let Some((first, rest)) = fields.split_first() {
        let more = if rest.is_empty() { String::new() } else { format!(", as {} more fields may", rest.len()) };
        let by = first.excess.as_ref().map(|excess| one(&excess)).unwrap_or_default();
        said.push(format!("differing in {} {by} ({} is allowed){more}", first.name, fine(demands.differing)));
    }
    format!("it may be {}", said.join(", "))
}

/// Tells what the demands are, and how sure verdicts are.
pub(crate) fn demands(demands: &Demands, baseline: Option<&str>) -> String {
    let looks = if demands.looks > 1.0 { format!(" of {} reports together", demands.looks) } else { String::new() };
    let beside = baseline.map_or_else(String::new, |name| {
        format!(
            " Beside {}: by less than {} more of the pairs, in all and in each field; worse from {} on.",
            view::baseline(name),
            fine(demands.differing),
            fine(demands.margin.min(demands.differing))
        )
    });
    format!(
        "As good: fails no more often than the primary by {} of the pairs, is not more often slower than faster by more than {} in {}, and \
         responds otherwise in less than {}.{beside} Bounds come from up to 16 pieces of time; with a probability of at most 5 %{looks} any \
         mirror is called worse, or as good, that is not.",
        fine(demands.margin),
        milliseconds(demands.tolerance),
        fine(SLOWER),
        fine(demands.differing)
    )
}
