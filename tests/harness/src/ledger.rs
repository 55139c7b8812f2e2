//! The filter's metrics as Envoy shows them, and the rule that its books must balance.

use std::collections::BTreeMap;

use serde_json::Value;

/// Every outcome that a copy can have.
pub const OUTCOMES: [&str; 14] = [
    "sent",
    "unscheduled",
    "unsampled",
    "body_too_large",
    "incomplete",
    "not_wanted",
    "in_flight_limit",
    "buffer_limit",
    "rate_limit",
    "redaction_failed",
    "no_cluster",
    "no_upstream",
    "no_cluster_header",
    "cluster_not_allowed",
];
/// Every class that an answer can have.
pub const CLASSES: [&str; 7] = ["1xx", "2xx", "3xx", "4xx", "5xx", "timeout", "failed"];
/// Every result of a comparison.
pub const COMPARED: [&str; 10] = [
    "same",
    "mirror_error",
    "primary_error",
    "different",
    "different_headers",
    "different_body",
    "not_compared",
    "primary_only",
    "mirror_only",
    "neither",
];

/// A rule and the labels of its mirrors, as the configuration names them.
pub type Account = (String, Vec<String>);

/// The accounts that a plugin configuration opens.
pub fn accounts(plugin: &Value) -> Vec<Account> {
    let rules = plugin["rules"].as_array().cloned().unwrap_or_default();
    let account = |(index, rule): (usize, &Value)| {
        let name = rule["name"].as_str().map_or_else(|| format!("rule-{index}"), String::from);
        let mirrors = rule["mirrors"].as_array().cloned().unwrap_or_default();
        (name, mirrors.iter().map(label).collect())
    };
    rules.iter().enumerate().map(account).collect()
}

fn label(mirror: &Value) -> String {
    if let Some(name) = mirror["name"].as_str() {
        return name.to_owned();
    }
    if let Some(cluster) = mirror["cluster"].as_str() {
        return cluster.trim_end_matches('.').to_owned();
    }
    if let Some(header) = mirror["clusterHeader"].as_str() {
        return format!("header:{}", header.to_ascii_lowercase());
    }
    let to = &mirror["destination"];
    let subset = to["subset"].as_str().unwrap_or("");
    format!("outbound|{}|{subset}|{}", to["port"]["number"], to["host"].as_str().unwrap_or(""))
}

/// The counters and gauges at one moment.
#[derive(Debug, Default)]
pub struct Ledger(BTreeMap<String, i64>);

