//! Answers to copies, as nobody should send them: any headers and counts, to calls that are answered, were never made or
//! are another root's, before and after streams and configurations end.

use crate::books;
use crate::envoy::{Envoy, request};
use crate::host::Headers;
use arbitrary::{Result, Unstructured};
use std::collections::BTreeMap;

const CONFIGURATION: &str = r#"{"rules":[{"mirrors":[{"cluster":"a"}],"compare":{"status":true}}]}"#;

/// The same to the filter, and another to the host.
const SPACED: &str = r#"{"rules":[{"mirrors":[{"cluster":"a"}],"compare":{"status":true}}]} "#;

/// What comes next.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// A request of which a copy is sent.
    Request,
    /// An answer to a copy that waits for one.
    Answer,
    /// An answer to a call that does not wait for one.
    Stray,
    /// The newest stream ends.
    End,
    /// The other configuration takes over.
    Replace,
    /// All streams end, and then the VM does.
    EndVm,
}

pub const STEPS: &[Step] = &[Step::Answer, Step::Request, Step::Stray, Step::End, Step::Replace, Step::EndVm];

/// Names of headers; where there is none, bytes spell it.
pub const NAMES: &[Option<&str>] =
    &[Some(":status"), Some("x-envoy-upstream-service-time"), Some("grpc-status"), Some("content-length"), None];

/// Content types of requests.
pub const KINDS: &[&str] = &["text/plain", "application/grpc", "application/grpc+proto", "Application/grpc", ""];

/// What clients get, if anything.
pub const STATUSES: &[Option<u16>] = &[Some(200), None, Some(404), Some(0)];

/// Checks how the answers that the bytes spell are counted.
pub fn check(bytes: &[u8]) {
    let mut run = Run::start();
    let mut bytes = Unstructured::new(bytes);
    for _ in 0..64 {
        if bytes.is_empty() {
            break;
        }
        run.step(&mut bytes).unwrap();
    }
    run.finish();
}

/// A request and its copy, with the status of each answer.
struct Exchange {
    stream: u32,
    is_grpc: bool,
    primary: Option<u16>,
    copy: Option<u16>,
    /// Whether the copy's grpc-status is that of a server error.
    has_grpc_error: bool,
}

struct Run {
    envoy: Envoy,
    root: u32,
    is_spaced: bool,
    /// By the tokens of the copies.
    exchanges: BTreeMap<u32, Exchange>,
    /// The tokens of those whose streams have not ended.
    open: Vec<u32>,
    /// How many answers of each class there are to be.
    classes: BTreeMap<&'static str, i64>,
    times: usize,
}

impl Run {
    fn start() -> Self {
        let (envoy, root) = Envoy::with(CONFIGURATION);
        Self {
            envoy,
            root,
            is_spaced: false,
            exchanges: BTreeMap::new(),
            open: Vec::new(),
            classes: BTreeMap::new(),
            times: 0,
        }
    }

    fn step(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        match *bytes.choose(STEPS)? {
            Step::Request => {
                let kind = *bytes.choose(KINDS)?;
                let stream = self.envoy.begin(self.root, request("/", &[("content-type", kind)]), true);
                let is_grpc = kind == "application/grpc" || kind.starts_with("application/grpc+");
                let token = Envoy::host(|host| host.sent.last().unwrap().token);
                self.exchanges
                    .insert(token, Exchange { stream, is_grpc, primary: None, copy: None, has_grpc_error: false });
                self.open.push(token);
            }
            Step::Answer => {
                let at = usize::from(bytes.arbitrary::<u8>()?);
                let waiting = Envoy::host(|host| host.in_flight.keys().copied().collect::<Vec<_>>());
                let (count, headers) = answer(bytes)?;
                if let Some(token) = waiting.get(at % waiting.len().max(1)) {
                    self.expect(*token, count, &headers);
                    self.envoy.answer_counted(*token, headers, count);
                }
            }
            Step::Stray => {
                let token = bytes.arbitrary()?;
                let (count, headers) = answer(bytes)?;
                let roots = [self.root, self.root + 1, 0];
                let root = *bytes.choose(&roots)?;
                if !Envoy::host(|host| host.in_flight.contains_key(&token)) {
                    self.envoy.stray_answer(root, token, headers, count);
                }
            }
            Step::End => {
                let status = *bytes.choose(STATUSES)?;
                if let Some(token) = self.open.pop() {
                    self.end(token, status);
                }
            }
            Step::Replace => {
                let old = self.root;
                self.is_spaced = !self.is_spaced;
                self.configure();
                self.envoy.retire(old);
                self.take_cancelled();
            }
            Step::EndVm => {
                self.end_streams();
                self.envoy.retire(self.root);
                self.take_cancelled();
                self.configure();
            }
        }
        Ok(())
    }

    fn configure(&mut self) {
        let configuration = if self.is_spaced { SPACED } else { CONFIGURATION };
        self.root = self.envoy.configure(configuration.as_bytes()).unwrap();
    }

