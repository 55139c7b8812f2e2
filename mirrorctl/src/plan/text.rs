//! The plan for a terminal of 80 columns.

use super::Plan;
use super::limits::{Limit, Place, Set, Unit};
use super::load::Load;
use super::units::{amount, bytes, seconds};
use crate::metrics::words::{fine, grouped, wrapped};
use std::fmt::Write;

/// How wide the names of figures are, and the figures.
const NAME: usize = 30;
const FIGURE: usize = 22;
/// How many mirrors are shown, those with the most copies first; how many limits, those that are reached and others; and how many
/// places in which something is to be set.
const MIRRORS: usize = 8;
const LIMITS: usize = 12;
const PLACES: usize = 12;

pub(crate) fn render(plan: &Plan) -> String {
    let mut text = format!("{}\n\n", wrapped(&answer(plan), 0, 0));
    let figures = &plan.figures;
    let _ = writeln!(text, "{}", wrapped(&plan.figures.describe(), 0, 0));
    let n = figures.replicas;
    let row = |text: &mut String, name: &str, one: String, all: String| {
        let all = if n > 1.0 { all } else { String::new() };
        let line = format!("  {name:<NAME$}{one:>FIGURE$}{all:>FIGURE$}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    let head = |text: &mut String, name: &str| {
        let all = if n > 1.0 { format!("{} proxies", grouped(n)) } else { String::new() };
        let line = format!("{name}\n  {:<NAME$}{:>FIGURE$}{all:>FIGURE$}", "", "a proxy");
        let _ = writeln!(text, "\n{}", line.trim_end());
    };
    let mut loads: Vec<_> = plan.loads.iter().collect();
    loads.sort_by(|one, other| other.copies.total_cmp(&one.copies));
    for load in loads.iter().take(MIRRORS) {
        head(&mut text, &wrapped(&heading(load), 0, 2));
        let second = |one: f64| format!("{}/s", amount(one));
        let rate = |one: f64| format!("{}/s", bytes(one));
        row(&mut text, "copies", second(load.copies), second(load.copies * n));
        row(&mut text, "in flight", amount(load.in_flight), amount(load.in_flight * n));
        row(&mut text, "  on the busiest worker", amount(load.busiest), String::new());
        row(&mut text, "  there, at the peak", grouped(load.peak), String::new());
        row(&mut text, "connections", grouped(load.connections), grouped(load.connections * n));
        row(&mut text, "to the mirror", rate(load.sent), rate(load.sent * n));
        row(&mut text, "from the mirror", rate(load.received), rate(load.received * n));
    }
    let (rest, copies) = loads
        .iter()
        .skip(MIRRORS)
        .fold((0_u32, 0.0), |(count, sum), load| (count.saturating_add(1), sum + load.copies));
    if rest > 0 {
        let _ =
            writeln!(text, "\n{rest} more mirrors, which get {} copies/s of a proxy: --json has them", amount(copies));
    }
    head(&mut text, "What that takes");
    let work = plan.work;
    let cpu = if work.without > 0.0 { work.with / work.without } else { 1.0 };
    row(&mut text, "CPU × Envoy without the filter", amount(cpu), String::new());
    let cores = |cores: f64| format!("{} cores", amount(cores));
    row(&mut text, "CPU on the benchmark's machine", cores(work.cores), cores(work.cores * n));
    let memory = plan.memory;
    for (name, one) in [
        ("memory", memory.sum()),
        ("  module and workers", memory.module),
        ("  rules and metrics", memory.rules),
        ("  bodies, in the VM", memory.bodies),
        ("  requests, in the VM", memory.headers),
        ("  responses to compare, in the VM", memory.compared),
        ("  copies, in Envoy", memory.copies),
        ("  responses, in Envoy", memory.responses),
        ("at most, in the VM, by limits", memory.most_in_vm),
        ("at most, in Envoy, by limits", memory.most_in_envoy),
    ] {
        if one > 0.0 {
            row(&mut text, name, bytes(one), bytes(one * n));
        }
    }
    let series = plan.series;
    row(&mut text, "series in Prometheus", grouped(series.all), grouped(series.all * n));
    row(&mut text, "series with ?usedonly", grouped(series.used), grouped(series.used * n));
    if series.fields > 0.0 {
        row(&mut text, "and of fields that differ, to", grouped(series.fields), grouped(series.fields * n));
    }
    let _ = write!(text, "\nLimits\n  {:<41}{:>11}{:>12}\n", "", "needs", "has");
    let (reached, wide): (Vec<_>, Vec<_>) = plan.limits.iter().partition(|limit| limit.is_reached());
    for (limits, what) in [(reached, "all of them reached"), (wide, "none of them reached")] {
        limits.iter().take(LIMITS).for_each(|limit| text.push_str(&line(limit)));
        if let Some(more) = limits.len().checked_sub(LIMITS).filter(|more| *more > 0) {
            let _ = writeln!(text, "  {more} more, {what}: --json has them");
        }
    }
    let sets = settings(&plan.limits);
    if !sets.is_empty() {
        text.push_str("\nSet\n");
    }
    for (place, yaml) in sets.iter().take(PLACES) {
        let _ = writeln!(text, "  # {}", wrapped(place, 4, 4).replace("\n    ", "\n  #   "));
        yaml.lines().for_each(|line| _ = writeln!(text, "  {line}"));
    }
    if let Some(more) = sets.len().checked_sub(PLACES).filter(|more| *more > 0) {
        let _ = writeln!(text, "  # and in {more} more places: --json has them");
    }
    if !plan.notes.is_empty() {
        text.push_str("\nNotes\n");
    }
    plan.notes.iter().for_each(|note| _ = writeln!(text, "  {}", wrapped(note, 2, 4)));
    if !plan.assumed.is_empty() {
        let _ = writeln!(text, "\n{}", wrapped(&format!("Assumed: {}", plan.assumed.join(", ")), 0, 2));
    }
    text
}

/// Says whether it fits.
pub(crate) fn answer(plan: &Plan) -> String {
    let mut reached: Vec<_> = plan.limits.iter().filter(|limit| limit.is_reached()).collect();
    reached.sort_by(|one, other| (other.needs / other.has).total_cmp(&(one.needs / one.has)));
    let names: Vec<_> = reached.iter().take(3).map(|limit| &*limit.name).collect();
    let names = names.join(", ");
    match reached.len() {
        0 => "It fits: no limit is reached".into(),
        1 => format!("It does not fit: {names} is reached"),
        count if count > 3 => format!("It does not fit: {count} limits are reached: {names} and others"),
        count => format!("It does not fit: {count} limits are reached: {names}"),
    }
}

/// Names a mirror, and says which requests it gets.
fn heading(load: &Load) -> String {
    let of = if load.decided < 1.0 {
        format!(" of the {} that the rule decides", fine(load.decided))
    } else {
        " of the requests".into()
    };
    format!("{} → {}: {}{of}", load.rule, load.mirror, fine(load.share))
}

/// Writes a line of a limit; one that is reached begins with a mark, and says what is lost.
fn line(limit: &Limit) -> String {
    let unit = |number: f64| match limit.unit {
        Unit::Count => grouped(number),
        Unit::PerSecond => format!("{}/s", amount(number)),
        Unit::Bytes => bytes(number),
        Unit::Seconds => seconds(number),
    };
    let name = format!("{}, of {}", limit.name, limit.of);
    let (needs, has) = (unit(limit.needs), unit(limit.has));
    let mark = if limit.is_reached() { "!" } else { " " };
    let mut text = if name.chars().count() > 41 {
        format!("{mark} {name}\n  {:<41}{needs:>11}{has:>12}\n", "")
    } else {
        format!("{mark} {name:<41}{needs:>11}{has:>12}\n")
    };
    if let (true, Some((what, share))) = (limit.is_reached(), limit.lost) {
        let share = share.map(|share| format!("{} of the copies: ", fine(share))).unwrap_or_default();
        let _ = writeln!(text, "    lost: {share}{what}");
    }
    text
}

/// Returns what to set for the limits that are reached, by the place where it stands.
pub(crate) fn settings(limits: &[Limit]) -> Vec<(String, String)> {
    let mut places: Vec<(String, String)> = Vec::new();
    let sets = limits.iter().filter(|limit| limit.is_reached()).flat_map(|limit| &limit.set);
    for Set { place, yaml } in sets {
        let (heading, yaml) = match place {
            Place::Limits => ("in the plugin's configuration".to_owned(), format!("  {yaml}")),
            Place::Mirror(rule, mirror, name) => (format!("in rules[{rule}].mirrors[{mirror}], {name}"), yaml.clone()),
            Place::Elsewhere(where_) => (format!("in {where_}"), yaml.clone()),
        };
        match places.iter_mut().find(|(known, _)| *known == heading) {
            // Two limits may ask for the same.
            Some((_, text)) if text.lines().any(|line| line == yaml) => {}
            Some((_, text)) => text.push_str(&format!("\n{yaml}")),
            None if *place == Place::Limits => places.push((heading, format!("limits:\n{yaml}"))),
            None => places.push((heading, yaml)),
        }
    }
    places
}
