//! All the faults, mixed at random from a seed, for as long as one likes; then all of them off, and everything must be
//! as if there had been none: the books balance, nothing is held, the memory has not grown.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::clients;
use crate::load::{CHANGED, Kinds, Load, Seen};
use crate::matrix::{Beside, difference};
use crate::operators::Act;
use crate::plan::{Plan, small_answers};
use crate::rig::{Books, PUSHES, REFUSED, Rig};
use crate::server::Behaviour;
use crate::uploads;
use harness::bootstrap::Delivery;

const PHASE: Duration = Duration::from_secs(3);
const RATE: f64 = 60.0;
/// Between two lines of the report.
const LINE: Duration = Duration::from_secs(10);
/// Where the moment decides what is answered: by so much fewer answers in one phase, and in all of them.
const SLACK: f64 = 0.15;
const SLACK_OF_ALL: f64 = 0.01;
/// The memory's median in the last quarter may be this much above that of the third.
const GROWTH: f64 = 1.10;
const GROWTH_BYTES: u64 = 16 << 20;

const MIRRORS: [Behaviour; 13] = [
    Behaviour::Healthy,
    Behaviour::Refuses,
    Behaviour::Deaf,
    Behaviour::Mute,
    Behaviour::Slow(Duration::from_millis(500)),
    Behaviour::Slow(Duration::from_secs(2)),
    Behaviour::Resets,
    Behaviour::Halves,
    Behaviour::Garbage,
    Behaviour::Storm,
    Behaviour::Bytes,
    Behaviour::Huge(1),
    Behaviour::Fickle,
];
const PRIMARIES: [Behaviour; 6] = [
    Behaviour::Healthy,
    Behaviour::Healthy,
    Behaviour::Slow(Duration::from_millis(200)),
    Behaviour::Resets,
    Behaviour::Storm,
    Behaviour::Refuses,
];
const CLIENTS: [Option<(&str, Beside)>; 6] = [
    None,
    Some(("gone in the body", clients::gone_in_body)),
    Some(("gone before the answer", clients::gone_before_the_answer)),
    Some(("gone in the head", clients::gone_in_head)),
    Some(("big uploads", uploads::big_uploads)),
    Some(("bytes in headers", clients::bytes_in_headers)),
];
/// Not the plugin's removal: when Envoy lets go of the last VM, its counters go too, and there are no books to balance.
const OPERATORS: [Option<Act>; 10] = [
    None,
    None,
    None,
    None,
    None,
    Some(Act::Replace),
    Some(Act::Bad),
    Some(Act::Rename),
    Some(Act::Module),
    Some(Act::Alternate),
];

/// Things to draw from: each comes once before any comes again, so that every quarter of a soak has had its share.
struct Deck<T> {
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    fn new(all: &[T]) -> Self {
        Self { all: all.to_vec(), left: vec![] }
    }

    fn draw(&mut self) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            fastrand::shuffle(&mut self.left);
        }
        self.left.pop().unwrap()
    }
}

/// The faults that are on together.
struct Phase {
    mirror: Behaviour,
    primary: Behaviour,
    clients: Option<(&'static str, Beside)>,
    operator: Option<Act>,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (clients, operator) = (self.clients.map_or("", |c| c.0), self.operator.map(|act| format!("{act:?}")));
        let [mirror, primary] = [self.mirror, self.primary].map(|behaviour| format!("{behaviour:?}"));
        write!(f, "mirror {mirror}, primary {primary}, clients {clients:?}, operator {}", operator.unwrap_or_default())
    }
}

/// What has been seen so far.
#[derive(Default)]
struct Sums {
    none: Kinds,
    filter: Kinds,
    times: [Vec<Duration>; 2],
    memory: Vec<u64>,
    /// Of rules whose counters went with an earlier VM.
    forgotten: Books,
    wrong: Vec<String>,
}

