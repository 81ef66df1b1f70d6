//! Compiles the `.proto` files without `protoc`: protox parses, prost generates the types, and the modules
//! beside this file generate what prost does not: a table of all messages and their JSON form.

#[path = "build/json.rs"]
mod json;
#[path = "build/names.rs"]
mod names;
#[path = "build/schema.rs"]
mod schema;

use heck::ToUpperCamelCase;
use std::fs::OpenOptions;
use std::io::{Error, Result, Write};
use std::path::{Path, PathBuf};

/// Ids of one string each, written by hand in `src/ids/message.rs`: prost has but one type for strings.
const IDS: &[&str] =
    &["FrameworkID", "OfferID", "AgentID", "TaskID", "ExecutorID", "OperationID", "ResourceProviderID"];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build");
    let descriptors = protox::compile(protos(Path::new("proto"))?, ["proto"]).map_err(Error::other)?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or_else(|| Error::other("cargo sets OUT_DIR"))?);

    let messages = schema::collect(&descriptors);
    std::fs::write(out.join("schema.rs"), schema::table(&messages).map_err(Error::other)?)?;
    std::fs::write(out.join("messages.rs"), schema::messages(&messages))?;
    std::fs::write(out.join("json.rs"), json::serialize(&messages).map_err(Error::other)?)?;

    let mut config = prost_build::Config::new();
    for id in IDS {
        config.extern_path(format!(".mesos.v1.{id}"), format!("crate::ids::{}", id.to_upper_camel_case()));
    }
    config.type_attribute(".mesos.v1.ContainerID", "#[derive(Eq, Hash, PartialOrd, Ord)]");
    // A defined order, so that equal messages have equal bytes.
    config.btree_map(["."]);
    // Large and rare: inline, they would make each resource four times and each task as much again what it is.
    config.boxed(".mesos.v1.Resource.disk");
    for field in ["container", "discovery", "health_check"] {
        config.boxed(format!(".mesos.v1.Task.{field}"));
    }
    config.include_file("packages.rs").compile_well_known_types().compile_fds(descriptors)?;
    // Among the messages of their package they have the name that all others would have.
    let mut package = OpenOptions::new().append(true).open(out.join("mesos.v1.rs"))?;
    IDS.iter().try_for_each(|id| writeln!(package, "pub use crate::ids::{};", id.to_upper_camel_case()))
}

/// All `.proto` files below a directory, in a fixed order.
fn protos(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut entries =
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(protos(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(files)
}
