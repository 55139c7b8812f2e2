//! The steady load: requests at a fixed rate, whether those before them are answered or not. Each is measured from the
//! moment when it was due, so that a stall shows in every request that it delays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response, Version, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::digest::Digest;
use crate::server::DIGEST;
use harness::client::{Body, Req};

/// How often each kind of answer came: a status, or what came in its stead.
pub type Kinds = BTreeMap<String, u64>;

/// An answer of the primary that does not tell of the request that was sent.
pub const CHANGED: &str = "changed";
/// How long a client waits for its answer.
const PATIENCE: Duration = Duration::from_secs(10);
const AUTHORITY: &str = "service.test";

/// The bodies are cut from this.
static BYTES: LazyLock<Bytes> = LazyLock::new(|| (0..100 << 10).map(|n: u32| n.to_le_bytes()[1] ^ 0x5a).collect());

/// What the clients of one listener saw.
#[derive(Clone, Default)]
pub struct Seen {
    pub kinds: Kinds,
    pub times: Vec<Duration>,
}

impl Seen {
    fn add(&mut self, kind: String, time: Duration) {
        *self.kinds.entry(kind).or_default() += 1;
        self.times.push(time);
    }

    /// The time within which this share of the answers came.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let rank = (share * times.len() as f64).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// How much is sent, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests per second.
    pub rate: f64,
    pub lasts: Duration,
    pub path: &'static str,
}

impl Load {
    /// Sends it all to a listener, and waits for every answer.
    pub async fn run(self, to: SocketAddr) -> Seen {
        let pool = Arc::new(Pool::new(to));
        let mut tasks = JoinSet::new();
        let (start, count) = (Instant::now(), (self.rate * self.lasts.as_secs_f64()) as u32);
        for n in 0..count {
            let due = start + Duration::from_secs_f64(f64::from(n) / self.rate);
            sleep_until(due).await;
            let pool = Arc::clone(&pool);
            tasks.spawn(async move {
                let (req, digest) = request(n, self.path);
                // Half of the requests, of each method and size, go over each version.
                let sending =
                    pool.send(req, if (n / 8).is_multiple_of(2) { Version::HTTP_11 } else { Version::HTTP_2 });
                let kind = match timeout(PATIENCE, sending).await {
                    Err(_) => "no answer".to_owned(),
                    Ok(Err(kind)) => kind.to_owned(),
                    Ok(Ok(reply)) => reply.kind(&digest),
                };
                (kind, due.elapsed())
            });
        }
        let mut seen = Seen::default();
        while let Some(done) = tasks.join_next().await {
            let (kind, time) = done.unwrap();
            seen.add(kind, time);
        }
        seen
    }
}

/// The `n`th request, and its digest: of eight, five are GETs, two post 1 KiB, one 100 KiB.
fn request(n: u32, path: &str) -> (Req, String) {
    let (path, size) = (format!("{path}?n={n}"), [0, 1 << 10, 0, 0, 100 << 10, 0, 1 << 10, 0][n as usize % 8]);
    let method = if size == 0 { "GET" } else { "POST" };
    let mut req = if size == 0 { Req::get(&path) } else { Req::post(&path, BYTES.slice(..size)) };
    let fields = [("cookie", "session=1"), ("user-agent", "faults"), ("x-bytes", "plain"), ("x-n", &n.to_string())];
    for (name, value) in fields {
        req = req.header(name, value);
    }
    let mut digest = Digest::new(method, &path, AUTHORITY, fields.map(|(name, value)| (name, value.as_bytes())));
    digest.body(&BYTES[..size]);
    (req, digest.finish())
}

/// What a client compares.
pub struct Reply {
    status: u16,
    digest: Option<Bytes>,
    body: Bytes,
}

impl Reply {
    async fn read(response: Response<Incoming>) -> Result<Self, &'static str> {
        let status = response.status().as_u16();
        let digest = response.headers().get(DIGEST).map(|value| Bytes::copy_from_slice(value.as_bytes()));
        let body = response.into_body().collect().await.map_err(|error| cause(&error))?.to_bytes();
        Ok(Self { status, digest, body })
    }

    /// The status; or that the primary got another request than the one with this digest, or the client another answer.
    pub fn kind(&self, digest: &str) -> String {
        match &self.digest {
            Some(told) if told != digest || self.body != digest => CHANGED.to_owned(),
            // The primary's answer, without its header.
            None if self.status == 200 && self.body.len() == digest.len() => CHANGED.to_owned(),
            _ => self.status.to_string(),
        }
    }
}

/// Why there was no answer.
fn cause(error: &hyper::Error) -> &'static str {
    let closed = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    if closed { "closed" } else { "reset" }
}

/// Connections as a client keeps them: one for each HTTP/1.1 request under way, one for all of HTTP/2.
struct Pool {
    to: SocketAddr,
    idle: Mutex<Vec<http1::SendRequest<Body>>>,
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Body>>>,
}

impl Pool {
    fn new(to: SocketAddr) -> Self {
        Self { to, idle: Mutex::default(), shared: tokio::sync::Mutex::default() }
    }

    /// Sends a request. One that hyper hands back, for the connection had ended before it was sent, is sent again on
    /// another, as every client does.
    async fn send(&self, req: Req, version: Version) -> Result<Reply, &'static str> {
        let mut request = req.into_request(version);
        loop {
            let tried = if version == Version::HTTP_2 { self.http2(request).await } else { self.http1(request).await };
            match tried? {
                Ok(reply) => return Ok(reply),
                Err(again) => request = again,
            }
        }
    }

    async fn http1(&self, request: Request<Body>) -> Result<Result<Reply, Request<Body>>, &'static str> {
        let idle = self.idle.lock().unwrap().pop();
        let mut sender = match idle {
            Some(sender) => sender,
            None => {
                let (sender, connection) = http1::handshake(self.connect().await?).await.map_err(|e| cause(&e))?;
                tokio::spawn(connection);
                sender
            }
        };
        if sender.ready().await.is_err() {
            return Ok(Err(request));
        }
        match sent(sender.try_send_request(request).await)? {
            Ok(response) => {
                let reply = Reply::read(response).await?;
                self.idle.lock().unwrap().push(sender);
                Ok(Ok(reply))
            }
            Err(again) => Ok(Err(again)),
        }
    }

    async fn http2(&self, request: Request<Body>) -> Result<Result<Reply, Request<Body>>, &'static str> {
        let mut shared = self.shared.lock().await;
        let mut sender = match shared.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => {
                let (executor, io) = (TokioExecutor::new(), self.connect().await?);
                let (sender, connection) = http2::handshake(executor, io).await.map_err(|e| cause(&e))?;
                tokio::spawn(connection);
                sender
            }
        };
        *shared = Some(sender.clone());
        drop(shared);
        match sent(sender.try_send_request(request).await)? {
            Ok(response) => Ok(Ok(Reply::read(response).await?)),
            Err(again) => Ok(Err(again)),
        }
    }

    async fn connect(&self) -> Result<TokioIo<TcpStream>, &'static str> {
        let io = TcpStream::connect(self.to).await.map_err(|_| "refused")?;
        let _ = io.set_nodelay(true);
        Ok(TokioIo::new(io))
    }
}

type Tried = Result<Response<Incoming>, TrySendError<Request<Body>>>;

fn sent(tried: Tried) -> Result<Result<Response<Incoming>, Request<Body>>, &'static str> {
    tried.map(Ok).or_else(|mut error| error.take_message().map(Err).ok_or_else(|| cause(error.error())))
}
