//! What the filter was measured to cost. The figures are those of bench/RESULTS.md and docs/scale.md, and tests hold them to these pages.

/// CPU of the complete Envoy for one request in microseconds, by the length of its body: bench/RESULTS.md, `get-12`, `post-16k`, `post-1m`.
const REQUESTS: [Request; 3] = [
    Request { body: 0.0, none: 56.0, unmatched: 66.3, idle: 63.1, copy: 113.0, compare: 118.3 },
    Request { body: 16_384.0, none: 65.2, unmatched: 74.2, idle: 73.2, copy: 135.9, compare: 140.0 },
    Request { body: 1_048_576.0, none: 639.8, unmatched: 650.5, idle: 647.2, copy: 1046.4, compare: 1062.8 },
];

/// CPU of one request in microseconds with one mirror and with four: bench/RESULTS.md, "Mirrors".
const MIRRORS: [f64; 2] = [111.4, 202.6];

/// Resident memory of the module with one worker and of each further worker, in MiB: docs/cost.md, "What a sidecar pays".
const MODULE: f64 = 46.0;
const WORKER: f64 = 1.6;

/// Resident memory of a rule with one mirror, in KiB, once in each Envoy and again for each worker: docs/scale.md, "Memory".
const RULE: [f64; 2] = [10.0, 6.0];

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// What a request with a body of one length takes.
#[derive(Debug, Clone, Copy)]
struct Request {
    body: f64,
    /// Without the filter.
    none: f64,
    /// No rule matches.
    unmatched: f64,
    /// A rule decides, and no mirror is selected.
    idle: f64,
    /// One copy is sent.
    copy: f64,
    /// The same, and the responses are compared.
    compare: f64,
}

/// CPU of one request in microseconds, each part on top of those before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cpu {
    /// Of Envoy without the filter.
    pub(crate) none: f64,
    /// Where no rule matches.
    pub(crate) unmatched: f64,
    /// Where a rule decides.
    pub(crate) decided: f64,
    /// The first copy.
    pub(crate) copy: f64,
    /// Each further copy.
    pub(crate) further: f64,
    /// Comparing, for each copy.
    pub(crate) compare: f64,
}

impl Cpu {
    /// Returns what a request takes whose body has this length: on the line between the two lengths that were measured.
    pub(crate) fn of(body: f64) -> Self {
        let [get, short, long] = REQUESTS;
        let (from, to) = if body <= short.body { (get, short) } else { (short, long) };
        let part = (body - from.body) / (to.body - from.body);
        let at = |of: fn(&Request) -> f64| of(&from) + (of(&to) - of(&from)) * part;
        let (none, idle, copy) = (at(|one| one.none), at(|one| one.idle), at(|one| one.copy));
        let [one, four] = MIRRORS;
        Self {
            none,
            unmatched: at(|one| one.unmatched) - none,
            decided: idle - none,
            copy: copy - idle,
            further: (copy - idle) * (four - one) / 3.0 / (get.copy - get.idle),
            // Within what can be measured, a long body costs no less.
            compare: (at(|one| one.compare) - copy).max(0.0),
        }
    }
}

/// Returns the resident bytes of the module with so many workers.
pub(crate) fn module(workers: f64) -> f64 {
    (MODULE + WORKER * (workers - 1.0)) * MIB
}

/// Returns the resident bytes of a rule's mirror, with its metrics.
pub(crate) fn rule(workers: f64) -> f64 {
    let [once, worker] = RULE;
    (once + worker * workers) * KIB
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULTS: &str = include_str!("../../../bench/RESULTS.md");

    /// Returns the median in a row of the table below a heading.
    fn measured(heading: &str, row: &str, column: usize) -> f64 {
        let (_, text) = RESULTS.split_once(heading).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("| {row} |"))).unwrap();
        line.split('|').nth(column).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn the_figures_are_those_of_the_benchmark() {
        for (one, heading) in REQUESTS.iter().zip(["(`get-12`)", "(`post-16k`)", "(`post-1m`)"]) {
            for (row, own) in [
                ("`none`", one.none),
                ("`filter-unmatched`", one.unmatched),
                ("`filter-0%`", one.idle),
                ("`filter-100%`", one.copy),
                ("`filter-compare`", one.compare),
            ] {
                assert_eq!(measured(heading, row, 2), own, "{heading} {row}");
            }
        }
        assert_eq!(["1", "4"].map(|row| measured("### Mirrors", row, 3)), MIRRORS);
        let cost = include_str!("../../../docs/cost.md");
        assert!(cost.contains(&format!("1 s of CPU and {MODULE} MiB of memory for the module")));
        assert!(cost.contains(&format!("Each further worker takes 0.9 to {WORKER} MiB")));
        let scale = include_str!("../../../docs/scale.md");
        for (row, of) in [
            ("Envoy without the filter", (|one| one.none) as fn(&Request) -> f64),
            ("no rule matches", |one| one.unmatched),
            ("a rule decides, no copy", |one| one.idle),
            ("a copy", |one| one.copy),
            ("a copy, compared", |one| one.compare),
        ] {
            let [get, short, long] = REQUESTS.each_ref().map(of);
            assert!(scale.contains(&format!("| {row} | {get} | {short} | {long} |")), "{row}");
        }
        let [once, worker] = RULE;
        assert!(scale.contains(&format!("{once} KiB in each Envoy and {worker} KiB for each worker")));
    }

    #[test]
    fn a_body_between_two_that_were_measured_costs_what_lies_between() {
        let near = |one: f64, other: f64| assert!((one - other).abs() < 0.05, "{one} {other}");
        let get = Cpu::of(0.0);
        near(get.none + get.decided + get.copy, 113.0);
        near(get.further, 30.4);
        near(Cpu::of(8192.0).none, 60.6);
        near(Cpu::of(1_048_576.0).none + Cpu::of(1_048_576.0).decided + Cpu::of(1_048_576.0).copy, 1046.4);
        near(Cpu::of(1_048_576.0).compare, 16.4);
        assert!(Cpu::of(1e8).copy > Cpu::of(1e6).copy);
    }
}