impl Ledger {
    /// Reads the text of `/stats`; histograms have no single value and stay out.
    pub fn parse(stats: &str) -> Self {
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            let name = name.strip_prefix("wasmcustom.traffic_mirror.")?;
            Some((plain(name), value.trim().parse().ok()?))
        };
        Self(stats.lines().filter_map(line).collect())
    }

    fn stat(&self, name: &str) -> i64 {
        self.0.get(&plain(name)).copied().unwrap_or(0)
    }

    pub fn requests(&self, rule: &str) -> i64 {
        self.stat(&format!("rule=.={rule};.;requests_total"))
    }

    pub fn ignored(&self, reason: &str) -> i64 {
        self.stat(&format!("reason=.={reason};.;ignored_total"))
    }

    pub fn copies(&self, rule: &str, mirror: &str, outcome: &str) -> i64 {
        self.stat(&format!("rule=.={rule};.;mirror=.={mirror};.;outcome=.={outcome};.;copies_total"))
    }

    pub fn decided(&self, rule: &str, mirror: &str) -> i64 {
        self.stat(&format!("rule=.={rule};.;mirror=.={mirror};.;decided_total"))
    }

    pub fn waiting(&self, rule: &str, mirror: &str) -> i64 {
        self.stat(&format!("rule=.={rule};.;mirror=.={mirror};.;waiting"))
    }

    pub fn responses(&self, rule: &str, mirror: &str, class: &str) -> i64 {
        self.stat(&format!("rule=.={rule};.;mirror=.={mirror};.;class=.={class};.;responses_total"))
    }

    pub fn compared(&self, rule: &str, mirror: &str, result: &str) -> i64 {
        self.stat(&format!("rule=.={rule};.;mirror=.={mirror};.;result=.={result};.;compared_total"))
    }

    /// How the primary responded to requests that made pairs.
    pub fn primary_responses(&self, rule: &str, class: &str) -> i64 {
        self.stat(&format!("rule=.={rule};.;class=.={class};.;primary_responses_total"))
    }

    /// In which places the responses of pairs differed, and how often in each.
    pub fn differences(&self, rule: &str, mirror: &str) -> BTreeMap<String, i64> {
        let prefix = plain(&format!("rule=.={rule};.;mirror=.={mirror};.;field=.="));
        let field = |(name, count): (&String, &i64)| {
            let field = name.strip_prefix(&prefix)?.strip_suffix(";.;differences_total")?;
            (*count != 0).then(|| (field.to_owned(), *count))
        };
        self.0.iter().filter_map(field).collect()
    }

    fn compares(&self, rule: &str, mirror: &str) -> bool {
        self.0.contains_key(&plain(&format!("rule=.={rule};.;mirror=.={mirror};.;result=.=same;.;compared_total")))
    }

    /// Answers of any class.
    pub fn answers(&self, rule: &str, mirror: &str) -> i64 {
        CLASSES.iter().map(|class| self.responses(rule, mirror, class)).sum()
    }

    pub fn unmatched(&self) -> i64 {
        self.stat("unmatched_total")
    }

    /// Whether the last configuration of a plugin is wrong.
    pub fn invalid(&self, plugin: &str) -> bool {
        self.stat(&format!("plugin=.={plugin};.;invalid_configuration")) == 1
    }

    pub fn in_flight(&self) -> i64 {
        self.stat("in_flight")
    }

    pub fn buffered_bytes(&self) -> i64 {
        self.stat("buffered_bytes")
    }

    /// What is wrong with the books, if anything: at every moment each request has one outcome for each mirror, and
    /// each copy sent is answered or in flight.
    pub fn imbalance(&self, accounts: &[Account]) -> Option<String> {
        let mut pending = 0;
        for (rule, mirrors) in accounts {
            for mirror in mirrors {
                let outcomes: i64 = OUTCOMES.iter().map(|o| self.copies(rule, mirror, o)).sum();
                let (decided, waiting) = (self.decided(rule, mirror), self.waiting(rule, mirror));
                if outcomes + waiting != decided {
                    return Some(format!(
                        "{rule} {mirror}: {outcomes} outcomes and {waiting} waiting of {decided} decided"
                    ));
                }
                if decided > self.requests(rule) {
                    return Some(format!("{rule} {mirror}: {decided} decided of {} requests", self.requests(rule)));
                }
                pending += self.copies(rule, mirror, "sent") - self.answers(rule, mirror);
            }
        }
        let in_flight = self.in_flight();
        (pending != in_flight).then(|| format!("{pending} copies not answered, but {in_flight} in flight"))
    }

    /// The same, when nothing may be under way any more.
    pub fn unsettled(&self, accounts: &[Account]) -> Option<String> {
        let (in_flight, held) = (self.in_flight(), self.buffered_bytes());
        if in_flight != 0 || held != 0 {
            return Some(format!("{in_flight} in flight, {held} bytes held"));
        }
        for (rule, mirror) in accounts.iter().flat_map(|(rule, mirrors)| mirrors.iter().map(move |m| (rule, m))) {
            if self.waiting(rule, mirror) != 0 {
                return Some(format!("{rule} {mirror}: {} waiting", self.waiting(rule, mirror)));
            }
            let pairs: i64 = COMPARED.iter().map(|result| self.compared(rule, mirror, result)).sum();
            let sent = self.copies(rule, mirror, "sent");
            if self.compares(rule, mirror) && pairs != sent {
                return Some(format!("{rule} {mirror}: {pairs} pairs of {sent} copies"));
            }
        }
        self.imbalance(accounts)
    }
}

/// Envoy may write `_` where a name holds `:`; so do both sides here.
fn plain(name: &str) -> String {
    name.replace(':', "_")
}
