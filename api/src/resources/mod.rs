//! The arithmetic of resources.
//!
//! [`Resources`] is what an agent has, a framework is offered or a task holds: entries of a name, a value and
//! all that sets them apart (who they are allocated and reserved to, which disk, whether revocable or shared).
//! [`Quantities`] is what is left when only names and amounts count, for sums over a whole cluster.
//!
//! ```
//! use api::resources::{Name, Resources};
//!
//! let mut agent = Resources::parse("cpus:4;mem:1024;ports:[31000-32000]", "*")?;
//! let task = Resources::parse("cpus:0.5;mem:128;ports:[31005-31005]", "*")?;
//! assert!(agent.contains(&task));
//! agent -= &task;
//! assert_eq!(agent.to_string(), "cpus:3.5; mem:896; ports:[31000-31004, 31006-32000]");
//! # Ok::<(), api::resources::ParseError>(())
//! ```

mod classic;
mod collection;
mod entry;
mod filters;
mod messages;
mod metadata;
mod name;
mod parse;
mod quantities;
mod ranges;
mod scalar;
mod task;
#[cfg(test)]
mod tests;
mod validate;
mod value;

pub use classic::Classic;
pub use collection::Resources;
pub use entry::Entry;
pub use messages::{downgrade, downgrade_all, to_endpoint, upgrade, upgrade_all};
pub use name::Name;
pub use parse::{ParseError, parse_list};
pub use quantities::{Limits, Quantities, amounts};
pub use ranges::{Range, Ranges, RangesError};
pub use scalar::{Scalar, ScalarError};
pub use task::{TaskResourcesError, validate_task};
pub use validate::{ResourceError, validate};
pub use value::{Set, Value, ValueError};
pub(crate) use value::{Text, read};

/// The role of everyone: what is in it is reserved to nobody.
pub const ANY_ROLE: &str = "*";
