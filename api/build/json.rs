//! `serde::Serialize` for every message, by Mesos's rules. The conversions are in `api::json::output`.

use crate::names;
use crate::schema::Messages;
use prost_types::FieldDescriptorProto;
use prost_types::field_descriptor_proto::{Label, Type};
use std::fmt::Write;

/// Rust source: one `impl Serialize` a message, fields in the order of declaration.
pub(crate) fn serialize(all: &Messages) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    for (name, message) in &all.messages {
        if all.map_entry(name).is_some() {
            continue;
        }
        let path = names::type_path(name);
        writeln!(
            out,
            "impl Serialize for {path} {{ fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {{"
        )?;
        let mutable = if message.field.is_empty() { "" } else { "mut " };
        writeln!(out, "let {mutable}o = Object::new(s)?;")?;
        for field in &message.field {
            writeln!(out, "{}", statement(all, name, field))?;
        }
        writeln!(out, "o.end() }} }}")?;
    }
    Ok(out)
}

/// The line that writes one field.
fn statement(all: &Messages, message: &str, field: &FieldDescriptorProto) -> String {
    let key = format!("{:?}", field.name());
    let name = names::field(field.name());
    let deprecated = field.options.as_ref().is_some_and(|options| options.deprecated());
    let of_enum = || names::type_path(field.type_name());

    if let Some(entry) = all.map_entry(field.type_name()) {
        let value = entry.field[1].r#type();
        assert!(
            matches!(value, Type::Message | Type::String),
            "{message}.{name}: a map of {value:?} has no JSON form yet"
        );
        return format!("o.map({key}, &self.{name})?;");
    }
    if field.label() == Label::Optional && field.default_value.is_some() && !deprecated {
        return match field.r#type() {
            Type::Double => format!("o.put({key}, &Double(self.{name}()))?;"),
            Type::Enum => format!("o.put({key}, self.{name}().as_str_name())?;"),
            Type::Bytes => format!("o.put({key}, &Base64(self.{name}()))?;"),
            Type::String => format!("o.put({key}, self.{name}())?;"),
            _ => format!("o.put({key}, &self.{name}())?;"),
        };
    }
    if all.is_proto3(message) && field.label() == Label::Optional && field.r#type() != Type::Message {
        return format!("o.nonzero({key}, &self.{name})?;");
    }
    match (field.label(), field.r#type()) {
        (Label::Required, Type::Double) => format!("o.put({key}, &Double(self.{name}))?;"),
        (Label::Required, Type::Bytes) => format!("o.put({key}, &Base64(&self.{name}))?;"),
        (Label::Required, Type::Enum) => {
            format!("o.some({key}, enum_name(self.{name}, {}::as_str_name))?;", of_enum())
        }
        (Label::Required, _) => format!("o.put({key}, &self.{name})?;"),
        (Label::Optional, Type::Double) => format!("o.some({key}, self.{name}.map(Double))?;"),
        (Label::Optional, Type::Bytes) => format!("o.some({key}, self.{name}.as_deref().map(Base64))?;"),
        (Label::Optional, Type::Enum) => {
            format!("o.some({key}, self.{name}.and_then(|it| enum_name(it, {}::as_str_name)))?;", of_enum())
        }
        (Label::Optional, _) => format!("o.some({key}, self.{name}.as_ref())?;"),
        (Label::Repeated, Type::Double) => {
            format!("o.list({key}, self.{name}.iter().copied().map(Double))?;")
        }
        (Label::Repeated, Type::Bytes) => format!("o.list({key}, self.{name}.iter().map(|it| Base64(it)))?;"),
        (Label::Repeated, Type::Enum) => {
            format!(
                "o.list({key}, self.{name}.iter().filter_map(|it| enum_name(*it, {}::as_str_name)))?;",
                of_enum()
            )
        }
        (Label::Repeated, _) => format!("o.list({key}, self.{name}.iter())?;"),
    }
}
