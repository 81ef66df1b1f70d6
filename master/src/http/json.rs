//! Writing large JSON documents straight into a buffer, with room for fragments that are JSON already.

use serde::Serialize;

/// An object being written.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, first: true }
    }

    fn key(&mut self, name: &str) {
        comma(self.out, &mut self.first);
        api::json::write(self.out, name);
        self.out.push(b':');
    }

    /// A string field.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        self.serialize(name, value);
    }

    /// Any field.
    pub(crate) fn serialize(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.key(name);
        api::json::write(self.out, value);
    }

    /// A field that may be missing.
    pub(crate) fn optional(&mut self, name: &str, value: Option<&(impl Serialize + ?Sized)>) {
        if let Some(value) = value {
            self.serialize(name, value);
        }
    }

    /// A field that is an object.
    pub(crate) fn object(&mut self, name: &str) -> Object<'_> {
        self.key(name);
        Object::new(self.out)
    }

    /// A field that is an array.
    pub(crate) fn array(&mut self, name: &str) -> Array<'_> {
        self.key(name);
        Array::new(self.out)
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// An array being written.
pub(crate) struct Array<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Array<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'[');
        Array { out, first: true }
    }

    /// An element that is JSON already.
    pub(crate) fn raw(&mut self, fragment: &[u8]) {
        comma(self.out, &mut self.first);
        self.out.extend_from_slice(fragment);
    }

    /// Any element.
    pub(crate) fn serialize(&mut self, value: &(impl Serialize + ?Sized)) {
        comma(self.out, &mut self.first);
        api::json::write(self.out, value);
    }

    /// An element that is an object.
    pub(crate) fn object(&mut self) -> Object<'_> {
        comma(self.out, &mut self.first);
        Object::new(self.out)
    }

    pub(crate) fn end(self) {
        self.out.push(b']');
    }
}

fn comma(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::replace(first, false) {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_json() {
        let mut out = Vec::new();
        let mut object = Object::new(&mut out);
        object.field("a\"", "b");
        object.optional("none", None::<&str>);
        let mut array = object.array("list");
        array.raw(b"1");
        array.serialize("x");
        let inner = array.object();
        inner.end();
        array.end();
        let mut inner = object.object("inner");
        inner.serialize("n", &1.0);
        inner.end();
        object.end();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a\"":"b","list":[1,"x",{}],"inner":{"n":1.0}}"#);
    }
}
