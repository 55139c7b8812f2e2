//! What the host does when the filter calls it: as Envoy 1.36 to 1.40, and as strict as it can be.
//!
//! What no mirror may ever do is noted in [`Host::misuses`], and fails each test at its end.

use crate::metrics::Metrics;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::time::{Instant, UNIX_EPOCH};

pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    CasMismatch = 8,
    InternalFailure = 10,
}

/// The levels of the host's log.
pub const DEBUG: u32 = 1;
pub const WARN: u32 = 3;
pub const ERROR: u32 = 4;

const REQUEST_HEADERS: u32 = 0;
const RESPONSE_HEADERS: u32 = 2;
const RESPONSE_TRAILERS: u32 = 3;
const ANSWER_HEADERS: u32 = 6;
const ANSWER_TRAILERS: u32 = 7;
const REQUEST_BODY: u32 = 0;
const RESPONSE_BODY: u32 = 1;
const ANSWER_BODY: u32 = 4;
const CONFIGURATION: u32 = 7;

/// WASI's numbers of its clocks.
const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

/// The most pairs, and the most bytes of them, that Envoy takes from a plugin.
const MOST_PAIRS: usize = 1024;
const MOST_PAIR_BYTES: usize = 1 << 20;

/// The callback that is being served, with what the filter may read during it.
#[derive(Debug, Default)]
pub enum Phase {
    #[default]
    Other,
    Configure(Vec<u8>),
    RequestHeaders,
    RequestBody(Vec<u8>),
    /// What the client of a stream gets.
    ResponseHeaders(Headers),
    ResponseBody(Vec<u8>),
    ResponseTrailers(Headers),
    /// The headers of the response to a call, and its trailers.
    Answer(Headers, Headers),
    /// A stream ends; with the status that its client got, if it got an answer.
    End(Option<u16>),
}

/// The direction of a listener's traffic.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    #[default]
    Inbound,
    Outbound,
}

/// A configuration's root context.
#[derive(Debug, Default)]
pub struct Root {
    /// What it is known by, when it waits: its configuration, and the direction of its traffic.
    pub key: (Vec<u8>, Direction),
    /// It is replaced, and goes when its last stream has ended.
    pub is_retired: bool,
    /// It asked to stay.
    pub is_pending: bool,
}

/// One HTTP stream.
#[derive(Debug)]
pub struct Stream {
    pub root: u32,
    pub headers: Headers,
    /// What the filter asked for on behalf of this stream, in order.
    pub asked: Vec<String>,
}

/// A call that the host took.
#[derive(Debug, Clone)]
pub struct Call {
    pub token: u32,
    /// The root that owns it.
    pub root: u32,
    /// The stream whose callback made it.
    pub stream: u32,
    pub cluster: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub timeout: u32,
}

