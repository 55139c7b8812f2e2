//! The host's metrics: their names, and where each request and each copy is counted once.
//!
//! The counters add up at every moment: for each rule and mirror the outcomes, with what waits, to what was decided, and the
//! classes of responses, with what is in flight, to the copies sent.

use crate::config::{Config, Mirror, Rule};
use crate::core::causes::{Cause, Causes};
use crate::core::outcome::{Class, Compared, Ignored, Outcome, PrimaryClass};
use log::warn;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

#[cfg(feature = "compare")]
mod places;
#[cfg(feature = "compare")]
pub use places::Places;

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
    fn define<E>(define: &mut Define<'_, E>, name: &str) -> Result<Self, E> {
        Ok(Self { metric: define(Kind::Counter, name)?, count: Cell::new(0) })
    }

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

/// Defines a metric of the host's.
type Define<'d, E> = dyn FnMut(Kind, &str) -> Result<MetricId, E> + 'd;

/// Every metric that this VM has defined. The host never frees one, so that each is defined once in a VM's life, whatever
/// configurations come and go.
#[derive(Debug, Default)]
pub struct Metrics {
    common: Option<Rc<Common>>,
    rules: HashMap<Box<str>, RuleMetrics>,
    /// By the label of the plugin.
    invalid: HashMap<String, MetricId>,
}

/// The metrics that are no rule's.
#[derive(Debug)]
pub struct Common {
    /// Copies sent that have no response yet.
    pub in_flight: MetricId,
    /// Bytes of bodies that are buffered for copies.
    pub buffered_bytes: MetricId,
    /// Requests that no rule matched.
    pub unmatched: Counter,
    ignored: Vec<Counter>,
}

#[derive(Debug)]
struct RuleMetrics {
    requests: Rc<Counter>,
    /// Once a rule of this name has compared.
    primary: Option<Rc<PrimaryMetrics>>,
    mirrors: HashMap<Box<str>, Rc<MirrorMetrics>>,
}

/// The metrics of one mirror of one rule.
#[derive(Debug)]
pub struct MirrorMetrics {
    /// The rule's name, for the log.
    pub rule: Box<str>,
    /// The mirror's label, for the log.
    pub mirror: Box<str>,
    /// Requests that the rule decided while this was one of its mirrors. It is what the outcomes and those waiting add up to.
    pub decided: MetricId,
    /// Requests decided whose outcome is open.
    pub waiting: MetricId,
    outcomes: Vec<Counter>,
    classes: Vec<Counter>,
    /// Milliseconds from dispatch to response.
    pub response_time: MetricId,
    causes: RefCell<Causes>,
    pairs: OnceCell<PairMetrics>,
}

/// The metrics of the primary's answers to the requests of one rule that make pairs.
#[derive(Debug)]
pub struct PrimaryMetrics {
    classes: Vec<Counter>,
    /// Milliseconds that the answer took.
    pub response_time: MetricId,
}

/// The metrics of the pairs that a primary and one mirror make.
#[derive(Debug)]
pub struct PairMetrics {
    /// The primary's side.
    pub primary: Rc<PrimaryMetrics>,
    compared: Vec<Counter>,
    /// Milliseconds by which the mirror was slower than the primary, or as fast.
    pub slower: MetricId,
    /// Milliseconds by which the mirror was faster than the primary.
    pub faster: MetricId,
    /// Pairs whose status differs; once a rule of this name has counted them.
    status: OnceCell<Counter>,
    /// Pairs that differ in another place.
    #[cfg(feature = "compare")]
    places: Places,
}

/// The metrics of one configuration, by the positions of its rules and mirrors.
#[derive(Debug)]
pub struct Ledger {
    /// The metrics that are no rule's.
    pub common: Rc<Common>,
    rules: Vec<RuleLedger>,
}

#[derive(Debug)]
struct RuleLedger {
    requests: Rc<Counter>,
    mirrors: Vec<Rc<MirrorMetrics>>,
}