/// Runs it, and hands back what was wrong.
pub async fn soak(lasts: Duration, crew: &Handle) -> Result<Vec<String>, String> {
    let mut rig = Rig::start(Plan { delivery: Delivery::Ecds, boot: small_answers, ..Plan::default() }, crew).await?;
    let mut mirrors = Deck::new(&MIRRORS);
    let (mut primaries, mut clients, mut operators) =
        (Deck::new(&PRIMARIES), Deck::new(&CLIENTS), Deck::new(&OPERATORS));
    let (start, mut line, mut phases, mut sums) = (Instant::now(), Instant::now(), 0, Sums::default());
    while start.elapsed() < lasts {
        let (mirror, primary) = (mirrors.draw(), primaries.draw());
        let phase = Phase { mirror, primary, clients: clients.draw(), operator: operators.draw() };
        phases += 1;
        run(&phase, &mut rig, &mut sums, crew).await;
        if line.elapsed() > LINE {
            line = Instant::now();
            report(start.elapsed(), phases, &phase, &rig, &sums).await;
        }
    }
    end(&mut rig, sums).await
}

async fn run(phase: &Phase, rig: &mut Rig, sums: &mut Sums, crew: &Handle) {
    rig.mirror.becomes(phase.mirror);
    rig.primary.becomes(phase.primary);
    // Envoy has to see that its idle connections to the primary are gone; which listener would find out is chance.
    sleep(Duration::from_millis(50)).await;
    let load = Load { rate: RATE, lasts: PHASE, path: "/" };
    let (none, filter) = (rig.address("none"), rig.address("filter"));
    let odd = phase.clients.map(|(_, clients)| [none, filter].map(|to| crew.spawn(clients(to))));
    let before = rig.ledger().await;
    let act = async {
        if let Some(act) = phase.operator {
            act.during(rig, PHASE).await;
        }
    };
    let (none, filter, ()) = tokio::join!(load.run(none), load.run(filter), act);
    sums.times[0].extend(none.times);
    sums.times[1].extend(filter.times);
    let mut kinds = vec![[none.kinds, filter.kinds]];
    if let Some([none, filter]) = odd {
        kinds.push([none.await.unwrap(), filter.await.unwrap()]);
    }
    // Envoy answers in the stead of a primary that does not, and may close before the client has sent all: how many see
    // the answer is chance, and of a few big uploads it tells nothing.
    let calm = phase.operator.is_none() && matches!(phase.primary, Behaviour::Healthy | Behaviour::Slow(_));
    for ([none, filter], steady) in kinds.into_iter().zip([true, false]) {
        if filter.keys().any(|kind| kind.contains(CHANGED)) {
            sums.wrong.push(format!("{phase}: requests or answers were changed: {filter:?}"));
        }
        if calm || steady {
            let other = difference(&none, &filter, (!calm).then_some(SLACK));
            sums.wrong.extend(other.map(|other| format!("{phase}: {other}")));
        }
        for (sum, kinds) in [(&mut sums.none, none), (&mut sums.filter, filter)] {
            for (kind, count) in kinds {
                *sum.entry(kind).or_default() += count;
            }
        }
    }
    sums.forgotten = sums.forgotten.clone().and(&rig.forgotten(&before, &rig.ledger().await));
    sums.memory.push(rig.usage.now());
}

async fn report(elapsed: Duration, phases: usize, phase: &Phase, rig: &Rig, sums: &Sums) {
    let ledger = rig.ledger().await;
    println!(
        "{:>5.0} s, phase {phases}: {phase}\n        answers {:?}; {} in flight, {} bytes held, {} MiB, {} wrong",
        elapsed.as_secs_f64(),
        sums.filter,
        ledger.in_flight(),
        ledger.buffered_bytes(),
        rig.usage.now() >> 20,
        sums.wrong.len(),
    );
}

