//! Worked numbers: those of docs/scale.md, counted by hand.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use super::figures::Figures;
use super::limits::Limit;
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use traffic_mirror::config::Moment;

fn figures(requests: f64) -> Figures {
    Figures {
        requests,
        shares: BTreeMap::new(),
        headers: 1024.0,
        body: 0.0,
        longest_body: 0.0,
        response: 4096.0,
        latency: 0.1,
        latencies: BTreeMap::new(),
        primary: 0.1,
        upload: 0.1,
        wanted: 1.0,
        workers: 2.0,
        busiest: None,
        replicas: 10.0,
        response_limit: 65_536.0,
        breakers: BTreeMap::new(),
        breaker: None,
        is_http2: false,
        http2: BTreeSet::new(),
        buckets: 19.0,
        used_only: false,
        most_series: 1e6,
        at: None,
    }
}

fn config(text: &str) -> Config {
    let tree: serde_json::Value = serde_saphyr::from_str(text).unwrap();
    Config::from_bytes(tree.to_string().as_bytes()).unwrap()
}

fn plan(text: &str, figures: Figures) -> Plan {
    Plan::new("a".into(), &config(text), figures, Vec::new())
}

#[track_caller]
fn near(one: f64, other: f64) {
    assert!((one - other).abs() <= 1e-9 * other.abs().max(1.0), "{one}, not {other}");
}

fn limit<'p>(plan: &'p Plan, name: &str) -> &'p Limit {
    plan.limits.iter().find(|limit| limit.name == name).unwrap_or_else(|| panic!("{name}: {:?}", plan.limits))
}

const ONE: &str = "rules: [{ name: r, mirrors: [{ name: m, cluster: c, percentage: 20 }] }]";

#[test]
fn copies_in_flight_and_bytes_follow_from_the_rate() {
    let plan = plan(ONE, Figures { body: 10_240.0, ..figures(500.0) });
    let load = &plan.loads[0];
    // 500 requests/s, 20 % of them, 100 ms each: 10 in flight, 5 on each of 2 workers.
    near(load.copies, 100.0);
    near(load.in_flight, 10.0);
    near(load.busiest, 5.0);
    // 5 + 3.09 √5 + 1.42 = 13.3.
    near(load.peak, 14.0);
    near(load.connections, 28.0);
    near(load.sent, 100.0 * 11_264.0);
    near(load.received, 100.0 * 4096.0);
    // Bodies arrive for 100 ms, of the 100 requests/s that are selected: 10 at once.
    near(plan.memory.bodies, 10.0 * 10_240.0);
    near(plan.memory.headers, 10.0 * (1024.0 + 2048.0));
    near(plan.memory.copies, 10.0 * 11_264.0);
    near(plan.memory.responses, 10.0 * 4096.0);
    near(plan.memory.most_in_vm, 2.0 * f64::from((64 << 20) + (1 << 20) + (64 << 20)));
    near(plan.memory.most_in_envoy, 2.0 * 1024.0 * f64::from((1 << 20) + 65_536));
}

#[test]
fn the_documents_example_is_counted_by_hand() {
    let text =
        "{ rules: [{ name: shop, mirrors: [{ cluster: candidate, percentage: 20 }] }], limits: { maxInFlight: 256 } }";
    let shares = [("shop".to_owned(), 0.6)].into();
    let plan = plan(text, Figures { shares, body: 2048.0, latency: 0.08, ..figures(500.0) });
    let (load, memory) = (&plan.loads[0], &plan.memory);
    let page = include_str!("../../../docs/scale.md");
    for (found, by_hand, shown) in [
        (load.copies, 60.0, "= 60/s"),
        (load.in_flight, 4.8, "60 · 0.08 = 4.8"),
        (load.busiest, 2.4, "4.8 / 2 = 2.4"),
        (load.peak, 9.0, "8.6: 9"),
        (load.connections, 18.0, "2 · 9 = 18"),
        (load.sent, 60.0 * 3072.0, "= 180 KiB/s"),
        (load.received, 60.0 * 4096.0, "= 240 KiB/s"),
        (memory.bodies, 6.0 * 2048.0, "6 · 2 KiB = 12 KiB"),
        (memory.headers, 6.0 * 3072.0, "6 · 3 KiB = 18 KiB"),
        (memory.copies, 4.8 * 3072.0, "= 14.4 KiB"),
        (memory.responses, 4.8 * 4096.0, "= 19.2 KiB"),
        (memory.module, 47.6 * 1_048_576.0, "| 47.6 MiB |"),
        (memory.rules, 22.0 * 1024.0, "| 22 KiB |"),
    ] {
        near(found, by_hand);
        assert!(page.contains(shown), "{shown}");
    }
    // A body of 2 KiB is an eighth of the way from none to 16 KiB.
    let between = |get: f64, short: f64| get + (short - get) / 8.0;
    let (none, decided) = (between(56.0, 65.2), between(63.1, 73.2));
    let (unmatched, copy) = (between(66.3, 74.2), between(113.0, 135.9));
    near(plan.work.with, 0.4 * unmatched + 0.48 * decided + 0.12 * copy);
    assert!(page.contains(&format!("| {:.2} × Envoy without the filter |", plan.work.with / none)));
}

