//! Ids: conversions, text, and what an id may look like.
//!
//! Ids become directory names on agents, so the rules keep out what a path cannot hold.

mod message;

use crate::v1::ContainerId;
use std::fmt;

pub use ecow::EcoString;
pub use message::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, ResourceProviderId, TaskId};

/// Bytes an id may have.
pub const ID_BYTES_MAX: usize = 255;

/// Bytes one value of a container id may have: on disk it gets a prefix.
pub const CONTAINER_ID_BYTES_MAX: usize = 242;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// An id has at least one character.
    #[error("ID must not be empty")]
    Empty,
    /// Longer than the limit.
    #[error("ID must not have more than {limit} bytes, it has {length}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// `.` or `..`, which mean a directory.
    #[error("'{0}' is disallowed as an ID")]
    Dots(String),
    /// A control character, a slash or a backslash; in container ids also a dot or a blank.
    #[error("ID '{id}' contains the invalid character {character:?}")]
    Character {
        /// The whole text.
        id: String,
        /// The first offender.
        character: char,
    },
}

/// Checks the common rules (framework, agent, executor, task, operation and persistence ids): not empty, at
/// most 255 bytes, not `.` or `..`, no control characters, no `/` and no `\`.
pub fn validate(id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        return Err(IdError::Empty);
    }
    if id.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong { length: id.len(), limit: ID_BYTES_MAX });
    }
    if id == "." || id == ".." {
        return Err(IdError::Dots(id.to_string()));
    }
    without(id, |c| c.is_ascii_control() || c == '/' || c == '\\')
}

fn without(id: &str, refused: impl Fn(char) -> bool) -> Result<(), IdError> {
    match id.chars().find(|c| refused(*c)) {
        Some(character) => Err(IdError::Character { id: id.to_string(), character }),
        None => Ok(()),
    }
}

/// Conversions and rules of an id that is one string.
macro_rules! id {
    ($($name:ident)*) => { $(
        impl $name {
            /// Checks the rules for ids, see [`validate`].
            pub fn validate(&self) -> Result<(), IdError> {
                validate(&self.value)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.value
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                $name { value: value.into() }
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                $name { value: value.into() }
            }
        }

        impl From<EcoString> for $name {
            fn from(value: EcoString) -> Self {
                $name { value }
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.value
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.value)
            }
        }
    )* };
}

id! { FrameworkId AgentId ExecutorId TaskId OfferId OperationId ResourceProviderId }

impl From<&str> for ContainerId {
    fn from(value: &str) -> Self {
        ContainerId { value: value.to_string(), parent: None }
    }
}

impl From<String> for ContainerId {
    fn from(value: String) -> Self {
        ContainerId { value, parent: None }
    }
}

impl ContainerId {
    /// The id of a container nested in this one.
    pub fn child(&self, value: impl Into<String>) -> Self {
        ContainerId { value: value.into(), parent: Some(Box::new(self.clone())) }
    }

    /// The outermost container around this one, or itself.
    pub fn root(&self) -> &ContainerId {
        let mut id = self;
        while let Some(parent) = &id.parent {
            id = parent;
        }
        id
    }

    /// Checks this id and all its parents: the rules of [`validate`], at most 242 bytes, and neither `.`
    /// (which joins the parts in its text form) nor blank.
    pub fn validate(&self) -> Result<(), IdError> {
        let mut next = Some(self);
        while let Some(id) = next {
            validate(&id.value)?;
            if id.value.len() > CONTAINER_ID_BYTES_MAX {
                return Err(IdError::TooLong { length: id.value.len(), limit: CONTAINER_ID_BYTES_MAX });
            }
            without(&id.value, |c| c == '.' || c == ' ')?;
            next = id.parent.as_deref();
        }
        Ok(())
    }
}

/// Parents first, joined by dots: `root.child`.
impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = &self.parent {
            write!(f, "{parent}.")?;
        }
        f.write_str(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_id_may_look_like() {
        for good in ["a", "...", "a.b", "task 1", "é", &"x".repeat(255)] {
            assert_eq!(validate(good), Ok(()), "{good:?}");
        }
        for bad in ["", ".", "..", "a/b", "/", "a\\b", "a\nb", "\0", "\x7f", &"x".repeat(256)] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
        assert_eq!(validate("a/b").unwrap_err().to_string(), "ID 'a/b' contains the invalid character '/'");
    }

    #[test]
    fn container_ids_are_checked_up_to_the_root() {
        let root = ContainerId::from("root");
        let child = root.child("child");
        assert_eq!(child.to_string(), "root.child");
        assert_eq!(child.root(), &root);
        assert_eq!(child.validate(), Ok(()));
        assert!(ContainerId::from("a.b").child("c").validate().is_err());
        assert!(ContainerId::from("a b").validate().is_err());
        assert!(ContainerId::from("x".repeat(243)).validate().is_err());
    }

    #[test]
    fn ids_read_and_write_as_text() {
        let id = TaskId::from("t-1");
        assert_eq!(id, TaskId::from("t-1".to_string()));
        assert_eq!((id.to_string(), id.as_str()), ("t-1".to_string(), "t-1"));
    }
}
