//! The table of all messages: what `api::json` reads JSON by, and `api::wire` checks bytes by.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Everything the generators need, in an order that depends on the files alone.
pub(crate) struct Messages {
    /// By full name with a leading dot; the position is the index in the table.
    pub(crate) messages: Vec<(String, DescriptorProto)>,
    indices: BTreeMap<String, usize>,
    enums: BTreeMap<String, EnumDescriptorProto>,
    /// Scopes of files in proto3, whose plain fields are unset when they hold zero.
    proto3: Vec<String>,
}

impl Messages {
    /// Whether a message's plain fields have no presence of their own.
    pub(crate) fn is_proto3(&self, message: &str) -> bool {
        self.proto3.iter().any(|scope| message.starts_with(scope))
    }

    /// The entry type of a map field: key is field 1, value field 2.
    pub(crate) fn map_entry(&self, type_name: &str) -> Option<&DescriptorProto> {
        let message = &self.messages[*self.indices.get(type_name)?].1;
        message.options.as_ref().is_some_and(|options| options.map_entry()).then_some(message)
    }
}

/// Walks all files and nested types.
pub(crate) fn collect(descriptors: &FileDescriptorSet) -> Messages {
    let mut all = Messages {
        messages: Vec::new(),
        indices: BTreeMap::new(),
        enums: BTreeMap::new(),
        proto3: Vec::new(),
    };
    for file in &descriptors.file {
        let scope = format!(".{}", file.package());
        if file.syntax() == "proto3" {
            all.proto3.push(format!("{scope}."));
        }
        for message in &file.message_type {
            add(&mut all, &scope, message);
        }
        for it in &file.enum_type {
            all.enums.insert(format!("{scope}.{}", it.name()), it.clone());
        }
    }
    all
}

fn add(all: &mut Messages, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    all.indices.insert(name.clone(), all.messages.len());
    all.messages.push((name.clone(), message.clone()));
    for nested in &message.nested_type {
        add(all, &name, nested);
    }
    for it in &message.enum_type {
        all.enums.insert(format!("{name}.{}", it.name()), it.clone());
    }
}

/// Rust source: the list of what travels between nodes under its own name. These are the outer messages of
/// `mesos.internal`, and the call of a driver-based scheduler.
pub(crate) fn messages(all: &Messages) -> String {
    let travels = |name: &str| match name.strip_prefix(".mesos.internal.") {
        Some(rest) => !rest.contains('.'),
        None => name == ".mesos.scheduler.Call",
    };
    let paths =
        all.messages.iter().filter(|(name, _)| travels(name)).map(|(name, _)| crate::names::type_path(name));
    format!("messages! {{\n{}}}\n", paths.map(|path| format!("{path};\n")).collect::<String>())
}

/// Rust source: the statics `ENUMS` and `MESSAGES`, and `impl Described` for every message.
pub(crate) fn table(all: &Messages) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let enum_indices: BTreeMap<&str, usize> =
        all.enums.keys().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    writeln!(out, "pub(crate) static ENUMS: [Enum; {}] = [", all.enums.len())?;
    for (name, it) in &all.enums {
        let values: Vec<String> =
            it.value.iter().map(|v| format!("({:?},{})", v.name(), v.number())).collect();
        writeln!(out, "Enum{{name:{:?},values:&[{}]}},", &name[1..], values.join(","))?;
    }
    writeln!(out, "];\npub(crate) static MESSAGES: [Schema; {}] = [", all.messages.len())?;
    for (name, message) in &all.messages {
        let mut fields: Vec<_> = message.field.iter().collect();
        fields.sort_by_key(|field| field.number());
        assert!(fields.len() <= 64, "{name}: the seen fields of a message are kept in 64 bits");
        writeln!(out, "Schema::new({:?},&[", &name[1..])?;
        for field in fields {
            let map = all.map_entry(field.type_name()).is_some();
            let label = match field.label() {
                Label::Required => "Required",
                Label::Optional => "Optional",
                Label::Repeated if map => "Map",
                Label::Repeated => "Repeated",
            };
            let kind = match field.r#type() {
                Type::Double => "Double".to_string(),
                Type::Int32 => "Int32".to_string(),
                Type::Int64 => "Int64".to_string(),
                Type::Uint32 => "Uint32".to_string(),
                Type::Uint64 => "Uint64".to_string(),
                Type::Bool => "Bool".to_string(),
                Type::String => "String".to_string(),
                Type::Bytes => "Bytes".to_string(),
                Type::Enum => format!("Enumerated({})", enum_indices[field.type_name()]),
                Type::Message => format!("Message({})", all.indices[field.type_name()]),
                other => panic!("{name}.{}: no message of Mesos has a field of type {other:?}", field.name()),
            };
            writeln!(out, "f({:?},{},{label},{kind}),", field.name(), field.number())?;
        }
        writeln!(out, "]),")?;
    }
    writeln!(
        out,
        "];\nmacro_rules! described {{ ($($index:literal $message:path;)*) => {{ $(
        impl Described for $message {{ fn schema() -> &'static Schema {{ &MESSAGES[$index] }} }}
    )* }} }}\ndescribed! {{"
    )?;
    for (index, (name, _)) in all.messages.iter().enumerate() {
        if all.map_entry(name).is_none() {
            writeln!(out, "{index} {};", crate::names::type_path(name))?;
        }
    }
    Ok(out + "}\n")
}
