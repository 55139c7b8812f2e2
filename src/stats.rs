//! The ledger: names of all metrics, and the books in which each request and each copy is entered once.
//!
//! The books balance: for each rule and mirror the outcomes add up to the rule's requests, and the classes of answers,
//! with what is in flight, to the copies sent.

use crate::config::Config;
use std::cell::Cell;

/// Makes an enum whose values are the labels of a metric.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident => $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl $name {
            /// All values, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// Returns the label in metrics and logs.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$value => $label,)+
                }
            }
        }
    };
}

labels! {
    /// What became of a copy that a rule asked for.
    Outcome {
        /// The host took it.
        Sent => "sent",
        /// The request was not sampled for this mirror.
        Unsampled => "unsampled",
        /// The body was longer than `limits.maxBodyBytes`.
        BodyTooLarge => "body_too_large",
        /// The request never ended: the client went, or was answered before its body was read.
        Incomplete => "incomplete",
        /// `limits.maxInFlight` was reached.
        InFlightLimit => "in_flight_limit",
        /// `limits.maxBufferedBytes` was reached.
        BufferLimit => "buffer_limit",
        /// `limits.maxRequestsPerSecond` was reached.
        RateLimit => "rate_limit",
        /// The host does not know the cluster.
        NoCluster => "no_cluster",
        /// The host has no healthy upstream for it, or the cluster's circuit breaker is open.
        NoUpstream => "no_upstream",
        /// The header that should name the cluster was absent or empty.
        NoClusterHeader => "no_cluster_header",
        /// The header named a cluster that is not allowed.
        ClusterNotAllowed => "cluster_not_allowed",
    }
}

labels! {
    /// How a mirror answered.
    Class {
        /// Informational, such as 101.
        Informational => "1xx",
        /// Success.
        Success => "2xx",
        /// Redirection.
        Redirection => "3xx",
        /// The client's error.
        ClientError => "4xx",
        /// The server's error.
        ServerError => "5xx",
        /// Not at all: refused, reset, timed out or too large.
        Failed => "failed",
    }
}

labels! {
    /// How primary and mirror answered one request.
    Compared {
        /// With the same status code.
        Same => "same",
        /// With different status codes.
        Different => "different",
        /// The mirror never answered.
        PrimaryOnly => "primary_only",
        /// The client never got an answer.
        MirrorOnly => "mirror_only",
        /// Nobody answered.
        Neither => "neither",
    }
}

labels! {
    /// Why a request is no rule's business.
    Ignored {
        /// It carries the marker: it is a copy itself.
        Marked => "marked",
        /// It asks for another protocol, such as WebSocket.
        Upgrade => "upgrade",
        /// It asks for a tunnel.
        Connect => "connect",
    }
}

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution of values.
    Histogram,
}

/// The host's number for a metric.
pub type MetricId = u32;

/// A counter, with what this worker has added to it.
#[derive(Debug)]
pub struct Counter {
    metric: MetricId,
    count: Cell<u64>,
}

impl Counter {
    /// Adds one to this worker's count and returns the metric, in which one has to be added too.
    pub fn next(&self) -> MetricId {
        self.count.set(self.count.get().wrapping_add(1));
        self.metric
    }

    /// Returns this worker's count where it is a power of two, which is when a warning is due.
    pub fn warning_due(&self) -> Option<u64> {
        Some(self.count.get()).filter(|count| count.is_power_of_two())
    }
}

/// All metrics of one configuration, defined once.
#[derive(Debug)]
pub struct Ledger {
    /// Copies sent and not answered.
    pub in_flight: MetricId,
    /// Bytes of bodies held for copies.
    pub buffered_bytes: MetricId,
    ignored: Vec<Counter>,
    rules: Vec<RuleBooks>,
}

#[derive(Debug)]
struct RuleBooks {
    requests: Counter,
    mirrors: Vec<MirrorBooks>,
}

/// The metrics of one mirror of one rule.
#[derive(Debug)]
pub struct MirrorBooks {
    outcomes: Vec<Counter>,
    classes: Vec<Counter>,
    /// Milliseconds from dispatch to answer.
    pub response_time: MetricId,
    /// Where the rule compares.
    pub pairs: Option<PairBooks>,
}

/// The metrics of the pairs that a primary and one mirror make.
#[derive(Debug)]
pub struct PairBooks {
    compared: Vec<Counter>,
    /// Milliseconds by which the mirror was slower than the primary, or as fast.
    pub slower: MetricId,
    /// Milliseconds by which the mirror was faster than the primary.
    pub faster: MetricId,
}

