//! Mesos's messages, their JSON form, RecordIO, ids and the arithmetic of resources.
//!
//! There is one set of message types, that of `mesos.v1`. Apache's older `mesos` package has the same
//! field numbers under `Slave` names, so the messages between nodes ([`internal`]) carry v1 types too:
//! the bytes are the same and nothing is ever converted.
//!
//! ```
//! use api::{json, v1, wire};
//! use prost::Message;
//!
//! let filters: v1::Filters = json::from_slice(br#"{"refuse_seconds": "2.5"}"#)?;
//! assert_eq!(json::to_string(&filters), r#"{"refuse_seconds":2.5}"#);
//! assert_eq!(wire::decode::<v1::Filters>(&filters.encode_to_vec())?, filters);
//!
//! let error = wire::decode::<v1::TaskId>(b"").unwrap_err();
//! assert_eq!(error.to_string(), "Missing required fields: value");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod attributes;
pub mod byte_size;
pub mod duration;
pub mod ids;
pub mod json;
mod message;
pub mod recordio;
pub mod resources;
pub mod roles;
pub mod schema;
pub mod wire;

#[allow(missing_docs, clippy::all, unreachable_pub)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

pub use proto::google::protobuf;
pub use proto::mesos::{internal, v1};

/// What an old, driver-based scheduler sends: the one call whose wire form differs from v1's.
pub mod v0 {
    pub use super::proto::mesos::scheduler;
}

/// The resource providers an agent remembers.
pub use proto::mesos::resource_provider::registry as resource_provider_registry;
