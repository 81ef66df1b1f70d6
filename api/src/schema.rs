//! A table of all messages and their fields, generated from the `.proto` files.
//!
//! Reading JSON and finding missing required fields are the same walk for every message, so they are
//! written once over this table ([`crate::json`], [`crate::wire`]) and not generated per message.

use Kind::{Bool, Bytes, Double, Int32, Int64, Message, String, Uint32, Uint64};
use Label::{Map, Optional, Repeated, Required};

/// A message of this crate: it has an entry in the table.
pub trait Described: prost::Message + Default + std::fmt::Debug {
    /// What fields it has.
    fn schema() -> &'static Schema;
}

/// A message's name and fields.
#[derive(Debug)]
pub struct Schema {
    /// Full name, `mesos.v1.TaskInfo`.
    pub name: &'static str,
    /// By ascending number; at most 64.
    pub fields: &'static [Field],
    /// The positions of those that are required, as bits.
    required: u64,
}

impl Schema {
    const fn new(name: &'static str, fields: &'static [Field]) -> Self {
        let (mut required, mut position) = (0, 0);
        while position < fields.len() {
            if matches!(fields[position].label, Required) {
                required |= 1 << position;
            }
            position += 1;
        }
        Schema { name, fields, required }
    }

    /// The field with this number on the wire, and its position among the fields.
    #[inline]
    pub(crate) fn by_number(&self, number: u32) -> Option<(usize, &'static Field)> {
        // Most messages number their fields without a gap.
        let guess = (number as usize).wrapping_sub(1);
        if let Some(field) = self.fields.get(guess).filter(|field| field.number == number) {
            return Some((guess, field));
        }
        let position = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        Some((position, &self.fields[position]))
    }

    /// The field with this name, and its position among the fields.
    pub(crate) fn by_name(&self, name: &str) -> Option<(usize, &'static Field)> {
        self.fields.iter().enumerate().find(|(_, field)| field.name == name)
    }

    /// Required fields whose position is not among the bits of `seen`.
    pub(crate) fn missing(&self, seen: u64) -> impl Iterator<Item = &'static str> {
        let missing = self.required & !seen;
        // Nearly always there are none.
        let fields = if missing == 0 { &[] } else { self.fields };
        fields.iter().enumerate().filter(move |(i, _)| missing >> i & 1 == 1).map(|(_, field)| field.name)
    }
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// As in the `.proto` file and in JSON.
    pub name: &'static str,
    /// On the wire.
    pub number: u32,
    /// How often it may occur.
    pub label: Label,
    /// What it holds.
    pub kind: Kind,
}

const fn f(name: &'static str, number: u32, label: Label, kind: Kind) -> Field {
    Field { name, number, label, kind }
}

/// How often a field may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Exactly once.
    Required,
    /// At most once.
    Optional,
    /// Any number of times.
    Repeated,
    /// Any number of times, as an entry message of key (field 1) and value (field 2).
    Map,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Double,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Bool,
    String,
    Bytes,
    /// By position in the table of enums.
    Enum(usize),
    /// By position in the table of messages.
    Message(usize),
}

impl Kind {
    /// The enum, for a field that holds one.
    pub fn as_enum(self) -> Option<&'static Enum> {
        if let Kind::Enum(index) = self { Some(&ENUMS[index]) } else { None }
    }

    /// The message, for a field that holds one.
    pub fn as_message(self) -> Option<&'static Schema> {
        if let Message(index) = self { Some(&MESSAGES[index]) } else { None }
    }
}

/// The values of an enum.
#[derive(Debug)]
pub struct Enum {
    /// Full name, `mesos.v1.TaskState`.
    pub name: &'static str,
    /// Names and numbers, as declared.
    pub values: &'static [(&'static str, i32)],
}

impl Enum {
    /// The number of a name.
    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|value| value.0 == name).map(|value| value.1)
    }

    /// Whether a value has this number.
    pub(crate) fn has(&self, number: i32) -> bool {
        self.values.iter().any(|value| value.1 == number)
    }
}

/// Where in a message a walk is: a list on the stack, written out only for an error.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Element(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// `parent.name`; without a parent, a field of the outermost message.
    pub(crate) fn field(parent: Option<&'a Path<'a>>, name: &'a str) -> Self {
        Path { parent, step: Step::Field(name) }
    }

    /// `parent[index]`.
    pub(crate) fn element(parent: &'a Path<'a>, index: usize) -> Self {
        Path { parent: Some(parent), step: Step::Element(index) }
    }

    /// `parent["key"]`.
    pub(crate) fn key(parent: &'a Path<'a>, key: &'a str) -> Self {
        Path { parent: Some(parent), step: Step::Key(key) }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) => write!(f, "{name}"),
            Step::Element(index) => write!(f, "[{index}]"),
            // A key is the sender's text and may be long.
            Step::Key(key) => write!(f, "[{:?}]", key.chars().take(64).collect::<std::string::String>()),
        }
    }
}

/// The names of missing required fields, for the error that lists them.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    paths: Vec<std::string::String>,
    more: usize,
}

impl Missing {
    /// Past this many only the number is kept: a hostile message could lack a million.
    const LISTED: usize = 16;

    /// Notes the fields of `schema` that are required and not `seen`.
    pub(crate) fn note(&mut self, schema: &'static Schema, seen: u64, at: Option<&Path<'_>>) {
        for name in schema.missing(seen) {
            if self.paths.len() < Self::LISTED {
                self.paths.push(Path::field(at, name).to_string());
            } else {
                self.more += 1;
            }
        }
    }

    /// `a, b.c, d[3].e and 7 more`, or nothing if nothing is missing.
    pub(crate) fn text(&self) -> Option<std::string::String> {
        let listed = self.paths.join(", ");
        match (self.paths.is_empty(), self.more) {
            (true, _) => None,
            (_, 0) => Some(listed),
            (_, more) => Some(format!("{listed} and {more} more")),
        }
    }
}

use Kind::Enum as Enumerated;

include!(concat!(env!("OUT_DIR"), "/schema.rs"));
