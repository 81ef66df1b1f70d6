//! What a peer sends over a link, in pieces of a size given by its first byte: the same frames as in one piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libprocess::fuzzing::{frames, handshake};

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else { return };
    assert_eq!(frames(stream, usize::from(*size)), frames(stream, stream.len()));
    handshake(stream);
});
