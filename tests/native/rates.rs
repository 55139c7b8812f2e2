//! Copies a second: one bucket for all that have one plugin name, rate and burst.

use fake_host::books;
use fake_host::envoy::{Envoy, request};
use fake_host::host::Status;
use std::collections::BTreeMap;

/// A rate so small that no test sees a token come back.
fn limited(burst: u32, rule: &str, cluster: &str) -> String {
    format!(
        r#"{{"rules":[{{"name":"{rule}","mirrors":[{{"cluster":"{cluster}"}}]}}],
            "limits":{{"maxRequestsPerSecond":1,"burst":{burst},"maxInFlight":50}}}}"#
    )
}

fn configure(envoy: &Envoy, configuration: &str) -> u32 {
    envoy.configure(configuration.as_bytes()).unwrap()
}

/// Serves requests, and returns the outcomes of all copies so far.
fn outcomes(envoy: &Envoy, root: u32, requests: usize) -> BTreeMap<String, i64> {
    for _ in 0..requests {
        envoy.serve(root, request("/", &[]), b"");
    }
    Envoy::host(|host| {
        let outcomes = books::by(host, "copies_total", "outcome");
        outcomes.into_iter().map(|(outcome, count)| (outcome.to_owned(), count)).collect()
    })
}

fn counts(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs.iter().map(|(outcome, count)| ((*outcome).to_owned(), *count)).collect()
}

#[test]
fn configurations_with_one_rate_share_a_bucket_and_a_push_does_not_fill_it() {
    let (envoy, first) = Envoy::with(&limited(5, "a", "a"));
    assert_eq!(outcomes(&envoy, first, 2), counts(&[("sent", 2)]));
    let second = configure(&envoy, &limited(5, "b", "b"));
    assert_eq!(outcomes(&envoy, second, 2), counts(&[("sent", 4)]));
    assert_eq!(outcomes(&envoy, first, 2), counts(&[("sent", 5), ("rate_limit", 1)]));
    envoy.retire(first);
    assert_eq!(outcomes(&envoy, second, 1), counts(&[("sent", 5), ("rate_limit", 2)]));
    // Another size is another bucket.
    let third = configure(&envoy, &limited(1, "b", "b"));
    assert_eq!(outcomes(&envoy, third, 2), counts(&[("sent", 6), ("rate_limit", 3)]));
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn each_plugin_name_has_a_bucket_of_its_own() {
    let envoy = Envoy::start();
    for (count, plugin) in (1..).zip(["", "a", "b", "a\0", "ab"]) {
        Envoy::host(|host| host.properties.insert("plugin_name".into(), plugin.into()));
        let root = configure(&envoy, &limited(1, "r", "a"));
        assert_eq!(outcomes(&envoy, root, 2), counts(&[("sent", count), ("rate_limit", count)]), "{plugin:?}");
    }
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn a_copy_that_the_host_refuses_gives_its_token_back() {
    let envoy = Envoy::start();
    let to_drained = configure(&envoy, &limited(1, "d", "drained"));
    let to_unknown = configure(&envoy, &limited(1, "u", "unknown"));
    let to_a = configure(&envoy, &limited(1, "a", "a"));
    outcomes(&envoy, to_drained, 3);
    assert_eq!(outcomes(&envoy, to_unknown, 3), counts(&[("no_upstream", 3), ("no_cluster", 3)]));
    let all = counts(&[("no_upstream", 3), ("no_cluster", 3), ("sent", 1), ("rate_limit", 1)]);
    assert_eq!(outcomes(&envoy, to_a, 2), all);
    envoy.answer_all("200");
    envoy.check();
    Envoy::host(|host| {
        let unknown = host.refused.iter().filter(|(_, status)| *status == Status::BadArgument).count();
        assert_eq!(unknown, 3);
    });
}

#[test]
fn a_race_that_is_lost_is_run_again_so_often_and_then_costs_the_copy() {
    for (lost, expected) in [(0, "sent"), (1, "sent"), (15, "sent"), (16, "rate_limit"), (1000, "rate_limit")] {
        let (envoy, root) = Envoy::with(&limited(5, "a", "a"));
        Envoy::host(|host| host.lost_races = lost);
        assert_eq!(outcomes(&envoy, root, 1), counts(&[(expected, 1)]), "{lost}");
        let asked = Envoy::host(|host| lost - host.lost_races);
        assert!(asked <= 16, "{asked} races");
        envoy.answer_all("200");
        envoy.check();
    }
}

#[test]
fn the_host_is_asked_for_a_bucket_where_a_copy_is_due_and_has_a_rate() {
    let plain = r#"{"rules":[{"mirrors":[{"cluster":"a"}]}]}"#.to_owned();
    let full = limited(5, "a", "a").replace(r#""maxInFlight":50"#, r#""maxInFlight":0"#);
    let off = limited(5, "a", "a").replace(r#""cluster":"a""#, r#""cluster":"a","percentage":0"#);
    for (configuration, questions) in [(plain, 0), (off, 0), (full, 0), (limited(5, "a", "a"), 1)] {
        let (envoy, root) = Envoy::with(&configuration);
        let stream = envoy.begin(root, request("/", &[]), true);
        let asked = envoy.end_answered(stream, Some(200)).asked;
        let found = asked.iter().filter(|what| *what == "shared data").count();
        assert_eq!(found, questions, "{configuration}: {asked:?}");
        envoy.answer_all("200");
        envoy.check();
    }
}

#[test]
fn what_is_no_number_counts_as_a_full_bucket() {
    let (envoy, root) = Envoy::with(&limited(2, "a", "a"));
    assert_eq!(outcomes(&envoy, root, 3), counts(&[("sent", 2), ("rate_limit", 1)]));
    Envoy::host(|host| host.shared.values_mut().for_each(|(value, _)| value.truncate(3)));
    assert_eq!(outcomes(&envoy, root, 3), counts(&[("sent", 4), ("rate_limit", 2)]));
    envoy.answer_all("200");
    envoy.check();
}
