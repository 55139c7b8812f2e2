//! One row of the matrix: a fault, the same load through every listener while it lasts, and what must hold then.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::load::{CHANGED, Kinds, Load, Seen};
use crate::operators::Act;
use crate::plan::{LISTENERS, Plan};
use crate::rig::{Books, Rig, Stats};
use harness::ledger::Ledger;

/// Rounds when a row is measured again, because something in it was slow.
const MORE_ROUNDS: usize = 5;
/// The answers that may be missing where their number depends on the moment, as a share of all.
const SLACK: f64 = 0.05;

/// How long Envoy is watched when all is over.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// Odd clients at work beside the steady load, and what they saw.
pub type Beside = fn(SocketAddr) -> Pin<Box<dyn Future<Output = Kinds> + Send>>;
/// Shows that the fault happened, in a few words, or says why it did not.
pub type Proof = Box<dyn Fn(&Evidence) -> Result<String, String>>;

/// A fault, and how it is shown.
pub struct Row {
    pub name: &'static str,
    pub plan: Plan,
    /// The path of the steady load's requests.
    pub path: &'static str,
    pub beside: Option<Beside>,
    pub act: Option<Act>,
    /// A round lasts so many times as long as others.
    pub times: u32,
    /// A fault that no filter can keep from the primary, and why. Then the filter's column must be no worse than the native
    /// one, instead of the one without any mirror.
    pub shared: Option<&'static str>,
    /// A fault that the filter passes on to the primary, and why. Then it must.
    pub harms: Option<&'static str>,
    /// Whether it depends on the moment how many requests are answered, with and without the filter.
    pub racy: bool,
    pub proof: Proof,
}

impl Row {
    pub fn new(name: &'static str, proof: Proof) -> Self {
        let (plan, path, times) = (Plan::default(), "/", 1);
        Self { name, plan, path, beside: None, act: None, times, shared: None, harms: None, racy: false, proof }
    }
}

/// What the clients of one listener saw, round by round.
#[derive(Default)]
pub struct Column {
    pub rounds: Vec<Seen>,
    /// The odd clients, all rounds together.
    pub odd: Kinds,
    /// Envoy's memory while this listener was under load.
    pub peak: u64,
    /// Requests and copies that Envoy's own mirror did not let end.
    pub stuck: u64,
}

impl Column {
    pub fn kinds(&self) -> Kinds {
        let mut all = Kinds::new();
        for (kind, count) in self.rounds.iter().flat_map(|round| &round.kinds) {
            *all.entry(kind.clone()).or_default() += count;
        }
        all
    }

    /// A quantile of each round, the smallest first.
    pub fn quantiles(&self, share: f64) -> Vec<Duration> {
        let mut all: Vec<_> = self.rounds.iter().map(|round| round.quantile(share)).collect();
        all.sort_unstable();
        all
    }

    /// The median over the rounds.
    pub fn quantile(&self, share: f64) -> Duration {
        let all = self.quantiles(share);
        all[all.len() / 2]
    }

    /// The worst round.
    pub fn worst(&self, share: f64) -> Duration {
        self.quantiles(share).last().copied().unwrap_or_default()
    }
}

/// All that was measured of a row.
pub struct Evidence {
    pub columns: [Column; 3],
    pub books: Books,
    pub ledger: Ledger,
    pub stats: Stats,
    pub connections: u64,
    pub requests: u64,
    /// The most copies that were in flight when an operator acted.
    pub in_flight: i64,
    /// Envoy's memory before, and when all was over.
    pub before: u64,
    pub after: u64,
    /// By so many bytes the largest Wasm VM has grown.
    pub grown: u64,
    /// The share of one processor that Envoy takes when all is over.
    pub busy: f64,
    /// What must not be.
    pub wrong: Vec<String>,
    /// What shows that the fault happened.
    pub shown: String,
    /// Whether it was measured a second time.
    pub again: bool,
}

/// How much a row is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    pub lasts: Duration,
    pub rate: f64,
}

