//! The figures as they are given on the command line, as a running Envoy shows them, or as they are assumed.

use super::figures::{Figures, RESPONSE_LIMIT};
use super::read::Observed;
use super::series::BUCKETS;
use super::units::{bytes, percentage, positive, seconds, size};
use clap::Args;
use std::collections::BTreeMap;
use std::time::Duration;
use traffic_mirror::config::{Config, Moment};

/// What is planned, and for which traffic.
#[derive(Args)]
pub(crate) struct Request {
    /// A file with a configuration, as for `check`; `-` is standard input. Without it, that of the Envoy of --from
    #[arg(required_unless_present = "from")]
    pub(super) file: Option<String>,
    /// Read the figures that are not given from a running Envoy: its admin endpoint, HOST:PORT
    #[arg(long, value_name = "ENVOY")]
    pub(super) from: Option<String>,
    /// How long to wait between two readings of that Envoy
    #[arg(long, default_value = "10s", requires = "from")]
    pub(super) wait: humantime::Duration,
    /// Requests a second that the filter of one proxy sees
    #[arg(long, value_name = "N", value_parser = positive, required_unless_present = "from")]
    requests: Option<f64>,
    /// How many proxies there are [assumed: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    replicas: Option<u32>,
    /// Worker threads of a proxy, its --concurrency [assumed: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    workers: Option<u32>,
    /// The share of the requests that the busiest worker gets [assumed: all are as busy]
    #[arg(long, value_name = "PERCENT", value_parser = percentage)]
    busiest: Option<f64>,
    /// The share of the requests that a rule decides, for each rule; those not named have the rest in equal parts
    #[arg(long, value_name = "RULE=PERCENT")]
    share: Vec<String>,
    /// How long a mirror takes to respond; of all mirrors, or of one: MIRROR=TIME [assumed: 100ms]
    #[arg(long, value_name = "[MIRROR=]TIME")]
    latency: Vec<String>,
    /// How long the primary takes, for `when` [assumed: 100ms]
    #[arg(long, value_name = "TIME")]
    primary: Option<humantime::Duration>,
    /// The share of the copies that `when` asks for [assumed: 100%]
    #[arg(long, value_name = "PERCENT", value_parser = percentage)]
    wanted: Option<f64>,
    /// The headers of a request [assumed: 1KiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    headers: Option<f64>,
    /// The body of a request, on average [assumed: none]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    body: Option<f64>,
    /// The longest body of a request [assumed: the average]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    longest_body: Option<f64>,
    /// How long the body of a request takes to arrive [assumed: 100ms]
    #[arg(long, value_name = "TIME")]
    upload: Option<humantime::Duration>,
    /// A mirror's response, headers and body [assumed: 4KiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    response: Option<f64>,
    /// Envoy's http.async_response_buffer_limit [assumed: 32MiB, Envoy's own]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    response_limit: Option<f64>,
    /// What the circuit breakers of the mirrors' clusters let through [assumed: 1024; of Istio's clusters, all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    breaker: Option<u32>,
    /// Copies go by HTTP/2 [assumed: to clusters that the documents show so]
    #[arg(long)]
    http2: bool,
    /// How many series the filter may have in Prometheus, of all proxies
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = positive)]
    series: f64,
    /// Prometheus asks for `/stats/prometheus?usedonly`
    #[arg(long)]
    used_only: bool,
    /// How many buckets Envoy's histograms have
    #[arg(long, value_name = "N", default_value_t = 19, value_parser = clap::value_parser!(u32).range(1..))]
    buckets: u32,
    /// When it is, for `ramp`, `from` and `until`, such as 2026-12-01T09:00:00Z [assumed: when the most is mirrored]
    #[arg(long, value_name = "TIME", value_parser = crate::explain::moment)]
    at: Option<Moment>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Collects figures, and says which of them are assumed.
#[derive(Default)]
struct Assumed(Vec<String>);

