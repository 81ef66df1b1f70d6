//! Which of JSON and protobuf a client sends, and which it wants.

use libprocess::http::{Request, Response, StatusCode};
use prost::Message;
use serde::Serialize;

/// JSON's media type.
const JSON: &str = "application/json";
/// Protobuf's, as Mesos writes it.
const PROTOBUF: &str = "application/x-protobuf";

/// A form that messages take in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Protobuf,
}

impl Media {
    /// What the body of a request is.
    ///
    /// # Errors
    /// The response that says what is wrong with `Content-Type`.
    pub(crate) fn of_body(request: &Request) -> Result<Media, Response> {
        match request.header("Content-Type") {
            Some(JSON) => Ok(Media::Json),
            Some(PROTOBUF) => Ok(Media::Protobuf),
            Some(other) => Err(Response::text(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("Expecting 'Content-Type' of {JSON} or {PROTOBUF}, got '{other}'"),
            )),
            None => Err(Response::text(StatusCode::BAD_REQUEST, "Expecting 'Content-Type' to be present")),
        }
    }

    /// What the client wants to read: JSON when it takes that, else protobuf.
    ///
    /// # Errors
    /// The response to a client that takes neither.
    pub(crate) fn accepted(request: &Request) -> Result<Media, Response> {
        let Some(accept) = request.header("Accept") else { return Ok(Media::Json) };
        let takes = |media: &str| {
            let kind = media.split_once('/').map_or(media, |(kind, _)| kind);
            let rank = |wanted: &str| {
                accept.split(',').find_map(|item| {
                    let mut parts = item.split(';').map(str::trim);
                    (parts.next()? == wanted).then(|| {
                        let q = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse::<f64>().ok());
                        q.unwrap_or(1.0) > 0.0
                    })
                })
            };
            // The most particular mention decides.
            rank(media).or_else(|| rank(&format!("{kind}/*"))).or_else(|| rank("*/*")).unwrap_or(false)
        };
        if takes(JSON) {
            Ok(Media::Json)
        } else if takes(PROTOBUF) {
            Ok(Media::Protobuf)
        } else {
            let text = format!("Expecting 'Accept' to allow {JSON} or {PROTOBUF}");
            Err(Response::text(StatusCode::NOT_ACCEPTABLE, text))
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Media::Json => JSON,
            Media::Protobuf => PROTOBUF,
        }
    }

    pub(crate) fn encode<M: Message + Serialize>(self, message: &M) -> Vec<u8> {
        match self {
            Media::Json => api::json::to_vec(message),
            Media::Protobuf => message.encode_to_vec(),
        }
    }
}