    fn end(&mut self, token: u32, status: Option<u16>) {
        let exchange = self.exchanges.get_mut(&token).unwrap();
        exchange.primary = status.filter(|status| *status >= 200);
        self.envoy.end_answered(exchange.stream, status);
        self.take_cancelled();
    }

    fn end_streams(&mut self) {
        for token in std::mem::take(&mut self.open) {
            self.end(token, None);
        }
    }

    /// Works out how what the host cancelled is to be counted, and lets the filter find out.
    fn take_cancelled(&mut self) {
        let cancelled = Envoy::host(|host| std::mem::take(&mut host.cancelled));
        cancelled.iter().for_each(|call| self.expect(call.token, 0, &Headers::new()));
        if !cancelled.is_empty() && Envoy::host(|host| !host.roots.is_empty()) {
            let stream = self.envoy.open(self.root, Headers::new());
            self.envoy.end(stream);
        }
    }

    /// Works out how an answer is to be counted.
    fn expect(&mut self, token: u32, count: usize, headers: &Headers) {
        let first =
            |name: &str| headers.iter().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| &value[..]);
        let is_from_mirror = first("x-envoy-upstream-service-time").is_some();
        let status = first(":status").filter(|_| count > 0);
        let exchange = self.exchanges.get_mut(&token).unwrap();
        let class = match status.and_then(<[u8]>::first) {
            Some(b'5') if !is_from_mirror && status == Some(b"504") => "timeout",
            Some(b'1'..=b'5')
                if exchange.is_grpc
                    && !is_from_mirror
                    && first("grpc-message") == Some(b"upstream request timeout") =>
            {
                "timeout"
            }
            Some(b'1'..=b'5') if exchange.is_grpc && !is_from_mirror => "failed",
            Some(b'1'..=b'5') if exchange.is_grpc && first("grpc-status").is_some() => {
                match std::str::from_utf8(first("grpc-status").unwrap()).ok().and_then(|status| status.parse().ok()) {
                    Some(0u32) => "2xx",
                    Some(1 | 3 | 5..=11 | 16) => "4xx",
                    _ => "5xx",
                }
            }
            Some(b'1') => "1xx",
            Some(b'2') => "2xx",
            Some(b'3') => "3xx",
            Some(b'4') if is_from_mirror => "4xx",
            Some(b'5') if is_from_mirror => "5xx",
            _ => "failed",
        };
        *self.classes.entry(class).or_default() += 1;
        if !["failed", "timeout"].contains(&class) {
            self.times += 1;
            exchange.copy = status.and_then(|status| String::from_utf8_lossy(status).parse().ok());
            exchange.has_grpc_error = exchange.is_grpc && first("grpc-status").is_some() && class == "5xx";
        }
    }

    /// Works out how the exchanges compare.
    fn results(&self) -> BTreeMap<&'static str, i64> {
        let mut results = BTreeMap::new();
        for Exchange { primary, copy, is_grpc, has_grpc_error, .. } in self.exchanges.values() {
            let result = match (primary, copy) {
                // Primaries have no grpc-status here.
                (Some(_), Some(_)) if primary == copy => ["same", "not_compared"][usize::from(*is_grpc)],
                (Some(primary), Some(copy)) => match (*primary >= 500, *copy >= 500 || *has_grpc_error) {
                    (false, true) => "mirror_error",
                    (true, false) => "primary_error",
                    _ => "different",
                },
                (Some(500..), None) => "neither",
                (Some(_), None) => "primary_only",
                (None, Some(_)) => "mirror_only",
                (None, None) => "neither",
            };
            *results.entry(result).or_default() += 1;
        }
        results
    }

    fn finish(mut self) {
        self.end_streams();
        for token in Envoy::host(|host| host.in_flight.keys().copied().collect::<Vec<_>>()) {
            self.expect(token, 0, &Headers::new());
            self.envoy.answer(token, Headers::new());
        }
        self.envoy.retire(self.root);
        self.envoy.check();
        Envoy::host(|host| {
            assert!(host.roots.is_empty(), "a root that nobody needs stays");
            assert_eq!(books::by(host, "responses_total", "class"), self.classes);
            assert_eq!(books::recorded(host, "response_time_ms").len(), self.times);
            assert_eq!(books::by(host, "compared_total", "result"), self.results());
        });
    }
}

/// Reads an answer: its headers, and how many the callback says there are. It never says so of none.
fn answer(bytes: &mut Unstructured<'_>) -> Result<(usize, Headers)> {
    let mut headers = Headers::new();
    for _ in 0..bytes.int_in_range(0..=4)? {
        let name = match bytes.choose(NAMES)? {
            Some(name) => name.as_bytes().to_vec(),
            None => text(bytes)?,
        };
        headers.push((name, text(bytes)?));
    }
    let lie = bytes.arbitrary::<u8>()?;
    let count = if headers.is_empty() { 0 } else { usize::from(lie).checked_sub(1).unwrap_or(headers.len()) };
    Ok((count, headers))
}

/// Reads a text: a byte that tells how long it is, and as many bytes.
fn text(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = usize::from(bytes.arbitrary::<u8>()?).min(bytes.len());
    Ok(bytes.bytes(length)?.to_vec())
}
