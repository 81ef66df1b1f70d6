//! Decoding protobuf that others sent.
//!
//! prost fills a missing required field with a default and says nothing, so a scheduler that forgot its
//! user would run as the empty one. [`decode`] walks the bytes by the table of messages first, refuses
//! what lacks a required field, by name, or is not what its field says, and then lets prost build the message.
//! After [`check`] alone a message, or a part of it, can stay bytes until somebody wants it.

use crate::schema::{Described, Kind, Label, Missing, Path, Schema};

/// Messages may nest this deep, as in Apache's protobuf.
pub const DEPTH_MAX: usize = 100;

/// No message has more fields; see [`Schema::fields`].
const FIELDS_MAX: usize = 64;

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Every required field that is absent, by its path.
    #[error("Missing required fields: {0}")]
    Missing(String),
    /// Not protobuf, or cut short.
    #[error("not a valid {message}: {reason} at `{at}`")]
    Malformed {
        /// What it should have been.
        message: &'static str,
        /// The field being read; empty for the message itself.
        at: String,
        /// What is wrong with the bytes.
        reason: &'static str,
    },
    /// Well-formed, but a field holds what its type does not allow.
    #[error("not a valid {message}: {source}")]
    Value {
        /// What it should have been.
        message: &'static str,
        /// prost's account.
        source: prost::DecodeError,
    },
}

/// Decodes a message, refusing missing required fields at any depth.
///
/// A required field of a required enum type with a number that the enum lacks counts as missing, as it
/// does in Apache's protobuf. One difference from it: a singular message given twice is checked each
/// time, not only after merging.
pub fn decode<M: Described>(body: &[u8]) -> Result<M, DecodeError> {
    check::<M>(body)?;
    decode_checked(body)
}

/// Decodes what [`check`] let pass, or some of its fields: what is missing then gets a default.
pub fn decode_checked<M: Described>(body: &[u8]) -> Result<M, DecodeError> {
    M::decode(body).map_err(|source| DecodeError::Value { message: M::schema().name, source })
}

/// The check of [`decode`] alone: prost can decode what passes.
pub fn check<M: Described>(body: &[u8]) -> Result<(), DecodeError> {
    let mut missing = Missing::default();
    match walk(M::schema(), body, None, 0, &mut missing) {
        Err((at, reason)) => Err(DecodeError::Malformed { message: M::schema().name, at, reason }),
        Ok(()) => missing.text().map_or(Ok(()), |fields| Err(DecodeError::Missing(fields))),
    }
}

type Malformed = (String, &'static str);

fn walk(
    schema: &'static Schema,
    mut bytes: &[u8],
    at: Option<&Path<'_>>,
    depth: usize,
    missing: &mut Missing,
) -> Result<(), Malformed> {
    let here = || at.map(Path::to_string).unwrap_or_default();
    if depth > DEPTH_MAX {
        return Err((here(), TOO_DEEP));
    }
    // Which fields occurred, and how often those that a path would have to number.
    let mut seen = 0u64;
    let mut counts: Option<[u32; FIELDS_MAX]> = None;
    while !bytes.is_empty() {
        let (number, value) = next(&mut bytes, depth).map_err(|reason| (here(), reason))?;
        let Some((position, field)) = schema.by_number(number) else {
            if depth == DEPTH_MAX {
                return Err((here(), TOO_DEEP));
            }
            continue;
        };
        let wrong = |reason| (Path::field(at, field.name).to_string(), reason);
        match (field.kind, value) {
            (Kind::Enum(_), WireValue::Varint(value)) if field.label == Label::Required => {
                // Negative numbers travel as 64 bits. Of several, prost keeps the last.
                let known = i32::try_from(value.cast_signed())
                    .is_ok_and(|value| field.kind.as_enum().is_some_and(|it| it.has(value)));
                seen = seen & !(1 << position) | u64::from(known) << position;
                continue;
            }
            (Kind::Message(_), WireValue::Bytes(inner)) => {
                let Some(message) = field.kind.as_message() else { continue };
                let path = Path::field(at, field.name);
                if matches!(field.label, Label::Repeated | Label::Map) {
                    let count = &mut counts.get_or_insert([0; FIELDS_MAX])[position];
                    let element = Path::element(&path, *count as usize);
                    *count += 1;
                    walk(message, inner, Some(&element), depth + 1, missing)?;
                } else {
                    walk(message, inner, Some(&path), depth + 1, missing)?;
                }
            }
            // prost reads an entry of a map whatever its wire type says; it must not read what was not checked.
            _ if field.label == Label::Map => return Err(wrong("an entry of a map that is not a message")),
            (Kind::String, WireValue::Bytes(text)) => {
                std::str::from_utf8(text).map_err(|_| wrong("a text that is not UTF-8"))?;
            }
            (Kind::Bytes, WireValue::Bytes(_)) | (Kind::Double, WireValue::Fixed64(_)) => {}
            (
                Kind::Enum(_) | Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64,
                WireValue::Varint(_),
            ) => {}
            (Kind::Message(_) | Kind::String | Kind::Bytes, _) => return Err(wrong(WRONG_TYPE)),
            // Numbers may come packed.
            (kind, WireValue::Bytes(numbers)) if field.label == Label::Repeated => {
                packed(kind, numbers).map_err(wrong)?;
            }
            _ => return Err(wrong(WRONG_TYPE)),
        }
        seen |= 1 << position;
    }
    missing.note(schema, seen, at);
    Ok(())
}

/// Numbers without keys, one after the other.
fn packed(kind: Kind, mut numbers: &[u8]) -> Result<(), &'static str> {
    if kind == Kind::Double {
        return if numbers.len().is_multiple_of(8) { Ok(()) } else { Err(TRUNCATED) };
    }
    while !numbers.is_empty() {
        varint(&mut numbers)?;
    }
    Ok(())
}

