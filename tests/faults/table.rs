//! The rows, one after the other, and the Markdown that they become.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::load::Kinds;
use crate::matrix::{Column, Effort, Evidence, Row, measure};
use crate::plan::LISTENERS;
use crate::{Arguments, clients, memory, mirrors, operators, primaries, pushes, when};
use harness::process::ROOT;

const RATE: f64 = 150.0;
const LASTS: Duration = Duration::from_millis(800);

const READING: &str = "\
# What faults do to the primary

Each row is a fault of a mirror, a client, a primary or an operator. `make faults` wrote these tables, on one machine and \
in one run; it fails if anything in the column **filter** is worse than in the column **none**.

## How to read it

One Envoy with one worker has three listeners, which share one primary: **none** has no mirror, **native** Envoy's own \
(`request_mirror_policies`), **filter** this one, with `fail_open: true`, `maxBodyBytes` 1 MiB, `maxBufferedBytes` 8 MiB, \
`maxInFlight` 64 (8 where the mirror sends without end) and a `timeout` of 1 s. Every request is mirrored, and the responses are compared (`compare`). While the \
fault lasts, each listener gets the same load: 150 requests a second, over HTTP/1.1 and HTTP/2, GETs and POSTs of 1 KiB \
and 100 KiB, sent when they are due, whether or not earlier ones have their response. The listeners take turns, in random \
order.

- A cell has the responses that the steady clients got, then the odd clients' own, then p50 / p99 / max of the time from \
when a request was due to its response, in ms. Quantiles are medians over the rounds; the p99 of the best and the worst \
round stand behind them: their distance in the column **none** is the noise.
- `changed` would be a request that the primary did not get, or a response that the client did not get, byte for byte: the \
primary responds with a digest of method, path, authority, headers and body. `stalled` is a client that waited 8 s in \
vain, `no answer` one of the steady clients after 10 s.
- Memory is what is resident of the complete Envoy process: before, the peak while each listener was under load, and after.

A row fails

- if the fault did not show itself: the column *shown by* says how it did;
- if anything was `changed`, or the clients of the filter got other responses than those without it. Where the moment \
decides how many get a response, as when connections are drained, 5 % fewer are accepted, and no other status;
- if the filter's p50 or p99, median over the rounds, is above 1.5 × the worst round without a mirror, plus 10 ms. Such a \
row is measured once more, with more rounds, before it is condemned (`measured again`);
- if afterwards the counters do not add up, those of the pairs included (*compared* adds up to `sent`), something is in \
flight or buffered, or a VM died.
";

/// Measures all rows that were asked for, writes them down, and hands back what was wrong.
pub async fn tables(arguments: &Arguments, crew: &Handle) -> Result<Vec<String>, String> {
    let (rounds, lasts) = if arguments.quick { (1, LASTS / 2) } else { (arguments.rounds, LASTS) };
    let effort = Effort { rounds, lasts, rate: RATE };
    let mut text = format!("{READING}\nThis run: {rounds} rounds, seed {}.\n", arguments.seed);
    let mut wrong = Vec::new();
    // One of the sections is asked for, and no row.
    let section = arguments.memory || arguments.pushes;
    let groups = [
        ("Mirrors", "The mirror …", mirrors::rows()),
        ("Clients", "Clients with …, and a healthy mirror", clients::rows()),
        ("Primaries", "The primary …, and a healthy mirror", primaries::rows()),
        (
            "`when`",
            "Copies wait for the primary's response: `when: [{status: [5xx, none]}, {slowerThan: 150ms}]`. The primary …",
            when::rows(),
        ),
        ("Operators", "While requests flow and copies are in flight: …", operators::rows()),
    ];
    for (title, lead, rows) in groups {
        let chosen = |row: &Row| arguments.only.as_ref().is_none_or(|only| row.name.contains(only));
        let rows: Vec<Row> = rows.into_iter().filter(|row| !section && chosen(row)).collect();
        if rows.is_empty() {
            continue;
        }
        let mut measured = Vec::new();
        for row in &rows {
            let start = Instant::now();
            let evidence = measure(row, effort, crew).await.map_err(|why| format!("{title}: {}: {why}", row.name))?;
            progress(title, row, &evidence, start.elapsed());
            wrong.extend(evidence.wrong.iter().map(|wrong| format!("{title}: {}: {wrong}", row.name)));
            measured.push(evidence);
        }
        let all: Vec<_> = rows.iter().zip(&measured).collect();
        write!(text, "\n## {title}\n\n{lead}\n\n{}\n{}", answers(&all), copies(&all)).unwrap();
    }
    if arguments.only.is_none() {
        let mut sections = Vec::new();
        if !arguments.memory {
            sections.push(pushes::section(rounds, crew).await?);
        }
        if !arguments.pushes {
            sections.push(memory::section(arguments.quick, crew).await?);
        }
        for (section, more) in sections {
            write!(text, "\n{section}").unwrap();
            wrong.extend(more);
        }
    }
    let partial = arguments.only.is_some() || section || arguments.quick || arguments.compare;
    if partial {
        println!("{text}");
    } else {
        let path = Path::new(ROOT).join(&arguments.out);
        fs::create_dir_all(path.parent().unwrap()).map_err(|e| e.to_string())?;
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("written: {}", path.display());
    }
    Ok(wrong)
}