/// Measures a row; once more, with more rounds, if something was slow, for the machine may have been, and if that is all or
/// may have led to the rest.
pub async fn measure(row: &Row, effort: Effort, crew: &Handle) -> Result<Evidence, String> {
    let evidence = once(row, effort, crew).await?;
    let slow = |wrong: &String| wrong.starts_with(SLOW);
    let may_follow = |wrong: &String| slow(wrong) || wrong.starts_with(OTHER);
    if !evidence.wrong.iter().any(slow) || !evidence.wrong.iter().all(may_follow) {
        return Ok(evidence);
    }
    let more = Effort { rounds: MORE_ROUNDS.max(effort.rounds), ..effort };
    Ok(Evidence { again: true, ..once(row, more, crew).await? })
}

async fn once(row: &Row, effort: Effort, crew: &Handle) -> Result<Evidence, String> {
    let mut rig = Rig::start(row.plan.clone(), crew).await?;
    let fresh = row.act.is_some_and(Act::ends_envoy);
    let lasts = effort.lasts * row.times;
    let load = Load { rate: effort.rate, lasts, path: row.path };
    for listener in LISTENERS {
        Load { lasts: effort.lasts / 6, ..load }.run(rig.address(listener)).await;
    }
    let mut wrong = Vec::new();
    let mut unquiet = |quiet: Result<(), String>| wrong.extend(quiet.err().map(|why| format!("never quiet: {why}")));
    unquiet(rig.quiet().await);
    let mut stuck = 0;
    let (before, linear) = (rig.usage.now(), rig.usage.linear());
    let (mut columns, mut in_flight) = (<[Column; 3]>::default(), 0);
    for _ in 0..effort.rounds {
        let mut order = [0, 1, 2];
        fastrand::shuffle(&mut order);
        if fresh {
            // Each Envoy has books of its own. Those that are looked at in the end are to be the filter's.
            order.sort_by_key(|index| LISTENERS[*index] == "filter");
        }
        for index in order {
            if fresh {
                rig = Rig::start(row.plan.clone(), crew).await?;
            }
            let (column, to) = (&mut columns[index], rig.address(LISTENERS[index]));
            let odd = row.beside.map(|beside| crew.spawn(beside(to)));
            let act = async {
                match row.act {
                    Some(act) => act.during(&mut rig, lasts).await,
                    None => 0,
                }
            };
            let (seen, flying) = tokio::join!(load.run(to), act);
            column.rounds.push(seen);
            in_flight = in_flight.max(flying);
            for (kind, count) in if let Some(odd) = odd { odd.await.unwrap() } else { Kinds::new() } {
                *column.odd.entry(kind).or_default() += count;
            }
            if row.act != Some(Act::Quit) {
                unquiet(rig.quiet().await);
                let left = rig.left(stuck).await;
                column.stuck += left.saturating_sub(stuck);
                stuck = if fresh { 0 } else { left };
            }
            column.peak = column.peak.max(rig.usage.peak());
        }
    }
    let (mut ledger, mut stats) = (Ledger::default(), Stats::default());
    if row.act != Some(Act::Quit) {
        wrong.extend(rig.settle().await.err());
        ledger = rig.ledger().await;
        stats = rig.stats().await;
    }
    let (grown, busy) = (rig.usage.linear().saturating_sub(linear), rig.usage.busy(AFTERWARDS).await);
    let (connections, requests) = (rig.mirror.connections(), rig.mirror.requests());
    let (books, after) = (rig.books(&ledger), rig.usage.now());
    let (shown, again) = (String::new(), false);
    let mut evidence = Evidence {
        columns,
        books,
        ledger,
        stats,
        connections,
        requests,
        in_flight,
        before,
        after,
        grown,
        busy,
        wrong,
        shown,
        again,
    };
    judge(row, &mut evidence);
    Ok(evidence)
}

const SLOW: &str = "slower";
const OTHER: &str = "other answers";

