//! What each mirror gets, and what that takes of a proxy: figures in, figures out. docs/scale.md has the formulas.

use super::cost::{self, Cpu};
use super::figures::Figures;
use super::queue::peak;
use traffic_mirror::config::{BodyMode, Config, Mirror, Ratio, Rule, Share, Target};

/// What an open request takes in the VM beside its headers and its body.
pub(crate) const PER_REQUEST: f64 = 2048.0;

/// What all of that may take on a worker.
pub(crate) const ROOM_FOR_HEADERS: f64 = 67_108_864.0;

/// What a mirror of a rule gets of one proxy.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Positions of the rule and the mirror.
    pub(crate) at: (usize, usize),
    pub(crate) rule: String,
    pub(crate) mirror: String,
    /// Where all copies go; `None`: a header says it.
    pub(crate) cluster: Option<String>,
    /// The share of the requests that the rule decides.
    pub(crate) decided: f64,
    /// The share of those that are selected.
    pub(crate) share: f64,
    /// Copies a second.
    pub(crate) copies: f64,
    /// Copies in flight on average: Little's law.
    pub(crate) in_flight: f64,
    /// Copies in flight on the busiest worker, on average and at the peak.
    pub(crate) busiest: f64,
    pub(crate) peak: f64,
    /// The same at the peak, once the mirror responds to nothing.
    pub(crate) hanging: f64,
    pub(crate) connections: f64,
    /// Bytes a second to the mirror and from it.
    pub(crate) sent: f64,
    pub(crate) received: f64,
    /// How long the mirror takes, and may take.
    pub(crate) latency: f64,
    pub(crate) timeout: f64,
}

/// What is kept of requests on one worker, the busiest, at the peak.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kept {
    /// Bytes of bodies that are arriving.
    pub(crate) arriving: f64,
    /// Bytes of bodies that wait for the primary's response.
    pub(crate) waiting: f64,
    /// Bytes beside the bodies.
    pub(crate) headers: f64,
    /// Bytes of responses that are to be compared.
    pub(crate) compared: f64,
}

/// Resident memory of one proxy, in bytes, on average.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// The module in all workers.
    pub(crate) module: f64,
    /// Rules and metrics.
    pub(crate) rules: f64,
    /// Bodies that arrive or wait.
    pub(crate) bodies: f64,
    /// Requests that arrive or wait, beside their bodies.
    pub(crate) headers: f64,
    /// Responses of the primary until those of the mirrors are there, where bodies are compared.
    pub(crate) compared: f64,
    /// Copies in Envoy until they have their response.
    pub(crate) copies: f64,
    /// Responses in Envoy until they are complete.
    pub(crate) responses: f64,
    /// What limits allow in the VMs of all workers, and in Envoy.
    pub(crate) most_in_vm: f64,
    pub(crate) most_in_envoy: f64,
}

impl Memory {
    pub(crate) fn sum(&self) -> f64 {
        self.module + self.rules + self.bodies + self.headers + self.compared + self.copies + self.responses
    }
}

/// CPU of one proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// Microseconds a request of Envoy without the filter and with it.
    pub(crate) without: f64,
    pub(crate) with: f64,
    /// Cores that the filter takes, of the machine of the benchmark.
    pub(crate) cores: f64,
}

/// Returns what each mirror gets.
pub(crate) fn loads(config: &Config, figures: &Figures) -> Vec<Load> {
    let rules = config.rules.iter().enumerate();
    let of_rule = |(at, rule): (usize, &std::rc::Rc<Rule>)| -> Vec<Load> {
        let decided = figures.share(config, rule);
        let mirrors = rule.mirrors.iter().enumerate();
        mirrors.map(|(index, mirror)| load((at, index), rule, mirror, decided, figures)).collect()
    };
    rules.flat_map(of_rule).collect()
}

fn load(at: (usize, usize), rule: &Rule, mirror: &Mirror, decided: f64, figures: &Figures) -> Load {
    let label = mirror.label.as_str().to_owned();
    let share = share(mirror, figures);
    let copies = figures.requests * decided * share * wanted(mirror, figures);
    let (latency, timeout) = (figures.latency(&label), mirror.timeout.as_secs_f64());
    // Little's law. The host gives up at the timeout.
    let in_flight = copies * latency.min(timeout);
    let busiest = in_flight * figures.busiest();
    let cluster = match &mirror.target {
        Target::Cluster(name) => Some((**name).to_owned()),
        Target::Header { .. } => None,
    };
    let connections = match copies > 0.0 {
        true if figures.is_http2(cluster.as_deref()) => figures.workers,
        true => figures.workers * peak(in_flight / figures.workers),
        false => 0.0,
    };
    let body = if mirror.body == BodyMode::Include { figures.body } else { 0.0 };
    Load {
        at,
        rule: rule.name.as_str().to_owned(),
        mirror: label,
        cluster,
        decided,
        share,
        copies,
        in_flight,
        busiest,
        peak: peak(busiest),
        hanging: peak(copies * timeout * figures.busiest()),
        connections,
        sent: copies * (figures.headers + body),
        received: copies * figures.response,
        latency,
        timeout,
    }
}

/// Returns the share of a mirror at the moment of the plan, or the biggest.
pub(crate) fn share(mirror: &Mirror, figures: &Figures) -> f64 {
    let of = |ratio: Ratio| f64::from(ratio.parts()) / f64::from(Ratio::PARTS);
    match (&mirror.sample.share, figures.at) {
        (_, Some(at)) if mirror.period.is_some_and(|period| !period.includes(at)) => 0.0,
        (share, Some(at)) => of(share.at(|| at)),
        (Share::Fixed(ratio), None) => of(*ratio),
        (Share::Ramp(ramp), None) => ramp.steps().iter().map(|(_, ratio)| of(*ratio)).fold(0.0, f64::max),
    }
}