impl Ledger {
    /// Defines every metric of a configuration with the host's `define`.
    ///
    /// # Errors
    /// The first error of `define`.
    pub fn new<E>(config: &Config, mut define: impl FnMut(Kind, &str) -> Result<MetricId, E>) -> Result<Self, E> {
        let mut ignored = Vec::new();
        for reason in Ignored::ALL {
            let name = format!("traffic_mirror.reason=.={};.;ignored_total", reason.label());
            ignored.push(counter(&mut define, &name)?);
        }
        let mut rules = Vec::new();
        for rule in &config.rules {
            let prefix = format!("traffic_mirror.rule=.={};.;", rule.name);
            let requests = counter(&mut define, &format!("{prefix}requests_total"))?;
            let mut mirrors = Vec::new();
            for mirror in &rule.mirrors {
                mirrors.push(MirrorBooks::new(
                    &format!("{prefix}mirror=.={};.;", mirror.label),
                    rule.compares_status,
                    &mut define,
                )?);
            }
            rules.push(RuleBooks { requests, mirrors });
        }
        Ok(Self {
            in_flight: define(Kind::Gauge, "traffic_mirror.in_flight")?,
            buffered_bytes: define(Kind::Gauge, "traffic_mirror.buffered_bytes")?,
            ignored,
            rules,
        })
    }

    /// Returns the counter of ignored requests.
    pub fn ignored(&self, reason: Ignored) -> Option<&Counter> {
        self.ignored.get(reason as usize)
    }

    /// Returns the counter of requests that a rule decided.
    pub fn requests(&self, rule: usize) -> Option<&Counter> {
        self.rules.get(rule).map(|rule| &rule.requests)
    }

    /// Returns the metrics of one of a rule's mirrors.
    pub fn mirror(&self, rule: usize, mirror: usize) -> Option<&MirrorBooks> {
        self.rules.get(rule)?.mirrors.get(mirror)
    }
}

impl MirrorBooks {
    fn new<E>(
        prefix: &str,
        compares: bool,
        define: &mut impl FnMut(Kind, &str) -> Result<MetricId, E>,
    ) -> Result<Self, E> {
        let mut outcomes = Vec::new();
        for outcome in Outcome::ALL {
            outcomes.push(counter(define, &format!("{prefix}outcome=.={};.;copies_total", outcome.label()))?);
        }
        let mut classes = Vec::new();
        for class in Class::ALL {
            classes.push(counter(define, &format!("{prefix}class=.={};.;responses_total", class.label()))?);
        }
        let response_time = define(Kind::Histogram, &format!("{prefix}response_time_ms"))?;
        let pairs = if compares { Some(PairBooks::new(prefix, define)?) } else { None };
        Ok(Self { outcomes, classes, response_time, pairs })
    }

    /// Returns the counter of an outcome.
    pub fn outcome(&self, outcome: Outcome) -> Option<&Counter> {
        self.outcomes.get(outcome as usize)
    }

    /// Returns the counter of a class of answers.
    pub fn class(&self, class: Class) -> Option<&Counter> {
        self.classes.get(class as usize)
    }
}

impl PairBooks {
    fn new<E>(prefix: &str, define: &mut impl FnMut(Kind, &str) -> Result<MetricId, E>) -> Result<Self, E> {
        let mut compared = Vec::new();
        for result in Compared::ALL {
            compared.push(counter(define, &format!("{prefix}result=.={};.;compared_total", result.label()))?);
        }
        let slower = define(Kind::Histogram, &format!("{prefix}slower_ms"))?;
        let faster = define(Kind::Histogram, &format!("{prefix}faster_ms"))?;
        Ok(Self { compared, slower, faster })
    }

    /// Returns the counter of a result.
    pub fn compared(&self, result: Compared) -> Option<&Counter> {
        self.compared.get(result as usize)
    }
}

fn counter<E>(define: &mut impl FnMut(Kind, &str) -> Result<MetricId, E>, name: &str) -> Result<Counter, E> {
    Ok(Counter { metric: define(Kind::Counter, name)?, count: Cell::new(0) })
}

