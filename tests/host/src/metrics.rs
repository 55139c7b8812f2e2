//! The host's metrics: by name and for the whole process, while each definition gets a number of its own.

use crate::host::Status;
use std::collections::BTreeMap;

/// One metric, and its name in Istio's convention: tags, then what it counts.
#[derive(Debug)]
pub struct Metric {
    pub tags: BTreeMap<String, String>,
    pub what: String,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Counter(i64),
    Gauge(i64),
    Histogram(Vec<u64>),
}

#[derive(Debug, Default)]
pub struct Metrics {
    all: Vec<Metric>,
    by_name: BTreeMap<String, usize>,
    /// Where the metrics are that were defined; a metric's number is its index here.
    defined: Vec<usize>,
}

impl Metrics {
    /// Defines a metric, which may be there already.
    pub fn define(&mut self, kind: u32, name: &str) -> Result<u32, Status> {
        let value = match kind {
            0 => Value::Counter(0),
            1 => Value::Gauge(0),
            2 => Value::Histogram(Vec::new()),
            _ => return Err(Status::BadArgument),
        };
        let index = *self.by_name.entry(name.to_owned()).or_insert_with(|| {
            self.all.push(Metric::new(name, value.clone()));
            self.all.len() - 1
        });
        let found = &self.all[index].value;
        assert_eq!(std::mem::discriminant(found), std::mem::discriminant(&value), "{name} is of two kinds");
        self.defined.push(index);
        Ok(u32::try_from(self.defined.len() - 1).unwrap())
    }

    /// Adds to a counter, which takes nothing but growth, or to a gauge.
    pub fn increment(&mut self, metric: u32, by: i64) -> Result<(), String> {
        let metric = self.find(metric)?;
        match &mut metric.value {
            Value::Counter(value) if by > 0 => *value += by,
            Value::Gauge(value) if *value + by >= 0 => *value += by,
            _ => return Err(format!("{by} added to {metric:?}")),
        }
        Ok(())
    }

    /// Records a value in a histogram, or sets a gauge to it.
    pub fn record(&mut self, metric: u32, value: u64) -> Result<(), String> {
        let metric = self.find(metric)?;
        match &mut metric.value {
            Value::Histogram(values) => values.push(value),
            Value::Gauge(gauge) => *gauge = i64::try_from(value).unwrap(),
            _ => return Err(format!("{value} recorded in {metric:?}")),
        }
        Ok(())
    }

    /// Walks over all metrics.
    pub fn iter(&self) -> impl Iterator<Item = &Metric> {
        self.all.iter()
    }

    fn find(&mut self, metric: u32) -> Result<&mut Metric, String> {
        let index = self.defined.get(metric as usize).ok_or_else(|| format!("metric {metric} is not defined"))?;
        Ok(&mut self.all[*index])
    }
}

impl Metric {
    fn new(name: &str, value: Value) -> Self {
        let own = name.strip_prefix("traffic_mirror.").unwrap_or_else(|| panic!("{name} is not ours"));
        let mut tags: Vec<_> = own.split(";.;").collect();
        let what = tags.pop().unwrap().to_owned();
        let pair = |tag: &str| tag.split_once("=.=").map(|(tag, value)| (tag.to_owned(), value.to_owned()));
        Self { tags: tags.into_iter().map(|tag| pair(tag).unwrap()).collect(), what, value }
    }
}
