//! The master's HTTP interface.

pub(crate) mod json;
mod masters;
pub(crate) mod negotiate;
pub(crate) mod reads;
mod scheduler;
mod shapes;
pub(crate) mod snapshot;
mod standby;

use libprocess::Context;
use libprocess::http::{Answer, Request, Response};

use crate::actor::Master;
use json::Object;

/// The level of Mesos's API that is implemented: clients decide by it what they may ask for.
pub const API_LEVEL: &str = "1.11.0";

/// `/health`: always 200. Answered without the master, so that a busy one is not taken for a dead one.
pub(crate) fn health(_: Request) -> Answer {
    Response::ok().into()
}

/// `/version`: the API level as Mesos's version, and what is really running.
pub(crate) fn version(request: Request) -> Answer {
    json(&request, version_document()).into()
}

/// What `/version` shows, of a master as of any other node of this program: a JSON object with the level of
/// Mesos's API as the version, since clients parse it, and what is really running beside it.
pub fn version_document() -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    write_version(&mut object);
    object.end();
    out
}

/// The fields every document begins with.
pub(crate) fn write_version(object: &mut Object<'_>) {
    object.field("version", API_LEVEL);
    // A build can be repeated byte for byte, so it knows neither when nor by whom it was made.
    object.field("build_date", "");
    object.serialize("build_time", &0.0);
    object.field("build_user", "");
    let mut implementation = object.object("implementation");
    implementation.field("name", "mesos-rs");
    implementation.field("version", env!("CARGO_PKG_VERSION"));
    implementation.end();
}

/// A JSON document, wrapped in a call for the pages of old that ask for that.
pub(crate) fn json(request: &Request, document: impl Into<bytes::Bytes>) -> Response {
    let document = document.into();
    match request.query.get("jsonp") {
        None => Response::json(document),
        Some(name) => {
            let mut body = Vec::with_capacity(name.len() + document.len() + 2);
            body.extend_from_slice(name.as_bytes());
            body.push(b'(');
            body.extend_from_slice(&document);
            body.push(b')');
            Response::ok().header("Content-Type", "text/javascript").body(body)
        }
    }
}

impl Master {
    /// `/flags`: those that have a value.
    pub(crate) fn flags(&mut self, request: Request, _: &mut Context<Self>) -> Response {
        let mut out = Vec::new();
        let mut object = Object::new(&mut out);
        object.serialize("flags", &*self.setup.flags);
        object.end();
        json(&request, out)
    }
}
