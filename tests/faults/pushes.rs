//! What a push of many rules costs the requests of a worker: the longest of them, with pushes and without.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::harness::bootstrap::Delivery;
use crate::load::{Load, Seen};
use crate::plan::{Plan, RULE, Settings, mirroring};
use crate::rig::Rig;
use crate::server::Behaviour;
use crate::table::milliseconds;

/// How many rules a configuration has, and how often one of them is changed in a round.
const RULES: usize = 1000;
const PUSHES: usize = 8;
/// Between two pushes.
const PAUSE: Duration = Duration::from_millis(400);
/// More requests than in the rows: one must be under way whenever the worker stands still.
const RATE: f64 = 400.0;
/// The longest request may take so much longer where there are pushes.
const LONGER: Duration = Duration::from_millis(5);

const TEXT: &str = "\
## Pushes

8 pushes by ECDS of 1,000 rules that change one of them, under 400 requests a second. Each round is measured without pushes and \
then with them; p50 / p99 / max as above, medians over the rounds, and the longest request of each round. It fails if the median \
of the longest is 5 ms above that without pushes.

| the rules match by | without pushes | with pushes | longest without | longest with |
|---|---|---|---|---|
";

/// How each of the rules that take no request tells its own.
type Entry = fn(usize) -> Value;

fn by_header(n: usize) -> Value {
    json!({"headers": {"x-tenant": {"exact": format!("tenant-{n}")}}})
}

pub fn by_expression(n: usize) -> Value {
    json!({"uri": {"regex": format!("/tenant-{n}/[0-9]+")}})
}

/// A thousand rules, of which the last takes every request.
pub fn thousand(entry: Entry) -> Value {
    let mut plugin = mirroring(RULE, "mirror");
    let tenant = |n| json!({"name": format!("tenant-{n}"), "match": [entry(n)], "mirrors": [{"cluster": "dead"}]});
    plugin["rules"].as_array_mut().unwrap().splice(0..0, (1..RULES).map(tenant));
    plugin
}

/// The section of the document, and what was wrong.
pub async fn section(rounds: usize, crew: &Handle) -> Result<(String, Vec<String>), String> {
    let (mut text, mut wrong) = (TEXT.to_owned(), Vec::new());
    for (name, entry) in [("an exact header", by_header as Entry), ("a regular expression", by_expression)] {
        let plugin = thousand(entry);
        let plan = Plan {
            plugin: plugin.clone(),
            mirror: Behaviour::Slow(Duration::from_millis(100)),
            delivery: Delivery::Ecds,
            ..Plan::default()
        };
        let mut rig = Rig::start(plan, crew).await?;
        let lasts = PAUSE * (PUSHES as u32 + 1);
        let load = Load { rate: RATE, lasts, path: "/" };
        let to = rig.address("filter");
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            without.push(load.run(to).await);
            let pushes = async {
                for push in 0..PUSHES {
                    sleep(PAUSE / 2).await;
                    let mut changed = plugin.clone();
                    changed["rules"][round * PUSHES + push]["mirrors"][0]["percentage"] = json!(50);
                    rig.push(Settings::new(Some(changed), Some("mirror"), 0)).await?;
                    sleep(PAUSE / 2).await;
                }
                Ok::<_, String>(())
            };
            let (seen, pushed) = tokio::join!(load.run(to), pushes);
            pushed?;
            with.push(seen);
        }
        rig.quiet().await?;
        wrong.extend(rig.settle().await.err().map(|why| format!("Pushes: {name}: {why}")));
        for seen in without.iter().chain(&with).filter(|seen| seen.kinds.keys().any(|kind| kind != "200")) {
            wrong.push(format!("Pushes: {name}: {:?}", seen.kinds));
        }
        let cells = [times(&without), times(&with), longest(&without), longest(&with)].join(" | ");
        let line = format!("| {name} | {cells} |");
        println!("{line}");
        writeln!(text, "{line}").unwrap();
        let (base, took) = (median(&without, 1.0), median(&with, 1.0));
        if took > base + LONGER {
            wrong.push(format!("Pushes: {name}: {took:.1?} with pushes, {base:.1?} without"));
        }
    }
    text += "\nAll in ms.\n";
    Ok((text, wrong))
}

fn median(rounds: &[Seen], share: f64) -> Duration {
    let mut all: Vec<Duration> = rounds.iter().map(|seen| seen.quantile(share)).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

fn times(rounds: &[Seen]) -> String {
    [0.5, 0.99, 1.0].map(|share| milliseconds(median(rounds, share))).join(" / ")
}

fn longest(rounds: &[Seen]) -> String {
    let all: Vec<String> = rounds.iter().map(|seen| milliseconds(seen.quantile(1.0))).collect();
    all.join(", ")
}
