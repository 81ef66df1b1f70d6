//! Resources written by hand, as in `--resources`.

use std::collections::HashMap;

use super::{ANY_ROLE, Entry, ResourceError, Resources, Value, ValueError};
use crate::json::{self, JsonError};
use crate::v1;
use crate::v1::resource::{ReservationInfo, reservation_info};

/// Why a text cannot be read as resources.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not one colon.
    #[error("'{0}': write name:value or name(role):value, with one ':'")]
    Colon(String),
    /// Parentheses that do not match.
    #[error("'{0}': a role stands in parentheses after the name, as in mem(prod):512")]
    Parentheses(String),
    /// No name.
    #[error("'{0}': the name is missing")]
    NoName(String),
    /// A value that is none.
    #[error("'{item}': {reason}")]
    Value {
        /// Where.
        item: String,
        /// Why.
        reason: ValueError,
    },
    /// JSON that is no list of resources.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON, but not a list.
    #[error(
        "resources in JSON are a list: [{{\"name\":\"cpus\",\"type\":\"SCALAR\",\"scalar\":{{\"value\":4}}}}]"
    )]
    NotAList,
    /// A resource that only comes into being at run time.
    #[error("resource '{name}' {what}, which comes about only while an agent runs")]
    AtRunTime {
        /// Of the resource.
        name: String,
        /// What it is or has.
        what: &'static str,
    },
    /// A resource that cannot be.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

/// Reads resources as [`Resources::parse`] does. Empty ones are kept: an agent's `gpus:0` says that it should
/// not look for any.
///
/// # Errors
/// Names the item and what is wrong with it.
pub fn parse_list(text: &str, default_role: &str) -> Result<Vec<Entry>, ParseError> {
    let entries = match serde_json::from_str(text) {
        Ok(json) => parse_json(&json, default_role)?,
        Err(_) => parse_text(text, default_role)?,
    };
    refuse_two_types(&entries)?;
    Ok(entries)
}

fn parse_text(text: &str, default_role: &str) -> Result<Vec<Entry>, ParseError> {
    text.split(';')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| parse_item(item, default_role))
        .collect()
}

impl Resources {
    /// Reads `name[(role)]:value` items joined by `;`: `cpus:24;mem(prod):24576;ports:[21000-24000];bugs:{a,b}`.
    /// What names no role belongs to `default_role`; any role but `*` makes a static reservation.
    ///
    /// Or a JSON list of `Resource` messages, which can also say which disk it is and what is shared, but not
    /// what comes about only at run time: volumes, dynamic reservations, revocable resources.
    ///
    /// # Errors
    /// Names the item and what is wrong with it.
    pub fn parse(text: &str, default_role: &str) -> Result<Resources, ParseError> {
        Ok(parse_list(text, default_role)?.into_iter().collect())
    }
}

fn parse_item(item: &str, default_role: &str) -> Result<Entry, ParseError> {
    let mut halves = item.split(':');
    let (Some(key), Some(value), None) = (halves.next(), halves.next(), halves.next()) else {
        return Err(ParseError::Colon(item.to_owned()));
    };
    let (name, role) = match key.split_once('(') {
        None if key.contains(')') => return Err(ParseError::Parentheses(item.to_owned())),
        None => (key.trim(), default_role),
        Some((name, rest)) => match rest.trim_end().strip_suffix(')') {
            Some(role) => (name.trim(), role.trim()),
            None => return Err(ParseError::Parentheses(item.to_owned())),
        },
    };
    if name.is_empty() {
        return Err(ParseError::NoName(item.to_owned()));
    }
    let value: Value = value.parse().map_err(|reason| ParseError::Value { item: item.to_owned(), reason })?;
    let entry = Entry::new(name, value);
    if name == "gpus"
        && let Some(amount) = entry.scalar()
        && !amount.is_whole()
    {
        return Err(ResourceError::PartOfGpu(amount).into());
    }
    if role == ANY_ROLE {
        return Ok(entry);
    }
    super::validate::reserved_role(name, role)?;
    Ok(entry.reserved(ReservationInfo {
        r#type: Some(reservation_info::Type::Static.into()),
        role: Some(role.to_owned()),
        ..ReservationInfo::default()
    }))
}

#[allow(deprecated)] // The old format of reservations is accepted.
fn parse_json(json: &serde_json::Value, default_role: &str) -> Result<Vec<Entry>, ParseError> {
    let list = json.as_array().ok_or(ParseError::NotAList)?;
    list.iter()
        .map(|item| {
            let mut resource: v1::Resource = json::from_value(item)?;
            if resource.reservations.is_empty() && resource.role.is_none() {
                resource.role = Some(default_role.to_owned());
            }
            let entry = Entry::try_from(&resource)?;
            match at_run_time(&entry) {
                Some(what) => Err(ParseError::AtRunTime { name: resource.name, what }),
                None => Ok(entry),
            }
        })
        .collect()
}

fn at_run_time(entry: &Entry) -> Option<&'static str> {
    if entry.is_persistent_volume() {
        Some("is a persistent volume")
    } else if entry.is_revocable() {
        Some("is revocable")
    } else if entry.reservations().iter().any(super::metadata::is_dynamic) {
        Some("is reserved dynamically")
    } else if entry.has_refined_reservation() {
        Some("has a refined reservation")
    } else if entry.allocated_to().is_some() {
        Some("is allocated")
    } else {
        None
    }
}

/// One name has one type, whatever role it is for.
fn refuse_two_types(entries: &[Entry]) -> Result<(), ParseError> {
    let mut types = HashMap::new();
    for entry in entries {
        let kind = entry.value().kind();
        if *types.entry(entry.name()).or_insert(kind) != kind {
            return Err(ResourceError::TwoTypes(entry.name().to_string()).into());
        }
    }
    Ok(())
}
