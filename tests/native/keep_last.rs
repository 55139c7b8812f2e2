//! A wrong configuration with `onInvalid: keepLast`: it is taken, and the last good one of its plugin goes on.

use fake_host::books;
use fake_host::envoy::{Envoy, request};
use fake_host::host::{Direction, ERROR, WARN};

const TO_A: &str = r#"{"rules":[{"name":"a","mirrors":[{"cluster":"a"}]}]}"#;
const TO_B: &str = r#"{"rules":[{"name":"b","mirrors":[{"cluster":"b"}]}]}"#;
const WRONG: &str = r#"{"onInvalid":"keepLast","rules":[{"mirrors":[{"cluster":"c","percentage":140}],"x":1}]}"#;
const WRONG_TOO: &str = r#"{"onInvalid":"keepLast"}"#;

/// Names the plugin whose configurations come from now on.
fn name(plugin: &str) {
    Envoy::host(|host| host.properties.insert("plugin_name".into(), plugin.into()));
}

fn configure(envoy: &Envoy, configuration: &str) -> u32 {
    envoy.configure(configuration.as_bytes()).unwrap_or_else(|| panic!("refused: {configuration}"))
}

/// Serves a request under a root, and returns where its copies went, all of which were sent by that root.
fn served(envoy: &Envoy, root: u32) -> Vec<String> {
    let before = Envoy::host(|host| host.sent.len());
    envoy.serve(root, request("/", &[]), b"");
    Envoy::host(|host| {
        let sent = &host.sent[before..];
        assert!(sent.iter().all(|call| call.root == root), "{sent:?}");
        sent.iter().map(|call| call.cluster.clone()).collect()
    })
}

fn unmatched() -> i64 {
    Envoy::host(|host| books::sum(host, "unmatched_total", &[]))
}

/// Reads the gauge; `None` where there is none.
fn invalid(plugin: &str) -> Option<i64> {
    Envoy::host(|host| {
        let wanted = [("plugin", plugin)];
        let is_there = host.metrics.iter().any(|metric| {
            metric.what == "invalid_configuration" && metric.tags.get("plugin").is_some_and(|name| name == plugin)
        });
        is_there.then(|| books::sum(host, "invalid_configuration", &wanted))
    })
}

