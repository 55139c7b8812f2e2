//! What came in a period, piece by piece, from one Envoy, from many, or from a Prometheus.

use crate::admin::Admin;
use crate::metrics::counters::{Break, Counters, Mirror};
use crate::metrics::prometheus::{Prometheus, Steps};
use crate::metrics::source::Source;
use crate::metrics::words::grouped;
use crate::reply::Progress;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::sync::LazyLock;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant, SystemTime};

/// More pieces than these are joined, so that a week needs no more memory than a minute.
const PIECES: usize = 256;
/// Into how many steps the time of a Prometheus is cut, where they are long enough.
const STEPS: u32 = 48;
/// A step has to hold a few scrapes.
const SHORTEST_STEP: Duration = Duration::from_secs(60);
/// From when on whoever watches an Envoy is told what that means.
const LONG: Duration = Duration::from_secs(60 * 60);

/// What came of a mirror that was not there.
static NOTHING: LazyLock<Mirror> = LazyLock::new(Mirror::default);

/// What came, and what is to be known of where it comes from.
pub(crate) struct Period {
    /// In the order of time, and of equal length.
    pub(crate) gains: Vec<Counters>,
    pub(crate) source: String,
    pub(crate) from: SystemTime,
    pub(crate) to: SystemTime,
    pub(crate) proxies: usize,
    /// Restarts, resets, proxies that came and went.
    pub(crate) events: Vec<String>,
    /// Of Envoy, where they are known.
    pub(crate) versions: BTreeSet<String>,
}

impl Period {
    /// Returns all that came.
    pub(crate) fn total(&self) -> Counters {
        let mut total = Counters::default();
        self.gains.iter().for_each(|gain| total.plus(gain));
        total
    }

    /// Returns what came of a mirror, in the order of time.
    pub(crate) fn pieces(&self, rule: &str, mirror: &str) -> Vec<&Mirror> {
        let rules = self.gains.iter().map(|gain| gain.rules.get(rule));
        rules.map(|rule| rule.and_then(|rule| rule.mirrors.get(mirror)).unwrap_or(&NOTHING)).collect()
    }
}

/// An Envoy that is watched.
struct Watched<'a> {
    name: &'a str,
    source: Source,
    /// `None` before it was read.
    last: Option<Counters>,
    is_down: bool,
}

/// Reads Envoys now and then, once all that they count at first is as it has to be.
///
/// # Errors
/// What to tell the user where none of them can be read at first, or it is not.
pub(crate) fn watched(
    names: &[String],
    length: Duration,
    interval: Duration,
    check: impl Fn(&Counters) -> Result<(), String>,
) -> Result<Period, String> {
    let (mut envoys, mut events) = (Vec::new(), Vec::new());
    let (start, from) = (Instant::now(), SystemTime::now());
    for name in names {
        let source = Source::new(name)?;
        if !source.is_live() {
            return Err(format!("{name}: a file cannot be watched"));
        }
        let mut envoy = Watched { name, source, last: None, is_down: false };
        let reading = envoy.source.read();
        match reading {
            Err(error) if names.len() == 1 => return Err(error),
            reading => events.extend(envoy.next(reading, 0.0).1),
        }
        envoys.push(envoy);
    }
    if envoys.iter().all(|envoy| envoy.last.is_none()) {
        return Err(events.join("\n"));
    }
    let mut first = Counters::default();
    envoys.iter().filter_map(|envoy| envoy.last.as_ref()).for_each(|last| first.plus(last));
    check(&first)?;
    if length >= LONG {
        announce(names.len(), from, length, interval);
    }
    let progress = Progress::new();
    let (mut gains, mut sum) = (Vec::new(), Counters::default());
    // How many readings a piece has.
    let (mut width, mut filled) = (1_u32, 0_u32);
    while let Some(left) = length.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        sleep(left.min(interval));
        let mut gain = Counters::default();
        let readings: Vec<_> = scope(|scope| {
            let threads: Vec<_> = envoys.iter().map(|envoy| scope.spawn(|| envoy.source.read())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("not read".into()))).collect()
        });
        for (envoy, reading) in envoys.iter_mut().zip(readings) {
            let (gained, event) = envoy.next(reading, start.elapsed().as_secs_f64());
            gained.iter().for_each(|gained| gain.plus(gained));
            events.extend(event);
        }
        sum.plus(&gain);
        match gains.last_mut() {
            Some(last) if filled < width => Counters::plus(last, &gain),
            _ => {
                gains.push(gain);
                filled = 0;
            }
        }
        filled = filled.saturating_add(1);
        if gains.len() > PIECES {
            gains = halved(&gains);
            width = width.saturating_mul(2);
        }
        progress.show(&so_far(&sum, start.elapsed(), length));
    }
    drop(progress);
    let versions = names.iter().filter_map(|name| version(name)).collect();
    let source = match names {
        [name] => name.clone(),
        names => format!("{} Envoys ({})", names.len(), names.join(", ")),
    };
    Ok(Period { gains, source, from, to: SystemTime::now(), proxies: names.len(), events, versions })
}