fn progress(title: &str, row: &Row, evidence: &Evidence, took: Duration) {
    let verdict = if evidence.wrong.is_empty() { "ok" } else { "WRONG" };
    println!("{verdict:<5} {title}: {} ({:.0} s; {})", row.name, took.as_secs_f64(), evidence.shown);
    for (name, column) in LISTENERS.iter().zip(&evidence.columns) {
        println!("      {name:<6} {} {} ms", list(&all_kinds(column)), times(column));
    }
    for wrong in &evidence.wrong {
        println!("      {wrong}");
    }
}

fn all_kinds(column: &Column) -> Kinds {
    let mut kinds = column.kinds();
    kinds.extend(column.odd.iter().map(|(kind, count)| (format!("odd: {kind}"), *count)));
    kinds
}

/// The primary, through each listener.
fn answers(rows: &[(&Row, &Evidence)]) -> String {
    let mut text = "| fault | none | native | filter | |\n|---|---|---|---|---|\n".to_owned();
    for (row, evidence) in rows {
        let cells: Vec<String> = evidence.columns.iter().map(cell).collect();
        writeln!(text, "| {} | {} | {} |", row.name, cells.join(" | "), verdict(row, evidence)).unwrap();
    }
    text
}

fn verdict(row: &Row, evidence: &Evidence) -> String {
    let mut words =
        if evidence.wrong.is_empty() { "ok".to_owned() } else { format!("**{}**", evidence.wrong.join("; ")) };
    if evidence.again {
        words += ", measured again";
    }
    if let Some(why) = row.harms {
        words = words.replacen("ok", &format!("harm, {why}"), 1);
    }
    if let Some(why) = row.shared {
        write!(words, ", beside native: {why}").unwrap();
    }
    words
}

fn cell(column: &Column) -> String {
    let mut lines = vec![list(&column.kinds())];
    if !column.odd.is_empty() {
        lines.push(format!("odd: {}", list(&column.odd)));
    }
    if column.stuck > 0 {
        lines.push(format!("{} requests and copies never end", column.stuck));
    }
    lines.push(times(column));
    lines.join("<br>")
}

fn list(kinds: &Kinds) -> String {
    let all: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    all.join(", ")
}

fn times(column: &Column) -> String {
    let p99s = column.quantiles(0.99);
    let (best, worst) = (p99s[0], p99s[p99s.len() - 1]);
    let [p50, p99, max, best, worst] =
        [column.quantile(0.5), column.quantile(0.99), column.worst(1.0), best, worst].map(milliseconds);
    format!("{p50} / {p99} / {max} ({best}–{worst})")
}

pub fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

/// The filter's copies, and Envoy's memory.
fn copies(rows: &[(&Row, &Evidence)]) -> String {
    let mut text =
        "| fault | shown by | copies | answers of the mirror | compared | MiB before | none, native, filter | after |\n\
                    |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for (row, evidence) in rows {
        let peaks = evidence.columns.each_ref().map(|column| mebibytes(column.peak)).join(", ");
        let (before, after) = (mebibytes(evidence.before), mebibytes(evidence.after));
        let books = &evidence.books;
        let [outcomes, classes, pairs] = [&books.outcomes, &books.classes, &books.pairs].map(|counts| {
            let counts = counts.iter().filter(|(_, count)| **count > 0);
            counts.map(|(name, count)| format!("{count} `{name}`")).collect::<Vec<_>>().join(", ")
        });
        let shown = &evidence.shown;
        writeln!(text, "| {} | {shown} | {outcomes} | {classes} | {pairs} | {before} | {peaks} | {after} |", row.name)
            .unwrap();
    }
    text
}

pub fn mebibytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / f64::from(1 << 20))
}