/// Returns the share of the selected requests of which a copy is sent.
fn wanted(mirror: &Mirror, figures: &Figures) -> f64 {
    if mirror.when.is_empty() { 1.0 } else { figures.wanted }
}

/// The biggest share among mirrors: samples lie inside each other, so that it is the share of the requests that have any of them.
fn biggest<'m>(mirrors: impl Iterator<Item = &'m Mirror>, figures: &Figures) -> f64 {
    mirrors.map(|mirror| share(mirror, figures)).fold(0.0, f64::max)
}

/// How many requests are kept at once, of those that `counts` says, on average of a proxy.
struct Open {
    /// Requests and bodies that are arriving.
    arriving: f64,
    arriving_bodies: f64,
    /// Requests and bodies that wait for the primary's response.
    waiting: f64,
    waiting_bodies: f64,
}

fn open(config: &Config, figures: &Figures) -> Open {
    let mut open = Open { arriving: 0.0, arriving_bodies: 0.0, waiting: 0.0, waiting_bodies: 0.0 };
    for rule in &config.rules {
        let decided = figures.requests * figures.share(config, rule);
        let has_body = |mirror: &&Mirror| mirror.body == BodyMode::Include && figures.body > 0.0;
        let waits = |mirror: &&Mirror| !mirror.when.is_empty();
        let all = || rule.mirrors.iter();
        // A request without a body ends with its headers.
        let upload = if figures.body > 0.0 { figures.upload } else { 0.0 };
        open.arriving += decided * upload * biggest(all(), figures);
        open.arriving_bodies += decided * upload * biggest(all().filter(has_body), figures);
        open.waiting += decided * figures.primary * biggest(all().filter(waits), figures);
        open.waiting_bodies += decided * figures.primary * biggest(all().filter(waits).filter(has_body), figures);
    }
    open
}

/// Returns what is kept on the busiest worker.
pub(crate) fn kept(config: &Config, figures: &Figures, loads: &[Load]) -> Kept {
    let open = open(config, figures);
    let at_peak = |mean: f64| peak(mean * figures.busiest());
    Kept {
        arriving: at_peak(open.arriving_bodies) * figures.body,
        waiting: at_peak(open.waiting_bodies) * figures.body,
        headers: at_peak(open.arriving + open.waiting) * (figures.headers + PER_REQUEST),
        compared: compared(config, loads).map(|(mean, most)| at_peak(mean) * figures.response.min(most)).sum(),
    }
}

/// Returns of each rule that compares bodies how many responses wait for a mirror's, and the longest that is compared. A response is
/// kept once for all mirrors, until the slowest has responded.
fn compared(config: &Config, loads: &[Load]) -> impl Iterator<Item = (f64, f64)> {
    config.rules.iter().enumerate().filter_map(move |(at, rule)| {
        let body = rule.compare.as_ref()?.body.as_ref()?;
        let of_rule = loads.iter().filter(|load| load.at.0 == at).map(|load| load.in_flight);
        Some((of_rule.fold(0.0, f64::max), whole(body.max_bytes)))
    })
}

/// Returns the memory of a proxy.
pub(crate) fn memory(config: &Config, figures: &Figures, loads: &[Load]) -> Memory {
    let open = open(config, figures);
    let body = |load: &Load| if load.copies > 0.0 { load.sent / load.copies } else { 0.0 };
    let limits = &config.limits;
    let [most_body, most_buffered, most_in_flight] =
        [limits.max_body_bytes, limits.max_buffered_bytes, limits.max_in_flight].map(whole);
    Memory {
        module: cost::module(figures.workers),
        rules: loads.iter().map(|_| cost::rule(figures.workers)).sum(),
        bodies: (open.arriving_bodies + open.waiting_bodies) * figures.body,
        headers: (open.arriving + open.waiting) * (figures.headers + PER_REQUEST),
        compared: compared(config, loads).map(|(mean, most)| mean * figures.response.min(most)).sum(),
        copies: loads.iter().map(|load| load.in_flight * body(load)).sum(),
        responses: loads.iter().map(|load| load.in_flight * figures.response).sum(),
        most_in_vm: figures.workers * (most_buffered + most_body + ROOM_FOR_HEADERS),
        most_in_envoy: figures.workers * most_in_flight * (most_body + figures.response_limit),
    }
}

/// Returns the CPU of a proxy.
pub(crate) fn work(config: &Config, figures: &Figures) -> Work {
    let cpu = Cpu::of(figures.body);
    let (mut with, mut matched) = (cpu.none, 0.0);
    for rule in &config.rules {
        let decided = figures.share(config, rule);
        let sent = |mirror: &Mirror| share(mirror, figures) * wanted(mirror, figures);
        let all: f64 = rule.mirrors.iter().map(sent).sum();
        let any = rule.mirrors.iter().map(sent).fold(0.0, f64::max);
        let compare = if rule.compare.is_some() { cpu.compare * all } else { 0.0 };
        with += decided * (cpu.decided + cpu.copy * any + cpu.further * (all - any) + compare);
        matched += decided;
    }
    with += (1.0 - matched).max(0.0) * cpu.unmatched;
    Work { without: cpu.none, with, cores: figures.requests * (with - cpu.none) / 1e6 }
}

/// Makes a figure of a limit.
pub(crate) fn whole(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
