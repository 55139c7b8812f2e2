//! A configuration's life: refused or taken, replaced while copies are in flight.

use fake_host::abi;
use fake_host::books;
use fake_host::envoy::{Envoy, apart, request};
use fake_host::host::{Direction, ERROR, Headers, WARN};

const TO_A: &str = r#"{"rules":[{"name":"old","mirrors":[{"cluster":"a"}]}]}"#;
const TO_B: &str = r#"{"rules":[{"name":"new","mirrors":[{"cluster":"b"}]}]}"#;

/// Returns the roots that asked to stay.
fn pending() -> Vec<u32> {
    Envoy::host(|host| host.roots.iter().filter(|(_, root)| root.is_pending).map(|(id, _)| *id).collect())
}

#[test]
fn a_wrong_configuration_is_refused_with_one_line_of_error_for_each_violation() {
    for (configuration, errors) in [
        ("", &["configuration: nothing: a configuration with at least one rule is required"][..]),
        ("{}", &["rules: missing: a list of at least one rule"]),
        (
            r#"{"rules":[{"mirrors":[{"cluster":"a","percentage":140}]}]}"#,
            &["rules[0].mirrors[0].percentage: 140: not between 0 and 100"],
        ),
        (
            r#"{"rules":[{"name":"a b","mirrors":[{"cluster":"a","timeout":"2h"}]}],"limits":{"maxInFlight":-1},"x\ny":1}"#,
            &["rules[0].name: ", "rules[0].mirrors[0].timeout: ", "limits.maxInFlight: ", "x y: 1: unknown field"],
        ),
    ] {
        let envoy = Envoy::start();
        assert_eq!(envoy.configure(configuration.as_bytes()), None, "{configuration}");
        Envoy::host(|host| {
            let mut lines = host.logs.clone();
            for error in errors {
                let found = lines.iter().position(|(level, line)| *level == ERROR && line.starts_with(error));
                lines.remove(found.unwrap_or_else(|| panic!("{configuration}: no {error:?} in {lines:?}")));
            }
            assert!(lines.is_empty(), "{configuration}: {lines:?} too");
            assert!(host.logs.iter().all(|(_, line)| !line.contains('\n')), "{:?}", host.logs);
            assert_eq!(host.metrics.iter().count(), 0, "{configuration}: metrics are never freed");
            assert!(host.roots.is_empty(), "{configuration}: the root stays");
        });
        envoy.check();
    }
}

