//! The upstreams: servers that behave as they are told, and can be told otherwise while connections are open.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::digest::Digest;
use crate::storm;
use harness::client::{Body, empty, full, stream};

/// The header in which a server says what it got.
pub const DIGEST: &str = "x-digest";
const MIB: usize = 1 << 20;

/// What a server does with its connections and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers at once, with the digest of what it got. `/slow` is answered late, `/stream` is sent back as it comes,
    /// and a WebSocket is an echo.
    Healthy,
    /// The port is closed.
    Refuses,
    /// Accepts, and never reads a byte.
    Deaf,
    /// Reads requests whole, and answers none.
    Mute,
    /// Answers rightly, and late.
    Slow(Duration),
    /// Resets each connection once it is open.
    Resets,
    /// A status, some of the body, and the connection is reset.
    Halves,
    /// Answers with what is no HTTP.
    Garbage,
    /// 103 again and again, and never a final status; over HTTP/2 likewise.
    Interim,
    InterimH2,
    /// A body whose chunks have long extensions, without an end.
    Extensions,
    /// 503 to everything.
    Storm,
    /// Values in the answer's headers that are not UTF-8.
    Bytes,
    /// Answers of so many MiB.
    Huge(usize),
    /// 100 kB of headers in each answer.
    Wide,
    /// Closes its connections whenever it likes.
    Fickle,
    /// Answers 413 before it has read the body.
    Hasty,
    /// 503 to the first attempt of each request.
    FailsFirst,
}

impl Behaviour {
    /// Whether a connection that began so ends when the server is told otherwise.
    fn raw(self) -> bool {
        matches!(self, Self::Refuses | Self::Deaf | Self::Resets | Self::Garbage | Self::Fickle)
            || matches!(self, Self::Interim | Self::InterimH2 | Self::Extensions)
    }
}

/// What a server has seen.
#[derive(Default)]
pub struct Tally {
    pub connections: AtomicU64,
    pub requests: AtomicU64,
}

/// A server on a port of its own.
pub struct Server {
    pub address: SocketAddr,
    pub tally: Arc<Tally>,
    behaviour: watch::Sender<Behaviour>,
}

impl Server {
    /// Starts it on this runtime.
    pub fn start(behaviour: Behaviour, on: &Handle) -> Self {
        let socket = bound((Ipv4Addr::LOCALHOST, 0).into());
        let address = socket.local_addr().unwrap();
        let (sender, told) = watch::channel(behaviour);
        let tally = Arc::new(Tally::default());
        on.spawn(listen(socket, address, told, Arc::clone(&tally)));
        Self { address, tally, behaviour: sender }
    }