impl Metrics {
    /// Finds the metrics of a configuration, and defines with the host's `define` those that are new.
    ///
    /// # Errors
    /// The first error of `define`.
    pub fn ledger<E>(
        &mut self,
        config: &Config,
        mut define: impl FnMut(Kind, &str) -> Result<MetricId, E>,
    ) -> Result<Ledger, E> {
        let common = match &self.common {
            Some(common) => Rc::clone(common),
            None => Rc::clone(self.common.insert(Rc::new(Common::define(&mut define)?))),
        };
        let rules = config.rules.iter().map(|rule| self.rule(rule, &mut define)).collect::<Result<_, _>>()?;
        Ok(Ledger { common, rules })
    }

    /// Finds the gauge of a plugin that is 1 while its last configuration is wrong and an older one goes on.
    ///
    /// # Errors
    /// The error of `define`, where it is new.
    pub fn invalid<E>(
        &mut self,
        plugin: &[u8],
        define: impl FnOnce(Kind, &str) -> Result<MetricId, E>,
    ) -> Result<MetricId, E> {
        let label = label(plugin);
        if let Some(known) = self.invalid.get(&label) {
            return Ok(*known);
        }
        let new = define(Kind::Gauge, &format!("traffic_mirror.plugin=.={label};.;invalid_configuration"))?;
        self.invalid.insert(label, new);
        Ok(new)
    }

    fn rule<E>(&mut self, rule: &Rule, define: &mut Define<'_, E>) -> Result<RuleLedger, E> {
        let name = rule.name.as_str();
        let known = match self.rules.get_mut(name) {
            Some(known) => known,
            None => {
                let requests = Counter::define(define, &format!("traffic_mirror.rule=.={name};.;requests_total"))?;
                let new = RuleMetrics { requests: Rc::new(requests), primary: None, mirrors: HashMap::new() };
                self.rules.entry(name.into()).or_insert(new)
            }
        };
        let requests = Rc::clone(&known.requests);
        let mirrors = rule.mirrors.iter().map(|mirror| known.mirror(rule, mirror, define));
        Ok(RuleLedger { requests, mirrors: mirrors.collect::<Result<_, _>>()? })
    }
}

