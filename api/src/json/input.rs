//! Reading: one walk over the JSON tree by the table of messages, writing protobuf as it goes.
//!
//! The bytes in between make one walk serve every message; prost then builds the message from them.

use crate::schema::{Described, Enum, Field, Kind, Label, Missing, Path, Schema};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Map, Value};

/// Objects and arrays may nest this deep.
pub const DEPTH_MAX: usize = 200;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a JSON text is not the message it should be.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all; tells line and column.
    #[error("not valid JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("JSON nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// A message is an object.
    #[error("expected a JSON object holding a {message}, found {found}")]
    NotAnObject {
        /// The message that was to be read.
        message: &'static str,
        /// What stood there.
        found: String,
    },
    /// A field holds what its type does not allow.
    #[error("field `{path}`: expected {expected}, found {found}")]
    Field {
        /// From the outermost message: `accept.operations[0].type`.
        path: String,
        /// What would be right.
        expected: String,
        /// What stood there.
        found: String,
    },
    /// Every required field that is absent, by its path.
    #[error("Missing required fields: {0}")]
    Missing(String),
    /// The message cannot be built, though its JSON is right: messages nested too deep for protobuf.
    #[error("{0}")]
    Message(#[from] prost::DecodeError),
}

/// Reads a message from JSON text.
///
/// Unknown names are ignored and `null` leaves a field unset. Numbers may stand in strings, a fraction
/// given for an integer is cut off, one value given for a repeated field is a list of one, an unknown
/// name of an enum's value counts as absent unless the field is required.
pub fn from_slice<M: Described>(text: &[u8]) -> Result<M, JsonError> {
    // Checked before parsing, so that neither parsing nor dropping the tree recurses without bound.
    if depth(text) > DEPTH_MAX {
        return Err(JsonError::TooDeep);
    }
    let mut parser = serde_json::Deserializer::from_slice(text);
    parser.disable_recursion_limit();
    let value: Value = serde::Deserialize::deserialize(&mut parser)?;
    parser.end()?;
    from_value(&value)
}

/// Reads a message from a JSON tree, by the rules of [`from_slice`].
pub fn from_value<M: Described>(value: &Value) -> Result<M, JsonError> {
    let schema = M::schema();
    let Value::Object(object) = value else {
        return Err(JsonError::NotAnObject { message: schema.name, found: describe(value) });
    };
    let mut out = Vec::new();
    let mut reader = Reader { missing: Missing::default() };
    reader.message(schema, object, None, 1, &mut out)?;
    match reader.missing.text() {
        Some(fields) => Err(JsonError::Missing(fields)),
        None => Ok(M::decode(out.as_slice())?),
    }
}

/// How deep objects and arrays nest in a text; brackets inside strings do not count.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

struct Reader {
    missing: Missing,
}