    /// From now on it behaves so.
    pub fn becomes(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    pub fn connections(&self) -> u64 {
        self.tally.connections.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> u64 {
        self.tally.requests.load(Ordering::Relaxed)
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Accepts connections, but while the server refuses them: then its port is bound, and nobody listens. Ends with the
/// [`Server`], and all its connections with it.
async fn listen(mut socket: TcpSocket, address: SocketAddr, mut told: watch::Receiver<Behaviour>, tally: Arc<Tally>) {
    while told.wait_for(|b| *b != Behaviour::Refuses).await.is_ok() {
        let listener = socket.listen(4096).unwrap();
        let mut refuses = told.clone();
        loop {
            tokio::select! {
                refuses = refuses.wait_for(|b| *b == Behaviour::Refuses) => match refuses {
                    Ok(_) => break,
                    Err(_) => return,
                },
                accepted = listener.accept() => {
                    let Ok((io, _)) = accepted else { continue };
                    tally.connections.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(connection(io, told.clone(), Arc::clone(&tally)));
                }
            }
        }
        drop(listener);
        socket = bound(address);
    }
}

async fn connection(io: TcpStream, told: watch::Receiver<Behaviour>, tally: Arc<Tally>) {
    let _ = io.set_nodelay(true);
    let (first, mut changes) = (*told.borrow(), told.clone());
    let changed = changes.wait_for(|now| if first.raw() { *now != first } else { now.raw() });
    tokio::select! {
        _ = changed => {}
        () = serve(io, first, told, tally) => {}
    }
}

async fn serve(mut io: TcpStream, first: Behaviour, told: watch::Receiver<Behaviour>, tally: Arc<Tally>) {
    match first {
        Behaviour::Refuses => {}
        Behaviour::Deaf => std::future::pending().await,
        Behaviour::Resets => io.set_zero_linger().unwrap(),
        Behaviour::Garbage => {
            let _ = io.read(&mut [0; 1024]).await;
            tally.requests.fetch_add(1, Ordering::Relaxed);
            let _ = io.write_all(b"SSH-2.0-upstream\r\n").await;
        }
        Behaviour::Interim => drop(storm::interim(&mut io).await),
        Behaviour::InterimH2 => drop(storm::interim_h2(&mut io).await),
        Behaviour::Extensions => drop(storm::extensions(&mut io).await),
        Behaviour::Fickle => {
            let whenever = Duration::from_millis(fastrand::u64(0..40));
            tokio::select! {
                () = sleep(whenever) => {}
                () = http(io, told, tally) => {}
            }
        }
        _ => http(io, told, tally).await,
    }
}

async fn http(io: TcpStream, told: watch::Receiver<Behaviour>, tally: Arc<Tally>) {
    let service = service_fn(move |request| {
        tally.requests.fetch_add(1, Ordering::Relaxed);
        let behaviour = *told.borrow();
        async move { Ok::<_, std::io::Error>(answer(request, behaviour).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    // More than Envoy passes on.
    server.http1().max_headers(200);
    // A connection that breaks is the peer's business, and often the point.
    let _ = server.serve_connection_with_upgrades(TokioIo::new(io), service).await;
}

async fn answer(mut request: Request<Incoming>, behaviour: Behaviour) -> Response<Body> {
    if request.headers().get(UPGRADE).is_some() {
        tokio::spawn(echo(hyper::upgrade::on(&mut request)));
        let mut response = status(101);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    }
    let path = request.uri().path().to_owned();
    if path.starts_with("/stream") {
        return Response::new(request.into_body().map_err(Into::into).boxed_unsync());
    }
    let first = request.headers().get("x-envoy-attempt-count").is_some_and(|count| count == "1");
    let mut digest = Digest::of(&request);
    if behaviour == Behaviour::Hasty && request.method() == "POST" {
        tokio::spawn(request.into_body().collect());
        return status(413);
    }
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            digest.body(data);
        }
    }
    match behaviour {
        Behaviour::Mute => std::future::pending().await,
        Behaviour::Slow(late) => sleep(late).await,
        // So that some connections are closed while it answers.
        Behaviour::Fickle => sleep(Duration::from_millis(3)).await,
        _ if path.starts_with("/slow") => sleep(Duration::from_millis(300)).await,
        _ => {}
    }
    match behaviour {
        Behaviour::Storm => status(503),
        Behaviour::FailsFirst if first => status(503),
        Behaviour::Halves => Response::new(stream(vec![Bytes::from_static(b"half")], None, true)),
        Behaviour::Huge(mebibytes) => {
            let chunk = Bytes::from_static(&[b'x'; MIB]);
            Response::new(stream(vec![chunk; mebibytes], None, false))
        }
        Behaviour::Bytes => with(digest, "x-bytes", b"caf\xe9 \xff\xfe"),
        Behaviour::Wide => with(digest, "x-wide", &[b'w'; 100_000]),
        _ => right(digest),
    }
}

fn status(status: u16) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// The answer that tells what was received, in a header and as its body.
fn right(digest: Digest) -> Response<Body> {
    let digest = digest.finish();
    let mut response = Response::new(full(digest.clone()));
    response.headers_mut().insert(DIGEST, digest.parse().unwrap());
    response
}

fn with(digest: Digest, name: &'static str, value: &[u8]) -> Response<Body> {
    let mut response = right(digest);
    response.headers_mut().insert(name, HeaderValue::from_bytes(value).unwrap());
    response
}

async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(io) = upgrade.await else { return };
    let (mut read, mut write) = tokio::io::split(TokioIo::new(io));
    let _ = tokio::io::copy(&mut read, &mut write).await;
}
