//! The plan as JSON: rates by the second, sizes in bytes, times in seconds, shares between 0 and 1.

use super::Plan;
use super::limits::{Limit, Unit};
use super::load::Load;
use super::text::{answer, settings};
use serde_json::{Value, json};

pub(crate) fn render(plan: &Plan) -> Value {
    let (figures, memory, work) = (&plan.figures, plan.memory, plan.work);
    let set = |(place, yaml): (String, String)| json!({ "where": place, "yaml": yaml });
    json!({
        "where": plan.place,
        "answer": answer(plan),
        "fits": plan.fits(),
        "proxies": figures.replicas,
        "workers": figures.workers,
        "requestsPerSecond": figures.requests,
        "mirrors": plan.loads.iter().map(mirror).collect::<Vec<_>>(),
        "cpu": { "ratio": work.with / work.without, "cores": work.cores },
        "memoryBytes": {
            "sum": memory.sum(),
            "module": memory.module,
            "rules": memory.rules,
            "bodies": memory.bodies,
            "requests": memory.headers,
            "compared": memory.compared,
            "copies": memory.copies,
            "responses": memory.responses,
            "mostInVm": memory.most_in_vm,
            "mostInEnvoy": memory.most_in_envoy,
        },
        "series": { "all": plan.series.all, "used": plan.series.used, "fields": plan.series.fields, "ofAllProxies": plan.series.all * figures.replicas },
        "limits": plan.limits.iter().map(limit).collect::<Vec<_>>(),
        "set": settings(&plan.limits).into_iter().map(set).collect::<Vec<_>>(),
        "notes": plan.notes,
        "assumed": plan.assumed,
    })
}

/// A mirror of one proxy.
fn mirror(load: &Load) -> Value {
    json!({
        "rule": load.rule,
        "mirror": load.mirror,
        "decidedShare": load.decided,
        "share": load.share,
        "copiesPerSecond": load.copies,
        "inFlight": load.in_flight,
        "inFlightOfWorker": { "mean": load.busiest, "peak": load.peak, "peakIfItHangs": load.hanging },
        "connections": load.connections,
        "sentBytesPerSecond": load.sent,
        "receivedBytesPerSecond": load.received,
    })
}

fn limit(limit: &Limit) -> Value {
    let unit = match limit.unit {
        Unit::Count => "1",
        Unit::PerSecond => "1/s",
        Unit::Bytes => "B",
        Unit::Seconds => "s",
    };
    let lost = limit.lost.filter(|_| limit.is_reached());
    json!({
        "name": limit.name,
        "of": limit.of,
        "unit": unit,
        "needs": limit.needs,
        "has": limit.has,
        "reached": limit.is_reached(),
        "lostAs": lost.map(|(what, _)| what),
        "lostShare": lost.and_then(|(_, share)| share),
    })
}
