//! `mirrorctl plan`: what a configuration takes of proxies, mirrors and Prometheus, before it is at work. Figures are read once;
//! the plan is made of them. docs/scale.md has the formulas.

mod cost;
mod figures;
mod json;
mod limits;
mod load;
mod options;
mod queue;
mod read;
mod series;
#[cfg(test)]
mod tests;
mod text;
mod units;

pub(crate) use options::Request;

use crate::check::at;
use crate::doctor::facts::Plugins;
use crate::found::{Found, configurations};
use crate::input::documents;
use crate::reply::Reply;
use figures::Figures;
use limits::Limit;
use load::{Load, Memory, Work};
use read::Observed;
use series::Series;
use traffic_mirror::config::Config;

/// What a configuration takes.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where the configuration stands.
    place: String,
    figures: Figures,
    /// Figures that nobody gave.
    assumed: Vec<String>,
    loads: Vec<Load>,
    memory: Memory,
    work: Work,
    series: Series,
    limits: Vec<Limit>,
    notes: Vec<String>,
}

impl Plan {
    /// Makes the plan of a configuration.
    fn new(place: String, config: &Config, figures: Figures, assumed: Vec<String>) -> Self {
        let loads = load::loads(config, &figures);
        let has_traffic = |rule: usize| config.rules.get(rule).is_some_and(|rule| figures.share(config, rule) > 0.0);
        let series = series::series(config, figures.buckets, has_traffic);
        let limits = limits::limits(config, &figures, &loads, load::kept(config, &figures, &loads), series);
        let memory = load::memory(config, &figures, &loads);
        Self {
            place,
            assumed,
            work: load::work(config, &figures),
            notes: limits::notes(config, &figures, &loads, &memory),
            memory,
            series,
            limits,
            loads,
            figures,
        }
    }

    /// Returns whether no limit is reached.
    fn fits(&self) -> bool {
        !self.limits.iter().any(Limit::is_reached)
    }
}

/// Plans what each configuration takes.
///
/// # Errors
/// What to tell the user where there is none, or where the figures are not those of it.
pub(crate) fn run(request: &Request) -> Result<Reply, String> {
    let (configs, observed) = read(request)?;
    let mut reply = Reply::default();
    let mut plans = Vec::new();
    for (place, config) in &configs {
        let (figures, assumed) = request.figures(config, &observed)?;
        plans.push(Plan::new(place.clone(), config, figures, assumed));
    }
    if plans.iter().any(|plan| !plan.fits()) {
        reply.fail();
    }
    if request.json {
        reply.line(plans.iter().map(json::render).collect::<serde_json::Value>());
        return Ok(reply);
    }
    for (index, plan) in plans.iter().enumerate() {
        if plans.len() > 1 {
            let gap = if index > 0 { "\n" } else { "" };
            reply.line(format_args!("{gap}{}", plan.place));
        }
        reply.text(&text::render(plan));
    }
    Ok(reply)
}

type Read = (Vec<(String, Config)>, Observed);

/// Reads the configurations and what is known of their traffic.
fn read(request: &Request) -> Result<Read, String> {
    let place = |found: &Found| at(&found.place, &found.path).trim_end_matches(": ").to_owned();
    let running = request.from.as_ref().map(|envoy| read::observed(envoy, *request.wait)).transpose()?;
    let Some(file) = &request.file else {
        let Some((said, observed)) = running else { return Err("name a file, or --from ENVOY".into()) };
        let plugins = Plugins::of(&said.documents);
        let configs: Vec<_> = plugins.valid.into_iter().map(|(found, config)| (place(&found), config)).collect();
        return if configs.is_empty() {
            Err(format!("{}: the plugin is not at work there", said.name))
        } else {
            Ok((configs, observed))
        };
    };
    let documents = documents(file)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut configs = Vec::new();
    for found in documents.iter().flat_map(configurations).filter(|found| !found.is_foreign) {
        let config = found.read().map_err(|violations| {
            let lines: Vec<_> = violations.lines().map(|line| at(&found.place, &line)).collect();
            format!("{}\nmirrorctl check explains more", lines.join("\n"))
        })?;
        configs.push((place(&found), config));
    }
    if configs.is_empty() {
        return Err(format!("{file}: no plugin configuration found"));
    }
    Ok((configs, running.map_or_else(|| read::of_documents(&documents), |(_, observed)| observed)))
}
