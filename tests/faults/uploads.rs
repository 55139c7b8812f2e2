//! Clients that send bodies: slowly, many at once, in pieces.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Barrier;
use tokio::time::sleep;

use crate::clients::{Odd, many};
use crate::matrix::Proof;
use crate::plain::{Plain, answer, open};

/// Between two pieces of one of many uploads.
const PACE: Duration = Duration::from_millis(600);
/// So many uploads are under way at once, and the VM may take so much for each: its headers, what is booked, and a rest.
pub const HELD: usize = 800;
const HELD_BYTES: u64 = 4 << 10;

/// One byte a second.
pub fn drips(to: SocketAddr) -> Odd {
    many(20, move |_| async move {
        let upload = Plain::post("/drip", b"ab".into()).field("connection", "close");
        let mut io = open(to, &upload.head()).await?;
        for byte in &upload.body {
            sleep(Duration::from_secs(1)).await;
            io.write_all(&[*byte]).await?;
        }
        answer(&mut io, &upload.digest()).await
    })
}

/// Uploads of 1 MiB, none of which ends before all have begun.
fn at_once(count: usize, to: SocketAddr) -> Odd {
    many(count, move |n| async move {
        sleep(PACE.mul_f64(n as f64 / count as f64)).await;
        let upload = Plain::post("/upload", vec![b'u'; 1 << 20]).field("connection", "close");
        let mut io = open(to, &upload.head()).await?;
        for piece in upload.body.chunks(128 << 10) {
            io.write_all(piece).await?;
            sleep(PACE).await;
        }
        answer(&mut io, &upload.digest()).await
    })
}

pub fn thousand_uploads(to: SocketAddr) -> Odd {
    at_once(1000, to)
}

pub fn uploads(to: SocketAddr) -> Odd {
    at_once(200, to)
}

/// Uploads of 8 MiB, ten a second.
pub fn posts(to: SocketAddr) -> Odd {
    many(40, move |n| async move {
        sleep(Duration::from_millis(100) * n as u32).await;
        Plain::post("/post", vec![b'p'; 8 << 20]).send(to).await
    })
}

/// Bodies that no buffer on the way holds whole: what a mirror that does not read would stall, if it could.
pub fn big_uploads(to: SocketAddr) -> Odd {
    many(3, move |_| Plain::post("/big", vec![b'x'; 8 << 20]).send(to))
}

pub fn chunks_of_one(to: SocketAddr) -> Odd {
    many(10, move |_| async move {
        let plain = Plain { method: "POST", ..Plain::get("/chunks") }.field("transfer-encoding", "chunked");
        let plain = Plain { body: vec![b'c'; 500], ..plain }.field("connection", "close");
        let mut io = open(to, &plain.head()).await?;
        for byte in &plain.body {
            io.write_all(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']).await?;
        }
        io.write_all(b"0\r\n\r\n").await?;
        answer(&mut io, &plain.digest()).await
    })
}

/// Uploads of two chunks of a byte, of which none ends before all have sent both.
pub fn two_chunks_held(to: SocketAddr) -> Odd {
    let all = Arc::new(Barrier::new(HELD));
    many(HELD, move |n| {
        let all = Arc::clone(&all);
        async move {
            let plain = Plain { method: "POST", ..Plain::get("/held") }.field("transfer-encoding", "chunked");
            let plain = Plain { body: b"ab".into(), ..plain }.field("connection", "close");
            let turn = PACE.mul_f64(n as f64 / HELD as f64);
            sleep(turn).await;
            let mut io = open(to, &plain.head()).await?;
            for byte in &plain.body {
                io.write_all(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']).await?;
                all.wait().await;
                // Envoy makes one chunk of two that it reads at once.
                sleep(PACE).await;
            }
            sleep(turn).await;
            io.write_all(b"0\r\n\r\n").await?;
            answer(&mut io, &plain.digest()).await
        }
    })
}

/// The VM grew by no more than these uploads may take.
pub fn frugal() -> Proof {
    Box::new(|e| {
        let grown = format!("the VM grew by {} KiB", e.grown >> 10);
        if e.grown <= HELD as u64 * HELD_BYTES { Ok(grown) } else { Err(grown) }
    })
}
