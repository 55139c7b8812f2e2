//! The faults of mirrors.

use std::time::Duration;

use serde_json::{Value, json};

use crate::matrix::{Proof, Row, answered, both, counted, dropped, odd, pairs};
use crate::plan::{Plan, RULE, mirroring, short_connections, small_answers};
use crate::server::Behaviour;
use crate::uploads;

/// The mirror was reached so often, by connections.
fn reached(least: u64) -> Proof {
    Box::new(move |e| {
        let there = format!("{} connections and {} requests there", e.connections, e.requests);
        if e.connections >= least { Ok(there) } else { Err(there) }
    })
}

/// Envoy answered copies in the mirror's stead, with the HTTP status 200 that a gRPC client expects.
fn grpc_statuses() -> Proof {
    both(counted("cluster.mirror.upstream_cx_connect_fail", 1), pairs("primary_only", 1))
}

/// When all is over, Envoy has nothing to do any more.
fn calm() -> Proof {
    Box::new(|e| {
        let busy = format!("afterwards {:.0} % of a processor", e.busy * 100.0);
        if e.busy < CALM { Ok(busy) } else { Err(busy) }
    })
}

/// When all is over, the mirror still keeps Envoy busy.
fn busy() -> Proof {
    Box::new(|e| {
        let busy = format!("afterwards {:.0} % of a processor", e.busy * 100.0);
        if e.busy > BUSY { Ok(busy) } else { Err(busy) }
    })
}

/// Connections were given up for their age.
fn aged() -> Proof {
    counted("cluster.mirror.upstream_cx_max_duration_reached", 1)
}

/// Copies were answered, and copies were not.
fn now_and_then() -> Proof {
    Box::new(|e| match (e.books.classes["2xx"], e.books.classes["failed"]) {
        (good, bad) if good > 0 && bad > 0 => Ok(format!("{good} copies `2xx`, {bad} `failed`")),
        _ => Err(format!("{:?}", e.books)),
    })
}

/// No copy had a complete response, whether its time was over before Envoy gave it up or not.
fn unanswered() -> Proof {
    Box::new(|e| match (e.books.classes["failed"] + e.books.classes["timeout"], e.books.outcomes["sent"]) {
        (none, sent) if none == sent && sent > 0 => {
            Ok(format!("{} copies `failed`, {} `timeout`", e.books.classes["failed"], e.books.classes["timeout"]))
        }
        _ => Err(format!("{:?}", e.books)),
    })
}

/// What Envoy takes of a processor when it has nothing to do, or when it is flooded, in the share of one.
const CALM: f64 = 0.15;
const BUSY: f64 = 0.5;
/// `maxInFlight` where each copy is flooded; with more of them, requests wait longer than the route lets them.
const FLOODED: u64 = 8;
const FLOOD: &str = "Envoy itself reads what comes on the worker that serves the primary";

/// A mirror that never stops sending.
fn storm(name: &'static str, mirror: Behaviour, boot: fn(&mut Value), proof: Proof) -> Row {
    let mut row = row(name, mirror, both(unanswered(), proof));
    row.plan.plugin["limits"]["maxInFlight"] = json!(FLOODED);
    (row.plan.boot, row.plan.h2, row.shared) = (boot, mirror == Behaviour::InterimH2, Some(FLOOD));
    row
}

/// A mirror that is as it should be, or slow, and loses nothing where its connections are short.
fn short(name: &'static str, mirror: Behaviour) -> Row {
    let mut row = row(name, mirror, both(answered("2xx"), aged()));
    (row.plan.boot, row.plan.plugin, row.times) = (short_connections, patient(), 2);
    row
}

/// A configuration that waits longer for responses than any mirror here takes.
fn patient() -> Value {
    let mut patient = mirroring(RULE, "mirror");
    patient["rules"][0]["mirrors"][0]["timeout"] = json!("5s");
    patient
}

/// The storm ends with the connection.
fn ends() -> Proof {
    both(aged(), calm())
}

fn row(name: &'static str, mirror: Behaviour, proof: Proof) -> Row {
    Row { plan: Plan { mirror, ..Plan::default() }, ..Row::new(name, both(proof, reached(1))) }
}

fn to(name: &'static str, cluster: &'static str, proof: Proof) -> Row {
    Row { plan: Plan::to(cluster), ..Row::new(name, proof) }
}

pub fn rows() -> Vec<Row> {
    let mut slow = row("answers after 2 s", Behaviour::Slow(Duration::from_secs(2)), answered("2xx"));
    slow.plan.plugin = patient();
    let deaf = Row {
        beside: Some(uploads::big_uploads),
        ..row("accepts and never reads", Behaviour::Deaf, both(answered("timeout"), odd("200", 1)))
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
        ..row("answers of 64 MiB", Behaviour::Huge(64), unanswered())
    };
    let mut cut = row("answers of 64 MiB, with Envoy's limit at 64 KiB", Behaviour::Huge(64), answered("failed"));
    cut.plan.boot = small_answers;
    let mut called_grpc = Row {
        plan: Plan { mirror: Behaviour::Refuses, ..Plan::default() },
        ..Row::new("refuses connections, and the copies are called gRPC", both(answered("failed"), grpc_statuses()))
    };
    called_grpc.plan.plugin["rules"][0]["mirrors"][0]["headers"] = json!({"set": {"content-type": "application/grpc"}});
    let mut over_h2 =
        short("answers after 2 s over HTTP/2, `max_connection_duration: 1s`", Behaviour::Slow(Duration::from_secs(2)));
    over_h2.plan.h2 = true;
    let long_lived = |_: &mut Value| ();
    vec![
        row("healthy", Behaviour::Healthy, answered("2xx")),
        refuses,
        deaf,
        row("reads and never answers", Behaviour::Mute, answered("timeout")),
        slow,
        row("resets every connection", Behaviour::Resets, answered("failed")),
        row("resets in mid-answer", Behaviour::Halves, answered("failed")),
        row("answers with garbage", Behaviour::Garbage, answered("failed")),
        row("503 to everything", Behaviour::Storm, answered("5xx")),
        row("answers with headers that are not UTF-8", Behaviour::Bytes, answered("2xx")),
        flood,
        cut,
        short("healthy, `max_connection_duration: 1s`", Behaviour::Healthy),
        short("answers after 2 s, `max_connection_duration: 1s`", Behaviour::Slow(Duration::from_secs(2))),
        over_h2,
        storm("103 without end", Behaviour::Interim, long_lived, calm()),
        storm("103 without end, `max_connection_duration: 1s`", Behaviour::Interim, short_connections, ends()),
        storm("chunk extensions without end", Behaviour::Extensions, long_lived, calm()),
        storm("103 without end over HTTP/2", Behaviour::InterimH2, long_lived, busy()),
        storm(
            "103 without end over HTTP/2, `max_connection_duration: 1s`",
            Behaviour::InterimH2,
            short_connections,
            ends(),
        ),
        called_grpc,
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
