//! What responses are read with, where they are compared.

use super::{CurrentResponse, append_buffer, header, pairs};
use crate::core::header_map::HeaderMap;
use crate::core::outcome::Short;
use proxy_wasm::types::{BufferType, MapType};

/// Reads the headers of the response whose callback is being served.
pub fn headers() -> HeaderMap {
    pairs(MapType::HttpResponseHeaders, Vec::new())
}

/// Appends `size` bytes, from the byte at `start` on, of the chunk of the response's body whose callback is being served; false, and nothing
/// appended, where memory does not suffice.
pub fn append_chunk(to: &mut Vec<u8>, start: usize, size: usize) -> bool {
    append_buffer(BufferType::HttpResponseBody, to, start, size)
}

/// Reads the first value of a trailer of the response whose callback is being served.
pub fn trailer(name: &str) -> Option<Short> {
    header(MapType::HttpResponseTrailers, name)
}

impl CurrentResponse {
    /// Reads all headers.
    pub fn all_headers(&self) -> HeaderMap {
        if self.headers > 0 { pairs(MapType::HttpCallResponseHeaders, Vec::new()) } else { HeaderMap::default() }
    }

    /// Appends `size` bytes, from the byte at `start` on, of the body; false, and nothing appended, where memory does not suffice.
    pub fn append_body(&self, to: &mut Vec<u8>, start: usize, size: usize) -> bool {
        append_buffer(BufferType::HttpCallResponseBody, to, start, size)
    }
}
