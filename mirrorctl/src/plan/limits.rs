//! Which limits the traffic reaches, what is lost by them, and what to set instead.

use super::figures::Figures;
use super::load::{Kept, Load, Memory, ROOM_FOR_HEADERS, whole};
use super::queue::{peak, refused};
use super::series::Series;
use super::units::bytes;
use crate::metrics::words::grouped;
use std::collections::BTreeMap;
use traffic_mirror::config::{BodyMode, Config, Mirror, OnOversized};

/// The most that a configuration may have of these.
const MOST_BUFFERED: f64 = 536_870_912.0;
const MOST_BODY: f64 = 67_108_864.0;
/// For how much more traffic than given a value is proposed: for bursts, and for workers that are not as busy as each other.
const SPARE: f64 = 2.0;

/// What limits may allow in an Envoy before it is worth a note, in bytes.
const MUCH: f64 = 1_073_741_824.0;

/// A response that is worth no lower limit, in bytes.
const SHORT: f64 = 65_536.0;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    PerSecond,
    Bytes,
    Seconds,
}

/// Where something is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `limits` of the plugin's configuration.
    Limits,
    /// A mirror of the plugin's configuration, by its positions.
    Mirror(usize, usize, String),
    /// Somewhere else.
    Elsewhere(String),
}

/// What to set: lines of YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) place: Place,
    pub(crate) yaml: String,
}

/// A limit, and what the traffic needs of it.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) name: String,
    /// Of what it is: a worker, a proxy, all proxies.
    pub(crate) of: &'static str,
    pub(crate) unit: Unit,
    pub(crate) needs: f64,
    pub(crate) has: f64,
    /// The outcome or class that counts what is lost, and which share of the copies that is, where it is known.
    pub(crate) lost: Option<(&'static str, Option<f64>)>,
    pub(crate) set: Vec<Set>,
}

impl Limit {
    /// Returns whether the traffic needs more than there is.
    pub(crate) fn is_reached(&self) -> bool {
        self.needs > self.has
    }
}

/// Returns all limits that the traffic comes to.
pub(crate) fn limits(config: &Config, figures: &Figures, loads: &[Load], kept: Kept, series: Series) -> Vec<Limit> {
    let mut limits = in_flight(config, loads);
    limits.extend(rate(config, loads));
    limits.extend(bodies(config, figures, loads, kept));
    limits.extend(responses(figures, loads));
    limits.extend(breakers(figures, loads));
    limits.push(all_series(figures, series));
    limits
}

fn in_flight(config: &Config, loads: &[Load]) -> Vec<Limit> {
    let mean: f64 = loads.iter().map(|load| load.busiest).sum();
    let limit = |name: String, mean: f64, has: f64, place: Place| Limit {
        name,
        of: "a worker",
        unit: Unit::Count,
        needs: peak(mean),
        has,
        lost: Some(("in_flight_limit", Some(refused(mean, has)))),
        set: vec![Set { place, yaml: format!("maxInFlight: {}", power(peak(mean * SPARE))) }],
    };
    let mut limits = Vec::new();
    if mean > 0.0 {
        limits.push(limit("limits.maxInFlight".into(), mean, whole(config.limits.max_in_flight), Place::Limits));
    }
    for load in loads.iter().filter(|load| load.copies > 0.0) {
        if let Some(own) = mirror(config, load).and_then(|mirror| mirror.max_in_flight) {
            limits.push(limit(path(load, "maxInFlight"), load.busiest, whole(own), place(load)));
        }
    }
    // Of mirrors that are fast enough, the slowest stands for all.
    let mut times: Vec<_> = loads.iter().filter(|load| load.copies > 0.0).map(timeout).collect();
    times.sort_by(|one, other| (other.needs / other.has).total_cmp(&(one.needs / one.has)));
    let reached = times.iter().filter(|limit| limit.is_reached()).count();
    limits.extend(times.into_iter().take(reached.max(1)));
    limits
}

fn timeout(load: &Load) -> Limit {
    let enough = (load.latency * SPARE).ceil().min(3600.0);
    Limit {
        name: path(load, "timeout"),
        of: "a copy",
        unit: Unit::Seconds,
        needs: load.latency,
        has: load.timeout,
        lost: Some(("timeout", None)),
        set: vec![Set { place: place(load), yaml: format!("timeout: {enough}s") }],
    }
}

fn rate(config: &Config, loads: &[Load]) -> Option<Limit> {
    let rate = config.limits.rate?;
    let needs: f64 = loads.iter().map(|load| load.copies).sum();
    let has = f64::from(rate.per_second);
    Some(Limit {
        name: "limits.maxRequestsPerSecond".into(),
        of: "a proxy",
        unit: Unit::PerSecond,
        needs,
        has,
        lost: Some(("rate_limit", Some((1.0 - has / needs).max(0.0)))),
        set: vec![Set { place: Place::Limits, yaml: format!("maxRequestsPerSecond: {}", (needs * 1.25).ceil()) }],
    })
}