impl Reader {
    fn message(
        &mut self,
        schema: &'static Schema,
        object: &Map<String, Value>,
        at: Option<&Path<'_>>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        if depth > DEPTH_MAX {
            return Err(JsonError::TooDeep);
        }
        let mut seen = 0u64;
        for (name, value) in object {
            let Some((position, field)) = schema.by_name(name) else { continue };
            let path = Path::field(at, field.name);
            let written = match (field.label, value) {
                (_, Value::Null) => false,
                (Label::Map, Value::Object(entries)) => {
                    for (key, value) in entries.iter().filter(|entry| !entry.1.is_null()) {
                        self.entry(field, key, value, &Path::key(&path, key), depth, out)?;
                    }
                    true
                }
                (Label::Map, _) => return Err(wrong(&path, "an object", value)),
                (Label::Repeated, Value::Array(items)) => {
                    for (i, item) in items.iter().enumerate().filter(|item| !item.1.is_null()) {
                        self.value(field, item, &Path::element(&path, i), depth, out)?;
                    }
                    true
                }
                _ => self.value(field, value, &path, depth, out)?,
            };
            seen |= u64::from(written) << position;
        }
        self.missing.note(schema, seen, at);
        Ok(())
    }

    /// One entry of a map: on the wire a message of key and value.
    fn entry(
        &mut self,
        field: &'static Field,
        key: &str,
        value: &Value,
        path: &Path<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let Some([of_key, of_value]) = field.kind.as_message().map(|entry| entry.fields) else {
            return Ok(());
        };
        let mut entry = Vec::new();
        self.value(of_key, &Value::String(key.to_string()), path, depth, &mut entry)?;
        if self.value(of_value, value, path, depth + 1, &mut entry)? {
            length_delimited(field.number, &entry, out);
        }
        Ok(())
    }

    /// One value. Tells whether it was written: the unknown name of an enum's value is dropped.
    fn value(
        &mut self,
        field: &'static Field,
        value: &Value,
        path: &Path<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, JsonError> {
        let varint = |out: &mut Vec<u8>, value: u64| {
            encode_key(field.number, WireType::Varint, out);
            encode_varint(value, out);
        };
        // Negative numbers of 32 bits travel as 64 bits too.
        let signed = |out: &mut Vec<u8>, value: i64| varint(out, value.cast_unsigned());
        match (field.kind, value) {
            (Kind::Message(_), Value::Object(object)) => {
                let Some(schema) = field.kind.as_message() else { return Ok(false) };
                let mut inner = Vec::new();
                self.message(schema, object, Some(path), depth + 1, &mut inner)?;
                length_delimited(field.number, &inner, out);
            }
            (Kind::Message(_), _) => return Err(wrong(path, "an object", value)),
            (Kind::String, Value::String(text)) => length_delimited(field.number, text.as_bytes(), out),
            (Kind::String, _) => return Err(wrong(path, "a string", value)),
            (Kind::Bytes, Value::String(text)) => {
                let bytes = BASE64.decode(text).map_err(|_| wrong(path, "bytes in base64", value))?;
                length_delimited(field.number, &bytes, out);
            }
            (Kind::Bytes, _) => return Err(wrong(path, "a string of bytes in base64", value)),
            (Kind::Bool, Value::Bool(it)) => varint(out, u64::from(*it)),
            (Kind::Bool, Value::String(text)) if text == "true" || text == "false" => {
                varint(out, u64::from(text == "true"));
            }
            (Kind::Bool, _) => return Err(wrong(path, "true or false", value)),
            (Kind::Double, _) => {
                let number = double(value).ok_or_else(|| wrong(path, "a number", value))?;
                encode_key(field.number, WireType::SixtyFourBit, out);
                out.extend_from_slice(&number.to_le_bytes());
            }
            (Kind::Uint32, _) => varint(out, integer(value, path, 0, u32::MAX.into())? as u64),
            (Kind::Uint64, _) => varint(out, integer(value, path, 0, u64::MAX.into())? as u64),
            (Kind::Int32, _) => signed(out, integer(value, path, i32::MIN.into(), i32::MAX.into())? as i64),
            (Kind::Int64, _) => signed(out, integer(value, path, i64::MIN.into(), i64::MAX.into())? as i64),
            (Kind::Enum(_), Value::String(name)) => {
                let Some(it) = field.kind.as_enum() else { return Ok(false) };
                match it.number(name) {
                    Some(number) => signed(out, number.into()),
                    None if field.label == Label::Required => return Err(wrong(path, names(it), value)),
                    None => return Ok(false),
                }
            }
            (Kind::Enum(_), _) => {
                let expected = field.kind.as_enum().map(names).unwrap_or_default();
                return Err(wrong(path, expected, value));
            }
        }
        Ok(true)
    }
}

fn length_delimited(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A number, or a string that holds one.
fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            // Rust would also take "nan" and "inf".
            text if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
                text.parse().ok().filter(|number: &f64| number.is_finite())
            }
            _ => None,
        },
        _ => None,
    }
}

/// A whole number within bounds; a fraction is cut off.
fn integer(value: &Value, path: &Path<'_>, min: i128, max: i128) -> Result<i128, JsonError> {
    let exact = match value {
        Value::Number(number) => number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)),
        Value::String(text) => text.parse::<i128>().ok(),
        _ => None,
    };
    // The conversion saturates, which the bounds then refuse.
    let number = exact.or_else(|| double(value).map(|number| number as i128));
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
        let expected = format!("a whole number from {min} to {max}");
        wrong(path, expected, value)
    })
}

fn wrong(path: &Path<'_>, expected: impl Into<String>, value: &Value) -> JsonError {
    JsonError::Field { path: path.to_string(), expected: expected.into(), found: describe(value) }
}

fn names(it: &Enum) -> String {
    let names: Vec<&str> = it.values.iter().map(|value| value.0).collect();
    format!("one of {}", names.join(", "))
}

/// What stands in a place, short enough for an error.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(it) => it.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > 64 => {
            format!("the string {:?}...", text.chars().take(64).collect::<String>())
        }
        Value::String(text) => format!("the string {text:?}"),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}
