//! The upstream side: servers that keep every request they were sent whole, and answer by a script.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::client::{Body, Fields, PATIENCE, empty, fields, full, stream};

/// A request as it arrived, read to its end.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub authority: String,
    pub headers: Fields,
    pub body: Bytes,
    pub trailers: Fields,
    pub version: Version,
}

impl Received {
    /// All values of a header, in order.
    pub fn values(&self, name: &str) -> Vec<String> {
        let named = self.headers.iter().filter(|(n, _)| n == name);
        named.map(|(_, v)| String::from_utf8_lossy(v).into_owned()).collect()
    }

    /// The one value of a header, or nothing.
    pub fn value(&self, name: &str) -> Option<String> {
        let values = self.values(name);
        assert!(values.len() < 2, "{name} stands there {} times: {values:?}", values.len());
        values.into_iter().next()
    }

    async fn read(request: Request<Incoming>) -> Option<(hyper::http::request::Parts, Self)> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.ok()?;
        let host = parts.headers.get("host").map(|h| String::from_utf8_lossy(h.as_bytes()).into_owned());
        let received = Self {
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            authority: parts.uri.authority().map(ToString::to_string).or(host).unwrap_or_default(),
            headers: fields(&parts.headers),
            trailers: body.trailers().map(fields).unwrap_or_default(),
            body: body.to_bytes(),
            version: parts.version,
        };
        Some((parts, received))
    }
}

/// What becomes of one request.
#[derive(Clone)]
pub enum Answer {
    Reply {
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
        body: &'static str,
        trailers: Vec<(&'static str, &'static str)>,
        after: Duration,
    },
    /// JSON that was made for this request.
    Json(String),
    /// The request is read, and that is all.
    Never,
    /// A status, half a body, and the connection is gone.
    Half,
    /// So many MiB of zeros.
    Huge(usize),
    /// Whatever a handler makes of it: the way in for tonic.
    Handled(Handler),
}

/// Turns a whole request into an answer.
pub type Handler = Arc<dyn Fn(Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync>;

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Reply { status, headers: vec![], body: "", trailers: vec![], after: Duration::ZERO }
    }

    pub fn after(delay: Duration) -> Self {
        Self::Reply { status: 200, headers: vec![], body: "late", trailers: vec![], after: delay }
    }

    async fn play(self, parts: hyper::http::request::Parts, received: &Received) -> Response<Body> {
        match self {
            Self::Reply { status, headers, body, trailers, after } => {
                tokio::time::sleep(after).await;
                let mut response = Response::new(empty());
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                for (name, value) in headers {
                    response.headers_mut().append(name, value.parse().unwrap());
                }
                let trailers = (!trailers.is_empty()).then(|| {
                    let mut map = HeaderMap::new();
                    for (name, value) in trailers {
                        map.append(name, value.parse().unwrap());
                    }
                    map
                });
                if let Some(map) = &trailers {
                    // HTTP/1.1 sends announced trailers alone.
                    let names: Vec<&str> = map.keys().map(|n| n.as_str()).collect();
                    response.headers_mut().insert("trailer", names.join(",").parse().unwrap());
                }
                *response.body_mut() = match trailers {
                    None => full(body),
                    some => stream(vec![Bytes::from(body)], some, false),
                };
                response
            }
            Self::Json(text) => {
                let mut response = Response::new(full(text));
                response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
                response
            }
            Self::Never => std::future::pending().await,
            Self::Half => Response::new(stream(vec![Bytes::from_static(b"half")], None, true)),
            Self::Huge(mebibytes) => {
                let chunk = Bytes::from(vec![0; 1 << 20]);
                Response::new(stream(vec![chunk; mebibytes], None, false))
            }
            Self::Handled(handler) => {
                let body = full(received.body.clone());
                handler(Request::from_parts(parts, body)).await
            }
        }
    }
}

type Script = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;
type Serve = Arc<dyn Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What a server does with its connections.
#[derive(Clone)]
pub enum Service {
    /// HTTP/1.1 and HTTP/2: each request is recorded, then the script decides.
    Http(Script),
    /// Bytes, for what no HTTP library would do.
    Raw(Serve),
}

