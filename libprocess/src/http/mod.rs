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

/// What [`crate::fuzzing`] shows of this.
pub(crate) mod fuzzing {
    use super::encoding::{gunzip, query};
    use super::framing::Framing;

    pub(crate) fn framing(stream: &[u8], size: usize) -> (usize, usize) {
        let taken = |mut framing: Framing| {
            let mut taken = 0;
            for piece in stream.chunks(size.max(1)) {
                let n = framing.take(piece);
                taken += n;
                if framing == Framing::Done {
                    break;
                }
                assert_eq!(n, piece.len(), "bytes before the end belong to nothing");
            }
            taken
        };
        (taken(Framing::START), taken(Framing::CHUNKED))
    }

    pub(crate) fn decoding(input: &[u8], limit: usize) -> (usize, Option<usize>) {
        let values = query(&String::from_utf8_lossy(input)).len();
        (values, gunzip(input, limit).ok().map(|body| body.len()))
    }
}
