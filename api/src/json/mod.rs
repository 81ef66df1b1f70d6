//! Mesos's JSON form of its messages.
//!
//! It is not protobuf's canonical one: names are as in the `.proto` files, 64-bit integers are numbers,
//! doubles always show a fraction or an exponent, an unset field with a declared default is written with
//! the default, and reading is lenient (numbers in strings, one value for a list, unknown names ignored).

mod input;
mod output;

pub use input::{DEPTH_MAX, JsonError, from_slice, from_value};

use serde::Serialize;
use serde_json::Value;

/// The JSON text of a message (or of anything that serde can write with string keys).
///
/// # Panics
/// Not with this crate's messages: their keys are strings and their numbers finite.
pub fn to_vec(message: &(impl Serialize + ?Sized)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, message);
    out
}

/// Appends the JSON text of a message.
pub fn write(out: &mut Vec<u8>, message: &(impl Serialize + ?Sized)) {
    // Writing to memory does not fail, and a message has nothing that JSON cannot hold.
    if let Err(error) = serde_json::to_writer(out, message) {
        unreachable!("a message always has a JSON form: {error}");
    }
}

/// The JSON text of a message.
pub fn to_string(message: &(impl Serialize + ?Sized)) -> String {
    // serde_json writes UTF-8 only.
    String::from_utf8(to_vec(message)).unwrap_or_default()
}

/// A message as a JSON tree, to add to or to look into.
pub fn to_value(message: &(impl Serialize + ?Sized)) -> Value {
    match serde_json::to_value(message) {
        Ok(value) => value,
        Err(error) => unreachable!("a message always has a JSON form: {error}"),
    }
}
