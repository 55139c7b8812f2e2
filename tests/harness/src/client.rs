//! The downstream side: requests as a client sends them, over HTTP/1.1, HTTP/2 or plain bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long a client waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Header fields in the order of the wire (several values of one name stand together, as hyper keeps them).
pub type Fields = Vec<(String, Bytes)>;

pub fn fields(map: &HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.to_string(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

pub fn empty() -> Body {
    Empty::new().map_err(Into::into).boxed_unsync()
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(Into::into).boxed_unsync()
}

/// A body without a known length: `Transfer-Encoding: chunked` on HTTP/1.1. It may break off instead of ending.
pub fn stream(chunks: Vec<Bytes>, trailers: Option<HeaderMap>, breaks_off: bool) -> Body {
    let frames = chunks.into_iter().map(Frame::data).chain(trailers.map(Frame::trailers)).map(Ok);
    let end = breaks_off.then(|| Err(BoxError::from("gone")));
    StreamBody::new(tokio_stream::iter(frames.chain(end).collect::<Vec<_>>())).boxed_unsync()
}

/// A request to be sent.
#[derive(Clone)]
pub struct Req {
    method: Method,
    path: String,
    authority: String,
    headers: HeaderMap,
    body: Option<Bytes>,
    chunks: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    breaks_off: bool,
}

impl Req {
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            authority: "service.test".to_owned(),
            headers: HeaderMap::new(),
            body: None,
            chunks: Vec::new(),
            trailers: None,
            breaks_off: false,
        }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self { body: Some(body.into()), ..Self::new("POST", path) }
    }

    /// A body in pieces, its length not announced.
    pub fn chunked(path: &str, chunks: &[&str]) -> Self {
        let chunks = chunks.iter().map(|c| Bytes::copy_from_slice(c.as_bytes())).collect();
        Self { chunks, ..Self::new("POST", path) }
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    pub fn authority(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    /// A trailer; it goes out after a body in pieces alone.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.trailers.get_or_insert_default().append(name, value.parse().unwrap());
        self
    }

    /// The client gives up after the body's last piece, and before its end.
    pub fn breaking_off(self) -> Self {
        Self { breaks_off: true, ..self }
    }

    pub fn into_request(self, version: Version) -> Request<Body> {
        let streamed = !self.chunks.is_empty() || self.trailers.is_some();
        let body = match self.body {
            _ if streamed => stream(self.chunks, self.trailers, self.breaks_off),
            Some(bytes) => full(bytes),
            None => empty(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.headers_mut() = self.headers;
        if version == Version::HTTP_2 {
            *request.version_mut() = version;
            *request.uri_mut() = format!("http://{}{}", self.authority, self.path).parse().unwrap();
        } else {
            *request.uri_mut() = self.path.parse::<Uri>().unwrap();
            request.headers_mut().insert(HOST, self.authority.parse().unwrap());
        }
        request
    }
}

/// An answer, received whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Fields,
    pub body: Bytes,
    pub trailers: Fields,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    async fn read(response: Response<Incoming>) -> Result<Self, String> {
        let (status, headers) = (response.status().as_u16(), fields(response.headers()));
        let body = response.into_body().collect().await.map_err(|e| format!("{status}, then {e}"))?;
        let trailers = body.trailers().map(fields).unwrap_or_default();
        Ok(Self { status, headers, body: body.to_bytes(), trailers })
    }
}

/// One connection.
pub enum Client {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    pub async fn h1(to: SocketAddr) -> Self {
        Self::try_h1(to).await.unwrap()
    }

    pub async fn try_h1(to: SocketAddr) -> Result<Self, String> {
        let io = TcpStream::connect(to).await.map_err(|e| format!("{to}: {e}"))?;
        Self::handshake(io).await
    }

    /// HTTP/1.1 from an address of this machine that the server will see as the peer's.
    pub async fn h1_from(from: IpAddr, to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        Self::handshake(socket.connect(to).await.unwrap()).await.unwrap()
    }

    /// HTTP/2 with prior knowledge.
    pub async fn h2(to: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    async fn handshake(io: TcpStream) -> Result<Self, String> {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    pub async fn send(&mut self, req: Req) -> Reply {
        self.try_send(req).await.unwrap()
    }

    pub async fn try_send(&mut self, req: Req) -> Result<Reply, String> {
        let path = req.path.clone();
        let exchange = async {
            let response = match self {
                Self::Http1(sender) => {
                    sender.ready().await.map_err(|e| e.to_string())?;
                    sender.send_request(req.into_request(Version::HTTP_11)).await
                }
                Self::Http2(sender) => sender.send_request(req.into_request(Version::HTTP_2)).await,
            };
            Reply::read(response.map_err(|e| e.to_string())?).await
        };
        timeout(PATIENCE, exchange).await.map_err(|_| format!("{path}: no answer"))?
    }
}

/// Opens a connection and sends bytes as they are.
pub async fn raw(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut io = TcpStream::connect(to).await.unwrap();
    io.write_all(bytes).await.unwrap();
    io
}

/// Reads until what was read satisfies `enough`, or the peer closes.
pub async fn read_until(io: &mut TcpStream, enough: impl Fn(&str) -> bool) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !enough(&String::from_utf8_lossy(&read)) {
            if io.read_buf(&mut read).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    let late = timeout(PATIENCE, reading).await.is_err();
    let text = String::from_utf8_lossy(&read).into_owned();
    assert!(!late, "waited in vain for more than {text:?}");
    text
}