#[test]
fn a_wrong_configuration_is_taken_and_each_violation_is_logged_as_an_error() {
    for (configuration, errors) in [
        (WRONG, &["rules[0].x: 1: unknown field", "rules[0].mirrors[0].percentage: 140: not between 0 and 100"][..]),
        (WRONG_TOO, &["rules: missing: a list of at least one rule"]),
        (r#"{"rules":[1e999],"onInvalid":"keepLast"}"#, &["configuration: 40 bytes: neither JSON text"]),
    ] {
        let envoy = Envoy::start();
        let root = envoy.configure(configuration.as_bytes());
        Envoy::host(|host| {
            let told: Vec<_> = host.logs.iter().filter(|(level, _)| *level == ERROR).collect();
            assert_eq!(told.len(), errors.len(), "{told:?}");
            for error in errors {
                assert!(told.iter().any(|(_, line)| line.starts_with(error)), "{error} not in {told:?}");
            }
            assert_eq!(host.logs.iter().filter(|(level, _)| *level == WARN).count(), 1, "what goes on");
        });
        assert_eq!(served(&envoy, root.unwrap()), [""; 0]);
        envoy.check();
    }
}

#[test]
fn what_is_neither_json_nor_a_struct_cannot_ask_for_it() {
    for bytes in [r#"{"onInvalid":"keepLast""#, "onInvalid: keepLast", r#"["onInvalid","keepLast"]"#, ""] {
        let envoy = Envoy::start();
        assert_eq!(envoy.configure(bytes.as_bytes()), None, "{bytes}");
        envoy.check();
    }
}

#[test]
fn a_first_wrong_configuration_mirrors_nothing_and_counts_requests_as_unmatched() {
    let envoy = Envoy::start();
    name("istio-system.mirror");
    let wrong = configure(&envoy, WRONG);
    assert_eq!(served(&envoy, wrong), [""; 0]);
    let again = configure(&envoy, WRONG_TOO);
    envoy.retire(wrong);
    assert_eq!(served(&envoy, again), [""; 0]);
    assert_eq!((unmatched(), invalid("istio-system_mirror")), (2, Some(1)));
    let good = configure(&envoy, TO_A);
    assert_eq!(invalid("istio-system_mirror"), Some(0));
    envoy.retire(again);
    assert_eq!(served(&envoy, good), ["a"]);
    assert_eq!((unmatched(), invalid("istio-system_mirror")), (2, Some(0)));
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn the_last_good_configuration_goes_on_under_each_wrong_one_that_follows() {
    let (envoy, good) = Envoy::with(TO_A);
    assert_eq!(served(&envoy, good), ["a"]);
    let mut last = good;
    for wrong in [WRONG, WRONG_TOO, r#"{"onInvalid":"keepLast","rules":[]}"#] {
        let root = configure(&envoy, wrong);
        envoy.retire(last);
        assert_eq!(served(&envoy, root), ["a"], "{wrong}");
        assert_eq!(invalid("_"), Some(1));
        last = root;
    }
    // The copies of each root are its own: the last responses let each of them go.
    envoy.answer_all("200");
    assert_eq!(Envoy::host(|host| host.roots.keys().copied().collect::<Vec<_>>()), [last]);
    let good = configure(&envoy, TO_B);
    envoy.retire(last);
    assert_eq!((served(&envoy, good), invalid("_")), (vec!["b".to_owned()], Some(0)));
    envoy.answer_all("200");
    envoy.check();
    assert_eq!(unmatched(), 0);
}

#[test]
fn a_wrong_configuration_goes_on_with_one_of_its_own_plugin_alone() {
    let envoy = Envoy::start();
    name("one");
    let one = configure(&envoy, TO_A);
    name("other");
    let other = configure(&envoy, WRONG);
    assert_eq!((served(&envoy, one), served(&envoy, other)), (vec!["a".to_owned()], vec![]));
    assert_eq!([invalid("one"), invalid("other")], [Some(0), Some(1)]);
    name("one");
    let wrong = configure(&envoy, WRONG_TOO);
    assert_eq!((served(&envoy, wrong), invalid("one")), (vec!["a".to_owned()], Some(1)));
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn of_two_listeners_with_one_name_and_two_configurations_it_is_not_clear_which_goes_on() {
    let envoy = Envoy::start();
    let (one, other) = (configure(&envoy, TO_A), configure(&envoy, TO_B));
    assert_eq!((served(&envoy, one), served(&envoy, other)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    let wrong = configure(&envoy, WRONG);
    envoy.retire(other);
    assert_eq!((served(&envoy, wrong), unmatched()), (vec![], 1));
    // The one that is left is the only good one.
    assert_eq!(served(&envoy, one), ["a"]);
    envoy.answer_all("200");
    let wrong_too = configure(&envoy, WRONG_TOO);
    assert_eq!(served(&envoy, wrong_too), ["a"]);
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn both_directions_go_on_with_their_common_configuration() {
    let envoy = Envoy::start();
    let inbound = envoy.configure_for(Direction::Inbound, TO_A);
    let outbound = envoy.configure_for(Direction::Outbound, TO_A);
    let wrong_inbound = envoy.configure_for(Direction::Inbound, WRONG);
    envoy.retire(inbound);
    for root in [outbound, wrong_inbound, outbound] {
        assert_eq!(served(&envoy, root), ["a"]);
    }
    let wrong_outbound = envoy.configure_for(Direction::Outbound, WRONG);
    envoy.retire(outbound);
    assert_eq!(served(&envoy, wrong_outbound), ["a"]);
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn a_root_that_the_host_takes_up_again_is_the_last_good_one() {
    let (envoy, first) = Envoy::with(TO_A);
    let open = envoy.begin(first, request("/", &[]), false);
    let second = configure(&envoy, TO_B);
    assert_eq!(served(&envoy, second), ["b"]);
    // The first configuration comes back: its root is still there, and is not configured again.
    envoy.retire(second);
    assert_eq!(served(&envoy, first), ["a"]);
    let wrong = configure(&envoy, WRONG);
    envoy.retire(first);
    assert_eq!(served(&envoy, wrong), ["a"]);
    envoy.end(open);
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn the_gauge_falls_when_the_last_wrong_root_leaves() {
    let (envoy, good) = Envoy::with(TO_A);
    let (wrong, wrong_too) = (configure(&envoy, WRONG), configure(&envoy, WRONG_TOO));
    // A copy in flight keeps a root that serves nobody.
    assert_eq!(served(&envoy, wrong), ["a"]);
    envoy.retire(wrong);
    assert_eq!(invalid("_"), Some(1));
    envoy.retire(wrong_too);
    assert_eq!(invalid("_"), Some(0));
    assert_eq!(served(&envoy, good), ["a"]);
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn a_wrong_configuration_that_is_refused_changes_no_gauge() {
    let (envoy, good) = Envoy::with(TO_A);
    assert_eq!(envoy.configure(br#"{"onInvalid":"refuse"}"#), None);
    assert_eq!(invalid("_"), Some(0));
    let wrong = configure(&envoy, WRONG);
    assert_eq!(envoy.configure(b"{}"), None);
    assert_eq!(invalid("_"), Some(1));
    assert_eq!((served(&envoy, good), served(&envoy, wrong)), (vec!["a".to_owned()], vec!["a".to_owned()]));
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn a_new_vm_has_no_last_good_configuration() {
    let (envoy, good) = Envoy::with(TO_A);
    assert_eq!(served(&envoy, good), ["a"]);
    envoy.retire(good);
    let wrong = configure(&envoy, WRONG);
    assert_eq!((served(&envoy, wrong), unmatched()), (vec![], 1));
    envoy.check();
}
