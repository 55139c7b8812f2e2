//! What is known and kept of responses under comparison, as it ought to be: a part of the [`ledger`](crate::ledger).

use crate::ledger::{first, number};
use fake_host::host::Headers;
use std::collections::BTreeMap;

/// The longest body that the model's rules compare.
pub const MOST_COMPARED: usize = 100;

/// A response that is kept.
#[derive(Debug)]
struct Kept {
    root: u32,
    /// The values of `x-v`.
    value: Option<Vec<u8>>,
    /// The body, as far as it came; none where it is not kept.
    body: Option<Vec<u8>>,
    is_complete: bool,
}

/// A stream whose response is looked at.
#[derive(Debug)]
struct Watched {
    root: u32,
    has_content: bool,
    is_grpc: bool,
    grpc_status: Option<u16>,
    /// The response, by its number.
    kept: Option<usize>,
}

#[derive(Debug, Default)]
pub struct Responses {
    watched: BTreeMap<u32, Watched>,
    /// By their numbers, the oldest first.
    kept: BTreeMap<usize, Kept>,
    next: usize,
}

impl Responses {
    pub fn watch(&mut self, root: u32, stream: u32, has_content: bool, is_grpc: bool) {
        if has_content || is_grpc {
            self.watched.insert(stream, Watched { root, has_content, is_grpc, grpc_status: None, kept: None });
        }
    }

    pub fn root(&self, stream: u32) -> Option<u32> {
        self.watched.get(&stream).map(|watched| watched.root)
    }

    pub fn grpc_status(&self, stream: u32) -> Option<u16> {
        self.watched.get(&stream)?.grpc_status
    }

    pub fn headers_came(&mut self, stream: u32, headers: &Headers, ends: bool) {
        let Some(watched) = self.watched.get_mut(&stream) else { return };
        let (root, before) = (watched.root, watched.kept.take());
        if watched.is_grpc {
            watched.grpc_status = first(headers, "grpc-status").map(number);
        }
        before.into_iter().for_each(|before| drop(self.kept.remove(&before)));
        if self.watched[&stream].has_content {
            let kept = self.keep(root, headers);
            self.kept.get_mut(&kept).unwrap().is_complete = ends;
            self.watched.get_mut(&stream).unwrap().kept = Some(kept);
        }
    }

    /// `most`: what requests leave to responses.
    pub fn body_came(&mut self, stream: u32, chunk: &[u8], hides: bool, ends: bool, most: usize) {
        let Some(kept) = self.watched[&stream].kept else { return };
        self.push(kept, chunk, hides, most);
        if ends {
            self.complete(kept);
        }
    }

    pub fn trailers_came(&mut self, stream: u32, trailers: &Headers) {
        let Some(watched) = self.watched.get_mut(&stream) else { return };
        if watched.is_grpc && watched.grpc_status.is_none() {
            watched.grpc_status = first(trailers, "grpc-status").map(number);
        }
        let kept = watched.kept;
        kept.into_iter().for_each(|kept| self.complete(kept));
    }

    pub fn keep(&mut self, root: u32, headers: &Headers) -> usize {
        let values: Vec<_> = headers.iter().filter(|(name, _)| name == b"x-v").map(|(_, value)| &value[..]).collect();
        let value = (!values.is_empty()).then(|| values.join(&b","[..]));
        self.next += 1;
        self.kept.insert(self.next, Kept { root, value, body: Some(Vec::new()), is_complete: false });
        self.next
    }

    pub fn push(&mut self, kept: usize, chunk: &[u8], hides: bool, most: usize) {
        let root = self.kept[&kept].root;
        let has_room = self.bytes_of(root) + chunk.len() <= most;
        let kept = self.kept.get_mut(&kept).unwrap();
        let Some(body) = kept.body.as_mut().filter(|_| !chunk.is_empty()) else { return };
        body.extend_from_slice(chunk);
        if body.len() > MOST_COMPARED || !has_room || hides {
            kept.body = None;
        }
    }

    pub fn complete(&mut self, kept: usize) {
        self.kept.get_mut(&kept).unwrap().is_complete = true;
    }

    pub fn drop(&mut self, kept: usize) {
        self.kept.remove(&kept);
    }

    /// Keeps the responses of these streams, and those of mirrors.
    pub fn retain(&mut self, is_needed: impl Fn(u32) -> bool) {
        for (_, watched) in self.watched.extract_if(.., |stream, _| !is_needed(*stream)) {
            watched.kept.into_iter().for_each(|kept| drop(self.kept.remove(&kept)));
        }
    }

    /// Leaves so many bytes to the responses of a root.
    pub fn shrink(&mut self, root: u32, most: usize) {
        while self.bytes_of(root) > most {
            let has_body =
                |kept: &&mut Kept| kept.root == root && kept.body.as_ref().is_some_and(|body| !body.is_empty());
            self.kept.values_mut().find(has_body).unwrap().body = None;
        }
    }

    pub fn bytes(&self) -> usize {
        self.kept.values().flat_map(|kept| &kept.body).map(Vec::len).sum()
    }

    fn bytes_of(&self, root: u32) -> usize {
        self.kept.values().filter(|kept| kept.root == root).flat_map(|kept| &kept.body).map(Vec::len).sum()
    }

    /// Returns the fields that differ beside the status, and whether all was compared.
    pub fn differences(&self, stream: u32, mirror: usize) -> (Vec<&'static str>, bool) {
        let Some(primary) = self.watched[&stream].kept else { return (Vec::new(), false) };
        let (primary, mirror) = (&self.kept[&primary], &self.kept[&mirror]);
        let mut fields = Vec::new();
        if primary.value != mirror.value {
            fields.push("headers/x-v");
        }
        let body = |kept: &Kept| kept.body.clone().filter(|_| kept.is_complete);
        let bodies = body(primary).zip(body(mirror));
        if bodies.as_ref().is_some_and(|(primary, mirror)| primary != mirror) {
            fields.push("body");
        }
        (fields, bodies.is_some())
    }
}
