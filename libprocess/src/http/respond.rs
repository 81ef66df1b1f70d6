//! From a process's response to what goes over the wire.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::{ConnectionType, Version};
use bytes::Bytes;

use super::connection::State;
use super::encoding::{accepts_gzip, gzip};
use super::{Body, BodyReader, HeaderValue, Method, Response, StatusCode, header};

/// Bodies from this size on are compressed for those who accept it.
const WORTH_COMPRESSING: usize = 1024;
/// Bodies up to this size are compressed on the spot.
const SMALL: usize = 32 << 10;
/// Larger bodies are written a piece of this size at a time.
const PIECE: usize = 64 << 10;
/// Bytes of one body that are written before others of the same arbiter get their turn.
const TURN: usize = 4 * PIECE;

/// What of a request matters to the form of its response.
pub(crate) struct Wanted {
    pub(crate) head_only: bool,
    pub(crate) gzip: bool,
    pub(crate) keep_alive: bool,
    pub(crate) version: Version,
}

impl Wanted {
    pub(crate) fn by(head: &actix_web::dev::RequestHead) -> Wanted {
        let accepted = head.headers.get(header::ACCEPT_ENCODING);
        Wanted {
            head_only: head.method == Method::HEAD,
            gzip: accepted.and_then(|accepted| accepted.to_str().ok()).is_some_and(accepts_gzip),
            keep_alive: head.connection_type() == ConnectionType::KeepAlive,
            version: head.version,
        }
    }
}

/// The text of an answer that explains nothing.
fn default_text(status: StatusCode) -> Option<&'static str> {
    Some(match status {
        StatusCode::BAD_REQUEST => "400 Bad Request.",
        StatusCode::UNAUTHORIZED => "401 Unauthorized.",
        StatusCode::FORBIDDEN => "403 Forbidden.",
        StatusCode::NOT_FOUND => "404 Not Found.",
        StatusCode::CONFLICT => "409 Conflict.",
        StatusCode::INTERNAL_SERVER_ERROR => "500 Internal Server Error.",
        StatusCode::NOT_IMPLEMENTED => "501 Not Implemented.",
        StatusCode::SERVICE_UNAVAILABLE => "503 Service Unavailable.",
        _ => return None,
    })
}

/// Makes a response ready to be sent. The connection may go on to its next request when the body is sent.
pub(crate) async fn respond(state: &Rc<State>, response: Response, wanted: Wanted) -> HttpResponse {
    let Response { status, mut headers, body } = response;
    let close = !wanted.keep_alive
        || headers
            .get(header::CONNECTION)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    let body = match body {
        Body::Empty => default_text(status).map_or(Body::Empty, |text| Body::Bytes(text.into())),
        body => body,
    };
    let mut unchunked = false;
    let body = match body {
        Body::Empty => BoxBody::new(()),
        Body::Bytes(body) => {
            let compress = wanted.gzip
                && body.len() >= WORTH_COMPRESSING
                && !headers.contains_key(header::CONTENT_ENCODING);
            let packed = match compress {
                true if body.len() <= SMALL => gzip(&body),
                true => {
                    let body = body.clone();
                    tokio::task::spawn_blocking(move || gzip(&body)).await.ok().flatten()
                }
                false => None,
            };
            match packed {
                Some(packed) => {
                    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                    BoxBody::new(Pieces::of(Bytes::from(packed)))
                }
                None if body.len() > PIECE => BoxBody::new(Pieces::of(body)),
                None => BoxBody::new(body),
            }
        }
        Body::Stream(_) if wanted.head_only => BoxBody::new(NoStream),
        Body::Stream(reader) => {
            // Before HTTP/1.1 only the connection's end could end a body of unknown length.
            unchunked = wanted.version < Version::HTTP_11;
            state.stream(reader.watch());
            let last = close || unchunked;
            let mut response = HttpResponse::with_body(
                status,
                BoxBody::new(Streaming { reader, state: state.clone(), last }),
            );
            finish_head(&mut response, headers, last, unchunked);
            return response;
        }
    };
    state.finish(close);
    let mut response = HttpResponse::with_body(status, body);
    finish_head(&mut response, headers, close, unchunked);
    response
}

fn finish_head(response: &mut HttpResponse, headers: super::HeaderMap, close: bool, unchunked: bool) {
    let head = response.head_mut();
    head.headers = headers;
    // As Apache's clients have always seen them.
    head.set_camel_case_headers(true);
    if close {
        head.set_connection_type(ConnectionType::Close);
    }
    if unchunked {
        head.no_chunking(true);
    }
}

/// The body of the answer to a HEAD request, had it been a GET: a stream.
struct NoStream;

impl MessageBody for NoStream {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

/// A large body. Handed over whole, the HTTP library would copy it whole before it writes the first byte, and
/// a reader that keeps up would hold the arbiter until he has the last.
struct Pieces {
    rest: Bytes,
    /// What may still be written in this turn.
    turn: usize,
    /// The end of a turn: done when the arbiter has looked for what others are ready to do.
    others: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Pieces {
    fn of(body: Bytes) -> Pieces {
        Pieces { rest: body, turn: TURN, others: None }
    }
}

impl MessageBody for Pieces {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        if this.turn == 0 {
            let others = this.others.get_or_insert_with(|| Box::pin(tokio::task::yield_now()));
            ready!(others.as_mut().poll(cx));
            this.others = None;
            this.turn = TURN;
        }
        let piece = this.rest.split_to(PIECE.min(this.rest.len()));
        this.turn = this.turn.saturating_sub(PIECE);
        Poll::Ready(Some(Ok(piece)))
    }
}

/// A body that is sent as it is written.
struct Streaming {
    reader: BodyReader,
    state: Rc<State>,
    last: bool,
}

impl MessageBody for Streaming {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.reader.poll_chunk(cx) {
            Poll::Ready(Some(Ok(chunk))) => Poll::Ready(Some(Ok(chunk))),
            Poll::Ready(Some(Err(_))) => {
                // The connection ends it: an end of the body here would look like its proper one.
                self.state.doom();
                Poll::Pending
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.state.finish(self.last);
    }
}
