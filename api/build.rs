//! Compiles the `.proto` files without `protoc`: protox parses, prost generates the types, and the modules
//! beside this file generate what prost does not: a table of all messages and their JSON form.

#[path = "build/json.rs"]
mod json;
#[path = "build/names.rs"]
mod names;
#[path = "build/schema.rs"]
mod schema;

use std::io::{Error, Result};
use std::path::PathBuf;

const PROTOS: &[&str] = &[
    "mesos/v1/mesos.proto",
    "mesos/v1/allocator.proto",
    "mesos/v1/maintenance.proto",
    "mesos/v1/quota.proto",
    "mesos/v1/scheduler.proto",
    "mesos/v1/executor.proto",
    "mesos/v1/master.proto",
    "mesos/v1/agent.proto",
    "mesos/v1/resource_provider.proto",
    "mesos/internal/messages.proto",
    "mesos/internal/authentication.proto",
    "mesos/internal/scheduler.proto",
    "mesos/internal/registry.proto",
    "mesos/internal/resource_provider_registry.proto",
];

/// Ids are map keys everywhere.
const IDS: &[&str] =
    &["FrameworkID", "OfferID", "AgentID", "TaskID", "ExecutorID", "OperationID", "ResourceProviderID"];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build");
    let descriptors = protox::compile(PROTOS, ["proto"]).map_err(Error::other)?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or_else(|| Error::other("cargo sets OUT_DIR"))?);

    let messages = schema::collect(&descriptors);
    std::fs::write(out.join("schema.rs"), schema::table(&messages).map_err(Error::other)?)?;
    std::fs::write(out.join("messages.rs"), schema::messages(&messages))?;
    std::fs::write(out.join("json.rs"), json::serialize(&messages).map_err(Error::other)?)?;

    let mut config = prost_build::Config::new();
    for id in IDS {
        config.type_attribute(format!(".mesos.v1.{id}"), "#[derive(PartialOrd, Ord)]");
    }
    config.type_attribute(".mesos.v1.ContainerID", "#[derive(Eq, Hash, PartialOrd, Ord)]");
    // A defined order, so that equal messages have equal bytes.
    config.btree_map(["."]);
    config.include_file("packages.rs").compile_well_known_types().compile_fds(descriptors)
}
