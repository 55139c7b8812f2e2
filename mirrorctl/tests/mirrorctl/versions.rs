//! `mirrorctl report --baseline` on responses of real servers: ids and times are others in each, nothing is ignored, and the candidate
//! is the primary's version, or one that is wrong now and then. `AA_SEEDS=10` tries so many seeds, from `AA_SEED` on, with more
//! requests, and `--nocapture` shows how often the report erred.

use crate::stats::beside;
use fastrand::Rng;
use harness::client::Req;
use harness::process::Folder;
use harness::upstream::{Answer, Service};
use harness::{Mesh, Setup, eventually, run};
use humantime::format_rfc3339_nanos;
use serde_json::{Value, json};
use std::env::var;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

/// How many requests are compared of each seed where many seeds are tried, and how many where one is.
const REQUESTS: usize = 10_000;
const FEW: usize = 6_000;
const CLIENTS: usize = 8;
/// For how many seconds the report watches. It is twice as long where the machine was too busy for all requests.
const SHORTEST: u64 = 6;
const LONGEST: u64 = 48;
/// In which share of its responses a version may be wrong, and where.
const WRONG: f64 = 0.02;
const FIELD: &str = "body/items/*/price";
/// What is another in each response.
const CHANCE: [&str; 3] = ["body/id", "body/items/*/etag", "body/time"];

/// What the candidate is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Candidate {
    SameVersion,
    SometimesWrong,
}

/// Responds as one instance of a catalogue does: with ids of its own and with the time.
fn instance(seed: u64, wrong: f64) -> Service {
    let rng = Mutex::new(Rng::with_seed(seed));
    Service::script(move |request| {
        let page = request.path.rsplit('/').next().unwrap().parse().unwrap();
        Answer::Json(catalogue(page, &mut rng.lock().unwrap(), wrong).to_string())
    })
}

/// A page of one to five items; in so many responses one of them has a wrong price.
fn catalogue(page: u64, rng: &mut Rng, wrong: f64) -> Value {
    let count = page % 5 + 1;
    let wrong = (rng.f64() < wrong).then(|| rng.u64(..count));
    let item = |number: u64, rng: &mut Rng| {
        let cents = page * 37 % 900 + number * 100 + u64::from(wrong == Some(number));
        json!({
            "sku": format!("{page}-{number}"),
            "etag": format!("{:016x}", rng.u64(..)),
            "price": cents as f64 / 100.0,
            "inStock": page.is_multiple_of(3),
        })
    };
    let items: Vec<_> = (0..count).map(|number| item(number, rng)).collect();
    let time = format_rfc3339_nanos(SystemTime::now()).to_string();
    json!({ "id": format!("{:032x}", rng.u128(..)), "time": time, "page": page, "items": items, "next": null })
}

/// What is tried.
struct Trial {
    candidate: Candidate,
    requests: usize,
    /// How many seconds sufficed for the last seed.
    period: u64,
}

impl Trial {
    /// Watches the requests as a user does, and returns the report on all of them.
    fn report(&mut self, seed: u64) -> Value {
        loop {
            let report = self.watch(seed);
            let mirrors = report["mirrors"].as_array().unwrap();
            if mirrors.len() == 2 && mirrors.iter().all(|mirror| mirror["copies"]["sent"] == self.requests) {
                return report;
            }
            self.period *= 2;
            assert!(self.period <= LONGEST, "{} requests took too long: {report:#}", self.requests);
        }
    }

