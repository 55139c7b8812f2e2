//! What the host does by itself: it sets configurations to work and replaces them, serves streams callback by callback,
//! and delivers the answers to calls.

use crate::abi;
use crate::books;
use crate::host::{self, Direction, Headers, Host, Phase, Root, Stream};
use std::panic;
use std::sync::Once;

/// A host with one Wasm VM, on the test's own thread. It calls what `dist/traffic_mirror.wasm` exports, which is what
/// `tools/finish` leaves of the module, and no more.
pub struct Envoy(());

impl Envoy {
    /// Starts a VM in which there is no configuration. Clusters `a`, `b` and `c` answer; `drained` has no host. All requests
    /// are routed to the cluster `primary`.
    pub fn start() -> Self {
        static FIRST: Once = Once::new();
        FIRST.call_once(|| {
            // The SDK's panic hook would take the messages of failing tests to the host's log.
            let tests_own = panic::take_hook();
            abi::set_environment();
            abi::_initialize();
            panic::set_hook(Box::new(move |info| match host::how_it_came_here() {
                // The SDK's exports cannot unwind, and an abort takes with it what the test runner has captured.
                Some(history) => {
                    let message = format!("the filter would have killed its VM: {info}\n  {history}\n");
                    let _ = std::io::Write::write_all(&mut std::io::stderr(), message.as_bytes());
                }
                None => tests_own(info),
            }));
        });
        let clusters = ["a", "b", "c"].map(String::from).into();
        let drained = ["drained".to_owned()].into();
        host::with(|host| {
            *host = Host::default();
            (host.clusters, host.drained) = (clusters, drained);
            host.properties.insert("xds.cluster_name".to_owned(), b"primary".to_vec());
        });
        abi::_initialize();
        Self(())
    }

    /// Starts a VM with a configuration that is right.
    pub fn with(configuration: &str) -> (Self, u32) {
        let envoy = Self::start();
        let root = envoy.configure(configuration.as_bytes());
        (envoy, root.unwrap_or_else(|| panic!("{configuration}: {:?}", Self::host(|host| host.logs.clone()))))
    }

    /// Reads or changes the host.
    pub fn host<T>(act: impl FnOnce(&mut Host) -> T) -> T {
        host::with(act)
    }

    /// Sets a configuration to work on a root of its own; `None` if the filter refuses it.
    pub fn configure(&self, configuration: &[u8]) -> Option<u32> {
        self.configure_by(abi::traffic_mirror_on_context_create, abi::traffic_mirror_on_configure, configuration)
    }

    /// Sets a configuration to work for traffic of a direction.
    pub fn configure_for(&self, direction: Direction, configuration: &str) -> u32 {
        let root = self.configure(configuration.as_bytes()).unwrap();
        host::with(|host| host.roots.get_mut(&root).unwrap().key.1 = direction);
        root
    }

    /// Sets a configuration to work as [`Self::configure`] does, by the functions that the module exports for that.
    pub fn configure_by(
        &self,
        on_create: extern "C" fn(u32, u32),
        on_configure: extern "C" fn(u32, usize) -> bool,
        configuration: &[u8],
    ) -> Option<u32> {
        let root = host::next_context();
        let key = (configuration.to_vec(), Direction::default());
        host::with(|host| host.roots.insert(root, Root { key, ..Root::default() }));
        host::enter(root, Phase::Other, || on_create(root, 0));
        let phase = Phase::Configure(configuration.to_vec());
        let is_taken = host::enter(root, phase, || on_configure(root, configuration.len()));
        if !is_taken {
            // It never was one of the VM's: nothing of it is waited for, and the VM does not end with it.
            assert!(done(root, Phase::Other), "a root that was refused asks to stay");
            host::with(|host| host.roots.remove(&root));
        }
        is_taken.then_some(root)
    }

    /// Opens a stream, of which nothing has come yet.
    pub fn open(&self, root: u32, headers: Headers) -> u32 {
        let stream = host::next_context();
        host::with(|host| host.streams.insert(stream, Stream { root, headers, asked: Vec::new() }));
        host::enter(stream, Phase::Other, || abi::traffic_mirror_on_context_create(stream, root));
        stream
    }

    /// Opens a stream and delivers its headers.
    pub fn begin(&self, root: u32, headers: Headers, ends: bool) -> u32 {
        let count = headers.len();
        let stream = self.open(root, headers);
        goes_on(host::enter(stream, Phase::RequestHeaders, || {
            abi::traffic_mirror_on_request_headers(stream, count, ends)
        }));
        stream
    }

    /// Delivers a chunk of a request's body.
    pub fn body(&self, stream: u32, chunk: &[u8], ends: bool) {
        let phase = Phase::RequestBody(chunk.to_vec());
        goes_on(host::enter(stream, phase, || abi::traffic_mirror_on_request_body(stream, chunk.len(), ends)));
    }

    /// Delivers a request's trailers, which end it.
    pub fn trailers(&self, stream: u32) {
        goes_on(host::enter(stream, Phase::Other, || abi::traffic_mirror_on_request_trailers(stream, 1)));
    }

    /// Delivers the headers of the response that a stream's client gets.
    pub fn response_headers(&self, stream: u32, headers: Headers, ends: bool) {
        let count = headers.len();
        goes_on(host::enter(stream, Phase::ResponseHeaders(headers), || {
            abi::traffic_mirror_on_response_headers(stream, count, ends)
        }));
    }

