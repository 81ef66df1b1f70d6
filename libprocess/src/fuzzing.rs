//! The decoders of what outsiders send, for the fuzzer. No part of the interface.

use crate::http::fuzzing as http;
use crate::transport::fuzzing as transport;

/// Reads a peer's frames, in pieces of `size` bytes; how many there were.
pub fn frames(stream: &[u8], size: usize) -> usize {
    transport::frames(stream, size)
}

/// Reads what begins a link; whether it does.
pub fn handshake(bytes: &[u8]) -> bool {
    transport::handshake(bytes)
}

/// Finds the end of a request's head and of a chunked body, in pieces of `size` bytes; how many bytes belong to
/// each.
pub fn http_framing(stream: &[u8], size: usize) -> (usize, usize) {
    http::framing(stream, size)
}

/// Decodes a query, and a compressed body of at most `limit` bytes; how many values and bytes there were.
pub fn http_decoding(input: &[u8], limit: usize) -> (usize, Option<usize>) {
    http::decoding(input, limit)
}
