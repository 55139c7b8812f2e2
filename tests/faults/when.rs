//! Copies that wait for the primary's response, under the faults of primaries, clients and operators.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{gone_before_the_answer, gone_in_body};
use crate::matrix::{Proof, Row, answered, both, dropped, odd, outcome};
use crate::operators::{Act, second_rule};
use crate::plan::{Plan, RULE, mirroring};
use crate::primaries::{clients_saw, retries};
use crate::server::Behaviour;
use harness::bootstrap::Delivery;

/// Above this a primary is slow.
const SLOW: Duration = Duration::from_millis(150);

/// How long the slow primary takes.
const LATE: Behaviour = Behaviour::Slow(Duration::from_millis(300));

/// A configuration that mirrors what went wrong, and what was slow.
pub fn mirroring_when() -> Value {
    let mut plugin = mirroring(RULE, "mirror");
    plugin["rules"][0]["mirrors"][0]["when"] =
        json!([{"status": ["5xx", "none"]}, {"slowerThan": format!("{}ms", SLOW.as_millis())}]);
    plugin
}

fn row(name: &'static str, primary: Behaviour, proof: Proof) -> Row {
    Row { plan: Plan { primary, plugin: mirroring_when(), ..Plan::default() }, ..Row::new(name, proof) }
}

/// All the copies were sent and have a response.
fn mirrored() -> Proof {
    both(answered("2xx"), outcome("sent", 1))
}

pub fn rows() -> Vec<Row> {
    let retried = row(
        "fails each first try, and is tried again",
        Behaviour::FailsFirst,
        both(clients_saw(&["200"]), dropped("not_wanted")),
    );
    let mut held = row("takes 300 ms, and bodies wait that are more than the limit", LATE, outcome("buffer_limit", 1));
    held.plan.plugin["limits"]["maxBufferedBytes"] = json!(1 << 20);
    let mut pushed =
        row("takes 300 ms, while A → B → A → B → A by ECDS", LATE, both(outcome("sent", 1), second_rule()));
    (pushed.act, pushed.plan.delivery, pushed.times, pushed.racy) = (Some(Act::Alternate), Delivery::Ecds, 3, true);
    vec![
        row("is as it should be", Behaviour::Healthy, both(clients_saw(&["200"]), dropped("not_wanted"))),
        row("responds with 503 to everything", Behaviour::Storm, both(clients_saw(&["503"]), mirrored())),
        row("refuses connections", Behaviour::Refuses, both(clients_saw(&["503"]), mirrored())),
        row("resets every connection", Behaviour::Resets, both(clients_saw(&["503"]), mirrored())),
        row("takes 300 ms", LATE, both(clients_saw(&["200"]), mirrored())),
        Row { plan: Plan { shape: retries, ..retried.plan.clone() }, ..retried },
        Row {
            beside: Some(gone_in_body),
            ..row("is as it should be, and clients are gone in mid-body", Behaviour::Healthy, outcome("incomplete", 30))
        },
        Row {
            beside: Some(gone_before_the_answer),
            ..row(
                "is as it should be, and clients are gone before the response",
                Behaviour::Healthy,
                both(odd("gone", 30), outcome("sent", 30)),
            )
        },
        held,
        pushed,
    ]
}
