//! What a push of many rules costs the requests of a worker: the longest of them, with pushes and without.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::load::{Load, Seen};
use crate::plan::{Plan, RULE, Settings, mirroring};
use crate::rig::Rig;
use crate::server::Behaviour;
use crate::table::milliseconds;
use harness::bootstrap::Delivery;

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

8 pushes by ECDS of 1,000 rules that change one of them, under 400 requests a second. Each round is measured three times: without \
pushes; with pushes to another Envoy on the same machine, which take processor time as well; with pushes to the Envoy that gets \
the requests. p50 / p99 / max as above, medians over the rounds, and behind them the longest request of each round. It fails if \
the median of the longest is 5 ms above both of those without.

| the rules match by | no pushes | pushes to another Envoy | pushes to this Envoy |
|---|---|---|---|
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
        let mut other = Rig::start(plan.clone(), crew).await?;
        let mut rig = Rig::start(plan, crew).await?;
        let load = Load { rate: RATE, lasts: PAUSE * (PUSHES as u32 + 1), path: "/" };
        let to = rig.address("filter");
        let mut seen: [Vec<Seen>; 3] = Default::default();
        for round in 0..rounds {
            seen[0].push(load.run(to).await);
            for (target, seen) in [&mut other, &mut rig].into_iter().zip(&mut seen[1..]) {
                let (answers, pushed) = tokio::join!(load.run(to), pushes(target, &plugin, round));
                pushed?;
                seen.push(answers);
            }
        }
        rig.quiet().await?;
        wrong.extend(rig.settle().await.err().map(|why| format!("Pushes: {name}: {why}")));
        for seen in seen.iter().flatten().filter(|seen| seen.kinds.keys().any(|kind| kind != "200")) {
            wrong.push(format!("Pushes: {name}: {:?}", seen.kinds));
        }
        let line = format!("| {name} | {} |", seen.each_ref().map(|rounds| times(rounds)).join(" | "));
        println!("{line}");
        writeln!(text, "{line}").unwrap();
        let [none, elsewhere, here] = seen.each_ref().map(|rounds| median(rounds, 1.0));
        if here > none.max(elsewhere) + LONGER {
            wrong.push(format!("Pushes: {name}: {here:.1?}; {none:.1?} without, {elsewhere:.1?} with them elsewhere"));
        }
    }
    text += "\nAll in ms.\n";
    Ok((text, wrong))
}

/// Pushes, each with another of the rules changed.
async fn pushes(rig: &mut Rig, plugin: &Value, round: usize) -> Result<(), String> {
    for push in 0..PUSHES {
        sleep(PAUSE / 2).await;
        let mut changed = plugin.clone();
        changed["rules"][round * PUSHES + push]["mirrors"][0]["percentage"] = json!(50);
        rig.push(Settings::new(Some(changed), Some("mirror"), 0)).await?;
        sleep(PAUSE / 2).await;
    }
    Ok(())
}

fn median(rounds: &[Seen], share: f64) -> Duration {
    let mut all: Vec<Duration> = rounds.iter().map(|seen| seen.quantile(share)).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

fn times(rounds: &[Seen]) -> String {
    let quantiles = [0.5, 0.99, 1.0].map(|share| milliseconds(median(rounds, share))).join(" / ");
    let longest: Vec<String> = rounds.iter().map(|seen| milliseconds(seen.quantile(1.0))).collect();
    format!("{quantiles} ({})", longest.join(", "))
}
