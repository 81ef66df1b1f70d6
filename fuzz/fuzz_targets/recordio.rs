//! A RecordIO stream in chunks of a size given by its first byte: the same records as in one chunk.
#![no_main]

use api::recordio::{Decoder, RecordIoError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else { return };
    let whole = decode(std::iter::once(stream));
    let parts = decode(stream.chunks(usize::from(*size).max(1)));
    assert_eq!(whole.0, parts.0);
    // How much of a bad length is quoted depends on what had arrived.
    assert_eq!(whole.1.is_some(), parts.1.is_some());
});

fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<RecordIoError>) {
    let mut decoder = Decoder::new(256);
    let mut records = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => records.push(record.to_vec()),
                Ok(None) => break,
                Err(error) => return (records, Some(error)),
            }
        }
    }
    (records, None)
}
