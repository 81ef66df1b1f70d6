//! RecordIO: how a stream of events is cut into records.
//!
//! A record is its length in decimal ASCII digits, one newline, then that many bytes; the next record
//! follows at once. The chunks in which a stream arrives carry no meaning.

use bytes::{Buf, Bytes, BytesMut};

/// The largest record a decoder takes unless told otherwise, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Digits of the largest 64-bit length.
const DIGITS_MAX: usize = 20;

/// Why a stream cannot be read on. All of these are final: the place where the next record begins is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordIoError {
    /// Something that is not a decimal number stands where a length should.
    #[error("expected the length of a record in decimal digits and a newline, found {0:?}")]
    Length(String),
    /// A length above the bound of this decoder.
    #[error("a record of {length} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// As announced.
        length: u64,
        /// What the decoder allows.
        limit: usize,
    },
}

/// One record, framed.
pub fn encode(record: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() + DIGITS_MAX + 1);
    encode_into(record, &mut out);
    out
}

/// Appends one framed record.
pub fn encode_into(record: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(record.len().to_string().as_bytes());
    out.push(b'\n');
    out.extend_from_slice(record);
}

/// Cuts a stream into records as its bytes arrive.
///
/// ```
/// let mut decoder = api::recordio::Decoder::new(1024);
/// decoder.feed(b"5\nhello3\nbo");
/// assert_eq!(decoder.next_record().unwrap().unwrap(), "hello");
/// assert_eq!(decoder.next_record().unwrap(), None);
/// decoder.feed(b"b");
/// assert_eq!(decoder.next_record().unwrap().unwrap(), "bob");
/// ```
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Length of the record being read, once known.
    length: Option<usize>,
    record_bytes_max: usize,
    failed: Option<RecordIoError>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new(RECORD_BYTES_MAX)
    }
}

impl Decoder {
    /// A decoder that refuses records of more than `record_bytes_max` bytes.
    pub fn new(record_bytes_max: usize) -> Self {
        Decoder { buffer: BytesMut::new(), length: None, record_bytes_max, failed: None }
    }

    /// Takes in what arrived. Call [`Decoder::next_record`] until it has no more before feeding again:
    /// then never more than one record and one chunk is held.
    pub fn feed(&mut self, chunk: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// The next complete record, or none until more bytes arrive. An error is final and repeats itself.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordIoError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.advance().inspect_err(|error| {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        })
    }

    /// Whether the stream may end here: no record is half read.
    pub fn is_between_records(&self) -> bool {
        self.failed.is_none() && self.length.is_none() && self.buffer.is_empty()
    }

    fn advance(&mut self) -> Result<Option<Bytes>, RecordIoError> {
        let length = match self.length {
            Some(length) => length,
            None => match self.take_length()? {
                Some(length) => *self.length.insert(length),
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.length = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Reads `digits \n`, or nothing while the newline has not arrived.
    fn take_length(&mut self) -> Result<Option<usize>, RecordIoError> {
        let head = &self.buffer[..self.buffer.len().min(DIGITS_MAX + 1)];
        let n_digits = head.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let refused = || RecordIoError::Length(String::from_utf8_lossy(head).into_owned());
        match head.get(n_digits) {
            None if n_digits <= DIGITS_MAX => return Ok(None),
            Some(b'\n') if n_digits > 0 => {}
            _ => return Err(refused()),
        }
        // Twenty digits may still exceed 64 bits.
        let digits = std::str::from_utf8(&head[..n_digits]).map_err(|_| refused())?;
        let length: u64 = digits.parse().map_err(|_| refused())?;
        self.buffer.advance(n_digits + 1);
        match usize::try_from(length) {
            Ok(fits) if fits <= self.record_bytes_max => Ok(Some(fits)),
            _ => Err(RecordIoError::TooLarge { length, limit: self.record_bytes_max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(decoder: &mut Decoder) -> Result<Vec<Vec<u8>>, RecordIoError> {
        let mut records = Vec::new();
        while let Some(record) = decoder.next_record()? {
            records.push(record.to_vec());
        }
        Ok(records)
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Vec<u8>>, RecordIoError> {
        let mut decoder = Decoder::new(100);
        decoder.feed(bytes);
        drain(&mut decoder)
    }

    #[test]
    fn the_length_counts_bytes() {
        assert_eq!(encode("é\n".as_bytes()), b"3\n\xc3\xa9\n");
        assert_eq!(encode(b""), b"0\n");
    }

    #[test]
    fn a_stream_split_at_every_boundary_gives_the_same_records() {
        let records: [&[u8]; 4] = [b"one", b"", b"12\n3", b"\n"];
        let stream: Vec<u8> = records.iter().flat_map(|record| encode(record)).collect();
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut decoder = Decoder::new(100);
                let mut found = Vec::new();
                for chunk in [&stream[..first], &stream[first..second], &stream[second..]] {
                    decoder.feed(chunk);
                    found.extend(drain(&mut decoder).unwrap());
                }
                assert_eq!(found, records);
                assert!(decoder.is_between_records());
            }
        }
    }

    #[test]
    fn a_length_that_is_no_number_is_final() {
        for bad in
            ["x\n", "\n", "-1\nx", "1 \nx", "1\r\nx", "999999999999999999999\n", "99999999999999999999\n"]
        {
            assert!(matches!(decode(bad.as_bytes()), Err(RecordIoError::Length(_))), "{bad:?}");
        }
        let mut decoder = Decoder::new(100);
        decoder.feed(b"x");
        let error = decoder.next_record().unwrap_err();
        decoder.feed(b"1\na");
        assert_eq!(decoder.next_record().unwrap_err(), error);
        assert_eq!(decoder.buffer.len(), 0);
    }

    #[test]
    fn a_record_above_the_limit_is_refused_before_it_is_read() {
        assert_eq!(decode(b"101\n"), Err(RecordIoError::TooLarge { length: 101, limit: 100 }));
        assert_eq!(decode(&encode(&[7; 100])).unwrap(), [[7; 100]]);
    }

    #[test]
    fn a_stream_that_ends_inside_a_record_is_noticed() {
        let mut decoder = Decoder::default();
        decoder.feed(b"4\nabc");
        assert_eq!(decoder.next_record(), Ok(None));
        assert!(!decoder.is_between_records());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut decoder = Decoder::new(64);
            for chunk in chunks {
                decoder.feed(&chunk);
                while let Ok(Some(record)) = decoder.next_record() {
                    prop_assert!(record.len() <= 64);
                }
            }
        }
    }
}
