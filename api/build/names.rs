//! The Rust names prost gives to what the `.proto` files name.

use heck::{ToSnakeCase, ToUpperCamelCase};

/// The path of a message or enum: `.mesos.v1.Offer.Operation` is `crate::proto::mesos::v1::offer::Operation`.
pub(crate) fn type_path(full_name: &str) -> String {
    let mut parts: Vec<&str> = full_name.trim_start_matches('.').split('.').collect();
    let name = parts.pop().unwrap_or_default();
    let modules: Vec<String> = parts.iter().map(|part| escape(part.to_snake_case())).collect();
    format!("crate::proto::{}::{}", modules.join("::"), name.to_upper_camel_case())
}

/// The name of a struct's field, and of its accessor.
pub(crate) fn field(name: &str) -> String {
    escape(name.to_snake_case())
}

fn escape(name: String) -> String {
    // Those of Rust's keywords that occur as field names in Mesos's messages.
    const KEYWORDS: &[&str] =
        &["type", "match", "ref", "use", "where", "enum", "final", "override", "static", "gen"];
    if KEYWORDS.contains(&name.as_str()) { format!("r#{name}") } else { name }
}
