//! How much, or which: the three forms of a resource's value, and their text.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{Ranges, RangesError, Scalar, ScalarError};
use crate::v1::value;

/// Items without order. A copy shares them until one changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set(Arc<BTreeSet<String>>);

impl Set {
    /// The items in alphabetical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other`'s items are all among these.
    pub fn contains(&self, other: &Set) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.is_superset(&other.0)
    }

    /// Whether the two share an item.
    pub fn intersects(&self, other: &Set) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// Union.
    pub fn add(&mut self, other: &Set) {
        if !self.contains(other) {
            Arc::make_mut(&mut self.0).extend(other.0.iter().cloned());
        }
    }

    /// Takes away `other`'s items, as far as they are here.
    pub fn subtract(&mut self, other: &Set) {
        if self.intersects(other) {
            Arc::make_mut(&mut self.0).retain(|item| !other.0.contains(item));
        }
    }
}

impl<S: Into<String>> FromIterator<S> for Set {
    fn from_iter<I: IntoIterator<Item = S>>(items: I) -> Set {
        Set(Arc::new(items.into_iter().map(Into::into).collect()))
    }
}

/// `{a, b}`
impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, item) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{item}")?;
        }
        f.write_str("}")
    }
}

/// The value of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// An amount.
    Scalar(Scalar),
    /// Numbers.
    Ranges(Ranges),
    /// Items.
    Set(Set),
}

impl Value {
    /// The form, as messages name it.
    pub fn kind(&self) -> value::Type {
        match self {
            Value::Scalar(_) => value::Type::Scalar,
            Value::Ranges(_) => value::Type::Ranges,
            Value::Set(_) => value::Type::Set,
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Scalar(amount) => amount.is_zero(),
            Value::Ranges(ranges) => ranges.is_empty(),
            Value::Set(items) => items.is_empty(),
        }
    }

    /// The amount; of ranges and sets, how many elements they hold.
    pub fn quantity(&self) -> Scalar {
        match self {
            Value::Scalar(amount) => *amount,
            Value::Ranges(ranges) => ranges.quantity(),
            Value::Set(items) => Scalar::from_units(items.len() as u64),
        }
    }

    pub(super) fn same_kind(&self, other: &Value) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// False for values of two forms.
    pub fn contains(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Scalar(a), Value::Scalar(b)) => a >= b,
            (Value::Ranges(a), Value::Ranges(b)) => a.contains(b),
            (Value::Set(a), Value::Set(b)) => a.contains(b),
            _ => false,
        }
    }

    /// Nothing happens between values of two forms.
    pub(super) fn add(&mut self, other: &Value) {
        match (self, other) {
            (Value::Scalar(a), Value::Scalar(b)) => *a += *b,
            (Value::Ranges(a), Value::Ranges(b)) => a.add(b),
            (Value::Set(a), Value::Set(b)) => a.add(b),
            _ => {}
        }
    }

    /// Nothing happens between values of two forms.
    pub(super) fn subtract(&mut self, other: &Value) {
        match (self, other) {
            (Value::Scalar(a), Value::Scalar(b)) => *a -= *b,
            (Value::Ranges(a), Value::Ranges(b)) => a.subtract(b),
            (Value::Set(a), Value::Set(b)) => a.subtract(b),
            _ => {}
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scalar(amount) => amount.fmt(f),
            Value::Ranges(ranges) => ranges.fmt(f),
            Value::Set(items) => items.fmt(f),
        }
    }
}

/// What a value written as text turned out to be, by its first bracket or by being a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Text {
    /// Any number, also one that is no amount.
    Number(f64),
    Ranges(Ranges),
    Set(Set),
    /// Anything else, without its blanks.
    Other(String),
}

