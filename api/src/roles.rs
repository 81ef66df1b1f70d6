//! Role names: paths such as `eng/backend`, and the catch-all `*`.

/// Why a text is not a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// A role has at least one character.
    #[error("Role name must not be empty")]
    Empty,
    /// A slash at an end, or two in a row: a part of the path is empty.
    #[error("Role '{0}' must not start or end with a slash, nor contain two slashes in a row")]
    Slashes(String),
    /// A part of the path that means something else.
    #[error("Role '{role}' must not have the component '{component}'")]
    Component {
        /// The whole name.
        role: String,
        /// `.`, `..` or `*`.
        component: String,
    },
    /// A leading minus looks like a flag.
    #[error("Role '{role}' must not have a component starting with '-': '{component}'")]
    Minus {
        /// The whole name.
        role: String,
        /// The part that starts with it.
        component: String,
    },
    /// Longer, or deeper, than a cluster has any use for.
    #[error(
        "A role name has at most {MAX_LENGTH} bytes and {MAX_COMPONENTS} components joined by slashes, not {length} and {components}: '{beginning}...'"
    )]
    TooLong {
        /// Its first characters.
        beginning: String,
        /// Its bytes.
        length: usize,
        /// Its components.
        components: usize,
    },
    /// A blank or a control character.
    #[error("Role '{role}' contains the invalid character {character:?}")]
    Character {
        /// The whole name.
        role: String,
        /// The first offender.
        character: char,
    },
}

/// The most bytes a role name has.
pub const MAX_LENGTH: usize = 1024;
/// The most components a role name has. Every level of the tree of roles is walked for each allocation.
pub const MAX_COMPONENTS: usize = 64;

/// Whether a name keeps to [`MAX_LENGTH`] and [`MAX_COMPONENTS`].
pub fn is_short(role: &str) -> bool {
    role.len() <= MAX_LENGTH && role.split('/').nth(MAX_COMPONENTS).is_none()
}

/// Checks a role name: `*`, or components joined by single slashes, none of them `.`, `..`, `*` or starting
/// with `-`, and no blank, DEL or control character from tab to carriage return.
pub fn validate(role: &str) -> Result<(), RoleError> {
    if role == "*" {
        return Ok(());
    }
    if role.is_empty() {
        return Err(RoleError::Empty);
    }
    if !is_short(role) {
        return Err(RoleError::TooLong {
            beginning: role.chars().take(40).collect(),
            length: role.len(),
            components: role.split('/').count(),
        });
    }
    if let Some(character) = role.chars().find(|c| matches!(c, '\t'..='\r' | ' ' | '\x7f')) {
        return Err(RoleError::Character { role: role.into(), character });
    }
    for component in role.split('/') {
        match component {
            "" => return Err(RoleError::Slashes(role.into())),
            "." | ".." | "*" => {
                return Err(RoleError::Component { role: role.into(), component: component.into() });
            }
            it if it.starts_with('-') => {
                return Err(RoleError::Minus { role: role.into(), component: it.into() });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether `role` lies strictly below `ancestor`: `a/b` below `a`.
pub fn is_below(role: &str, ancestor: &str) -> bool {
    role.strip_prefix(ancestor).is_some_and(|rest| rest.starts_with('/'))
}

/// The roles above one, nearest first: of `a/b/c`, `a/b` and `a`.
pub fn ancestors(role: &str) -> impl Iterator<Item = &str> {
    role.rmatch_indices('/').map(|(at, _)| &role[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_role_may_look_like() {
        for good in ["*", "a", "a/b/c", "web-1", "a.b", "a-", "...", "é", "a*"] {
            assert_eq!(validate(good), Ok(()), "{good:?}");
        }
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/*", "*/a", "-a", "a/-b", "a b", "a\tb", "\x7f",
        ] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn roles_form_a_tree() {
        assert!(is_below("a/b", "a") && is_below("a/b/c", "a"));
        assert!(!is_below("ab", "a") && !is_below("a", "a"));
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(ancestors("a").count(), 0);
    }
}