    /// Delivers a chunk of the response's body.
    pub fn response_body(&self, stream: u32, chunk: &[u8], ends: bool) {
        let phase = Phase::ResponseBody(chunk.to_vec());
        goes_on(host::enter(stream, phase, || abi::traffic_mirror_on_response_body(stream, chunk.len(), ends)));
    }

    /// Delivers the response's trailers, which end it.
    pub fn response_trailers(&self, stream: u32, trailers: Headers) {
        let count = trailers.len();
        goes_on(host::enter(stream, Phase::ResponseTrailers(trailers), || {
            abi::traffic_mirror_on_response_trailers(stream, count)
        }));
    }

    /// Ends a stream whose client got no answer, whatever has come of it.
    pub fn end(&self, stream: u32) {
        self.end_answered(stream, None);
    }

    /// Ends a stream whose client got an answer of this status, if any, and returns what it was.
    pub fn end_answered(&self, stream: u32, status: Option<u16>) -> Stream {
        assert!(done(stream, Phase::End(status)), "a stream that asks to stay");
        let ended = host::with(|host| host.streams.remove(&stream)).unwrap();
        self.leave_if_idle(ended.root);
        ended
    }

    /// Serves a whole request: headers, body, end.
    pub fn serve(&self, root: u32, headers: Headers, body: &[u8]) -> u32 {
        let stream = self.begin(root, headers, body.is_empty());
        if !body.is_empty() {
            self.body(stream, body, false);
            self.body(stream, b"", true);
        }
        self.end(stream);
        stream
    }

    /// Delivers the answer to a call, to the root that owns it; no headers: it was reset.
    pub fn answer(&self, token: u32, headers: Headers) {
        let count = headers.len();
        self.answer_counted(token, headers, count);
    }

    /// Delivers the answer to a call as [`Self::answer`] does, with any count of headers.
    pub fn answer_counted(&self, token: u32, headers: Headers, count: usize) {
        let root = host::with(|host| host.in_flight.remove(&token)).unwrap().root;
        self.stray_answer(root, token, headers, count);
    }

    /// Delivers the answer to a call, with trailers.
    pub fn answer_with_trailers(&self, token: u32, headers: Headers, trailers: Headers) {
        let root = host::with(|host| host.in_flight.remove(&token)).unwrap().root;
        self.deliver(root, token, headers.len(), headers, trailers);
    }

    /// Delivers an answer to a root that does not wait for it, or is not there.
    pub fn stray_answer(&self, root: u32, token: u32, headers: Headers, count: usize) {
        self.deliver(root, token, count, headers, Headers::new());
    }

    fn deliver(&self, root: u32, token: u32, count: usize, headers: Headers, trailers: Headers) {
        let trailer_count = trailers.len();
        let size = host::with(|host| if count > 0 { host.answer_body.len() } else { 0 });
        let answered = || abi::traffic_mirror_on_http_call_response(root, token, count, size, trailer_count);
        host::enter(root, Phase::Answer(headers, trailers), answered);
        host::with(|host| {
            for root in std::mem::take(&mut host.finished) {
                assert!(
                    host.in_flight.values().all(|call| call.root != root),
                    "a root that leaves before its copies do"
                );
                host.roots.remove(&root);
            }
        });
    }

    /// Answers all calls with a status.
    pub fn answer_all(&self, status: &str) {
        for token in host::with(|host| host.in_flight.keys().copied().collect::<Vec<_>>()) {
            self.answer(token, headers(&[(":status", status), ("x-envoy-upstream-service-time", "1")]));
        }
    }

    /// Replaces a root: it gets no new streams, and goes when its last one has ended.
    pub fn retire(&self, root: u32) {
        host::with(|host| host.roots.get_mut(&root).unwrap().is_retired = true);
        self.leave_if_idle(root);
    }

    /// Checks what holds at the end of every test, when all streams have ended and all calls are answered: nothing is
    /// held, the books are closed, and the filter did nothing that a mirror may not do.
    pub fn check(&self) {
        host::with(|host| {
            assert!(host.streams.is_empty() && host.in_flight.is_empty(), "the test has not ended");
            books::balance(host);
            assert_eq!(books::sum(host, "in_flight", &[]), 0);
            assert_eq!(books::sum(host, "buffered_bytes", &[]), 0);
        });
    }

    fn leave_if_idle(&self, root: u32) {
        let leaves =
            host::with(|host| host.roots[&root].is_retired && !host.streams.values().any(|stream| stream.root == root));
        if leaves {
            let may_go = done(root, Phase::Other);
            host::with(|host| host.leaves(root, may_go));
        }
    }
}

/// Tells the filter that a context ends; false: it asks to stay.
fn done(context: u32, phase: Phase) -> bool {
    host::enter(context, phase, || abi::traffic_mirror_on_done(context))
}

/// Runs a test on a thread of its own: what a thread remembers is one module's, finished or not.
pub fn apart(test: impl FnOnce() + Send + 'static) {
    std::thread::spawn(test).join().unwrap_or_else(|panic| panic::resume_unwind(panic));
}

/// Makes headers of text.
pub fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// Makes a request's headers: a path, and what else it has.
pub fn request(path: &str, more: &[(&str, &str)]) -> Headers {
    let pseudo = [(":authority", "primary.test"), (":path", path), (":method", "POST"), (":scheme", "http")];
    headers(&[&pseudo[..], more].concat())
}

/// Notes where the filter did not let the request go on.
fn goes_on(action: u32) {
    if action != 0 {
        host::with(|host| host.forbidden(format!("the action {action}")));
    }
}
