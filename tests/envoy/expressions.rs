//! Regular expressions, and texts made to slow them down.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use harness::bootstrap::Delivery;
use harness::client::Req;
use harness::upstream::Answer;
use harness::{Setup, run};

/// Less than Envoy takes of all headers: 60 KiB.
const LONG: usize = 58_000;

/// Words as they stand in lists, a thousand characters of them.
fn words() -> String {
    let word =
        |n: usize| (0..7).map(|k| char::from(b"aeinorstlucdmpgh"[(n * 31 + k * (n + 7)) % 16])).collect::<String>();
    (0..125).map(word).collect::<Vec<_>>().join("|")
}

/// Long texts: at random, of few bytes and of many, and none.
fn texts() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut text = |alphabet: &[u8]| (0..LONG).map(|_| alphabet[random.usize(..alphabet.len())]).collect::<Vec<_>>();
    let all: Vec<u8> = (b'!'..=b'~').chain(0x80..=0xff).collect();
    vec![b"a".repeat(LONG), b"foo".repeat(LONG / 3), text(b"ab"), text(b"abcdefghijklmnopqrstuvwxyz"), text(&all)]
}

/// Expressions that are slow with some text, were they tested otherwise, and a text that each matches. Some 60 ms of a worker's
/// time for all texts and expressions together; Envoy's own routes take ten times that.
fn slow() -> Vec<(String, Vec<u8>)> {
    let x = |count| "x".repeat(count);
    vec![
        ("/(a+)+b".to_owned(), b"/aab".into()),
        ("(?:.*a){20}e".to_owned(), [b"a".repeat(20), b"e".into()].concat()),
        (".*[ab].{124}[cd]".to_owned(), format!("yb{}c", x(124)).into()),
        ("(?:a|b)*a(?:a|b){14}c".to_owned(), [b"a".repeat(15), b"c".into()].concat()),
        (".*foo.{1,100}bar.*".to_owned(), format!("yfoo{}bary", x(100)).into()),
        (format!("(?i).*({}).*", words()), words().to_uppercase().into()),
        ("[a-z]{1,30}[0-9a-z]{1,30}[a-f]{1,30}".to_owned(), b"z0a".into()),
    ]
}

#[test]
fn no_text_makes_an_expression_slow() {
    let rule = |(n, (regex, _)): (usize, &(String, _))| {
        let mirrors = json!([{"cluster": "mirror", "body": "omit"}]);
        json!({"name": format!("slow-{n}"), "match": [{"headers": {"x-text": {"regex": regex}}}], "mirrors": mirrors})
    };
    let mut rules: Vec<_> = slow().iter().enumerate().map(rule).collect();
    rules.push(json!({"name": "none", "mirrors": []}));
    run(Setup::new(json!({"rules": rules})), async |mesh| {
        let mut client = mesh.client().await;
        let started = Instant::now();
        for text in texts() {
            assert_eq!(client.send(Req::get("/").header("x-text", text)).await.status, 200);
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(2), "all together took {took:?}");
        mesh.until("none to match", |l| l.requests("none") == i64::try_from(texts().len()).unwrap()).await;
        for (n, (regex, text)) in slow().into_iter().enumerate() {
            client.send(Req::get("/").header("x-text", text)).await;
            mesh.until(&regex, |l| l.requests(&format!("slow-{n}")) == 1).await;
        }
    });
}

#[test]
fn a_path_that_cannot_be_rewritten_costs_its_copy_alone() {
    let to = |cluster: &str, pattern: &str, rewrite: &str| {
        let rewrite = json!({"uriRegexRewrite": {"match": pattern, "rewrite": rewrite}});
        json!({"cluster": cluster, "rewrite": rewrite})
    };
    let rule = |name: &str, mirror: Value| {
        let mirrors = json!([mirror, {"cluster": "mirror2"}]);
        json!({"name": name, "match": [{"headers": {"x-rule": {"exact": name}}}], "mirrors": mirrors})
    };
    let rules = [
        rule("long", to("mirror", ".", &"x".repeat(1024))),
        rule("slow", to("mirror", "a[^b]*b|a", "x")),
        rule("none", to("mirror", "^/a", "")),
        rule("some", to("mirror", "a{9}", "b")),
    ];
    run(Setup::new(json!({"rules": rules})), async |mesh| {
        let path = format!("/{}", "a".repeat(50_000));
        let mut client = mesh.client().await;
        let started = Instant::now();
        for rule in ["long", "slow", "none", "some"] {
            assert_eq!(client.send(Req::get(&path).header("x-rule", rule)).await.status, 200);
            mesh.responses(rule, "mirror2", "2xx", 1).await;
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(2), "all together took {took:?}");
        for (rule, outcome) in [("long", "no_cluster"), ("slow", "no_cluster"), ("none", "sent"), ("some", "sent")] {
            mesh.copies(rule, "mirror", outcome, 1).await;
        }
        let paths = mesh.mirror.received(2).await.into_iter().map(|copy| copy.path);
        // One would not begin with a slash: it stays as it is.
        let expected = [path.clone(), format!("/{}{}", "b".repeat(50_000 / 9), "a".repeat(50_000 % 9))];
        assert_eq!(paths.collect::<Vec<_>>(), expected);
        assert!(mesh.mirror2.received(4).await.iter().all(|copy| copy.path == path));
    });
}

#[test]
fn the_largest_configurations_fit_one_beside_the_other() {
    // About what all expressions of a configuration may take together.
    let plugin = |n: usize| {
        let entry = |k| json!({"headers": {"x-text": {"regex": format!("\\pL{{1,6}}{n}-{k}")}}});
        json!({"rules": [{
            "name": format!("v{n}"), "match": (0..35).map(entry).collect::<Vec<_>>(), "mirrors": [{"cluster": "mirror"}],
        }]})
    };
    let setup = Setup::new(plugin(0)).delivered_by(Delivery::Ecds).mirror(Answer::after(Duration::from_secs(4)));
    run(setup, async |mesh| {
        for n in 0..6 {
            let reply = mesh.send(Req::get("/").header("x-text", format!("é{n}-34"))).await;
            assert_eq!(reply.status, 200);
            mesh.copies(&format!("v{n}"), "mirror", "sent", 1).await;
            mesh.update(&plugin(n + 1));
            mesh.stat("traffic_mirror.config_reload", u64::try_from(n).unwrap() + 2).await;
        }
        for n in 0..6 {
            mesh.responses(&format!("v{n}"), "mirror", "2xx", 1).await;
        }
    });
}