/// All faults off: what must hold then.
async fn end(rig: &mut Rig, sums: Sums) -> Result<Vec<String>, String> {
    let Sums { none, filter, times, memory, forgotten, mut wrong } = sums;
    rig.mirror.becomes(Behaviour::Healthy);
    rig.primary.becomes(Behaviour::Healthy);
    if let Err(why) = rig.quiet().await {
        wrong.push(format!("never quiet: {why}"));
    }
    match rig.settle().await {
        Ok(ledger) => {
            let books = rig.books(&ledger).and(&forgotten);
            println!("copies {:?}", nonzero(&books.outcomes));
            println!("answers of mirrors {:?}", nonzero(&books.classes));
            println!("compared {:?}", nonzero(&books.pairs));
            println!("the books balance; 0 in flight, 0 bytes held");
            // No request that was answered is missing in the counters, nor is any in them that nobody sent.
            let ignored: i64 = ["marked", "upgrade", "connect", "unrouted"].iter().map(|why| ledger.ignored(why)).sum();
            let counted = books.outcomes.values().sum::<i64>() + ignored + ledger.unmatched();
            let (counted, sent) = (counted.unsigned_abs(), filter.values().sum());
            let answered: u64 = filter.iter().filter(|(kind, _)| kind.parse::<u16>().is_ok()).map(|(_, n)| n).sum();
            println!(
                "{counted} requests counted ({ignored} ignored, {} unmatched), {answered} answered, {sent} sent",
                ledger.unmatched()
            );
            if counted < answered || counted > sent {
                wrong.push(format!("{counted} requests counted, {answered} answered, {sent} sent"));
            }
            for (name, count) in [
                ("sent", books.outcomes["sent"]),
                ("incomplete", books.outcomes["incomplete"]),
                ("in_flight_limit", books.outcomes["in_flight_limit"]),
                ("no_cluster", books.outcomes["no_cluster"]),
                ("2xx", books.classes["2xx"]),
                ("5xx", books.classes["5xx"]),
                ("failed", books.classes["failed"]),
            ] {
                if count == 0 {
                    wrong.push(format!("no copy was `{name}`: the faults were not there"));
                }
            }
        }
        Err(why) => wrong.push(why),
    }
    let stats = rig.stats().await;
    let [listeners, filters, refused] =
        ["listener_manager.lds.update_success", PUSHES, REFUSED].map(|name| stats.get(name));
    println!("{listeners} times other listeners, {filters} times another filter, {refused} refused");
    if listeners < 3 || filters < 6 || refused == 0 {
        wrong.push("no configuration was replaced".to_owned());
    }
    // The filter still mirrors: it was not switched off by a trap.
    let before = rig.ledger().await;
    let load = Load { rate: RATE, lasts: Duration::from_secs(1), path: "/" };
    let last = load.run(rig.address("filter")).await;
    rig.quiet().await?;
    let after = rig.settle().await?;
    let copied = rig.books(&after).classes["2xx"] - rig.books(&before).classes["2xx"];
    if last.kinds != Kinds::from([("200".to_owned(), 60)]) || copied != 60 {
        wrong.push(format!("the filter no longer mirrors: {:?}, {copied} copies", last.kinds));
    }
    println!("answers without the filter {none:?}\nanswers with the filter    {filter:?}");
    wrong.extend(difference(&none, &filter, Some(SLACK_OF_ALL)));
    for (name, times) in ["without the filter", "with the filter   "].iter().zip(times) {
        let seen = Seen { times, ..Seen::default() };
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| seen.quantile(share));
        println!("time {name}: p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}");
    }
    let quarters: Vec<u64> = memory.chunks(memory.len().div_ceil(4)).map(median).collect();
    let mebibytes: Vec<u64> = quarters.iter().map(|bytes| bytes >> 20).collect();
    println!("memory, median of each quarter: {mebibytes:?} MiB");
    if let [.., third, last] = quarters[..]
        && last as f64 > third as f64 * GROWTH + GROWTH_BYTES as f64
    {
        wrong.push(format!("the memory grows: {mebibytes:?} MiB"));
    }
    Ok(wrong)
}

fn nonzero<'a>(books: &std::collections::BTreeMap<&'a str, i64>) -> Vec<(&'a str, i64)> {
    books.iter().filter(|(_, count)| **count > 0).map(|(name, count)| (*name, *count)).collect()
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[values.len() / 2]
}
