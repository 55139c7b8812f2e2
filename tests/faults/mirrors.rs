//! The faults of mirrors.

use std::time::Duration;

use crate::clients;
use crate::matrix::{Proof, Row, answered, both, counted, dropped, odd};
use crate::rig::{Plan, RULE, mirroring, small_answers};
use crate::server::Behaviour;

/// The mirror was reached so often, by connections.
fn reached(least: u64) -> Proof {
    Box::new(move |e| {
        let there = format!("{} connections and {} requests there", e.connections, e.requests);
        if e.connections >= least { Ok(there) } else { Err(there) }
    })
}

/// Copies were answered, and copies were not.
fn now_and_then() -> Proof {
    Box::new(|e| match (e.books.classes["2xx"], e.books.classes["failed"]) {
        (good, bad) if good > 0 && bad > 0 => Ok(format!("{good} copies `2xx`, {bad} `failed`")),
        _ => Err(format!("{:?}", e.books)),
    })
}

fn row(name: &'static str, mirror: Behaviour, proof: Proof) -> Row {
    Row { plan: Plan { mirror, ..Plan::default() }, ..Row::new(name, both(proof, reached(1))) }
}

fn to(name: &'static str, cluster: &'static str, proof: Proof) -> Row {
    Row { plan: Plan::to(cluster), ..Row::new(name, proof) }
}

pub fn rows() -> Vec<Row> {
    let mut slow = row("answers after 2 s", Behaviour::Slow(Duration::from_secs(2)), answered("2xx"));
    let mut patient = mirroring(RULE, "mirror");
    patient["rules"][0]["mirrors"][0]["timeout"] = "5s".into();
    slow.plan.plugin = patient;
    let deaf = Row {
        beside: Some(clients::big_uploads),
        ..row("accepts and never reads", Behaviour::Deaf, both(answered("failed"), odd("200", 1)))
    };
    let refuses = Row {
        plan: Plan { mirror: Behaviour::Refuses, ..Plan::default() },
        ..Row::new(
            "refuses connections",
            both(answered("failed"), counted("cluster.mirror.upstream_cx_connect_fail", 1)),
        )
    };
    let flood = Row {
        shared: Some("Envoy itself reads up to 32 MiB of each answer on the worker that serves the primary"),
        ..row("answers of 64 MiB", Behaviour::Huge(64), answered("failed"))
    };
    let mut cut = row("answers of 64 MiB, with Envoy's limit at 64 KiB", Behaviour::Huge(64), answered("failed"));
    cut.plan.boot = small_answers;
    vec![
        row("healthy", Behaviour::Healthy, answered("2xx")),
        refuses,
        deaf,
        row("reads and never answers", Behaviour::Mute, answered("failed")),
        slow,
        row("resets every connection", Behaviour::Resets, answered("failed")),
        row("resets in mid-answer", Behaviour::Halves, answered("failed")),
        row("answers with garbage", Behaviour::Garbage, answered("failed")),
        row("503 to everything", Behaviour::Storm, answered("5xx")),
        row("answers with headers that are not UTF-8", Behaviour::Bytes, answered("2xx")),
        flood,
        cut,
        row("answers with 100 kB of headers", Behaviour::Wide, answered("failed")),
        row("closes connections at random", Behaviour::Fickle, now_and_then()),
        to("has no endpoints", "dead", dropped("no_upstream")),
        to("is a cluster that Envoy does not know", "nowhere", dropped("no_cluster")),
        to("has a circuit breaker at 0", "broken", dropped("no_upstream")),
        to(
            "is spoken TLS to, and speaks none",
            "tls",
            both(answered("failed"), counted("cluster.tls.ssl.connection_error", 1)),
        ),
    ]
}