/// Makes a label of a name that may be any: other characters than `A-Za-z0-9_/*-` are `_`, and it is cut at 96.
fn label(name: &[u8]) -> String {
    const MOST: usize = 96;
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_/*-".contains(char);
    let name = String::from_utf8_lossy(name);
    let label: String = name.chars().take(MOST).map(|char| if is_plain(char) { char } else { '_' }).collect();
    // To Prometheus, an empty label is as good as none.
    if label.is_empty() { "_".to_owned() } else { label }
}

impl Common {
    fn define<E>(define: &mut Define<'_, E>) -> Result<Self, E> {
        let ignored = Ignored::ALL.iter().map(|reason| {
            Counter::define(define, &format!("traffic_mirror.reason=.={};.;ignored_total", reason.label()))
        });
        Ok(Self {
            ignored: ignored.collect::<Result<_, _>>()?,
            in_flight: define(Kind::Gauge, "traffic_mirror.in_flight")?,
            buffered_bytes: define(Kind::Gauge, "traffic_mirror.buffered_bytes")?,
            unmatched: Counter::define(define, "traffic_mirror.unmatched_total")?,
        })
    }

    /// Returns the counter of ignored requests.
    pub fn ignored(&self, reason: Ignored) -> Option<&Counter> {
        self.ignored.get(reason as usize)
    }
}

impl RuleMetrics {
    fn mirror<E>(&mut self, rule: &Rule, mirror: &Mirror, define: &mut Define<'_, E>) -> Result<Rc<MirrorMetrics>, E> {
        let label = mirror.label.as_str();
        let prefix = || format!("traffic_mirror.rule=.={};.;mirror=.={label};.;", rule.name);
        let metrics = match self.mirrors.get(label) {
            Some(known) => Rc::clone(known),
            None => {
                let new = Rc::new(MirrorMetrics::define(rule.name.as_str(), label, &prefix(), define)?);
                Rc::clone(self.mirrors.entry(label.into()).or_insert(new))
            }
        };
        if rule.compare.is_some() && metrics.pairs.get().is_none() {
            let primary = match &self.primary {
                Some(known) => Rc::clone(known),
                None => Rc::clone(self.primary.insert(Rc::new(PrimaryMetrics::define(rule.name.as_str(), define)?))),
            };
            let pairs = PairMetrics::define(&prefix(), primary, define)?;
            metrics.pairs.get_or_init(|| pairs);
        }
        if let Some(pairs) = metrics.pairs()
            && pairs.status.get().is_none()
            && rule.compare.as_ref().is_some_and(|compare| compare.status && compare.fields)
        {
            let status = Counter::define(define, &format!("{}field=.=status;.;differences_total", prefix()))?;
            pairs.status.get_or_init(|| status);
        }
        Ok(metrics)
    }
}

impl MirrorMetrics {
    fn define<E>(rule: &str, mirror: &str, prefix: &str, define: &mut Define<'_, E>) -> Result<Self, E> {
        let decided = define(Kind::Counter, &format!("{prefix}decided_total"))?;
        let waiting = define(Kind::Gauge, &format!("{prefix}waiting"))?;
        let outcomes = Outcome::ALL
            .iter()
            .map(|outcome| Counter::define(define, &format!("{prefix}outcome=.={};.;copies_total", outcome.label())));
        let outcomes = outcomes.collect::<Result<_, _>>()?;
        let classes = Class::ALL
            .iter()
            .map(|class| Counter::define(define, &format!("{prefix}class=.={};.;responses_total", class.label())));
        let classes = classes.collect::<Result<_, _>>()?;
        let response_time = define(Kind::Histogram, &format!("{prefix}response_time_ms"))?;
        let (rule, mirror) = (rule.into(), mirror.into());
        let (causes, pairs) = (RefCell::default(), OnceCell::new());
        Ok(Self { rule, mirror, decided, waiting, outcomes, classes, response_time, causes, pairs })
    }

    /// Returns the counter of an outcome.
    pub fn outcome(&self, outcome: Outcome) -> Option<&Counter> {
        self.outcomes.get(outcome as usize)
    }

    /// Returns the counter of a class of responses.
    pub fn class(&self, class: Class) -> Option<&Counter> {
        self.classes.get(class as usize)
    }

    /// Warns at the 1st, 2nd, 4th, 8th … time of one counter: a mirror that is down must not fill the log.
    pub fn warn_rarely(&self, counter: &Counter, reason: &str) {
        if let Some(count) = counter.warning_due() {
            warn!("rule {}, mirror {}: {reason} ({count} so far on this worker)", self.rule, self.mirror);
        }
    }

    /// Warns of a copy without a response at the 1st, 2nd, 4th, 8th … time of each cause.
    pub fn warn_of(&self, class: Class, cause: &Cause) {
        let mut causes = self.causes.borrow_mut();
        let Some((cause, count)) = causes.count(cause) else { return };
        let what = if class == Class::Timeout { "did not respond in time" } else { "did not respond" };
        warn!("rule {}, mirror {}: the mirror {what}: {cause} ({count} so far on this worker)", self.rule, self.mirror);
    }

    /// Returns the metrics of pairs; `None` while no rule of this name has compared.
    pub fn pairs(&self) -> Option<&PairMetrics> {
        self.pairs.get()
    }
}

impl PrimaryMetrics {
    fn define<E>(rule: &str, define: &mut Define<'_, E>) -> Result<Self, E> {
        let prefix = format!("traffic_mirror.rule=.={rule};.;");
        let classes = PrimaryClass::ALL.iter().map(|class| {
            Counter::define(define, &format!("{prefix}class=.={};.;primary_responses_total", class.label()))
        });
        let classes = classes.collect::<Result<_, _>>()?;
        Ok(Self { classes, response_time: define(Kind::Histogram, &format!("{prefix}primary_response_time_ms"))? })
    }

    /// Returns the counter of a class of answers.
    pub fn class(&self, class: PrimaryClass) -> Option<&Counter> {
        self.classes.get(class as usize)
    }
}

impl PairMetrics {
    fn define<E>(prefix: &str, primary: Rc<PrimaryMetrics>, define: &mut Define<'_, E>) -> Result<Self, E> {
        let compared = Compared::ALL
            .iter()
            .map(|result| Counter::define(define, &format!("{prefix}result=.={};.;compared_total", result.label())));
        let compared = compared.collect::<Result<_, _>>()?;
        let slower = define(Kind::Histogram, &format!("{prefix}slower_ms"))?;
        let faster = define(Kind::Histogram, &format!("{prefix}faster_ms"))?;
        Ok(Self {
            primary,
            compared,
            slower,
            faster,
            status: OnceCell::new(),
            #[cfg(feature = "compare")]
            places: Places::new(prefix),
        })
    }

    /// Returns the counter of pairs whose status differs; `None` while no rule of this name has counted them.
    pub fn status(&self) -> Option<&Counter> {
        self.status.get()
    }

    /// Returns the counters of pairs that differ in other places.
    #[cfg(feature = "compare")]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Returns the counter of a result.
    pub fn compared(&self, result: Compared) -> Option<&Counter> {
        self.compared.get(result as usize)
    }
}

impl Ledger {
    /// Returns the counter of requests that a rule decided.
    pub fn requests(&self, rule: usize) -> Option<&Counter> {
        self.rules.get(rule).map(|rule| &*rule.requests)
    }

    /// Returns the metrics of a rule's mirrors, in their order.
    pub fn mirrors(&self, rule: usize) -> &[Rc<MirrorMetrics>] {
        self.rules.get(rule).map_or(&[], |rule| &rule.mirrors)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;

    const TWO_MIRRORS: &str = r#"{"rules":[{"name":"r","mirrors":[{"cluster":"c"},{"clusterHeader":"x"}]}]}"#;

    /// A host that knows of each metric its kind and its name; its number is its place.
    #[derive(Default)]
    struct Host(Vec<(Kind, String)>);

    impl Host {
        fn ledger(&mut self, metrics: &mut Metrics, config: &str) -> Ledger {
            let config = Config::from_bytes(config.as_bytes()).unwrap();
            let ledger = metrics.ledger::<()>(&config, |kind, name| {
                self.0.push((kind, name.to_owned()));
                Ok(u32::try_from(self.0.len()).unwrap())
            });
            ledger.unwrap()
        }

        fn name(&self, counter: &Counter) -> &str {
            &self.0[usize::try_from(counter.next()).unwrap() - 1].1
        }

        fn has_once(&self, kind: Kind, name: &str) {
            assert_eq!(self.0.iter().filter(|found| **found == (kind, name.to_owned())).count(), 1, "{name}");
        }
    }

    #[test]
    fn every_metric_is_defined_once_under_the_name_of_the_contract() {
        let mut host = Host::default();
        host.ledger(&mut Metrics::default(), TWO_MIRRORS);
        for (kind, name) in [
            (Kind::Counter, "traffic_mirror.rule=.=r;.;requests_total"),
            (Kind::Counter, "traffic_mirror.reason=.=marked;.;ignored_total"),
            (Kind::Counter, "traffic_mirror.rule=.=r;.;mirror=.=c;.;decided_total"),
            (Kind::Gauge, "traffic_mirror.rule=.=r;.;mirror=.=c;.;waiting"),
            (Kind::Counter, "traffic_mirror.rule=.=r;.;mirror=.=c;.;outcome=.=cluster_not_allowed;.;copies_total"),
            (Kind::Counter, "traffic_mirror.rule=.=r;.;mirror=.=header:x;.;class=.=failed;.;responses_total"),
            (Kind::Histogram, "traffic_mirror.rule=.=r;.;mirror=.=c;.;response_time_ms"),
            (Kind::Gauge, "traffic_mirror.in_flight"),
            (Kind::Gauge, "traffic_mirror.buffered_bytes"),
            (Kind::Counter, "traffic_mirror.unmatched_total"),
        ] {
            host.has_once(kind, name);
        }
        // Ignored, gauges, unmatched, requests; and for each mirror decided, waiting, its outcomes, classes and time.
        assert_eq!(host.0.len(), 4 + 2 + 1 + 1 + 2 * (2 + 14 + 7 + 1));
    }

    #[test]
    fn a_later_configuration_defines_what_is_new_in_it_alone() {
        let (mut host, mut metrics) = (Host::default(), Metrics::default());
        let first = host.ledger(&mut metrics, TWO_MIRRORS);
        first.requests(0).unwrap().next();
        let known = host.0.len();
        let again = host.ledger(&mut metrics, TWO_MIRRORS);
        assert_eq!(host.0.len(), known);
        // Both count in the same metrics, and warnings go on where they were.
        assert_eq!(again.requests(0).unwrap().count.get(), 1);
        assert!(Rc::ptr_eq(&first.mirrors(0)[1], &again.mirrors(0)[1]));
        let compares = TWO_MIRRORS.replace(r#""name":"r""#, r#""name":"r","compare":{"status":true}"#);
        host.ledger(&mut metrics, &compares);
        assert_eq!(host.0.len(), known + PrimaryClass::ALL.len() + 1 + 2 * (Compared::ALL.len() + 3));
    }

    #[test]
    fn pairs_have_metrics_where_the_rule_compares_and_nowhere_else() {
        let mut host = Host::default();
        let ledger = host.ledger(
            &mut Metrics::default(),
            r#"{"rules":[{"name":"r","compare":{"status":true},"mirrors":[{"cluster":"c"}]},{"mirrors":[{"cluster":"c"}]}]}"#,
        );
        for (kind, name) in [
            (Kind::Counter, "traffic_mirror.rule=.=r;.;mirror=.=c;.;result=.=primary_only;.;compared_total"),
            (Kind::Counter, "traffic_mirror.rule=.=r;.;class=.=none;.;primary_responses_total"),
            (Kind::Histogram, "traffic_mirror.rule=.=r;.;primary_response_time_ms"),
            (Kind::Histogram, "traffic_mirror.rule=.=r;.;mirror=.=c;.;slower_ms"),
            (Kind::Histogram, "traffic_mirror.rule=.=r;.;mirror=.=c;.;faster_ms"),
            (Kind::Counter, "traffic_mirror.rule=.=r;.;mirror=.=c;.;field=.=status;.;differences_total"),
        ] {
            host.has_once(kind, name);
        }
        let pairs = ledger.mirrors(0)[0].pairs().unwrap();
        for result in Compared::ALL {
            let name = host.name(pairs.compared(*result).unwrap());
            assert!(name.contains(&format!("result=.={};.;", result.label())), "{name}");
        }
        for class in PrimaryClass::ALL {
            let name = host.name(pairs.primary.class(*class).unwrap());
            assert!(name.contains(&format!("class=.={};.;primary_", class.label())), "{name}");
        }
        assert!(ledger.mirrors(1)[0].pairs().is_none());
    }

    #[test]
    fn each_counter_is_found_under_its_own_label() {
        let mut host = Host::default();
        let ledger = host.ledger(&mut Metrics::default(), TWO_MIRRORS);
        for outcome in Outcome::ALL {
            let found = host.name(ledger.mirrors(0)[1].outcome(*outcome).unwrap());
            assert!(found.contains(&format!("outcome=.={};.;", outcome.label())), "{found}");
        }
        for class in Class::ALL {
            let found = host.name(ledger.mirrors(0)[0].class(*class).unwrap());
            assert!(found.contains(&format!("class=.={};.;", class.label())), "{found}");
        }
        for reason in Ignored::ALL {
            assert!(host.name(ledger.common.ignored(*reason).unwrap()).contains(reason.label()));
        }
    }

    #[test]
    fn each_plugin_has_one_gauge_of_invalid_configurations() {
        let mut metrics = Metrics::default();
        let mut host = Host::default();
        for (plugin, name) in [
            (&b"traffic_mirror"[..], "traffic_mirror"),
            (b"istio-system.traffic mirror;.;", "istio-system_traffic_mirror___"),
            (b"a/b*", "a/b*"),
            (b"\xff\xff", "__"),
            (b"", "_"),
            ("äü.".as_bytes(), "___"),
            (&[b'x'; 97], &"x".repeat(96)),
        ] {
            for _ in 0..2 {
                let found = metrics.invalid::<()>(plugin, |kind, name| {
                    host.0.push((kind, name.to_owned()));
                    Ok(u32::try_from(host.0.len()).unwrap())
                });
                assert_eq!(found, Ok(u32::try_from(host.0.len()).unwrap()), "{name}");
            }
            host.has_once(Kind::Gauge, &format!("traffic_mirror.plugin=.={name};.;invalid_configuration"));
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
}