/// What must hold: the fault happened; the clients of the filter's listener got what the others got; nothing that the
/// primary got or answered was changed; and nothing was later than the machine's noise explains.
fn judge(row: &Row, evidence: &mut Evidence) {
    match (row.proof)(evidence) {
        Ok(shown) => evidence.shown = shown,
        Err(why) => evidence.wrong.push(format!("the fault was not seen: {why}")),
    }
    let [none, native, filter] = &evidence.columns;
    if row.harms.is_some() {
        if difference(&none.kinds(), &filter.kinds(), None).is_none() {
            evidence.wrong.push("it does the primary no harm".to_owned());
        }
        return;
    }
    let base = if row.shared.is_some() { native } else { none };
    let (slack, mut wrong) = (row.racy.then_some(SLACK), Vec::new());
    for kinds in [&filter.kinds(), &filter.odd] {
        if kinds.keys().any(|kind| kind.contains(CHANGED)) {
            wrong.push(format!("requests or answers were changed: {kinds:?}"));
        }
    }
    wrong.extend(difference(&none.kinds(), &filter.kinds(), slack));
    wrong.extend(difference(&none.odd, &filter.odd, slack));
    for share in [0.5, 0.99] {
        let (limit, took) = (base.worst(share).mul_f64(1.5) + Duration::from_millis(10), filter.quantile(share));
        if took > limit {
            wrong.push(format!("{SLOW}: p{:.0} {took:.1?}, and no more than {limit:.1?} is noise", share * 100.0));
        }
    }
    evidence.wrong.extend(wrong);
}

/// What the clients of the filter's listener did not get as those of the listener without it.
///
/// Where the moment decides, as when connections are drained, as many answers must come, but for this share of all, and no
/// status that did not come without the filter.
pub fn difference(none: &Kinds, filter: &Kinds, slack: Option<f64>) -> Option<String> {
    let status = |kind: &str| kind.parse::<u16>().is_ok();
    let answered = |kinds: &Kinds| {
        let answers: u64 = kinds.iter().filter(|(kind, _)| status(kind)).map(|(_, count)| count).sum();
        answers as f64 / kinds.values().sum::<u64>().max(1) as f64
    };
    let same = match slack {
        None => none == filter,
        Some(slack) => {
            let foreign = filter.keys().any(|kind| !none.contains_key(kind) && status(kind));
            !foreign && answered(filter) >= answered(none) - slack
        }
    };
    (!same).then(|| format!("{OTHER}: {none:?} without the filter, {filter:?} with it"))
}

/// Copies were sent, and each was answered so.
pub fn answered(class: &'static str) -> Proof {
    Box::new(move |e| {
        let (sent, so) = (e.books.outcomes["sent"], e.books.classes[class]);
        if sent > 0 && so == sent { Ok(format!("all {sent} copies `{class}`")) } else { Err(format!("{:?}", e.books)) }
    })
}

/// No copy was sent, for this reason.
pub fn dropped(outcome: &'static str) -> Proof {
    Box::new(move |e| {
        let (all, so) = (e.books.outcomes.values().sum::<i64>(), e.books.outcomes[outcome]);
        if so > 0 && so == all { Ok(format!("all {so} copies `{outcome}`")) } else { Err(format!("{:?}", e.books)) }
    })
}

/// At least so many copies had this outcome.
pub fn outcome(outcome: &'static str, least: i64) -> Proof {
    Box::new(move |e| {
        let count = e.books.outcomes[outcome];
        if count >= least { Ok(format!("{count} copies `{outcome}`")) } else { Err(format!("{:?}", e.books)) }
    })
}

/// Requests were ignored for this reason.
pub fn ignored(reason: &'static str) -> Proof {
    Box::new(move |e| match e.ledger.ignored(reason) {
        0 => Err(format!("none ignored as {reason}")),
        count => Ok(format!("{count} ignored as `{reason}`")),
    })
}

/// Envoy's own counter, by its whole name, shows it.
pub fn counted(name: &'static str, least: u64) -> Proof {
    Box::new(move |e| {
        let count = e.stats.get(name);
        if count >= least { Ok(format!("`{name}` {count}")) } else { Err(format!("{name}: {count}")) }
    })
}

/// So many pairs had this result.
pub fn pairs(result: &'static str, least: i64) -> Proof {
    Box::new(move |e| {
        let count = e.books.pairs[result];
        if count >= least { Ok(format!("{count} pairs `{result}`")) } else { Err(format!("{:?}", e.books)) }
    })
}

/// The odd clients of the listener saw it.
pub fn odd(kind: &'static str, least: u64) -> Proof {
    Box::new(move |e| {
        let seen = &e.columns[2].odd;
        let count = seen.get(kind).copied().unwrap_or(0);
        if count >= least { Ok(format!("{count} × {kind}")) } else { Err(format!("{seen:?}")) }
    })
}

/// Both.
pub fn both(one: Proof, other: Proof) -> Proof {
    Box::new(move |e| Ok(format!("{}; {}", one(e)?, other(e)?)))
}
