//! Decoding protobuf that others sent.
//!
//! prost fills a missing required field with a default and says nothing, so a scheduler that forgot its
//! user would run as the empty one. [`decode`] walks the bytes by the table of messages first, refuses
//! what lacks a required field, by name, and then lets prost build the message.

use crate::schema::{Described, Label, Missing, Path, Schema};

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
    M::decode(body).map_err(|source| DecodeError::Value { message: M::schema().name, source })
}

/// The check of [`decode`] alone.
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
        return Err((here(), "messages nested deeper than 100"));
    }
    // Which fields occurred, and how often those that a path would have to number.
    let mut seen = 0u64;
    let mut counts: Option<[u32; FIELDS_MAX]> = None;
    while !bytes.is_empty() {
        let (number, value) = next(&mut bytes).map_err(|reason| (here(), reason))?;
        let Some((position, field)) = schema.by_number(number) else { continue };
        match (value, field.kind.as_enum(), field.kind.as_message()) {
            (Value::Varint(value), Some(it), _) if field.label == Label::Required => {
                // Negative numbers travel as 64 bits. Of several, prost keeps the last.
                let known = i32::try_from(value.cast_signed()).is_ok_and(|value| it.has(value));
                seen = seen & !(1 << position) | u64::from(known) << position;
            }
            (Value::Bytes(inner), _, Some(message)) => {
                seen |= 1 << position;
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
            _ if field.label == Label::Map => {
                return Err((
                    Path::field(at, field.name).to_string(),
                    "an entry of a map that is not a message",
                ));
            }
            _ => seen |= 1 << position,
        }
    }
    missing.note(schema, seen, at);
    Ok(())
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed width, or an unknown group: skipped.
    Other,
}

const TRUNCATED: &str = "the bytes end too early";

/// Reads one field: its number and value.
fn next<'a>(bytes: &mut &'a [u8]) -> Result<(u32, Value<'a>), &'static str> {
    let (number, wire_type) = key(bytes)?;
    let value = match wire_type {
        3 => {
            skip_group(bytes, number)?;
            Value::Other
        }
        other => scalar(bytes, other)?,
    };
    Ok((number, value))
}

fn key(bytes: &mut &[u8]) -> Result<(u32, u8), &'static str> {
    let key = varint(bytes)?;
    let number = u32::try_from(key >> 3).map_err(|_| "a field number above the limit")?;
    if number == 0 {
        return Err("field number 0");
    }
    // Three bits fit.
    Ok((number, (key & 7) as u8))
}

fn scalar<'a>(bytes: &mut &'a [u8], wire_type: u8) -> Result<Value<'a>, &'static str> {
    match wire_type {
        0 => varint(bytes).map(Value::Varint),
        1 => take(bytes, 8).map(|_| Value::Other),
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| TRUNCATED)?;
            take(bytes, length).map(Value::Bytes)
        }
        5 => take(bytes, 4).map(|_| Value::Other),
        4 => Err("the end of a group that did not begin"),
        _ => Err("an unknown wire type"),
    }
}

/// Groups are obsolete and none of our messages has one, but an unknown one is skipped like any field.
fn skip_group(bytes: &mut &[u8], number: u32) -> Result<(), &'static str> {
    let mut open = vec![number];
    while let Some(&innermost) = open.last() {
        match key(bytes)? {
            (number, 3) if open.len() < DEPTH_MAX => open.push(number),
            (_, 3) => return Err("groups nested deeper than 100"),
            (number, 4) if number == innermost => drop(open.pop()),
            (_, wire_type) => {
                scalar(bytes, wire_type)?;
            }
        }
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, &'static str> {
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

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(TRUNCATED)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;
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
        // A group in a group in a group ...
        assert!(error::<v1::ContainerId>(&[0x7b; 10_000]).contains("groups nested deeper"));
    }
}