impl Service {
    pub fn script(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::Http(Arc::new(script))
    }

    /// Answers every request without a body, and hands over its head as it stood on the wire: header fields in their
    /// order, which hyper does not keep between fields of different names.
    pub fn tape() -> (Self, mpsc::UnboundedReceiver<Fields>) {
        let (tape, heads) = mpsc::unbounded_channel();
        let serve = move |mut io: TcpStream| {
            let tape = tape.clone();
            Box::pin(async move {
                let mut read = Vec::new();
                while io.read_buf(&mut read).await.is_ok_and(|n| n > 0) {
                    while let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
                        let head: Vec<u8> = read.drain(..end + 4).collect();
                        let _ = tape.send(parse_head(&head[..end]));
                        let _ = io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    }
                }
            }) as Pin<Box<dyn Future<Output = ()> + Send>>
        };
        (Self::Raw(Arc::new(serve)), heads)
    }

    /// Takes an upgrade or a tunnel, and sends back what comes through it.
    pub fn echo() -> Self {
        Self::Raw(Arc::new(|mut io| {
            Box::pin(async move {
                let mut read = Vec::new();
                while io.read_buf(&mut read).await.is_ok_and(|n| n > 0) {
                    if read.starts_with(b"GET ") {
                        if !read.ends_with(b"\r\n\r\n") {
                            continue;
                        }
                        read = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
                            .into();
                    }
                    let _ = io.write_all(&read).await;
                    read.clear();
                }
            })
        }))
    }

    /// Accepts, and never reads a byte.
    pub fn deaf() -> Self {
        Self::Raw(Arc::new(|io| {
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(io);
            })
        }))
    }
}

impl From<Answer> for Service {
    fn from(answer: Answer) -> Self {
        Self::script(move |_| answer.clone())
    }
}

/// A server on a port of its own.
pub struct Upstream {
    pub name: &'static str,
    pub address: SocketAddr,
    received: Arc<watch::Sender<Vec<Received>>>,
}

impl Upstream {
    pub async fn start(name: &'static str, service: Service) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(watch::Sender::new(Vec::new()));
        let book = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                let _ = io.set_nodelay(true);
                match &service {
                    Service::Http(script) => drop(tokio::spawn(http(io, Arc::clone(script), Arc::clone(&book)))),
                    Service::Raw(serve) => drop(tokio::spawn(serve(io))),
                }
            }
        });
        Self { name, address, received }
    }

    /// What has arrived so far.
    pub fn so_far(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until that many requests have arrived whole.
    ///
    /// # Panics
    /// If fewer arrive in time, or there are more.
    pub async fn received(&self, count: usize) -> Vec<Received> {
        let mut watch = self.received.subscribe();
        let arrived = timeout(PATIENCE, watch.wait_for(|all| all.len() >= count)).await.is_ok();
        let all = self.so_far();
        assert!(arrived && all.len() == count, "{} got {} requests, not {count}: {all:#?}", self.name, all.len());
        all
    }
}

/// The fields of a request's head, its first line left out.
fn parse_head(head: &[u8]) -> Fields {
    let lines = head.split(|b| *b == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let field = |line: &[u8]| {
        let colon = line.iter().position(|b| *b == b':').unwrap();
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        (name, Bytes::copy_from_slice(line[colon + 1..].trim_ascii()))
    };
    lines.map(field).collect()
}

async fn http(io: TcpStream, script: Script, book: Arc<watch::Sender<Vec<Received>>>) {
    let service = service_fn(move |request| {
        let (script, book) = (Arc::clone(&script), Arc::clone(&book));
        async move {
            let Some((parts, received)) = Received::read(request).await else {
                return Err(std::io::Error::other("the request broke off"));
            };
            book.send_modify(|all| all.push(received.clone()));
            Ok(script(&received).play(parts, &received).await)
        }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().auto_date_header(false).max_buf_size(1 << 20);
    server.http2().auto_date_header(false);
    // A connection that breaks is the peer's business, and often the point of the test.
    let _ = server.serve_connection(TokioIo::new(io), service).await;
}