/// Why a value written as text cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// Brackets that do not match.
    #[error("'{0}' opens a bracket and does not close it at its end")]
    Bracket(String),
    /// Something between `[` and `]` that is not `begin-end`.
    #[error("'{0}' is no range; write [begin-end,begin-end] with whole numbers")]
    Range(String),
    /// Ranges that cannot be.
    #[error(transparent)]
    Ranges(#[from] RangesError),
    /// Not an amount.
    #[error(transparent)]
    Scalar(#[from] ScalarError),
    /// Text where a resource wants a value.
    #[error("'{0}' is text; write an amount (1.5), ranges ([1-10,20-30]) or a set ({{a,b}})")]
    Text(String),
}

/// Reads a value, ignoring blanks anywhere in it.
pub(crate) fn read(text: &str) -> Result<Text, ValueError> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let inside = |close| text.get(1..).and_then(|rest| rest.strip_suffix(close));
    match text.chars().next() {
        Some('[') => {
            let inside = inside(']').ok_or_else(|| ValueError::Bracket(text.clone()))?;
            if inside.is_empty() {
                return Ok(Text::Ranges(Ranges::default()));
            }
            let pairs = inside.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
            Ok(Text::Ranges(Ranges::coalesced(pairs)?))
        }
        Some('{') => {
            let inside = inside('}').ok_or_else(|| ValueError::Bracket(text.clone()))?;
            if let Some(stray) = inside.find(['{', '}', '[', ']']) {
                return Err(ValueError::Bracket(inside[stray..].to_owned()));
            }
            Ok(Text::Set(inside.split(',').filter(|item| !item.is_empty()).collect()))
        }
        _ => Ok(match text.parse() {
            Ok(number) => Text::Number(number),
            Err(_) => Text::Other(text),
        }),
    }
}

fn range(text: &str) -> Result<(u64, u64), ValueError> {
    text.split_once('-')
        .and_then(|(begin, end)| Some((digits(begin)?, digits(end)?)))
        .ok_or_else(|| ValueError::Range(text.to_owned()))
}

/// Digits only: `parse` alone would take a plus sign too.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl std::str::FromStr for Value {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Value, ValueError> {
        match read(text)? {
            Text::Number(number) => Ok(Value::Scalar(Scalar::from_f64(number)?)),
            Text::Ranges(ranges) => Ok(Value::Ranges(ranges)),
            Text::Set(items) => Ok(Value::Set(items)),
            Text::Other(text) => Err(ValueError::Text(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&match text.parse::<Value>() {
            Ok(value) => format!("{:?} {value}", value.kind()),
            Err(error) => error.to_string(),
        });
    }

    #[test]
    fn values_are_told_by_their_brackets() {
        check(" 1.5 ", expect!["Scalar 1.5"]);
        check("4", expect!["Scalar 4"]);
        check("[ 21000 - 24000, 30000-34000 ]", expect!["Ranges [21000-24000, 30000-34000]"]);
        check("[1-2,3-4]", expect!["Ranges [1-4]"]);
        check("[]", expect!["Ranges []"]);
        check("{b, a,b}", expect!["Set {a, b}"]);
        check("{}", expect!["Set {}"]);
    }

    #[test]
    fn bad_values_say_what_would_be_right() {
        check("[1-2", expect!["'[1-2' opens a bracket and does not close it at its end"]);
        check("{a", expect!["'{a' opens a bracket and does not close it at its end"]);
        check("{a{b}", expect!["'{b' opens a bracket and does not close it at its end"]);
        check("[", expect!["'[' opens a bracket and does not close it at its end"]);
        check("[1]", expect!["'1' is no range; write [begin-end,begin-end] with whole numbers"]);
        check("[+1-2]", expect!["'+1-2' is no range; write [begin-end,begin-end] with whole numbers"]);
        check("[4-1]", expect!["range [4-1] ends before it begins"]);
        check("-1", expect!["-1 is negative; an amount is zero or more"]);
        check("NaN", expect!["NaN is no finite number"]);
        check(
            "much",
            expect!["'much' is text; write an amount (1.5), ranges ([1-10,20-30]) or a set ({a,b})"],
        );
        check("", expect!["'' is text; write an amount (1.5), ranges ([1-10,20-30]) or a set ({a,b})"]);
    }
}
