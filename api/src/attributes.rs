//! Attributes of an agent, as in `--attributes`.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::resources::{Ranges, Text, ValueError, read};
use crate::v1::{Attribute, value};

/// Why a text cannot be read as attributes.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AttributeError {
    /// No key, no value, or no colon.
    #[error("'{0}': write key:value, neither of them empty")]
    Pair(String),
    /// A set.
    #[error("'{0}': an attribute is text, a number or ranges, not a set")]
    Set(String),
    /// Ranges that are none.
    #[error("'{item}': {reason}")]
    Value {
        /// Where.
        item: String,
        /// Why.
        reason: ValueError,
    },
}

/// Reads `key:value` items joined by `;` or line breaks. The value is what it looks like: a number, ranges
/// `[1000-1500]`, otherwise text, as are numbers that are negative, infinite or NaN. Blanks in it are dropped.
/// Keys may repeat; their order is kept.
///
/// # Errors
/// Names the item and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Attribute>, AttributeError> {
    text.split([';', '\n']).map(str::trim).filter(|item| !item.is_empty()).map(parse_item).collect()
}

fn parse_item(item: &str) -> Result<Attribute, AttributeError> {
    let (key, text) = item
        .split_once(':')
        .map(|(key, text)| (key.trim(), text.trim()))
        .filter(|(key, text)| !key.is_empty() && !text.is_empty())
        .ok_or_else(|| AttributeError::Pair(item.to_owned()))?;
    let attribute =
        |kind: value::Type| Attribute { name: key.to_owned(), r#type: kind.into(), ..Attribute::default() };
    match read(text).map_err(|reason| AttributeError::Value { item: item.to_owned(), reason })? {
        Text::Number(value) if value.is_finite() && value >= 0.0 => {
            Ok(Attribute { scalar: Some(value::Scalar { value }), ..attribute(value::Type::Scalar) })
        }
        Text::Number(_) => {
            let value = text.split_whitespace().collect();
            Ok(Attribute { text: Some(value::Text { value }), ..attribute(value::Type::Text) })
        }
        Text::Other(value) => {
            Ok(Attribute { text: Some(value::Text { value }), ..attribute(value::Type::Text) })
        }
        Text::Ranges(ranges) => {
            let range = ranges.iter().map(|r| value::Range { begin: r.begin, end: r.end }).collect();
            Ok(Attribute { ranges: Some(value::Ranges { range }), ..attribute(value::Type::Ranges) })
        }
        Text::Set(_) => Err(AttributeError::Set(item.to_owned())),
    }
}

/// Attributes for showing: as text `key:value;key:value`, which reads back, and as the JSON object of `/state`.
/// In the object the last of a repeated key wins.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [Attribute]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, attribute) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ";" };
            write!(f, "{separator}{}:", attribute.name)?;
            match &attribute.scalar {
                Some(scalar) => write!(f, "{}", scalar.value)?,
                None => f.write_str(&value_text(attribute))?,
            }
        }
        Ok(())
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (i, attribute) in self.0.iter().enumerate() {
            if self.0[i + 1..].iter().any(|later| later.name == attribute.name) {
                continue;
            }
            match &attribute.scalar {
                Some(scalar) => map.serialize_entry(&attribute.name, &scalar.value)?,
                None => map.serialize_entry(&attribute.name, &value_text(attribute))?,
            }
        }
        map.end()
    }
}

/// The value of an attribute that is no number.
fn value_text(attribute: &Attribute) -> String {
    if let Some(ranges) = &attribute.ranges {
        // Out of a message, so perhaps not what this crate would call ranges.
        let pairs = ranges.range.iter().map(|range| (range.begin, range.end));
        return Ranges::coalesced(pairs).unwrap_or_default().to_string();
    }
    if let Some(set) = &attribute.set {
        return format!("{{{}}}", set.item.join(", "));
    }
    attribute.text.as_ref().map(|text| text.value.clone()).unwrap_or_default()
}
