//! The faults of clients. Each is at work beside the steady load, and its own answers are compared too.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::{Bytes, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::load::{CHANGED, Kinds};
use crate::matrix::{Beside, Proof, Row, both, counted, ignored, odd, outcome, pairs};
use crate::plain::{Plain, answer, kind, open};
use crate::uploads::{HELD, chunks_of_one, drips, frugal, thousand_uploads, two_chunks_held};
use harness::client::BoxError;

/// How long an odd client waits for anything.
const PATIENCE: Duration = Duration::from_secs(8);
/// What a client that goes away saw.
const GONE: &str = "gone";

pub type Odd = Pin<Box<dyn Future<Output = Kinds> + Send>>;

/// So many clients at once, and what each saw.
pub fn many<F>(count: usize, client: impl Fn(usize) -> F + Send + 'static) -> Odd
where
    F: Future<Output = std::io::Result<String>> + Send + 'static,
{
    Box::pin(async move {
        let patient = |client| async { timeout(PATIENCE, client).await };
        let mut tasks: JoinSet<_> = (0..count).map(|n| patient(client(n))).collect();
        let mut kinds = Kinds::new();
        while let Some(done) = tasks.join_next().await {
            let kind = match done.unwrap() {
                Ok(Ok(kind)) => kind,
                Ok(Err(error)) => format!("{:?}", error.kind()).to_lowercase(),
                Err(_) => "stalled".to_owned(),
            };
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    })
}

pub fn gone_in_head(to: SocketAddr) -> Odd {
    many(30, move |_| async move {
        let _half = open(to, b"GET /gone HTTP/1.1\r\nhost: serv").await?;
        sleep(Duration::from_millis(20)).await;
        Ok(GONE.to_owned())
    })
}

pub fn gone_in_body(to: SocketAddr) -> Odd {
    many(30, move |_| async move {
        let upload = Plain::post("/gone", vec![b'x'; 100_000]).whole();
        let _half = open(to, &upload[..50_000]).await?;
        sleep(Duration::from_millis(20)).await;
        Ok(GONE.to_owned())
    })
}

pub fn gone_before_the_answer(to: SocketAddr) -> Odd {
    many(30, move |_| async move {
        let _whole = open(to, &Plain::post("/slow", vec![b'x'; 1000]).whole()).await?;
        sleep(Duration::from_millis(100)).await;
        Ok(GONE.to_owned())
    })
}

/// A hundred requests a second.
pub fn gets(to: SocketAddr) -> Odd {
    many(300, move |n| async move {
        sleep(Duration::from_millis(10) * n as u32).await;
        Plain::get("/get").send(to).await
    })
}

/// Clients that come one after the other, each with one request: they meet what is configured now.
pub fn newcomers(to: SocketAddr) -> Odd {
    many(100, move |n| async move {
        sleep(Duration::from_millis(24) * n as u32).await;
        Plain::post("/new", b"comer".into()).send(to).await
    })
}

pub fn long_headers(to: SocketAddr) -> Odd {
    many(20, move |_| Plain::get("/long").field("x-long", vec![b'l'; 60_000]).send(to))
}

/// As many fields as Envoy allows, and more.
pub fn many_headers(to: SocketAddr) -> Odd {
    many(30, move |n| {
        let fields = 0..[80, 93, 100][n % 3];
        fields.fold(Plain::get("/many"), |plain, n| plain.field(&format!("x-{n:03}"), "v")).send(to)
    })
}

pub fn bytes_in_headers(to: SocketAddr) -> Odd {
    many(20, move |_| Plain::get("/bytes").field("x-cafe", b"caf\xe9 \xff\xfe").field("cookie", b"a=\x80").send(to))
}

/// Ten requests in one write; the answers must come in their order.
pub fn pipelined(to: SocketAddr) -> Odd {
    many(10, move |_| async move {
        let one = |n: usize| Plain::post(&format!("/pipe/{n}"), vec![b'p'; n]);
        let mut all: Vec<Plain> = (0..10).map(one).collect();
        all[9] = all[9].clone().field("connection", "close");
        let mut io = open(to, &all.iter().flat_map(Plain::whole).collect::<Vec<u8>>()).await?;
        let mut read = String::new();
        io.read_to_string(&mut read).await?;
        let answers: Vec<&str> = read.split_inclusive("HTTP/1.1 ").skip(1).collect();
        let right = answers.iter().zip(&all).filter(|(answer, plain)| {
            let answer = answer.trim_end_matches("HTTP/1.1 ");
            kind(&format!("HTTP/1.1 {answer}"), &plain.digest()) == "200"
        });
        Ok(format!("{} right answers", right.count()))
    })
}

pub fn http_10(to: SocketAddr) -> Odd {
    many(20, move |n| {
        let plain = if n % 2 == 0 { Plain::get("/old") } else { Plain::post("/old", b"hello".into()) };
        Plain { version: "1.0", ..plain }.send(to)
    })
}

/// Sends pieces one after the other, each when the one before has come back.
async fn echoes(io: &mut TcpStream, count: usize) -> std::io::Result<()> {
    for n in 0..count {
        let sent = format!("piece {n:03}");
        io.write_all(sent.as_bytes()).await?;
        let mut back = [0; 9];
        io.read_exact(&mut back).await?;
        assert_eq!(back, sent.as_bytes());
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn read_head(io: &mut TcpStream) -> std::io::Result<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(io.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

pub fn web_sockets(to: SocketAddr) -> Odd {
    many(10, move |_| async move {
        let ask = Plain::get("/chat").field("connection", "Upgrade").field("upgrade", "websocket");
        let mut io = open(to, &ask.whole()).await?;
        let head = read_head(&mut io).await?;
        if head.starts_with("HTTP/1.1 101") {
            echoes(&mut io, 20).await?;
        }
        Ok(format!("{} and echoes", kind(&head, "")))
    })
}

/// Through the tunnel goes a request to the primary.
pub fn tunnels(to: SocketAddr) -> Odd {
    many(10, move |_| async move {
        let mut io = open(to, b"CONNECT service.test:443 HTTP/1.1\r\nhost: service.test:443\r\n\r\n").await?;
        let head = read_head(&mut io).await?;
        let inner = Plain::post("/inside", b"tunnelled".into()).field("connection", "close");
        io.write_all(&inner.whole()).await?;
        let status = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
        Ok(format!("{status} and {} inside", answer(&mut io, &inner.digest()).await?))
    })
}

/// Streams in both directions at once. Half of them end, half are reset.
pub fn grpc_streams(to: SocketAddr) -> Odd {
    many(10, move |n| async move {
        let io = TokioIo::new(TcpStream::connect(to).await?);
        let other = std::io::Error::other::<hyper::Error>;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(other)?;
        tokio::spawn(connection);
        let (messages, body) = mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
        let request = Request::post("http://service.test/stream").header("te", "trailers");
        let request = request.header("content-type", "application/grpc");
        let request = request.body(StreamBody::new(ReceiverStream::new(body)).boxed_unsync()).unwrap();
        let response = sender.send_request(request).await.map_err(other)?;
        let (status, mut back) = (response.status().as_u16(), response.into_body());
        for n in 0..20_u8 {
            let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 1, n]);
            messages.send(Ok(Frame::data(message.clone()))).await.map_err(std::io::Error::other)?;
            let echo = back.frame().await.ok_or(std::io::ErrorKind::UnexpectedEof)?.map_err(other)?;
            if echo.data_ref() != Some(&message) {
                return Ok(CHANGED.to_owned());
            }
            sleep(Duration::from_millis(40)).await;
        }
        if n % 2 == 0 {
            return Ok(format!("{status}, echoes, reset"));
        }
        drop(messages);
        while let Some(frame) = back.frame().await {
            frame.map_err(other)?;
        }
        Ok(format!("{status}, echoes, ended"))
    })
}

pub fn expects(to: SocketAddr) -> Odd {
    many(20, move |_| async move {
        let plain =
            Plain::post("/expect", vec![b'e'; 5000]).field("expect", "100-continue").field("connection", "close");
        let mut io = open(to, &plain.head()).await?;
        let first = read_head(&mut io).await?;
        io.write_all(&plain.body).await?;
        let status = first.split_whitespace().nth(1).unwrap_or_default();
        Ok(format!("{status}, then {}", answer(&mut io, &plain.digest()).await?))
    })
}

/// Clients that are told to go on, send all there is, and do not wait for the answer.
pub fn expects_and_leaves(to: SocketAddr) -> Odd {
    many(30, move |_| async move {
        let plain = Plain::post("/slow", vec![b'e'; 5000]).field("expect", "100-continue");
        let mut io = open(to, &plain.head()).await?;
        let first = read_head(&mut io).await?;
        io.write_all(&plain.body).await?;
        sleep(Duration::from_millis(100)).await;
        Ok(format!("{}, then {GONE}", kind(&first, "")))
    })
}

pub fn options_star(to: SocketAddr) -> Odd {
    many(20, move |_| Plain { method: "OPTIONS", ..Plain::get("*") }.send(to))
}

/// What no client should send.
const MALFORMED: [(&str, &[u8]); 10] = [
    ("no HTTP", b"hello\r\n\r\n"),
    ("no host", b"GET / HTTP/1.1\r\n\r\n"),
    ("a space in a name", b"GET / HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n"),
    ("a bad version", b"GET / HTTP/7.3\r\nhost: a\r\n\r\n"),
    ("a NUL in a value", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n"),
    ("two lengths", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    ("a length that is none", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n"),
    (
        "length and chunks",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a chunk that is none", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n"),
    ("a path of bytes", b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n"),
];

pub fn malformed(to: SocketAddr) -> Odd {
    many(MALFORMED.len() * 3, move |n| async move {
        let (name, bytes) = MALFORMED[n % MALFORMED.len()];
        let mut io = open(to, bytes).await?;
        // Envoy may wait for more.
        let answer = timeout(Duration::from_secs(1), answer(&mut io, "")).await.unwrap_or(Ok("waits".to_owned()));
        Ok(format!("{name}: {}", answer?))
    })
}

fn row(name: &'static str, beside: Beside, proof: Proof) -> Row {
    Row { beside: Some(beside), ..Row::new(name, proof) }
}

pub fn rows() -> Vec<Row> {
    let closed = "http.filter.downstream_cx_destroy_remote";
    let waiting = "http.filter.downstream_cx_destroy_remote_active_rq";
    let mut streams =
        row("gRPC streams that stay open", grpc_streams, both(odd("200, echoes, ended", 5), outcome("incomplete", 5)));
    streams.plan.h2 = true;
    vec![
        row("gone in mid-head", gone_in_head, both(odd(GONE, 30), counted(closed, 30))),
        row("gone in mid-body", gone_in_body, both(odd(GONE, 30), outcome("incomplete", 30))),
        row("gone before the answer", gone_before_the_answer, both(odd(GONE, 30), counted(waiting, 30))),
        row("uploads of a byte a second", drips, both(odd("200", 20), outcome("sent", 20))),
        Row {
            times: 6,
            ..row(
                "1,000 uploads of 1 MiB at once",
                thousand_uploads,
                both(odd("200", 1000), outcome("buffer_limit", 500)),
            )
        },
        row("60 kB of headers", long_headers, odd("200", 20)),
        row("80, 93 and 100 headers", many_headers, both(odd("200", 10), odd("431", 10))),
        row("headers that are not UTF-8", bytes_in_headers, odd("200", 20)),
        row("chunks of a byte", chunks_of_one, odd("200", 10)),
        Row {
            times: 4,
            ..row(
                "800 uploads of two chunks of a byte at once",
                two_chunks_held,
                both(odd("200", HELD as u64), frugal()),
            )
        },
        row("ten requests in one write", pipelined, odd("10 right answers", 10)),
        row("HTTP/1.0", http_10, odd("200", 20)),
        row("WebSockets", web_sockets, both(odd("101 and echoes", 10), ignored("upgrade"))),
        row("CONNECT tunnels", tunnels, both(odd("200 and 200 inside", 10), ignored("connect"))),
        streams,
        row("`expect: 100-continue`", expects, odd("100, then 200", 20)),
        row(
            "`expect: 100-continue`, gone before the answer",
            expects_and_leaves,
            both(odd("100, then gone", 30), pairs("mirror_only", 30)),
        ),
        row("`OPTIONS *`", options_star, odd("404", 20)),
        row("what is no HTTP", malformed, odd("no HTTP: 400", 3)),
    ]
}