#[test]
fn what_waits_for_the_primary_is_buffered_that_long_and_may_take_half() {
    let text = "rules: [{ name: r, mirrors: [{ cluster: c, when: [{ status: [5xx] }] }] }]";
    let plan = plan(text, Figures { body: 102_400.0, primary: 2.0, wanted: 0.01, upload: 0.0, ..figures(400.0) });
    // 400/s for 2 s: 800 bodies, 400 on each worker, and 400 + 3.09 √400 + 1.42 = 463.2 at the peak.
    near(plan.memory.bodies, 800.0 * 102_400.0);
    let half = limit(&plan, "half of it, for `when`");
    near(half.has, 33_554_432.0);
    near(half.needs, 464.0 * 102_400.0);
    assert!(half.is_reached() && !plan.fits());
    // A copy is sent of one in a hundred.
    near(plan.loads[0].copies, 4.0);
}

#[test]
fn a_timeout_ends_what_is_in_flight_and_is_a_limit() {
    let text = "rules: [{ name: r, mirrors: [{ name: m, cluster: c, timeout: 2s }] }]";
    let plan = plan(text, Figures { latency: 3.0, ..figures(100.0) });
    near(plan.loads[0].in_flight, 200.0);
    assert!(limit(&plan, "rules[0].mirrors[0].timeout").is_reached());
}

#[test]
fn requests_are_shared_among_rules_as_is_said() {
    let text = "rules: [{ name: a, mirrors: [{ cluster: c }] }, { name: b, mirrors: [{ cluster: c }] }, { name: d, mirrors: [] }]";
    let even = plan(text, figures(300.0));
    let copies = |plan: &Plan| plan.loads.iter().map(|load| load.copies).collect::<Vec<_>>();
    assert_eq!(copies(&even), [100.0, 100.0]);
    let said = plan(text, Figures { shares: [("a".to_owned(), 0.5)].into(), ..figures(300.0) });
    assert_eq!(copies(&said), [150.0, 75.0]);
    // The breaker of the cluster is of both: 22.5 + 3.09 √22.5 + 1.42 = 38.6.
    near(limit(&said, "circuit breaker of c").needs, 39.0);
}

#[test]
fn a_ramp_is_planned_for_its_highest_step_or_for_a_moment() {
    let text = "rules: [{ mirrors: [{ cluster: c, from: '2026-12-01T08:00:00Z', ramp: [{ at: '2026-12-01T09:00:00Z', percentage: 1 }, \
                { at: '2026-12-01T12:00:00Z', percentage: 10 }, { at: '2026-12-01T13:00:00Z', percentage: 5 }] }] }]";
    for (at, expected) in [
        (None, 10.0),
        (Some("2026-12-01T07:00:00Z"), 0.0),
        (Some("2026-12-01T09:30:00Z"), 1.0),
        (Some("2026-12-01T12:00:00Z"), 10.0),
        (Some("2026-12-02T00:00:00Z"), 5.0),
    ] {
        let at = at.map(|at| Moment::parse(at).unwrap());
        near(plan(text, Figures { at, ..figures(100.0) }).loads[0].copies, expected);
    }
}

#[test]
fn cpu_is_that_of_the_benchmark_by_copies() {
    let cpu = |text: &str| plan(text, figures(1000.0)).work;
    let all = cpu("rules: [{ mirrors: [{ cluster: c }] }]");
    near(all.with, 113.0);
    near(all.cores, 1000.0 * (113.0 - 56.0) / 1e6);
    // Half of it is copied: half of the way from no copy.
    near(cpu("rules: [{ mirrors: [{ cluster: c, percentage: 50 }] }]").with, (63.1 + 113.0) / 2.0);
    near(cpu("rules: [{ mirrors: [{ cluster: c }, { cluster: d }] }]").with, 113.0 + 91.2 / 3.0);
    near(cpu("rules: [{ compare: { status: true }, mirrors: [{ cluster: c }] }]").with, 118.3);
    let unmatched = plan(
        "rules: [{ name: r, mirrors: [{ cluster: c }] }]",
        Figures { shares: [("r".into(), 0.0)].into(), ..figures(1.0) },
    );
    near(unmatched.work.with, 66.3);
}

