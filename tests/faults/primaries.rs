//! The faults of primaries, and routes that need none. The mirror is healthy, and copies are made as ever.

use std::time::Duration;

use serde_json::{Value, json};

use crate::matrix::{Proof, Row, answered, both, ignored, outcome};
use crate::plan::Plan;
use crate::server::Behaviour;

/// All the clients of the filter's listener got this answer, or one of these.
pub fn clients_saw(kinds: &'static [&'static str]) -> Proof {
    Box::new(move |e| {
        let seen = e.columns[2].kinds();
        let all = kinds.iter().all(|kind| seen.contains_key(*kind));
        if all && seen.len() == kinds.len() {
            Ok(format!("clients saw {}", kinds.join(" and ")))
        } else {
            Err(format!("{seen:?}"))
        }
    })
}

fn took(least: Duration) -> Proof {
    Box::new(move |e| {
        let median = e.columns[2].quantile(0.5);
        if median >= least {
            Ok(format!("half took {median:.1?} or more"))
        } else {
            Err(format!("half took {median:.1?}"))
        }
    })
}

/// The primary got each request twice.
fn tried_twice() -> Proof {
    Box::new(|e| match e.stats.get("cluster.primary.upstream_rq_retry_success") {
        0 => Err("nothing was tried again".into()),
        count => Ok(format!("{count} second tries")),
    })
}

fn row(name: &'static str, primary: Behaviour, proof: Proof) -> Row {
    Row { plan: Plan { primary, ..Plan::default() }, ..Row::new(name, proof) }
}

/// Tries a request again, and tells the primary which try it is.
pub fn retries(manager: &mut Value) {
    let host = &mut manager["route_config"]["virtual_hosts"][0];
    host["include_request_attempt_count"] = json!(true);
    host["retry_policy"] = json!({"retry_on": "5xx", "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}});
}

fn redirects(manager: &mut Value) {
    let redirect = json!({
        "name": "redirect", "match": {"prefix": "/redirect"}, "redirect": {"host_redirect": "elsewhere.test"},
    });
    manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap().insert(0, redirect);
}

pub fn rows() -> Vec<Row> {
    let retried = row(
        "fails each first try, and is tried again",
        Behaviour::FailsFirst,
        both(tried_twice(), clients_saw(&["200"])),
    );
    let redirected = Row {
        path: "/redirect",
        ..Row::new("is not asked: a redirect", both(ignored("unrouted"), clients_saw(&["301"])))
    };
    vec![
        row("refuses connections", Behaviour::Refuses, both(clients_saw(&["503"]), outcome("sent", 1))),
        row(
            "answers after 300 ms",
            Behaviour::Slow(Duration::from_millis(300)),
            both(took(Duration::from_millis(300)), answered("2xx")),
        ),
        row("answers before the body is read", Behaviour::Hasty, clients_saw(&["200", "413"])),
        row("resets every connection", Behaviour::Resets, both(clients_saw(&["503"]), outcome("sent", 1))),
        Row { plan: Plan { shape: retries, ..retried.plan.clone() }, ..retried },
        Row {
            path: "/direct",
            ..Row::new("is not asked: a direct response", both(ignored("unrouted"), clients_saw(&["200"])))
        },
        Row { plan: Plan { shape: redirects, ..redirected.plan.clone() }, ..redirected },
    ]
}
