//! HTTP as a process sees it: requests in, responses out, bodies that stream.

mod body;
mod connection;
mod dispatch;
mod encoding;
mod framing;
mod respond;
mod server;
mod types;

pub use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
pub use actix_web::http::{Method, StatusCode};
pub(crate) use body::BodyReader;
pub use body::{BodyWriter, WriteError};
pub(crate) use dispatch::answer_at_hand;
pub(crate) use server::{Serving, serve};
pub use types::{Answer, Body, Request, Response, RouteOptions};
pub(crate) use types::{Route, normalized};