/// What the clocks show, in nanoseconds; none: what those of the machine show.
#[derive(Debug, Default)]
pub struct Clocks {
    /// Since the beginning of 1970.
    pub wall: Option<u64>,
    pub monotonic: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Host {
    pub clocks: Clocks,
    pub roots: BTreeMap<u32, Root>,
    pub streams: BTreeMap<u32, Stream>,
    /// Properties by path, its parts separated by dots; the same for each stream.
    pub properties: BTreeMap<String, Vec<u8>>,
    pub clusters: BTreeSet<String>,
    /// Clusters without a healthy host.
    pub drained: BTreeSet<String>,
    /// The host has no memory left for the next chunk.
    pub hides_body: bool,
    /// The body of each response that comes.
    pub answer_body: Vec<u8>,
    pub metrics: Metrics,
    /// What all VMs of one `vm_id` share: by key, each value with its version.
    pub shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    /// So many of the next changes of shared data come after another worker's.
    pub lost_races: usize,
    versions: u32,
    pub log_level: u32,
    pub logs: Vec<(u32, String)>,
    /// Calls that wait for an answer, by token.
    pub in_flight: BTreeMap<u32, Call>,
    /// All calls that were ever taken, in order.
    pub sent: Vec<Call>,
    /// Clusters to which a call was not taken, with the reason.
    pub refused: Vec<(Vec<u8>, Status)>,
    /// Roots that said that they are done, to be deleted after the callback.
    pub finished: Vec<u32>,
    /// Calls that the host has cancelled without a word.
    pub cancelled: Vec<Call>,
    pub misuses: Vec<String>,
    /// The callbacks so far.
    pub history: Vec<String>,
    phase: Phase,
    current: u32,
    /// The context on whose behalf calls are served, if it is another than that of the callback.
    effective: Option<u32>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
    // The SDK keeps contexts and tokens for as long as the thread lives, so no test may use a number again.
    static LAST_CONTEXT: Cell<u32> = const { Cell::new(0) };
    static LAST_TOKEN: Cell<u32> = const { Cell::new(0) };
    /// When the monotonic clock began.
    static START: Instant = Instant::now();
    /// It is the filter that works now, not the host.
    static IS_FILTERS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// Reads or changes the thread's host.
pub fn with<T>(act: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with(|host| act(&mut host.borrow_mut()))
}

/// Serves a call of the filter's. It may come as late as when the thread ends and the host is gone: then nobody cares.
pub fn serve(act: impl FnOnce(&mut Host) -> Status) -> Status {
    turn(false, || HOST.try_with(|host| act(&mut host.borrow_mut())).unwrap_or(Status::Ok))
}

/// Lets the filter work, or the host.
pub fn turn<T>(is_filters: bool, act: impl FnOnce() -> T) -> T {
    let was_filters = IS_FILTERS_TURN.replace(is_filters);
    let done = act();
    IS_FILTERS_TURN.set(was_filters);
    done
}

/// Tells whether it is the filter that works now, and whose memory is taken and given back.
pub fn is_filters_turn() -> bool {
    IS_FILTERS_TURN.get()
}

/// Runs a callback of the filter's, and returns what it returned.
pub fn enter<T>(context: u32, phase: Phase, callback: impl FnOnce() -> T) -> T {
    with(|host| {
        host.history.push(match &phase {
            Phase::RequestBody(chunk) => format!("{context}: {} bytes of the body", chunk.len()),
            Phase::ResponseBody(chunk) => format!("{context}: {} bytes of the response", chunk.len()),
            phase => format!("{context}: {phase:?}"),
        });
        (host.current, host.phase) = (context, phase);
    });
    let returned = turn(true, callback);
    with(|host| {
        if host.effective.take().is_some() {
            host.forbidden("another context in effect at the end");
        }
        (host.current, host.phase) = (0, Phase::Other);
    });
    returned
}

/// Tells what led into the callback that is being served, if one is and the host is not busy itself.
pub fn how_it_came_here() -> Option<String> {
    let host = HOST.try_with(|host| host.try_borrow().ok().map(|host| (host.current, host.history.join("\n  "))));
    host.ok().flatten().filter(|(current, _)| *current != 0).map(|(_, history)| history)
}

pub fn next_context() -> u32 {
    LAST_CONTEXT.set(LAST_CONTEXT.get() + 1);
    LAST_CONTEXT.get()
}

fn next_token() -> u32 {
    LAST_TOKEN.set(LAST_TOKEN.get() + 4);
    LAST_TOKEN.get()
}

impl Host {
    /// Notes what no mirror may do.
    pub fn forbidden(&mut self, what: impl Into<String>) -> Status {
        self.misuses.push(format!("{} in {:?} of {}", what.into(), self.phase, self.current));
        Status::InternalFailure
    }

    pub fn log(&mut self, level: u32, text: &[u8]) -> Status {
        if level >= self.log_level {
            self.logs.push((level, String::from_utf8(text.to_vec()).unwrap()));
        }
        Status::Ok
    }

    pub fn pairs(&mut self, map: u32) -> Headers {
        self.ask(map, "all headers".into());
        match self.map(map) {
            Some(headers) => headers.clone(),
            None => {
                self.forbidden(format!("a look at map {map}, which is not there"));
                Headers::new()
            }
        }
    }

    pub fn header(&mut self, map: u32, name: &[u8]) -> Result<Vec<u8>, Status> {
        self.ask(map, format!("header {}", name.escape_ascii()));
        let Some(headers) = self.map(map) else {
            self.forbidden(format!("a look into map {map}, which is not there"));
            return Err(Status::BadArgument);
        };
        let found = headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        found.ok_or(Status::NotFound)
    }

    pub fn property(&mut self, path: &[u8]) -> Result<Vec<u8>, Status> {
        let path = String::from_utf8(path.to_vec()).unwrap().replace('\0', ".");
        // What belongs to the plugin, whatever is served; each line in the log begins with it.
        if path == "plugin_name" {
            return self.properties.get(&path).cloned().ok_or(Status::NotFound);
        }
        self.note(format!("property {path}"));
        let found = match (path.as_str(), &self.phase) {
            ("response.code", Phase::End(code)) => code.map(|code| i64::from(code).to_le_bytes().to_vec()),
            ("response.code", _) => {
                self.forbidden("a question for an answer that may be still to come");
                None
            }
            _ => self.properties.get(&path).cloned(),
        };
        found.filter(|_| self.streams.contains_key(&self.current)).ok_or(Status::NotFound)
    }

    pub fn clock(&mut self, clock: u32) -> Result<u64, Status> {
        let (shown, machines) = match clock {
            REALTIME => (self.clocks.wall, UNIX_EPOCH.elapsed().unwrap_or_default()),
            MONOTONIC => (self.clocks.monotonic, START.with(Instant::elapsed)),
            _ => {
                self.forbidden(format!("a look at clock {clock}"));
                return Err(Status::BadArgument);
            }
        };
        Ok(shown.unwrap_or_else(|| u64::try_from(machines.as_nanos()).unwrap()))
    }

    pub fn shared_data(&mut self, key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
        if let Some(stream) = self.streams.get_mut(&self.current) {
            stream.asked.push("shared data".into());
        }
        self.shared.get(key).cloned().ok_or(Status::NotFound)
    }

    /// Like Envoy it creates what is not there whatever the version, and takes 0 for any.
    pub fn set_shared_data(&mut self, key: &[u8], value: &[u8], version: u32) -> Status {
        if !key.starts_with(b"traffic_mirror.") {
            self.forbidden("a change of shared data that may be another plugin's");
        }
        self.versions += 1;
        let known = self.shared.get_mut(key);
        if self.lost_races > 0 {
            self.lost_races -= 1;
            // The other worker has changed nothing but the version.
            let lost = (known.map_or_else(|| 0u64.to_le_bytes().to_vec(), |known| known.0.clone()), self.versions);
            self.shared.insert(key.to_vec(), lost);
            return Status::CasMismatch;
        }
        if known.is_some_and(|known| version != 0 && version != known.1) {
            return Status::CasMismatch;
        }
        self.shared.insert(key.to_vec(), (value.to_vec(), self.versions));
        Status::Ok
    }

    pub fn buffer(&mut self, buffer: u32, start: usize, most: usize) -> Result<Vec<u8>, Status> {
        let bytes = match (buffer, &self.phase) {
            (REQUEST_BODY, Phase::RequestBody(chunk)) => {
                let chunk = chunk.clone();
                if let Some(stream) = self.streams.get_mut(&self.current) {
                    stream.asked.push("body".into());
                }
                if take(&mut self.hides_body) {
                    return Err(Status::NotFound);
                }
                chunk
            }
            (RESPONSE_BODY, Phase::ResponseBody(chunk)) => {
                let chunk = chunk.clone();
                if let Some(stream) = self.streams.get_mut(&self.current) {
                    stream.asked.push("response: body".into());
                }
                if take(&mut self.hides_body) {
                    return Err(Status::NotFound);
                }
                chunk
            }
            // As for headers, Envoy has none to show of a call that was reset.
            (ANSWER_BODY, Phase::Answer(headers, _)) if !headers.is_empty() => self.answer_body.clone(),
            (CONFIGURATION, Phase::Configure(configuration)) => configuration.clone(),
            _ => {
                self.forbidden(format!("a look into buffer {buffer}, which is not there"));
                return Err(Status::NotFound);
            }
        };
        let end = start.saturating_add(most).min(bytes.len());
        bytes.get(start..end).map(<[u8]>::to_vec).ok_or(Status::BadArgument)
    }

    pub fn define_metric(&mut self, kind: u32, name: &[u8]) -> Result<u32, Status> {
        // Where responses differ is not known before.
        let may_be_new = std::str::from_utf8(name).unwrap().contains(";.;field=.=");
        if !may_be_new && !matches!(self.phase, Phase::Configure(_)) {
            self.forbidden("a metric's definition, which takes a lock of the whole process,");
        }
        self.metrics.define(kind, std::str::from_utf8(name).unwrap())
    }

    pub fn increment_metric(&mut self, metric: u32, by: i64) -> Status {
        let done = self.metrics.increment(metric, by);
        self.judge(done)
    }

    pub fn record_metric(&mut self, metric: u32, value: u64) -> Status {
        let done = self.metrics.record(metric, value);
        self.judge(done)
    }

    pub fn http_call(&mut self, cluster: &[u8], headers: Headers, body: &[u8], timeout: u32) -> Result<u32, Status> {
        let stream = self.current;
        let Some(root) = self.streams.get(&stream).map(|stream| stream.root) else {
            return Err(self.forbidden("a call that no request made"));
        };
        if timeout == 0 {
            self.forbidden("a call that may take for ever");
        }
        let cluster_name = String::from_utf8_lossy(cluster).into_owned();
        let is_whole = [":method", ":path", ":authority"]
            .iter()
            .all(|name| headers.iter().any(|(found, value)| found == name.as_bytes() && !value.is_empty()));
        let pair_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
        let refusal = if i32::try_from(timeout).is_err()
            || !(self.clusters.contains(&cluster_name) || self.drained.contains(&cluster_name))
            || !is_whole
            || headers.len() > MOST_PAIRS
            || pair_bytes + 4 > MOST_PAIR_BYTES
        {
            Some(Status::BadArgument)
        } else if self.drained.contains(&cluster_name) {
            next_token();
            Some(Status::InternalFailure)
        } else {
            None
        };
        if let Some(status) = refusal {
            self.refused.push((cluster.to_vec(), status));
            return Err(status);
        }
        let token = next_token();
        let call = Call { token, root, stream, cluster: cluster_name, headers, body: body.to_vec(), timeout };
        self.sent.push(call.clone());
        self.in_flight.insert(token, call);
        Ok(token)
    }

    /// Takes in that a root was told that it is done, and whether it may go. Like Envoy it keeps one root of each key waiting,
    /// and drops them all when none is left that is not.
    pub fn leaves(&mut self, root: u32, may_go: bool) {
        let key = self.roots[&root].key.clone();
        let is_waiting = |(_, other): &(&u32, &Root)| other.is_pending;
        let waiting: Vec<_> = self.roots.iter().filter(is_waiting).map(|(id, _)| *id).collect();
        if self.roots.len() == waiting.len() + 1 {
            waiting.into_iter().chain([root]).for_each(|root| self.drop_root(root));
        } else if may_go {
            let has_calls = self.in_flight.values().any(|call| call.root == root);
            assert!(!has_calls, "a root that leaves before its copies do");
            self.roots.remove(&root);
        } else {
            for other in waiting {
                if self.roots[&other].key == key {
                    self.drop_root(other);
                }
            }
            self.roots.get_mut(&root).unwrap().is_pending = true;
        }
    }

    fn drop_root(&mut self, root: u32) {
        self.roots.remove(&root);
        self.cancelled.extend(self.in_flight.extract_if(.., |_, call| call.root == root).map(|(_, call)| call));
    }

    pub fn set_effective_context(&mut self, context: u32) -> Status {
        if !self.roots.contains_key(&context) && !self.streams.contains_key(&context) {
            return Status::BadArgument;
        }
        self.effective = (context != self.current).then_some(context);
        Status::Ok
    }

    pub fn done(&mut self) -> Status {
        let context = self.current;
        if !self.roots.get_mut(&context).is_some_and(|root| take(&mut root.is_pending)) {
            self.forbidden("a farewell that nobody waits for");
            return Status::NotFound;
        }
        self.finished.push(context);
        Status::Ok
    }

    /// Finds the header map that can be read now.
    fn map(&self, map: u32) -> Option<&Headers> {
        match (map, &self.phase) {
            (REQUEST_HEADERS, Phase::RequestHeaders) => Some(&self.streams.get(&self.current)?.headers),
            (RESPONSE_HEADERS, Phase::ResponseHeaders(headers)) => Some(headers),
            (RESPONSE_TRAILERS, Phase::ResponseTrailers(trailers)) => Some(trailers),
            (ANSWER_HEADERS, Phase::Answer(headers, _)) => Some(headers).filter(|headers| !headers.is_empty()),
            (ANSWER_TRAILERS, Phase::Answer(_, trailers)) => Some(trailers).filter(|trailers| !trailers.is_empty()),
            _ => None,
        }
    }

    /// Notes a question about a request, none of which may be put twice.
    fn ask(&mut self, map: u32, what: String) {
        match map {
            REQUEST_HEADERS => self.note(what),
            // There may be several: another filter's in the place of the upstream's.
            RESPONSE_HEADERS | RESPONSE_TRAILERS => {
                let asked = self.streams.get_mut(&self.current).map(|stream| &mut stream.asked);
                asked.into_iter().for_each(|asked| asked.push(format!("response: {what}")));
            }
            _ => {}
        }
    }

    fn note(&mut self, what: String) {
        let Some(stream) = self.streams.get_mut(&self.current) else { return };
        let knows_all = what.starts_with("header ") && stream.asked.iter().any(|asked| asked == "all headers");
        let again = knows_all || stream.asked.contains(&what);
        stream.asked.push(what);
        if again {
            let asked = format!("asked again: {:?}", stream.asked);
            self.forbidden(asked);
        }
    }

    fn judge(&mut self, done: Result<(), String>) -> Status {
        if self.effective.is_some() {
            self.forbidden("a metric's change on behalf of another context");
        }
        match done {
            Ok(()) => Status::Ok,
            Err(misuse) => {
                self.forbidden(misuse);
                Status::BadArgument
            }
        }
    }
}
