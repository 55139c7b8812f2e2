//! The faults of clients. Each is at work beside the steady load, and its own answers are compared too.

use std::net::SocketAddr;
use std::pin::Pin;

use tokio::task::JoinSet;

use crate::harness::client::{Client, Req};
use crate::load::Kinds;

type Odd = Pin<Box<dyn Future<Output = Kinds> + Send>>;

/// Does it so often at once, and counts what came of it.
fn many<F>(count: usize, client: impl Fn(usize) -> F + Send + 'static) -> Odd
where
    F: Future<Output = String> + Send + 'static,
{
    Box::pin(async move {
        let mut tasks: JoinSet<String> = (0..count).map(client).collect();
        let mut kinds = Kinds::new();
        while let Some(kind) = tasks.join_next().await {
            *kinds.entry(kind.unwrap()).or_default() += 1;
        }
        kinds
    })
}

/// Bodies that no buffer on the way holds whole: what a mirror that does not read would stall, if it could.
pub fn big_uploads(to: SocketAddr) -> Odd {
    many(3, move |_| async move {
        let mut client = match Client::try_h1(to).await {
            Ok(client) => client,
            Err(error) => return error,
        };
        match client.try_send(Req::post("/", vec![b'x'; 8 << 20])).await {
            Ok(reply) => reply.status.to_string(),
            Err(_) => "reset".to_owned(),
        }
    })
}