#[test]
fn bytes_that_are_no_configuration_are_refused() {
    for bytes in [&b"\xff\xfe"[..], b"\x0a\xff\xff", b"rules: []", b"null", b"[]", b"\"\"", b"\n", b"{\"rules\":"] {
        let envoy = Envoy::start();
        assert_eq!(envoy.configure(bytes), None, "{}", bytes.escape_ascii());
        assert!(Envoy::host(|host| host.logs.iter().any(|(level, _)| *level == ERROR)), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_refused_configuration_leaves_the_one_at_work_alone() {
    let (envoy, root) = Envoy::with(TO_A);
    assert_eq!(envoy.configure(b"{}"), None);
    envoy.serve(root, request("/", &[]), b"");
    envoy.answer_all("200");
    envoy.check();
    assert_eq!(Envoy::host(|host| host.sent.len()), 1);
}

#[test]
fn a_replaced_configuration_stays_until_its_last_copy_is_answered_and_says_so_once() {
    let (envoy, old) = Envoy::with(TO_A);
    for _ in 0..3 {
        envoy.serve(old, request("/", &[]), b"");
    }
    let new = envoy.configure(TO_B.as_bytes()).unwrap();
    envoy.retire(old);
    assert_eq!(pending(), [old], "the old root leaves before its copies are answered");
    envoy.serve(new, request("/", &[]), b"");
    let tokens: Vec<_> = Envoy::host(|host| host.in_flight.keys().copied().collect());
    for (token, in_flight) in tokens[..3].iter().zip([3, 2, 1]) {
        assert!(Envoy::host(|host| host.roots.contains_key(&old)));
        envoy.answer(*token, Vec::new());
        assert_eq!(Envoy::host(|host| books::sum(host, "in_flight", &[])), in_flight);
    }
    assert!(!Envoy::host(|host| host.roots.contains_key(&old)), "the old root never leaves");
    envoy.answer_all("200");
    assert!(Envoy::host(|host| host.roots.contains_key(&new)), "the new root leaves unasked");
    // Its farewell would be noted as a misuse here, were there a second.
    envoy.check();
}

#[test]
fn a_replaced_configuration_without_copies_in_flight_leaves_at_once() {
    let (envoy, root) = Envoy::with(TO_A);
    envoy.serve(root, request("/", &[]), b"");
    envoy.answer_all("200");
    envoy.retire(root);
    assert!(Envoy::host(|host| host.roots.is_empty()));
    envoy.check();
}

#[test]
fn an_upload_under_way_finishes_under_the_configuration_that_it_began_with() {
    let (envoy, old) = Envoy::with(TO_A);
    let upload = envoy.begin(old, request("/", &[]), false);
    envoy.body(upload, b"first,", false);
    let new = envoy.configure(TO_B.as_bytes()).unwrap();
    envoy.retire(old);
    envoy.serve(new, request("/", &[]), b"");
    envoy.body(upload, b"second", true);
    envoy.end(upload);
    assert_eq!(pending(), [old]);
    Envoy::host(|host| {
        let sent: Vec<_> = host.sent.iter().map(|call| (call.root, call.cluster.as_str(), &call.body[..])).collect();
        assert_eq!(sent, [(new, "b", &b""[..]), (old, "a", b"first,second")]);
    });
    envoy.answer_all("200");
    assert_eq!(Envoy::host(|host| host.roots.keys().copied().collect::<Vec<_>>()), [new]);
    envoy.check();
}

/// Answers would reach the SDK, which panics on those to calls that it did not make.
#[test]
fn a_module_that_is_not_finished_refuses_its_configuration() {
    apart(|| {
        let envoy = Envoy::start();
        for configuration in [TO_A, "{}"] {
            assert_eq!(
                envoy.configure_by(abi::proxy_on_context_create, abi::proxy_on_configure, configuration.as_bytes()),
                None
            );
            Envoy::host(|host| {
                let line = "the module is not finished: use the one that `make build` leaves in dist/";
                assert_eq!(std::mem::take(&mut host.logs), [(ERROR, line.to_owned())]);
                assert_eq!(host.metrics.iter().count(), 0, "metrics are never freed");
            });
        }
        envoy.check();
    });
}

#[test]
fn a_configuration_that_is_taken_is_taken_silently() {
    let (envoy, _) = Envoy::with(TO_A);
    Envoy::host(|host| assert!(host.logs.iter().all(|(level, _)| *level < WARN), "{:?}", host.logs));
    envoy.check();
}

/// Begins a request whose copy waits for its response, and ends its stream.
fn copy(envoy: &Envoy, root: u32) {
    let stream = envoy.begin(root, request("/", &[]), true);
    envoy.end_answered(stream, Some(200));
}

fn classes() -> std::collections::BTreeMap<String, i64> {
    Envoy::host(|host| {
        books::by(host, "responses_total", "class")
            .into_iter()
            .map(|(class, count)| (class.to_owned(), count))
            .collect()
    })
}

const COMPARED: &str = r#"{"rules":[{"name":"old","mirrors":[{"cluster":"a"}],"compare":{"status":true}}]}"#;

#[test]
fn when_a_vm_ends_the_copies_of_all_its_roots_are_counted() {
    let envoy = Envoy::start();
    let inbound = envoy.configure_for(Direction::Inbound, COMPARED);
    let outbound = envoy.configure_for(Direction::Outbound, COMPARED);
    copy(&envoy, inbound);
    copy(&envoy, outbound);
    // A new module takes over, first for one listener, then for the other.
    envoy.retire(inbound);
    assert_eq!(pending(), [inbound], "the first waits for its copy: the VM goes on");
    assert_eq!(classes(), [].into());
    envoy.retire(outbound);
    assert!(Envoy::host(|host| host.roots.is_empty()));
    envoy.check();
    assert_eq!(classes(), [("failed".to_owned(), 2)].into());
    Envoy::host(|host| assert_eq!(books::by(host, "compared_total", "result"), [("primary_only", 2)].into()));
}

#[test]
fn a_root_that_the_host_drops_for_another_of_its_configuration_is_missed_at_the_next_callback() {
    let (envoy, first) = Envoy::with(COMPARED);
    copy(&envoy, first);
    let between = envoy.configure(TO_B.as_bytes()).unwrap();
    envoy.retire(first);
    let second = envoy.configure(COMPARED.as_bytes()).unwrap();
    envoy.retire(between);
    copy(&envoy, second);
    let last = envoy.configure(TO_B.as_bytes()).unwrap();
    envoy.retire(second);
    assert_eq!(pending(), [second], "the host keeps one of a configuration");
    assert_eq!(classes(), [].into());
    let stream = envoy.open(last, Headers::new());
    assert_eq!(classes(), [("failed".to_owned(), 1)].into());
    envoy.end(stream);
    envoy.answer_all("200");
    envoy.check();
    assert_eq!(classes(), [("2xx".to_owned(), 1), ("failed".to_owned(), 1)].into());
    Envoy::host(|host| {
        assert_eq!(books::by(host, "compared_total", "result"), [("primary_only", 1), ("same", 1)].into());
    });
}

#[test]
fn a_root_of_the_other_direction_is_not_taken_for_one_that_is_gone() {
    let envoy = Envoy::start();
    let inbound = envoy.configure_for(Direction::Inbound, COMPARED);
    let outbound = envoy.configure_for(Direction::Outbound, COMPARED);
    copy(&envoy, inbound);
    copy(&envoy, outbound);
    let new = envoy.configure(TO_B.as_bytes()).unwrap();
    envoy.retire(inbound);
    envoy.retire(outbound);
    assert_eq!(pending(), [inbound, outbound]);
    envoy.serve(new, request("/", &[]), b"");
    assert_eq!(classes(), [].into());
    envoy.answer_all("200");
    envoy.check();
    assert_eq!(classes(), [("2xx".to_owned(), 3)].into());
    assert_eq!(Envoy::host(|host| host.roots.keys().copied().collect::<Vec<_>>()), [new]);
}

#[test]
fn a_configuration_that_comes_again_defines_no_metric_again() {
    let (envoy, first) = Envoy::with(TO_A);
    let defined = || Envoy::host(|host| host.metrics.iter().count());
    let known = defined();
    let between = envoy.configure(TO_B.as_bytes()).unwrap();
    envoy.retire(first);
    // The other rule, its mirror, and nothing else.
    let more = defined() - known;
    assert_eq!(more, known - 7);
    envoy.configure(TO_A.as_bytes()).unwrap();
    envoy.retire(between);
    assert_eq!(defined(), known + more);
    envoy.check();
}
