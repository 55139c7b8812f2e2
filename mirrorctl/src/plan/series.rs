//! How many series a Prometheus gets of the filter, asked of the code that defines its metrics.

use std::convert::Infallible;
use traffic_mirror::config::{Config, Rule, Share};
use traffic_mirror::envoy::ledger::{Kind, Metrics};

/// The upper bounds that Envoy's histograms have, unless `histogram_bucket_settings` says otherwise.
pub(crate) const BUCKETS: f64 = 19.0;

/// What a histogram has beside them: the bucket without a bound, the sum, and the count.
const BESIDE: f64 = 3.0;

/// The series of one proxy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Series {
    /// All of them.
    pub(crate) all: f64,
    /// Those that have counted something, which are all that `/stats/prometheus?usedonly` shows.
    pub(crate) used: f64,
    /// Those that come on top as fields of responses differ, at most.
    pub(crate) fields: f64,
}

/// Counts the series of a configuration. `has_traffic`: whether a rule, by its position, gets requests.
pub(crate) fn series(config: &Config, buckets: f64, has_traffic: impl Fn(usize) -> bool) -> Series {
    let histogram = buckets + BESIDE;
    // The gauge of a wrong configuration is the plugin's.
    let mut all = 1.0;
    let define = |kind: Kind, _: &str| -> Result<u32, Infallible> {
        all += if kind == Kind::Histogram { histogram } else { 1.0 };
        Ok(0)
    };
    let Ok(_) = Metrics::default().ledger(config, define);
    let fields = config.rules.iter().map(|rule| fields(rule)).sum();
    let rules = config.rules.iter().enumerate().filter(|(index, _)| has_traffic(*index));
    Series { all, fields, used: 3.0 + rules.map(|(_, rule)| used(rule, histogram)).sum::<f64>() }
}

/// How many fields a mirror has by name, and one for all others.
const FIELDS: f64 = 64.0;

/// Returns the fields of a rule's responses that may differ.
fn fields(rule: &Rule) -> f64 {
    let Some(compare) = rule.compare.as_ref().filter(|compare| compare.fields) else { return 0.0 };
    // The status is there from the first moment.
    let (status, named) = (count(usize::from(compare.status)), count(compare.headers.len()));
    // A body has as many places as it likes.
    let of_mirror = if compare.body.is_some() || status + named > FIELDS { FIELDS + 1.0 - status } else { named };
    of_mirror * count(rule.mirrors.len())
}

/// Returns the series of a rule that count something where all goes well: every copy is sent and gets a response of one class, or of two.
fn used(rule: &Rule, histogram: f64) -> f64 {
    // Of the primary: its classes and its time. Of a pair: two results, and by how much the mirror is slower and faster.
    let (primary, pair) = if rule.compare.is_some() { (2.0 + histogram, 2.0 + 2.0 * histogram) } else { (0.0, 0.0) };
    // Decided, waiting, sent, two classes, its time; and what is not sent.
    let mirror = rule.mirrors.iter().map(|mirror| {
        let is_whole = matches!(mirror.sample.share, Share::Fixed(ratio) if ratio.is_always());
        let not_sent = [!is_whole, mirror.period.is_some(), !mirror.when.is_empty()];
        5.0 + histogram + count(not_sent.iter().filter(|is_some| **is_some).count()) + pair
    });
    1.0 + primary + mirror.sum::<f64>()
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
