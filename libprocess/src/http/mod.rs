//! HTTP as a process sees it: requests in, responses out, bodies that stream.

mod body;
mod types;

pub use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
pub use actix_web::http::{Method, StatusCode};
pub(crate) use body::BodyReader;
pub use body::{BodyWriter, WriteError};
pub use types::{Answer, Body, Request, Response, RouteOptions};
pub(crate) use types::{Route, normalized};
