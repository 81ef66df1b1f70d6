//! What a client sends over HTTP: where requests end does not depend on how the bytes arrive, and decoding keeps to
//! its limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libprocess::fuzzing::{http_decoding, http_framing};

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else { return };
    assert_eq!(http_framing(stream, usize::from(*size)), http_framing(stream, stream.len()));
    let limit = usize::from(*size) << 8;
    let (_, unpacked) = http_decoding(stream, limit);
    assert!(unpacked.is_none_or(|bytes| bytes <= limit));
});