fn bodies(config: &Config, figures: &Figures, loads: &[Load], kept: Kept) -> Vec<Limit> {
    let own = &config.limits;
    let with_body =
        |load: &&Load| load.copies > 0.0 && mirror(config, load).is_some_and(|one| one.body == BodyMode::Include);
    let mut limits = Vec::new();
    let skips = |load: &&Load| mirror(config, load).is_some_and(|one| one.on_oversized == OnOversized::Skip);
    let skipping: Vec<_> = loads.iter().filter(with_body).filter(skips).collect();
    if figures.longest_body > 0.0 && !skipping.is_empty() {
        let needs = figures.longest_body;
        let most = Set { place: Place::Limits, yaml: format!("maxBodyBytes: {}", power(needs)) };
        let without =
            skipping.iter().map(|load| Set { place: place(load), yaml: "onOversizedBody: omit".into() }).collect();
        limits.push(Limit {
            name: "limits.maxBodyBytes".into(),
            of: "a request",
            unit: Unit::Bytes,
            needs,
            has: whole(own.max_body_bytes),
            lost: Some(("body_too_large", None)),
            set: if needs <= MOST_BODY { vec![most] } else { without },
        });
    }
    let buffered = whole(own.max_buffered_bytes);
    // Half of it is for bodies that wait.
    let enough = (kept.arriving + kept.waiting).max(2.0 * kept.waiting) * SPARE;
    let set = if enough <= MOST_BUFFERED {
        vec![Set { place: Place::Limits, yaml: format!("maxBufferedBytes: {}", power(enough)) }]
    } else {
        let part = MOST_BUFFERED / enough;
        let most = Set { place: Place::Limits, yaml: format!("maxBufferedBytes: {MOST_BUFFERED}") };
        std::iter::once(most).chain(loads.iter().filter(with_body).map(|load| fewer(load, part))).collect()
    };
    let limit = |name: &str, needs: f64, has: f64, set: Vec<Set>| Limit {
        name: name.to_owned(),
        of: "a worker",
        unit: Unit::Bytes,
        needs,
        has,
        lost: Some(("buffer_limit", None)),
        set,
    };
    if kept.arriving + kept.waiting > 0.0 {
        limits.push(limit("limits.maxBufferedBytes", kept.arriving + kept.waiting, buffered, set.clone()));
    }
    if kept.waiting > 0.0 {
        limits.push(limit("half of it, for `when`", kept.waiting, buffered / 2.0, set));
    }
    if kept.compared > 0.0 {
        let needs = kept.arriving + kept.waiting + kept.compared;
        let most = power(needs * SPARE).min(MOST_BUFFERED);
        limits.push(Limit {
            lost: Some(("not_compared", None)),
            ..limit(
                "limits.maxBufferedBytes, with `compare`",
                needs,
                buffered,
                vec![Set { place: Place::Limits, yaml: format!("maxBufferedBytes: {most}") }],
            )
        });
    }
    if kept.headers > 0.0 {
        let part = ROOM_FOR_HEADERS / (kept.headers * SPARE);
        let fewer = loads.iter().filter(|load| load.copies > 0.0).map(|load| fewer(load, part)).collect();
        limits.push(limit("headers of open requests", kept.headers, ROOM_FOR_HEADERS, fewer));
    }
    limits
}

/// Proposes a smaller share of the requests.
fn fewer(load: &Load, part: f64) -> Set {
    let percentage = (load.share * part.min(1.0) * 1_000_000.0).floor() / 10_000.0;
    Set { place: place(load), yaml: format!("percentage: {percentage}") }
}

fn responses(figures: &Figures, loads: &[Load]) -> Option<Limit> {
    loads.iter().any(|load| load.copies > 0.0).then(|| Limit {
        name: "http.async_response_buffer_limit".into(),
        of: "a copy",
        unit: Unit::Bytes,
        needs: figures.response,
        has: figures.response_limit,
        lost: Some(("failed", None)),
        set: vec![Set {
            place: Place::Elsewhere("a static_layer of Envoy's layered_runtime; in Istio, runtimeValues".into()),
            yaml: format!("http.async_response_buffer_limit: {}", power(figures.response)),
        }],
    })
}