/// Classifies an answer by its `:status`.
///
/// The host answers itself, with an error, where the mirror does not (502, 503 and 504, or a gRPC status behind
/// 200), so `is_from_mirror` is asked where the answer may be such a one.
pub fn classify(status: &[u8], is_grpc: bool, is_from_mirror: impl FnOnce() -> bool) -> Class {
    let class = match status.first() {
        Some(b'1') => Class::Informational,
        Some(b'2') => Class::Success,
        Some(b'3') => Class::Redirection,
        Some(b'4') => Class::ClientError,
        Some(b'5') => Class::ServerError,
        _ => return Class::Failed,
    };
    let may_be_the_hosts = is_grpc || matches!(class, Class::ClientError | Class::ServerError);
    if may_be_the_hosts && !is_from_mirror() { Class::Failed } else { class }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_MIRRORS: &str = r#"{"rules":[{"name":"r","mirrors":[{"cluster":"c"},{"clusterHeader":"x"}]}]}"#;

    fn ledger(config: &str) -> (Ledger, Vec<(Kind, String)>) {
        let config = Config::from_bytes(config.as_bytes());
        let mut names = Vec::new();
        let ledger = Ledger::new::<()>(&config.unwrap(), |kind, name| {
            names.push((kind, name.to_owned()));
            Ok(u32::try_from(names.len()).unwrap())
        });
        (ledger.unwrap(), names)
    }

    #[test]
    fn every_metric_is_defined_once_under_the_name_of_the_contract() {
        let (_, names) = ledger(TWO_MIRRORS);
        for (kind, name) in [
            (Kind::Counter, "traffic_mirror.rule=.=r;.;requests_total"),
            (Kind::Counter, "traffic_mirror.reason=.=marked;.;ignored_total"),
            (Kind::Counter, "traffic_mirror.rule=.=r;.;mirror=.=c;.;outcome=.=cluster_not_allowed;.;copies_total"),
            (Kind::Counter, "traffic_mirror.rule=.=r;.;mirror=.=header:x;.;class=.=failed;.;responses_total"),
            (Kind::Histogram, "traffic_mirror.rule=.=r;.;mirror=.=c;.;response_time_ms"),
            (Kind::Gauge, "traffic_mirror.in_flight"),
            (Kind::Gauge, "traffic_mirror.buffered_bytes"),
        ] {
            assert_eq!(names.iter().filter(|found| **found == (kind, name.to_owned())).count(), 1, "{name}");
        }
        // Ignored, gauges, requests; and for each mirror its outcomes, classes and time.
        assert_eq!(names.len(), 3 + 2 + 1 + 2 * (11 + 6 + 1));
    }

    #[test]
    fn pairs_have_metrics_where_the_rule_compares_and_nowhere_else() {
        let (ledger, names) = ledger(
            r#"{"rules":[{"name":"r","compare":{"status":true},"mirrors":[{"cluster":"c"}]},{"mirrors":[{"cluster":"c"}]}]}"#,
        );
        for (kind, name) in [
            (Kind::Counter, "traffic_mirror.rule=.=r;.;mirror=.=c;.;result=.=primary_only;.;compared_total"),
            (Kind::Histogram, "traffic_mirror.rule=.=r;.;mirror=.=c;.;slower_ms"),
            (Kind::Histogram, "traffic_mirror.rule=.=r;.;mirror=.=c;.;faster_ms"),
        ] {
            assert_eq!(names.iter().filter(|found| **found == (kind, name.to_owned())).count(), 1, "{name}");
        }
        let books = ledger.mirror(0, 0).unwrap().pairs.as_ref().unwrap();
        for result in Compared::ALL {
            let name = &names[usize::try_from(books.compared(*result).unwrap().next()).unwrap() - 1].1;
            assert!(name.contains(&format!("result=.={};.;", result.label())), "{name}");
        }
        assert!(ledger.mirror(1, 0).unwrap().pairs.is_none());
    }

    #[test]
    fn each_counter_is_found_under_its_own_label() {
        let (ledger, names) = ledger(TWO_MIRRORS);
        let name = |counter: &Counter| names[usize::try_from(counter.next()).unwrap() - 1].1.clone();
        for outcome in Outcome::ALL {
            let found = name(ledger.mirror(0, 1).unwrap().outcome(*outcome).unwrap());
            assert!(found.contains(&format!("outcome=.={};.;", outcome.label())), "{found}");
        }
        for class in Class::ALL {
            let found = name(ledger.mirror(0, 0).unwrap().class(*class).unwrap());
            assert!(found.contains(&format!("class=.={};.;", class.label())), "{found}");
        }
        for reason in Ignored::ALL {
            assert!(name(ledger.ignored(*reason).unwrap()).contains(reason.label()));
        }
    }

    #[test]
    fn warnings_are_due_at_powers_of_two() {
        let counter = Counter { metric: 0, count: Cell::new(0) };
        let due: Vec<_> = (1..=20)
            .filter(|_| {
                counter.next();
                counter.warning_due().is_some()
            })
            .collect();
        assert_eq!(due, [1, 2, 4, 8, 16]);
    }

    #[test]
    fn an_answer_of_the_hosts_own_is_a_failure() {
        for (status, is_grpc, is_from_mirror, expected) in [
            (&b"101"[..], false, false, Class::Informational),
            (b"200", false, false, Class::Success),
            (b"200", true, false, Class::Failed),
            (b"200", true, true, Class::Success),
            (b"302", false, false, Class::Redirection),
            (b"404", false, true, Class::ClientError),
            (b"503", false, true, Class::ServerError),
            (b"503", false, false, Class::Failed),
            (b"504", false, false, Class::Failed),
            (b"", false, true, Class::Failed),
            (b"\xff", false, true, Class::Failed),
        ] {
            assert_eq!(classify(status, is_grpc, || is_from_mirror), expected, "{status:?} {is_grpc} {is_from_mirror}");
        }
    }
}