impl Assumed {
    /// Takes what is given, else what was observed, else what is assumed.
    fn or<T: Copy>(&mut self, given: Option<T>, observed: Option<T>, assumed: T, says: &str) -> T {
        given.or(observed).unwrap_or_else(|| {
            self.0.push(says.to_owned());
            assumed
        })
    }
}

impl Request {
    /// Returns the figures for a configuration, and says which are assumed.
    ///
    /// # Errors
    /// What to tell the user where they are not those of this configuration.
    pub(super) fn figures(&self, config: &Config, observed: &Observed) -> Result<(Figures, Vec<String>), String> {
        let mut assumed = Assumed::default();
        let seconds_of = |time: &humantime::Duration| Duration::from(*time).as_secs_f64();
        let requests = self.requests.or(observed.requests);
        let requests =
            requests.ok_or("no requests came while the Envoy was read: --requests says how many come a second")?;
        let workers = assumed.or(self.workers.map(f64::from), observed.workers, 2.0, "2 workers (--workers)");
        let (latency, latencies) = self.latencies(config)?;
        let every = config.rules.iter().flat_map(|rule| &rule.mirrors).all(|mirror| {
            let label = mirror.label.as_str();
            latencies.contains_key(label) || latency.is_none() && observed.latencies.contains_key(label)
        });
        // What is said of all mirrors is said of those that were observed, too.
        let seen = if latency.is_none() { observed.latencies.clone() } else { BTreeMap::new() };
        let latencies = seen.into_iter().chain(latencies).collect();
        let latency = if every { 0.1 } else { assumed.or(latency, None, 0.1, "mirrors respond in 100 ms (--latency)") };
        let rules = config.rules.iter().map(|rule| rule.name.as_str());
        let mut shares = named(&self.share, rules, "rule", percentage)?;
        if shares.is_empty() {
            shares.clone_from(&observed.shares);
        }
        if shares.values().sum::<f64>() > 1.0 + 1e-9 {
            return Err("--share: the rules decide more than 100 % of the requests: each is decided by one rule".into());
        }
        if shares.is_empty() && config.rules.len() > 1 {
            assumed.0.push("each rule decides as many requests (--share)".into());
        }
        let for_when = config.rules.iter().flat_map(|rule| &rule.mirrors).filter(|mirror| !mirror.when.is_empty());
        let for_when: Vec<_> = for_when.map(|mirror| mirror.label.as_str()).collect();
        let (primary, wanted) = if for_when.is_empty() {
            (0.0, 1.0)
        } else {
            let waits = for_when.iter().filter_map(|label| observed.waits.get(*label).copied()).reduce(f64::max);
            let seen = observed.primary.or(waits.filter(|time| *time > 0.0));
            let primary = self.primary.as_ref().map(seconds_of);
            let primary = assumed.or(primary, seen, 0.1, "the primary responds in 100 ms (--primary)");
            (primary, assumed.or(self.wanted, None, 1.0, "`when` asks for all (--wanted)"))
        };
        let headers = assumed.or(self.headers, None, 1024.0, "headers of 1 KiB (--headers)");
        // What goes to the mirrors is headers and bodies.
        let seen = observed.sent.map(|sent| (sent - headers).max(0.0));
        let body = assumed.or(self.body, seen, 0.0, "no bodies (--body)");
        let upload = self.upload.as_ref().map(seconds_of);
        let upload = if body > 0.0 { assumed.or(upload, None, 0.1, "bodies arrive in 100 ms (--upload)") } else { 0.0 };
        let says = format!("no body longer than {} (--longest-body)", bytes(body));
        let longest_body = if body > 0.0 {
            assumed.or(self.longest_body, None, body, &says)
        } else {
            self.longest_body.unwrap_or(0.0)
        };
        let response = assumed.or(self.response, observed.received, 4096.0, "responses of 4 KiB (--response)");
        let says = format!("responses up to {} are buffered (--response-limit)", bytes(RESPONSE_LIMIT));
        let response_limit = assumed.or(self.response_limit, observed.response_limit, RESPONSE_LIMIT, &says);
        let figures = Figures {
            requests,
            shares,
            headers,
            body,
            longest_body,
            response,
            latency,
            latencies,
            primary,
            upload,
            wanted,
            workers,
            busiest: self.busiest,
            replicas: f64::from(self.replicas.unwrap_or(1)),
            response_limit,
            breakers: observed.breakers.clone(),
            breaker: self.breaker.map(f64::from),
            is_http2: self.http2,
            http2: observed.http2.clone(),
            buckets: f64::from(self.buckets),
            used_only: self.used_only,
            most_series: self.series,
            at: self.at,
        };
        if figures.busiest.is_some_and(|busiest| busiest < 1.0 / workers) {
            return Err(format!(
                "--busiest: the busiest of {workers} workers gets at least a {workers}th of the requests"
            ));
        }
        Ok((figures, assumed.0))
    }

