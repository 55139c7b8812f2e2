//! The tables of a gateway's ports: each has its own, and one configuration is made of those that agree.

use super::rules::{Sorted, Source};
use super::table::Table;
use crate::tree::Tree;
use std::collections::BTreeMap;

/// Tables by port; `None`: of every port, for the gateway is in no file, or there is none.
#[derive(Debug, Default)]
pub(super) struct Ports(BTreeMap<Option<u64>, Table>);

/// The rules for some ports.
#[derive(Debug)]
pub(super) struct OfPorts {
    /// None: for every port.
    pub(super) ports: Vec<u64>,
    pub(super) rules: Vec<Tree>,
    pub(super) sources: Vec<Source>,
}

impl Ports {
    /// Returns the table of a port.
    pub(super) fn at(&mut self, port: Option<u64>) -> &mut Table {
        self.0.entry(port).or_default()
    }

    /// Writes the rules: one list for all ports where one can be right, or one for each of those that differ.
    pub(super) fn rules(self) -> Vec<OfPorts> {
        let mut groups: Vec<(Vec<u64>, Sorted)> = Vec::new();
        for (port, table) in self.0 {
            let sorted = table.sorted();
            match groups.iter_mut().find(|(_, group)| group.agrees(&sorted)) {
                Some((ports, group)) => {
                    ports.extend(port);
                    group.join(sorted);
                }
                None => groups.push((port.into_iter().collect(), sorted)),
            }
        }
        let is_one = groups.len() < 2;
        let mut written: Vec<OfPorts> = Vec::new();
        for (ports, group) in groups {
            let (rules, sources) = group.rules();
            match written.iter_mut().find(|other| other.rules == rules) {
                Some(same) => same.ports.extend(ports),
                None if rules.is_empty() => {}
                None => written.push(OfPorts { ports: if is_one { Vec::new() } else { ports }, rules, sources }),
            }
        }
        written
    }
}