impl Watched<'_> {
    /// Takes a reading, so many seconds after the start; returns what came since the last, and what is to be told.
    fn next(&mut self, reading: Result<Counters, String>, elapsed: f64) -> (Option<Counters>, Option<String>) {
        let told = |event: &str| Some(format!("{}: {} {event}", time(SystemTime::now()), self.name));
        let now = match reading {
            Ok(now) => now,
            Err(_) if self.is_down => return (None, None),
            Err(error) => {
                self.is_down = true;
                // The name is told already, and not that it is a URL.
                let why = error.rsplit(": ").next().unwrap_or(&error);
                return (None, told(&format!("could not be read: {why}")));
            }
        };
        let was_down = std::mem::take(&mut self.is_down);
        let (gained, event) = match &self.last {
            // What it counted before the start is no part of this.
            None => {
                let is_new = now.uptime.is_some_and(|uptime| uptime < elapsed);
                (is_new.then(|| now.clone()), if was_down { told("was read") } else { None })
            }
            Some(last) => {
                let (gained, breaks) = now.gained(last);
                let event = match breaks {
                    Some(Break::Restart) => told("began to count anew: it was restarted"),
                    Some(Break::Reset) => told("had its counters reset"),
                    None if was_down => told("was read again"),
                    None => None,
                };
                (Some(gained), event)
            }
        };
        self.last = Some(now);
        (gained, event)
    }
}

/// Asks an Envoy for its version: `COMMIT/1.40.0/Clean/RELEASE/BoringSSL`.
fn version(name: &str) -> Option<String> {
    let page = Admin::new(name).ok()?.get("/server_info").ok()??;
    let info: Value = serde_json::from_str(&page).ok()?;
    info.get("version")?.as_str()?.split('/').nth(1).map(str::to_owned)
}

/// Joins each two that are neighbours.
fn halved(gains: &[Counters]) -> Vec<Counters> {
    let joined = |pair: &[Counters]| {
        let mut sum = Counters::default();
        pair.iter().for_each(|gain| sum.plus(gain));
        sum
    };
    gains.chunks(2).map(joined).collect()
}

/// Asks a Prometheus about a time up to now.
///
/// # Errors
/// What to tell the user.
pub(crate) fn asked(
    url: &str,
    selector: Option<&str>,
    length: Duration,
    interval: Option<Duration>,
) -> Result<Period, String> {
    let prometheus = Prometheus::new(url, selector)?;
    // Whole seconds, as PromQL writes them.
    let shortest = interval.unwrap_or(SHORTEST_STEP).as_secs().max(1);
    let seconds = length.as_secs().checked_div(STEPS.into()).unwrap_or_default().max(shortest);
    let count = length.as_secs().checked_div(seconds).unwrap_or_default().max(1);
    let step = Duration::from_secs(seconds);
    let steps = Steps { end: SystemTime::now(), step, count: u32::try_from(count).unwrap_or(STEPS) };
    let progress = Progress::new();
    progress.show(&format!("Asking {url} about {}", humantime::format_duration(length)));
    let gains = prometheus.gains(steps)?;
    let proxies = prometheus.proxies(steps)?;
    drop(progress);
    let at = |index: u32| time(steps.start().checked_add(step.saturating_mul(index)).unwrap_or(steps.end));
    let mut events = Vec::new();
    for proxy in &proxies {
        let (first, last) = proxy.seen;
        if first > 0 {
            events.push(format!("{}: {} came", at(first), proxy.instance));
        }
        if last.saturating_add(1) < steps.count {
            events.push(format!("{}: {} was gone", at(last.saturating_add(1)), proxy.instance));
        }
        if proxy.restarts > 0.0 {
            events.push(format!("{} began to count anew {} times", proxy.instance, proxy.restarts));
        }
    }
    let source = format!("{url}{}", selector.map(|selector| format!(" {selector}")).unwrap_or_default());
    Ok(Period {
        gains,
        source,
        from: steps.start(),
        to: steps.end,
        proxies: proxies.len(),
        events,
        versions: BTreeSet::new(),
    })
}

/// Writes a moment.
pub(crate) fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Says what watching for long means, before it begins.
fn announce(envoys: usize, from: SystemTime, length: Duration, interval: Duration) {
    let until = from.checked_add(length).map_or_else(String::new, |until| format!(" until {}", time(until)));
    let _ = writeln!(
        stderr(),
        "Reading {envoys} of Envoy's admin endpoints every {}{until}, and reporting then: nothing is known of before, and of what a \
         proxy counts between its last reading and its end. A Prometheus knows the past: --prometheus URL",
        humantime::format_duration(interval)
    );
}

/// Says how far it is.
fn so_far(sum: &Counters, elapsed: Duration, length: Duration) -> String {
    let sent: f64 = sum.pairs().map(|(_, _, _, mirror)| mirror.sent()).sum();
    let (elapsed, length) = (Duration::from_secs(elapsed.as_secs()), humantime::format_duration(length));
    let (requests, sent) = (grouped(sum.decided()), grouped(sent));
    format!("{} of {length}: {requests} requests, {sent} copies", humantime::format_duration(elapsed))
}