    /// Returns how long all mirrors take, and some of them.
    fn latencies(&self, config: &Config) -> Result<(Option<f64>, BTreeMap<String, f64>), String> {
        let time = |text: &str| {
            let time = text.parse::<humantime::Duration>();
            time.map(|time| time.as_secs_f64()).map_err(|_| "not a time, such as 80ms".to_owned())
        };
        let (of_one, of_all): (Vec<_>, Vec<_>) = self.latency.iter().cloned().partition(|text| text.contains('='));
        let all = of_all.iter().map(|text| time(text).map_err(|error| format!("--latency {text}: {error}")));
        let all = all.collect::<Result<Vec<_>, _>>()?.last().copied();
        let mirrors = config.rules.iter().flat_map(|rule| &rule.mirrors).map(|mirror| mirror.label.as_str());
        Ok((all, named(&of_one, mirrors, "mirror", time)?))
    }
}

/// Reads figures with names: `NAME=FIGURE`.
fn named<'n>(
    texts: &[String],
    known: impl Iterator<Item = &'n str> + Clone,
    what: &str,
    read: impl Fn(&str) -> Result<f64, String>,
) -> Result<BTreeMap<String, f64>, String> {
    let one = |text: &String| {
        let (name, figure) =
            text.rsplit_once('=').ok_or_else(|| format!("{text}: not {}=FIGURE", what.to_uppercase()))?;
        if !known.clone().any(|known| known == name) {
            let names: Vec<_> = known.clone().collect();
            return Err(format!("{text}: there is no {what} {name}, but: {}", names.join(", ")));
        }
        Ok((name.to_owned(), read(figure).map_err(|error| format!("{text}: {error}"))?))
    };
    texts.iter().map(one).collect()
}

/// The buckets that are assumed are Envoy's.
const _: () = assert!(BUCKETS == 19.0);

impl Figures {
    /// Says what the traffic is.
    pub(super) fn describe(&self) -> String {
        let (n, workers) = (self.replicas, self.workers);
        let proxies = if n > 1.0 { format!("{n} proxies") } else { "1 proxy".to_owned() };
        let workers = if workers > 1.0 { format!("{workers} workers") } else { "1 worker".to_owned() };
        let each = if n > 1.0 { " each" } else { "" };
        let bodies = if self.body > 0.0 { format!(" and bodies of {}", bytes(self.body)) } else { String::new() };
        format!(
            "{proxies} with {workers}{each}: {} requests/s{each} with headers of {}{bodies}; responses of {} in {}",
            super::units::amount(self.requests),
            bytes(self.headers),
            bytes(self.response),
            self.times()
        )
    }

    fn times(&self) -> String {
        let all = self.latencies.values().copied();
        let (least, most) = all.fold((f64::INFINITY, 0.0_f64), |(least, most), one| (least.min(one), most.max(one)));
        if most <= 0.0 {
            seconds(self.latency)
        } else if (most - least).abs() < 1e-9 {
            seconds(most)
        } else {
            format!("{} to {}", seconds(least), seconds(most))
        }
    }
}
