//! Percent-encoding, gzip, and who accepts it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Decodes `%XX`; what is no such thing stays as it is. In queries and ids, `+` is a space.
pub(crate) fn percent_decoded(text: &str, plus_is_space: bool) -> Cow<'_, str> {
    if !(text.contains('%') || plus_is_space && text.contains('+')) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        at += 1;
        match byte {
            b'+' if plus_is_space => decoded.push(b' '),
            b'%' => match (hex(at), hex(at + 1)) {
                (Some(high), Some(low)) => {
                    decoded.push((high * 16 + low) as u8);
                    at += 2;
                }
                _ => decoded.push(b'%'),
            },
            byte => decoded.push(byte),
        }
    }
    Cow::Owned(String::from_utf8(decoded).unwrap_or_else(|error| {
        // Not text: show what there is of it.
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    }))
}

/// The names and values of a query string; of a name given twice the last value counts.
pub(crate) fn query(text: &str) -> BTreeMap<String, String> {
    text.split(['&', ';'])
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(name, true).into_owned(), percent_decoded(value, true).into_owned())
        })
        .collect()
}

/// Whether an `Accept-Encoding` header allows gzip: named, or by `*`, and not with a quality of zero.
pub(crate) fn accepts_gzip(header: &str) -> bool {
    let mut any = false;
    for coding in header.split(',') {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| {
            parameter
                .split_once('=')
                .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
                .is_some_and(|(_, q)| q.trim().parse().is_ok_and(|q: f32| q <= 0.0))
        });
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            return !refused;
        }
        any |= name == "*" && !refused;
    }
    any
}

/// Compresses, fast rather than small: it is done while someone waits.
pub(crate) fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing to memory fails only if memory does.
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}

/// Why a compressed body was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GunzipError {
    Corrupt,
    TooLarge,
}

/// Decompresses to at most `limit` bytes.
pub(crate) fn gunzip(body: &[u8], limit: usize) -> Result<Bytes, GunzipError> {
    let mut out = Vec::new();
    let mut decoder = MultiGzDecoder::new(body).take(limit as u64 + 1);
    decoder.read_to_end(&mut out).map_err(|_| GunzipError::Corrupt)?;
    if out.len() > limit {
        return Err(GunzipError::TooLarge);
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percent_decoding_leaves_what_is_none() {
        for (text, decoded) in [
            ("slave%281%29", "slave(1)"),
            ("a+b%2B", "a b+"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%C3%A9", "é"),
        ] {
            assert_eq!(percent_decoded(text, true), decoded);
        }
        assert_eq!(percent_decoded("a+b", false), "a+b");
    }

    #[test]
    fn the_last_of_two_values_counts() {
        let query = query("a=1&b&a=2+3&&c=%26");
        let pairs: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "2 3"), ("b", ""), ("c", "&")]);
    }

    #[test]
    fn gzip_is_accepted_unless_refused() {
        for (header, accepted) in [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("*;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(header), accepted, "{header}");
        }
    }

    #[test]
    fn a_gzip_bomb_is_not_unpacked() {
        let bomb = gzip(&vec![0; 10 << 20]).unwrap();
        assert_eq!(gunzip(&bomb, 1 << 20), Err(GunzipError::TooLarge));
        assert_eq!(gunzip(&bomb[..bomb.len() / 2], 20 << 20), Err(GunzipError::Corrupt));
        assert_eq!(gunzip(b"plain", 100), Err(GunzipError::Corrupt));
    }

    proptest! {
        #[test]
        fn decoding_takes_anything(text in "\\PC*", plus: bool) {
            let _ = percent_decoded(&text, plus);
            let _ = query(&text);
            let _ = accepts_gzip(&text);
        }

        #[test]
        fn gzip_round_trips(body in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(&gunzip(&gzip(&body).unwrap(), body.len()).unwrap()[..], &body[..]);
        }
    }
}
