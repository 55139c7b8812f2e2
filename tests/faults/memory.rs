//! How much memory the filter can make Envoy use at worst, measured beside the formula of its limits.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::clients::{Odd, gets};
use crate::plan::{ANSWER_LIMIT, Plan, RULE, mirroring, small_answers};
use crate::rig::{Books, Rig};
use crate::server::Behaviour;
use crate::table::mebibytes;
use crate::uploads::{posts, uploads};

const MIB: u64 = 1 << 20;
/// Envoy's own limit of a mirror's answer.
const DEFAULT_ANSWER_LIMIT: u64 = 32 * MIB;
/// What the measurement may be above the formula: the allocator's pages, and what Envoy has read beyond a limit.
const FACTOR: f64 = 1.25;
const SLACK: u64 = 48 * MIB;

const TEXT: &str = "\
## Memory

What the filter can make Envoy buffer at worst, for each worker:

    maxBufferedBytes + maxBodyBytes                        bodies of requests under way, in the Wasm VM; one is joined
  + maxInFlight × (maxBodyBytes + the response's limit)    bodies and responses of copies in flight, in Envoy
  + (requests under way + maxInFlight) × header bytes      at most 60 KiB each, by Envoy's own limit

The response's limit is Envoy's runtime key `http.async_response_buffer_limit`, 32 MiB unless it is set; a response above \
it is cut off and counted as `failed`. With the filter's defaults and Envoy's that is 65 MiB + 1,024 × 33 MiB; a small \
limit (a mirror's response is discarded anyway) makes it 65 MiB + 1,024 × 1 MiB, and spares the worker the reading:

```yaml
layered_runtime:
  layers:
  - name: static
    static_layer:
      http.async_response_buffer_limit: 65536
```

Each line is two Envoys with the same load, one through the listener without the filter. *formula* has the first two \
terms; *peak again* is that of the same load once more, for Envoy's allocator keeps what it once had; *VM* is the linear \
memory of the worker's Wasm VM, which never shrinks, but is used again.

| case | formula | peak without | peak with | the filter's | peak again | 3 s after | VM | copies | answers |
|---|---|---|---|---|---|---|---|---|---|
";

/// A load that fills one term of the formula.
struct Case {
    name: &'static str,
    mirror: Behaviour,
    boot: fn(&mut Value),
    /// The filter's limits.
    body: u64,
    buffered: u64,
    in_flight: u64,
    /// Whether the load is above one of them.
    above: bool,
    /// What an answer may take in Envoy.
    answer: u64,
    load: fn(std::net::SocketAddr) -> Odd,
    class: &'static str,
}

impl Case {
    fn plugin(&self) -> Value {
        let mut plugin = mirroring(RULE, "mirror");
        plugin["rules"][0]["mirrors"][0]["timeout"] = json!("3s");
        plugin["limits"] = json!({
            "maxBodyBytes": self.body, "maxBufferedBytes": self.buffered, "maxInFlight": self.in_flight,
        });
        plugin
    }

    fn formula(&self) -> u64 {
        self.buffered + self.body + self.in_flight * (self.body + self.answer)
    }
}

fn cases() -> Vec<Case> {
    let unchanged: fn(&mut Value) = |_| ();
    let bodies = |name, load, body, buffered, in_flight| {
        let (mirror, boot, answer, class) = (Behaviour::Deaf, unchanged, 0, "timeout");
        Case { name, mirror, boot, body, buffered, in_flight, above: true, answer, load, class }
    };
    // GETs have no bodies to hold.
    let answers = |name, mebibytes, boot, answer, class| {
        let (mirror, body, buffered, in_flight, load) = (Behaviour::Huge(mebibytes), 0, 0, 16, gets as fn(_) -> _);
        Case {
            name,
            mirror,
            boot,
            body,
            buffered,
            in_flight,
            above: answer == DEFAULT_ANSWER_LIMIT,
            answer,
            load,
            class,
        }
    };
    vec![
        bodies("200 uploads of 1 MiB at once; the mirror never reads", uploads, MIB, 32 * MIB, 64),
        bodies("uploads of 8 MiB, ten a second; the mirror never reads", posts, 8 * MIB, 32 * MIB, 16),
        answers("answers of 1 MiB", 1, unchanged, MIB, "2xx"),
        answers("answers of 1 MiB, limit 64 KiB", 1, small_answers, ANSWER_LIMIT, "failed"),
        answers("answers of 64 MiB", 64, unchanged, DEFAULT_ANSWER_LIMIT, "failed"),
        answers("answers of 64 MiB, limit 64 KiB", 64, small_answers, ANSWER_LIMIT, "failed"),
    ]
}

struct Measured {
    peak: u64,
    again: u64,
    after: u64,
    linear: u64,
    books: Books,
}

async fn measure(case: &Case, listener: &str, crew: &Handle) -> Result<Measured, String> {
    let plan = Plan { mirror: case.mirror, plugin: case.plugin(), boot: case.boot, ..Plan::default() };
    let rig = Rig::start(plan, crew).await?;
    let mut peaks = [0; 2];
    let mut after = 0;
    for peak in &mut peaks {
        rig.usage.peak();
        crew.spawn((case.load)(rig.address(listener))).await.unwrap();
        rig.quiet().await?;
        *peak = rig.usage.peak();
        sleep(Duration::from_secs(3)).await;
        after = rig.usage.now();
    }
    let books = rig.books(&rig.settle().await?);
    Ok(Measured { peak: peaks[0], again: peaks[1], after, linear: rig.usage.linear(), books })
}

/// The section of the document, and what was wrong.
pub async fn section(quick: bool, crew: &Handle) -> Result<(String, Vec<String>), String> {
    let (mut text, mut wrong) = (TEXT.to_owned(), Vec::new());
    for case in cases().into_iter().take(if quick { 1 } else { usize::MAX }) {
        let without = measure(&case, "none", crew).await?;
        let with = measure(&case, "filter", crew).await?;
        let (formula, share) = (case.formula(), with.peak.saturating_sub(without.peak));
        let (sent, answered) = (with.books.outcomes["sent"], with.books.classes[case.class]);
        let limited = with.books.outcomes["in_flight_limit"] + with.books.outcomes["buffer_limit"];
        let cells =
            [formula, without.peak, with.peak, share, with.again, with.after, with.linear].map(mebibytes).join(" | ");
        let line = format!(
            "| {} | {cells} | {sent} `sent`, {limited} above a limit | {answered} `{}` |",
            case.name, case.class
        );
        println!("{line}");
        writeln!(text, "{line}").unwrap();
        if share as f64 > formula as f64 * FACTOR + SLACK as f64 {
            wrong.push(format!("Memory: {}: {} MiB, more than the formula", case.name, mebibytes(share)));
        }
        if with.again as f64 > with.peak as f64 * FACTOR + SLACK as f64 {
            wrong.push(format!("Memory: {}: {} MiB the second time", case.name, mebibytes(with.again)));
        }
        if sent == 0 || answered != sent || case.above != (limited > 0) {
            wrong.push(format!("Memory: {}: the case was not there: {:?}", case.name, with.books));
        }
    }
    text += "\nAll in MiB.\n";
    Ok((text, wrong))
}
