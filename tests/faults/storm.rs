//! Mirrors that never stop sending, of which no limit of a response's size takes notice. Plain bytes: no HTTP library would
//! send that.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// So much is written at once.
const BATCH: usize = 64 << 10;
/// Of HTTP/2: what opens a connection, and the head of every frame.
const PREFACE: usize = 24;
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// `:status: 103`, as a literal.
const STATUS_103: [u8; 5] = [8, 3, b'1', b'0', b'3'];

/// 103 over HTTP/1.1, again and again.
pub async fn interim(io: &mut TcpStream) -> std::io::Result<()> {
    io.readable().await?;
    for_ever(io, &b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(BATCH / 28)).await
}

/// A body of chunks of one byte, each with an extension of 4 KiB.
pub async fn extensions(io: &mut TcpStream) -> std::io::Result<()> {
    io.readable().await?;
    io.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    let chunk = [b"1;", &[b'e'; 4 << 10][..], b"\r\nx\r\n"].concat();
    for_ever(io, &chunk.repeat(BATCH / chunk.len())).await
}

async fn for_ever(io: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let (mut read, mut write) = io.split();
    let reading = async {
        while read.read(&mut [0; 4096]).await? > 0 {}
        Ok(())
    };
    let writing = async {
        loop {
            write.write_all(bytes).await?;
        }
    };
    tokio::select! { ended = reading => ended, failed = writing => failed }
}

/// 103 over HTTP/2, for each request, whether it has been given up or not.
pub async fn interim_h2(io: &mut TcpStream) -> std::io::Result<()> {
    io.read_exact(&mut [0; PREFACE]).await?;
    io.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let (mut read, mut write) = io.split();
    let (sender, mut streams) = watch::channel(Vec::new());
    let reading = async {
        loop {
            let mut head = [0; HEAD];
            read.read_exact(&mut head).await?;
            let [length @ .., kind, flags, a, b, c, d] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize];
            read.read_exact(&mut payload).await?;
            match kind {
                HEADERS => sender.send_modify(|streams| streams.push(u32::from_be_bytes([a, b, c, d]))),
                SETTINGS if flags & ACK == 0 => sender.send_modify(|streams| streams.push(0)),
                _ => {}
            }
        }
    };
    let writing = async {
        let mut seen = 0;
        streams.changed().await.map_err(std::io::Error::other)?;
        loop {
            let all = streams.borrow_and_update().clone();
            // Stream 0 stands for settings that are to be acknowledged.
            let acknowledged = all[seen..].iter().filter(|stream| **stream == 0);
            write.write_all(&frame(SETTINGS, ACK, 0, &[]).repeat(acknowledged.count())).await?;
            seen = all.len();
            let frames: Vec<u8> = all
                .iter()
                .filter(|stream| **stream > 0)
                .flat_map(|stream| frame(HEADERS, END_HEADERS, *stream, &STATUS_103))
                .collect();
            if frames.is_empty() {
                streams.changed().await.map_err(std::io::Error::other)?;
            }
            write.write_all(&frames.repeat(BATCH / frames.len().clamp(1, BATCH))).await?;
        }
    };
    tokio::select! { failed = reading => failed, failed = writing => failed }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
