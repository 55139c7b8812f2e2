//! Requests as plain bytes: what no HTTP library would send, and exactly when.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::digest::Digest;
use crate::load::CHANGED;

const AUTHORITY: &str = "service.test";

/// A request as it is written, byte for byte.
#[derive(Clone)]
pub struct Plain {
    pub method: &'static str,
    pub path: String,
    pub version: &'static str,
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Plain {
    pub fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), version: "1.1", fields: vec![], body: vec![] }
    }

    pub fn post(path: &str, body: Vec<u8>) -> Self {
        let length = body.len().to_string();
        Self { method: "POST", body, ..Self::get(path) }.field("content-length", length)
    }

    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// All that comes before the body.
    pub fn head(&self) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/{}\r\nhost: {AUTHORITY}\r\n", self.method, self.path, self.version).into_bytes();
        for (name, value) in &self.fields {
            head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        head
    }

    pub fn whole(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }

    /// What the primary is to answer.
    pub fn digest(&self) -> String {
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let mut digest = Digest::new(self.method, &self.path, AUTHORITY, fields);
        digest.body(&self.body);
        digest.finish()
    }

    /// Sends it whole, as the connection's last, and reads the answer.
    pub async fn send(self, to: SocketAddr) -> std::io::Result<String> {
        let last = self.field("connection", "close");
        let mut io = open(to, &last.whole()).await?;
        answer(&mut io, &last.digest()).await
    }
}

/// A connection on which this has been sent.
pub async fn open(to: SocketAddr, bytes: &[u8]) -> std::io::Result<TcpStream> {
    let mut io = TcpStream::connect(to).await?;
    io.set_nodelay(true)?;
    io.write_all(bytes).await?;
    Ok(io)
}

/// Reads until the connection is closed, and tells the answer's status.
pub async fn answer(io: &mut TcpStream, digest: &str) -> std::io::Result<String> {
    let mut read = Vec::new();
    let ended = io.read_to_end(&mut read).await;
    let text = String::from_utf8_lossy(&read);
    if text.is_empty() {
        ended?;
        return Ok("closed".to_owned());
    }
    Ok(kind(&text, digest))
}

/// The status of one answer; or that it, or the request that it answers, was changed.
pub fn kind(answer: &str, digest: &str) -> String {
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    let right = answer.contains(&format!("x-digest: {digest}\r\n")) && answer.ends_with(digest);
    if status == "200" && !digest.is_empty() && !right { CHANGED.to_owned() } else { status.to_owned() }
}