/// One field of a message, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireField<'a> {
    /// Its number.
    pub number: u32,
    /// All of it, with its key.
    pub whole: &'a [u8],
    /// What it holds.
    pub value: WireValue<'a>,
}

/// What a field holds, as far as the wire tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireValue<'a> {
    /// A number of an integer type, a `bool`, or of an enum.
    Varint(u64),
    /// The bits of a `double`.
    Fixed64(u64),
    /// A message, a text, bytes, or numbers packed.
    Bytes(&'a [u8]),
    /// Four bytes. No message of Mesos's has such a field.
    Fixed32,
    /// A group, which is obsolete. No message of Mesos's has one.
    Group,
}

/// The fields of a message in their order on the wire, whether or not the message knows them. They end before what is
/// no field; whether their values are what they should be, [`check`] says.
pub fn fields(mut bytes: &[u8]) -> impl Iterator<Item = WireField<'_>> {
    std::iter::from_fn(move || {
        let all = bytes;
        let (number, value) = next(&mut bytes, 0).ok()?;
        Some(WireField { number, whole: &all[..all.len() - bytes.len()], value })
    })
}

const TRUNCATED: &str = "the bytes end too early";
const TOO_DEEP: &str = "messages nested deeper than 100";
const WRONG_TYPE: &str = "a value of the wrong wire type";

/// Reads one field of a message that is nested `depth` deep: its number and value.
#[inline]
fn next<'a>(bytes: &mut &'a [u8], depth: usize) -> Result<(u32, WireValue<'a>), &'static str> {
    let (number, wire_type) = key(bytes)?;
    let value = match wire_type {
        3 => {
            skip_group(bytes, number, depth)?;
            WireValue::Group
        }
        other => scalar(bytes, other)?,
    };
    Ok((number, value))
}

#[inline]
fn key(bytes: &mut &[u8]) -> Result<(u32, u8), &'static str> {
    let key = u32::try_from(varint(bytes)?).map_err(|_| "a field number above the limit")?;
    if key >> 3 == 0 {
        return Err("field number 0");
    }
    // Three bits fit.
    Ok((key >> 3, (key & 7) as u8))
}

#[inline]
fn scalar<'a>(bytes: &mut &'a [u8], wire_type: u8) -> Result<WireValue<'a>, &'static str> {
    match wire_type {
        0 => varint(bytes).map(WireValue::Varint),
        1 => bytes.split_first_chunk().map_or(Err(TRUNCATED), |(bits, rest)| {
            *bytes = rest;
            Ok(WireValue::Fixed64(u64::from_le_bytes(*bits)))
        }),
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| TRUNCATED)?;
            take(bytes, length).map(WireValue::Bytes)
        }
        5 => take(bytes, 4).map(|_| WireValue::Fixed32),
        4 => Err("the end of a group that did not begin"),
        _ => Err("an unknown wire type"),
    }
}

/// An unknown group is skipped like any field.
fn skip_group(bytes: &mut &[u8], number: u32, depth: usize) -> Result<(), &'static str> {
    let mut open = vec![number];
    while let Some(&innermost) = open.last() {
        match key(bytes)? {
            (number, 3) if depth + open.len() < DEPTH_MAX => open.push(number),
            (_, 3) => return Err("groups nested deeper than 100"),
            (number, 4) if number == innermost => drop(open.pop()),
            _ if depth + open.len() >= DEPTH_MAX => return Err("groups nested deeper than 100"),
            (_, wire_type) => {
                scalar(bytes, wire_type)?;
            }
        }
    }
    Ok(())
}