    fn watch(&self, seed: u64) -> Value {
        let wrong = if self.candidate == Candidate::SometimesWrong { WRONG } else { 0.0 };
        let mut seeds = Rng::with_seed(seed);
        let mut of_version = |wrong| instance(seeds.u64(..), wrong);
        let folder = Folder::new();
        let readings = folder.path("readings");
        let log = json!({
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": readings,
            },
        });
        let rule = json!({
            "name": "catalogue",
            "mirrors": [{ "name": "candidate", "cluster": "mirror" }, { "name": "baseline", "cluster": "mirror2" }],
            "compare": { "status": true, "headers": ["content-type"], "body": { "json": {} } },
        });
        let setup = Setup::new(json!({ "rules": [rule] }))
            .comparing()
            .primary(of_version(0.0))
            .mirror(of_version(wrong))
            .mirror2(of_version(0.0))
            .changed(move |config| config["admin"]["access_log"] = json!([log]));
        let mut report = Value::Null;
        run(setup, async |mesh| {
            let (admin, period) = (mesh.envoy.admin.to_string(), format!("{}s", self.period));
            let mut command = vec!["report", &admin, "--baseline", "baseline", "--for", &period, "--interval", "100ms"];
            // Equal servers are as fast within what a busy machine does to one of them.
            command.extend(["--tolerance", "100", "--json"]);
            let (ran, ()) = tokio::join!(beside(&command), self.ask(mesh, seed, &readings));
            report = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        });
        report
    }

    /// Asks for pages of the catalogue once the counters were read, by several clients at a time.
    async fn ask(&self, mesh: &Mesh, seed: u64, readings: &Path) {
        eventually("the first reading", async || {
            let log = fs::read_to_string(readings).unwrap_or_default();
            if log.contains("/stats/prometheus") { Ok(()) } else { Err(log) }
        })
        .await;
        let (mut rng, mut clients) = (Rng::with_seed(seed), Vec::new());
        for _ in 0..CLIENTS {
            let (mut client, mut rng, count) = (mesh.client().await, rng.fork(), self.requests / CLIENTS);
            clients.push(tokio::spawn(async move {
                for _ in 0..count {
                    let reply = client.send(Req::get(&format!("/catalogue/{}", rng.u8(..50)))).await;
                    assert_eq!(reply.status, 200);
                }
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
        mesh.settle().await;
    }
}

/// Says what of a report is not as it is to be.
fn error(report: &Value, candidate: Candidate) -> Option<String> {
    let mirror = &report["mirrors"].as_array().unwrap().iter().find(|mirror| mirror["mirror"] == "candidate").unwrap();
    let fields = mirror["fields"].as_array().unwrap();
    let named: Vec<_> =
        fields.iter().filter(|field| field["isDifferent"] == true).map(|field| &field["field"]).collect();
    let (word, expected) = match candidate {
        Candidate::SameVersion => ("as-good", &[][..]),
        Candidate::SometimesWrong => ("worse", &[FIELD][..]),
    };
    let is_chance = |field: &&str| {
        let shares =
            fields.iter().find(|found| found["field"] == **field).map(|found| [&found["mirror"], &found["baseline"]]);
        shares.is_some_and(|shares| shares.iter().all(|side| side["share"] == 1.0))
    };
    assert!(CHANCE.iter().all(is_chance), "ids and times are the same: {report:#}");
    let is_right = report["verdict"] == word && named == expected;
    (!is_right).then(|| format!("{word} and {expected:?} were expected, and not {named:?}: {report:#}"))
}

fn over_seeds(name: &str, candidate: Candidate) {
    let number = |name: &str| var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, count) = (number("AA_SEED").unwrap_or(1), number("AA_SEEDS").unwrap_or(1));
    let requests = if number("AA_SEEDS").is_some() { REQUESTS } else { FEW };
    let mut trial = Trial { candidate, requests, period: SHORTEST };
    let mut errors = Vec::new();
    for seed in first..first + count {
        let report = trial.report(seed);
        println!("{name}, AA_SEED={seed}: {}", report["answer"].as_str().unwrap());
        errors.extend(error(&report, candidate).map(|error| format!("AA_SEED={seed}: {error}")));
    }
    println!("{name}: erred {} of {count}", errors.len());
    // A report may err in one of twenty.
    assert!(errors.len() as u64 <= count / 20, "{name}: {}", errors.join("\n"));
}

#[test]
fn two_instances_of_one_version_are_as_good() {
    over_seeds("one version", Candidate::SameVersion);
}

#[test]
fn a_field_that_is_wrong_in_one_of_fifty_responses_is_named_and_the_version_is_worse() {
    over_seeds("2 % wrong", Candidate::SometimesWrong);
}
