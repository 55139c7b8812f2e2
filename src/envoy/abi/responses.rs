//! What responses are read with, where they are compared.

use super::{CurrentResponse, header, large_buffer, pairs};
use crate::core::header_map::HeaderMap;
use proxy_wasm::types::{BufferType, MapType};

/// Reads the headers of the response whose callback is being served.
pub fn headers() -> HeaderMap {
    pairs(MapType::HttpResponseHeaders)
}

/// Reads the `size` bytes of the response's body whose callback is being served; `None` where memory does not suffice.
pub fn body_chunk(size: usize) -> Option<Vec<u8>> {
    large_buffer(BufferType::HttpResponseBody, size)
}

/// Reads the first value of a trailer of the response whose callback is being served.
pub fn trailer(name: &str) -> Option<Vec<u8>> {
    header(MapType::HttpResponseTrailers, name)
}

impl CurrentResponse {
    /// Reads all headers.
    pub fn all_headers(&self) -> HeaderMap {
        if self.headers > 0 { pairs(MapType::HttpCallResponseHeaders) } else { HeaderMap::default() }
    }

    /// Reads all of the body; `None` where memory does not suffice.
    pub fn all_of_body(&self) -> Option<Vec<u8>> {
        large_buffer(BufferType::HttpCallResponseBody, self.body)
    }
}