#[test]
fn series_are_those_that_the_ledger_defines() {
    // A proxy: 4 reasons, 2 gauges, unmatched, invalid_configuration. A rule: 1. A mirror: decided, waiting, 14 outcomes, 7 classes, and
    // a histogram of 19 buckets, +Inf, sum and count.
    let rule = |index: usize| format!("{{ name: r{index}, mirrors: [{{ cluster: c }}] }}");
    let many = |count: usize| format!("rules: [{}]", (0..count).map(rule).collect::<Vec<_>>().join(","));
    for (count, all) in [(1, 54.0), (1000, 46_008.0)] {
        near(plan(&many(count), figures(1.0)).series.all, all);
    }
    near(plan(&many(1), Figures { buckets: 5.0, ..figures(1.0) }).series.all, 40.0);
    // Compared: the field status, 10 results and 2 histograms of the mirror, 5 classes and a histogram of the primary.
    near(plan("rules: [{ compare: { status: true }, mirrors: [{ cluster: c }] }]", figures(1.0)).series.all, 136.0);
    // Of rules without traffic nothing is used.
    let shares = (0..1000).map(|index| (format!("r{index}"), if index == 0 { 1.0 } else { 0.0 })).collect();
    near(plan(&many(1000), Figures { shares, ..figures(1.0) }).series.used, 31.0);
    let thousand = plan(&many(1000), Figures { replicas: 20_000.0, ..figures(1.0) });
    near(limit(&thousand, "series in Prometheus").needs, 920_160_000.0);
}

#[test]
fn what_is_lost_is_told_of_limits_that_are_reached() {
    let text = "rules: [{ name: r, mirrors: [{ name: m, cluster: c, maxInFlight: 10 }] }]\nlimits: { maxRequestsPerSecond: 50 }";
    let plan = plan(text, figures(100.0));
    let rate = limit(&plan, "limits.maxRequestsPerSecond");
    assert_eq!((rate.needs, rate.has, rate.lost), (100.0, 50.0, Some(("rate_limit", Some(0.5)))));
    // 5 Erlang on 10 places: 1.84 %.
    let own = limit(&plan, "rules[0].mirrors[0].maxInFlight");
    let Some((what, Some(share))) = own.lost else { panic!("{own:?}") };
    assert!(what == "in_flight_limit" && (share - 0.0184).abs() < 5e-5, "{share}");
    assert!(!limit(&plan, "limits.maxInFlight").is_reached());
}

#[test]
fn one_mirror_that_hangs_is_a_note_where_it_takes_every_place() {
    let text =
        "rules: [{ name: r, mirrors: [{ name: m, cluster: c }, { name: other, cluster: d, maxInFlight: 100 }] }]";
    let notes = plan(text, figures(1000.0)).notes;
    assert!(
        notes.iter().any(|note| note.starts_with("r → m: a mirror that hangs takes all 1,024 places")),
        "{notes:?}"
    );
    assert!(!notes.iter().any(|note| note.starts_with("r → other")), "{notes:?}");
    // One without others takes no place from them.
    assert!(plan(ONE, figures(10_000.0)).notes.iter().all(|note| !note.contains("hangs")));
}

#[test]
fn responses_that_are_compared_are_kept_until_the_slowest_mirror_responds() {
    let text = "rules: [{ name: r, compare: { status: true, headers: [a, b], body: { exact: true, maxBytes: 2048 } }, mirrors: [{ cluster: c }, \
                { cluster: d, percentage: 10 }] }]";
    let found = plan(text, figures(100.0));
    // 100/s for 100 ms, of which 2 KiB of 4 are kept: 5 on each worker, and 14 at the peak.
    near(found.memory.compared, 10.0 * 2048.0);
    near(limit(&found, "limits.maxBufferedBytes, with `compare`").needs, 14.0 * 2048.0);
    // 64 names and one for all others, of each mirror; the status is there anyway.
    near(found.series.fields, 128.0);
    let fields = |compare: &str| {
        plan(&format!("rules: [{{ compare: {compare}, mirrors: [{{ cluster: c }}] }}]"), figures(1.0)).series.fields
    };
    near(fields("{ status: true, headers: [a, b] }"), 2.0);
    near(fields("{ status: true, headers: [a, b], fields: false }"), 0.0);
    let text = "{ rules: [{ compare: { body: { exact: true } }, mirrors: [{ cluster: c }] }], limits: { maxBufferedBytes: 65536, maxBodyBytes: 0 } }";
    let narrow = plan(text, Figures { latency: 1.0, ..figures(100.0) });
    assert_eq!(limit(&narrow, "limits.maxBufferedBytes, with `compare`").lost, Some(("not_compared", None)));
    assert!(!narrow.fits());
}