fn breakers(figures: &Figures, loads: &[Load]) -> Vec<Limit> {
    let mut clusters = BTreeMap::<&str, f64>::new();
    for load in loads.iter().filter(|load| load.copies > 0.0) {
        if let Some(cluster) = &load.cluster {
            *clusters.entry(cluster).or_default() += load.in_flight;
        }
    }
    let limit = |(cluster, mean): (&str, f64)| {
        let has = figures.breaker(cluster)?;
        let most = power(peak(mean * SPARE));
        let yaml = format!(
            "circuit_breakers:\n  thresholds:\n  - max_connections: {most}\n    max_pending_requests: {most}\n    max_requests: {most}"
        );
        Some(Limit {
            name: format!("circuit breaker of {cluster}"),
            of: "a proxy",
            unit: Unit::Count,
            needs: peak(mean),
            has,
            lost: Some(("no_upstream", Some(refused(mean, has)))),
            set: vec![Set { place: Place::Elsewhere(format!("Envoy's cluster {cluster}")), yaml }],
        })
    };
    clusters.into_iter().filter_map(limit).collect()
}

fn all_series(figures: &Figures, series: Series) -> Limit {
    let of_proxy = series.fields + if figures.used_only { series.used } else { series.all };
    let scrape = Set {
        place: Place::Elsewhere("Prometheus' scrape_configs; of a PodMonitor, podMetricsEndpoints".into()),
        yaml: "params: { usedonly: [\"\"] }".into(),
    };
    let buckets = Set {
        place: Place::Elsewhere("Envoy's bootstrap; in Istio, an annotation sidecar.istio.io/statsHistogramBuckets".into()),
        yaml: "stats_config:\n  histogram_bucket_settings:\n  - match: { safe_regex: { regex: '.*traffic_mirror.*_ms' } }\n    buckets: [5, 25, 100, 500, 2500]".into(),
    };
    let mut set = if figures.used_only { Vec::new() } else { vec![scrape] };
    // Where the one does not suffice.
    if (series.used + series.fields) * figures.replicas > figures.most_series {
        set.push(buckets);
    }
    Limit {
        name: "series in Prometheus".into(),
        of: "all proxies",
        unit: Unit::Count,
        needs: of_proxy * figures.replicas,
        has: figures.most_series,
        lost: None,
        set,
    }
}

/// Returns what is worth knowing, although no limit is reached.
pub(crate) fn notes(config: &Config, figures: &Figures, loads: &[Load], memory: &Memory) -> Vec<String> {
    let mut notes = Vec::new();
    let most = whole(config.limits.max_in_flight);
    let busy: Vec<_> = loads.iter().filter(|load| load.copies > 0.0).collect();
    for load in busy.iter().filter(|load| busy.len() > 1 && load.hanging > most) {
        if mirror(config, load).is_some_and(|mirror| mirror.max_in_flight.is_none()) {
            notes.push(format!(
                "{} → {}: a mirror that hangs takes all {} places of limits.maxInFlight, and no other mirror gets copies then: set \
                 its own maxInFlight: {}",
                load.rule,
                load.mirror,
                grouped(most),
                power(load.peak * SPARE)
            ));
        }
    }
    let alone = peak(loads.iter().map(|load| load.in_flight).sum());
    let even = peak(loads.iter().map(|load| load.busiest).sum());
    if figures.busiest.is_none() && figures.workers > 1.0 && alone > most && even <= most {
        notes.push(format!(
            "If one worker gets all requests, as it may from few clients, limits.maxInFlight needs {}: --busiest says which \
             share it gets",
            grouped(alone)
        ));
    }
    let enough = power(figures.response * SPARE).max(SHORT);
    if memory.most_in_envoy > MUCH && enough < figures.response_limit {
        notes.push(format!(
            "Mirrors that respond with all that they may can take {} of each Envoy: responses need an \
             http.async_response_buffer_limit of {enough}",
            bytes(memory.most_in_envoy)
        ));
    }
    if config.rules.iter().any(|rule| rule.compare.as_ref().is_some_and(|compare| compare.needs_content())) {
        notes.push("CPU is without what it takes to compare headers and bodies: docs/compare.md".into());
    }
    if config.limits.rate.is_some() && figures.replicas > 1.0 {
        notes.push(
            "limits.maxRequestsPerSecond is of each proxy: a mirror gets up to that many times their number".into(),
        );
    }
    notes
}

/// Returns the least power of two that is no less.
fn power(number: f64) -> f64 {
    let mut power = 1.0;
    while power < number {
        power *= 2.0;
    }
    power
}

fn mirror<'c>(config: &'c Config, load: &Load) -> Option<&'c Mirror> {
    config.rules.get(load.at.0)?.mirrors.get(load.at.1)
}

fn path(load: &Load, field: &str) -> String {
    format!("rules[{}].mirrors[{}].{field}", load.at.0, load.at.1)
}

fn place(load: &Load) -> Place {
    Place::Mirror(load.at.0, load.at.1, format!("{} → {}", load.rule, load.mirror))
}
