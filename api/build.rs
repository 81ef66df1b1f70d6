//! Compiles the `.proto` files without `protoc`: protox parses, prost generates.

use std::io::Result;

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
const IDS: &[&str] = &["FrameworkID", "OfferID", "AgentID", "TaskID", "ExecutorID", "OperationID", "ResourceProviderID"];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"]).map_err(std::io::Error::other)?;
    let mut config = prost_build::Config::new();
    for id in IDS {
        config.type_attribute(format!(".mesos.v1.{id}"), "#[derive(PartialOrd, Ord)]");
    }
    config.type_attribute(".mesos.v1.ContainerID", "#[derive(Eq, Hash, PartialOrd, Ord)]");
    config.include_file("packages.rs").compile_well_known_types().compile_fds(descriptors)
}
