//! Writing: what the generated `Serialize` of each message is made of.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::cell::Cell;

/// A JSON object under construction.
struct Object<S: Serializer>(S::SerializeMap);

impl<S: Serializer> Object<S> {
    fn new(serializer: S) -> Result<Self, S::Error> {
        serializer.serialize_map(None).map(Object)
    }

    /// A field that is always written.
    fn put(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) -> Result<(), S::Error> {
        self.0.serialize_entry(name, value)
    }

    /// A field that is written if set.
    fn some(&mut self, name: &'static str, value: Option<impl Serialize>) -> Result<(), S::Error> {
        value.map_or(Ok(()), |value| self.put(name, &value))
    }

    /// A field whose zero means that it is unset, as in proto3.
    fn nonzero<T: Serialize + Default + PartialEq>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        if *value == T::default() { Ok(()) } else { self.put(name, value) }
    }

    /// A repeated field, written unless empty.
    fn list<T: Serialize>(
        &mut self,
        name: &'static str,
        items: impl Iterator<Item = T>,
    ) -> Result<(), S::Error> {
        let mut items = items.peekable();
        if items.peek().is_none() {
            return Ok(());
        }
        self.put(name, &List(Cell::new(Some(items))))
    }

    /// A map, written unless empty.
    fn map<V: Serialize>(
        &mut self,
        name: &'static str,
        map: &std::collections::BTreeMap<String, V>,
    ) -> Result<(), S::Error> {
        if map.is_empty() { Ok(()) } else { self.put(name, map) }
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

/// An iterator that is written as an array, once.
struct List<I>(Cell<Option<I>>);

impl<T: Serialize, I: Iterator<Item = T>> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.take().into_iter().flatten())
    }
}

/// JSON has no infinity; a string says it. The number itself keeps a fraction or an exponent: `1.0`.
struct Double(f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            f64::INFINITY => serializer.serialize_str("Infinity"),
            f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
            it if it.is_nan() => serializer.serialize_str("NaN"),
            it => serializer.serialize_f64(it),
        }
    }
}

/// Bytes, in the standard alphabet with padding.
struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

/// The name of an enum's value; none for a number that a newer peer knows and we do not.
fn enum_name<E: TryFrom<i32>>(number: i32, name: fn(&E) -> &'static str) -> Option<&'static str> {
    E::try_from(number).ok().map(|value| name(&value))
}

#[allow(deprecated, clippy::all, clippy::pedantic)]
mod generated {
    use super::{Base64, Double, Object, enum_name};
    use serde::ser::{Serialize, Serializer};

    include!(concat!(env!("OUT_DIR"), "/json.rs"));
}