#[inline]
fn varint(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    match **bytes {
        // Nearly all numbers are keys, lengths, or of enums.
        [byte @ ..0x80, ref rest @ ..] => {
            *bytes = rest;
            Ok(u64::from(byte))
        }
        _ => long_varint(bytes),
    }
}

fn long_varint(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(TRUNCATED)?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number of more than 64 bits")
}

#[inline]
fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(TRUNCATED)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;
    use crate::v1::health_check::HttpCheckInfo;
    use prost::Message;

    fn error<M: Described>(body: &[u8]) -> String {
        decode::<M>(body).unwrap_err().to_string()
    }

    #[test]
    fn every_missing_required_field_is_named_by_its_path() {
        // subscribe { framework_info { } }, tag 3 and tag 1; the framework lacks user and name.
        assert_eq!(
            error::<v1::scheduler::Call>(&[0x1a, 2, 0x0a, 0]),
            "Missing required fields: subscribe.framework_info.user, subscribe.framework_info.name"
        );
        assert_eq!(error::<v1::TaskId>(&[]), "Missing required fields: value");
    }

    #[test]
    fn elements_of_a_repeated_field_are_numbered() {
        // Two offers, the second one empty; each lacks all it requires.
        let error = error::<crate::internal::ResourceOffersMessage>(&[0x0a, 0, 0x0a, 0]);
        assert!(error.contains("offers[0].id, offers[0].framework_id"), "{error}");
        assert!(error.contains("offers[1].id"), "{error}");
    }

    #[test]
    fn the_list_of_missing_fields_is_bounded() {
        let body = [0x0a, 0].repeat(1000);
        let error = error::<crate::internal::ResourceOffersMessage>(&body);
        assert!(error.len() < 1000 && error.ends_with(" and 3984 more"), "{error}");
    }

    #[test]
    fn an_unknown_number_of_a_required_enum_counts_as_missing() {
        let status = v1::TaskStatus { task_id: v1::TaskId::from("t"), state: 99, ..Default::default() };
        assert_eq!(error::<v1::TaskStatus>(&status.encode_to_vec()), "Missing required fields: state");
        // Also after a known one: prost keeps the last.
        let known = v1::TaskStatus { state: 1, ..status.clone() };
        let both = [known.encode_to_vec(), status.encode_to_vec()].concat();
        assert_eq!(error::<v1::TaskStatus>(&both), "Missing required fields: state");
    }

    #[test]
    fn unknown_fields_of_every_wire_type_are_skipped() {
        let mut body = v1::TaskId::from("t").encode_to_vec();
        body.extend([0x78, 5]); // 15: varint
        body.extend([0x79, 0, 0, 0, 0, 0, 0, 0, 0]); // 15: 64 bits
        body.extend([0x7a, 2, 9, 9]); // 15: bytes
        body.extend([0x7d, 0, 0, 0, 0]); // 15: 32 bits
        body.extend([0x7b, 0x73, 0x08, 1, 0x74, 0x7c]); // 15: group with a group 14 inside
        assert_eq!(decode::<v1::TaskId>(&body).unwrap().value, "t");
    }

    #[test]
    fn broken_bytes_are_refused_with_a_reason() {
        assert!(error::<v1::TaskId>(&[0x0a, 5, b'x']).contains("the bytes end too early"));
        assert!(error::<v1::TaskId>(&[0x00]).contains("field number 0"));
        assert!(error::<v1::TaskId>(&[0x0c]).contains("a group that did not begin"));
        assert!(error::<v1::TaskId>(&[0x0f]).contains("an unknown wire type"));
        assert!(error::<v1::TaskId>(&[0xff; 11]).contains("more than 64 bits"));
        assert!(error::<v1::TaskId>(&[0x0a, 1, 0xff]).contains("UTF-8"));
        let inside = error::<v1::scheduler::Call>(&[0x1a, 3, 0x0a, 1, 0x0a]);
        assert!(inside.contains("at `subscribe.framework_info`"), "{inside}");
    }

    #[test]
    fn a_value_is_what_its_field_says() {
        let wrong = |bytes: &[u8]| error::<v1::TaskStatus>(bytes);
        assert!(wrong(&[0x0a, 2, 0x08, 1]).contains("a value of the wrong wire type at `task_id.value`"));
        assert!(wrong(&[0x08, 1]).contains("the wrong wire type at `task_id`")); // a number for a message
        assert!(wrong(&[0x12, 0]).contains("the wrong wire type at `state`")); // a text for an enum
        assert!(wrong(&[0x30, 1]).contains("the wrong wire type at `timestamp`")); // a number for a double
        assert!(wrong(&[0x25, 0, 0, 0, 0]).contains("the wrong wire type at `message`")); // 32 bits for a text
        assert!(wrong(&[0x0b, 0x0c]).contains("the wrong wire type at `task_id`")); // a group
        assert!(wrong(&[0x22, 1, 0xff]).contains("a text that is not UTF-8 at `message`"));
        // A key has 32 bits.
        assert!(wrong(&[0x80, 0x80, 0x80, 0x80, 0x10, 0]).contains("a field number above the limit"));
    }

    #[test]
    fn numbers_may_come_packed() {
        let statuses = |bytes: &[u8]| decode::<HttpCheckInfo>(bytes).map(|it| it.statuses);
        assert_eq!(statuses(&[0x08, 80, 0x22, 3, 0xc8, 0x01, 5, 0x20, 6]).unwrap(), [200, 5, 6]);
        assert!(error::<HttpCheckInfo>(&[0x08, 80, 0x22, 1, 0xc8]).contains("end too early at `statuses`"));
        assert!(error::<HttpCheckInfo>(&[0x0a, 1, 80]).contains("the wrong wire type at `port`"));
    }

    #[test]
    fn fields_come_one_by_one_as_they_are() {
        let status = v1::TaskStatus {
            task_id: "t".into(),
            state: 1,
            message: Some("m".into()),
            timestamp: Some(0.5),
            ..Default::default()
        };
        let bytes = status.encode_to_vec();
        let listed: Vec<_> = fields(&bytes).collect();
        assert_eq!(listed.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 2, 4, 6]);
        let values = [
            WireValue::Bytes(&[0x0a, 1, b't']),
            WireValue::Varint(1),
            WireValue::Bytes(b"m"),
            WireValue::Fixed64(0.5f64.to_bits()),
        ];
        assert_eq!(listed.iter().map(|it| it.value).collect::<Vec<_>>(), values);
        assert_eq!(listed.iter().map(|it| it.whole).collect::<Vec<_>>().concat(), bytes);
        assert_eq!(fields(&bytes[..bytes.len() - 1]).count(), 3, "the last one is cut short");
    }

    #[test]
    fn an_entry_of_a_map_is_a_message() {
        // Field 2, guarantees: as a number, then as a group. prost alone would read both as a message.
        assert!(error::<v1::quota::QuotaConfig>(&[0x0a, 0, 0x10, 0]).contains("at `guarantees`"));
        assert!(error::<v1::quota::QuotaConfig>(&[0x0a, 0, 0x13, 0x14]).contains("at `guarantees`"));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |n: usize| {
            let mut id = v1::ContainerId { value: "c".into(), parent: None };
            for _ in 0..n {
                id = v1::ContainerId { value: "c".into(), parent: Some(Box::new(id)) };
            }
            id.encode_to_vec()
        };
        assert!(decode::<v1::ContainerId>(&nested(90)).is_ok());
        assert!(error::<v1::ContainerId>(&nested(150)).contains("nested deeper than 100"));
        // What passes can be decoded, also where it is as deep as may be, with fields nobody knows at the bottom.
        let wrapped = |n: usize, innermost: &[u8]| {
            (0..n).fold(innermost.to_vec(), |inner, _| {
                let mut id = v1::ContainerId { value: "c".into(), parent: None }.encode_to_vec();
                id.push(0x12);
                prost::encoding::encode_varint(inner.len() as u64, &mut id);
                id.extend(inner);
                id
            })
        };
        let innermosts: [&[u8]; 5] = [
            &[0x0a, 1, b'c'],
            &[0x0a, 1, b'c', 0x78, 5],
            &[0x0a, 1, b'c', 0x7b, 0x7c],
            &[0x0a, 1, b'c', 0x7b, 0x78, 5, 0x7c],
            &[0x0a, 1, b'c', 0x7b, 0x7b, 0x7c, 0x7c],
        ];
        for innermost in innermosts {
            let mut deepest = 0;
            for n in 90..110 {
                let bytes = wrapped(n, innermost);
                if check::<v1::ContainerId>(&bytes).is_ok() {
                    assert!(v1::ContainerId::decode(&*bytes).is_ok(), "{innermost:x?} {n} deep");
                    deepest = n;
                }
            }
            assert!((97..=100).contains(&deepest), "{innermost:x?}: {deepest}");
        }
        // A group in a group in a group ...
        assert!(error::<v1::ContainerId>(&[0x7b; 10_000]).contains("groups nested deeper"));
    }
}
