//! The table in an example's README: what is sent, who answers, and who gets a copy.

use std::fs;
use std::path::{Path, PathBuf};

use crate::client::Req;
use crate::process::ROOT;
use crate::scene::Line;

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// How often it is sent.
    pub times: usize,
    pub method: String,
    pub authority: String,
    pub path: String,
    pub header: Option<(String, String)>,
    /// The service that answers.
    pub answered_by: String,
    /// The status that it answers with.
    pub status: u16,
    /// The services that get a copy, and the authority that each sees.
    pub copies: Vec<(String, String)>,
    /// The path of the copy, where it is another.
    pub copied_path: Option<String>,
}

impl Row {
    /// The row's request; `number` is put into its query, and finds it again in the logs.
    pub fn request(&self, number: usize) -> Req {
        let req = Req::new(&self.method, &numbered(&self.path, number)).authority(&self.authority);
        match &self.header {
            Some((name, value)) => req.header(name, value),
            None => req,
        }
    }

    /// What the services are to log of it: who answers, and who gets a copy.
    pub fn lines(&self, number: usize) -> Vec<Line> {
        let line = |service: &str, authority: &str, is_copy| Line {
            service: service.to_owned(),
            path: numbered(self.copied_path.as_ref().filter(|_| is_copy).unwrap_or(&self.path), number),
            authority: authority.to_owned(),
            is_copy,
        };
        // A request that is a copy already.
        let is_marked = self.header.as_ref().is_some_and(|(name, _)| name == "x-mirrored-request");
        let copies = self.copies.iter().map(|(service, authority)| line(service, authority, true));
        [line(&self.answered_by, &self.authority, is_marked)].into_iter().chain(copies).collect()
    }
}

fn numbered(path: &str, number: usize) -> String {
    let join = if path.contains('?') { '&' } else { '?' };
    format!("{path}{join}n={number}")
}

/// Where an example is.
pub fn folder(example: &str) -> PathBuf {
    Path::new(ROOT).join("examples").join(example)
}

pub fn read(example: &str, file: &str) -> String {
    let path = folder(example).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads the table.
pub fn outcome(example: &str) -> Vec<Row> {
    let readme = read(example, "README.md");
    let table =
        readme.lines().skip_while(|line| !line.starts_with("| request |")).take_while(|line| line.contains('|'));
    let rows: Vec<Row> = table.skip(2).map(row).collect();
    assert!(rows.len() > 1, "{example}: README.md has no table of what comes of a request");
    rows
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, request, header, answered_by, copy, _] = cells[..] else { panic!("not a row: {line}") };
    let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let times = request.split_once('×').map_or(1, |(times, _)| times.trim().parse().unwrap());
    let request = &spans(request)[0];
    let (method, url) = request.split_once(" http://").unwrap_or_else(|| panic!("not a request: {request}"));
    let (authority, path) = url.split_at(url.find('/').unwrap());
    let header = spans(header).first().map(|header| {
        let (name, value) = header.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    });
    // `one` and `other`, as `authority`, with the path `path`
    let (services, rest) = copy.split_once(", as ").unwrap_or((copy, ""));
    let (services, rest) = (spans(services), spans(rest));
    let copies = match &rest[..] {
        [] if services.is_empty() => Vec::new(),
        [authority, path @ ..] if !services.is_empty() && path.len() < 2 => {
            services.into_iter().map(|service| (service, authority.clone())).collect()
        }
        other => panic!("not a copy: {services:?} {other:?}"),
    };
    Row {
        times,
        method: method.to_owned(),
        authority: authority.to_owned(),
        path: path.to_owned(),
        header,
        answered_by: spans(answered_by)[0].clone(),
        status: answered_by.split_once(", with ").map_or(200, |(_, status)| status.parse().unwrap()),
        copies,
        copied_path: rest.get(1).cloned(),
    }
}
