//! From a request to the process that answers it.

use std::sync::Arc;

use actix_web::dev::{Payload, RequestHead};
use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::connection::State;
use super::encoding::{GunzipError, gunzip, percent_decoded, query};
use super::framing::Framing;
use super::{Answer, HeaderMap, Method, Request, Response, Route, StatusCode, header};
use crate::event::Event;
use crate::future::{Future, Promise};
use crate::node::NodeInner;
use crate::process::guarded;
use crate::transport;
use crate::upid::Upid;

/// The largest body of a message in Apache's wire format.
const MAX_MESSAGE: usize = 64 << 20;
/// What is read of a body nobody wants, to keep the connection.
const MAX_UNWANTED: usize = 256 << 10;
/// Compressed bodies up to this size are unpacked on the spot.
const SMALL: usize = 4 << 10;

/// A path's process and route.
struct Target {
    upid: Upid,
    name: String,
    route: Route,
    /// The path as the process sees it: with the delegate's id, if that had to be put before it.
    path: String,
    rest: Vec<String>,
}

/// The process and route for a path as it was sent.
fn target(node: &NodeInner, raw: &str) -> Option<Target> {
    let rest = raw.trim_start_matches('/');
    let (first, below) = rest.split_once('/').unwrap_or((rest, ""));
    let id = percent_decoded(first, true);
    let delegate = || node.delegate().and_then(|id| node.find(id));
    if let Some(upid) = node.find(&id) {
        // A process of our own making gives way to the delegate's route of that name.
        let yields = crate::builtin::YIELDING.contains(&&*id);
        if yields && let Some(target) = delegate().and_then(|upid| below_process(node, upid, raw, true)) {
            return Some(target);
        }
        return below_process(node, upid, below, false).map(|target| Target { path: decoded(raw), ..target });
    }
    below_process(node, delegate()?, raw, true)
}

/// [`target`], once the process that may be it has been initialized: only then are its routes known.
async fn find(node: &NodeInner, raw: &str) -> Result<Target, Response> {
    if let Some(target) = target(node, raw) {
        return Ok(target);
    }
    let first = raw.trim_start_matches('/').split('/').next().unwrap_or_default();
    let delegate = node.delegate().and_then(|id| node.find(id));
    for upid in [node.find(&percent_decoded(first, true)), delegate].into_iter().flatten() {
        let (promise, served) = Promise::new();
        upid.post(Event::Call(Box::new(move |_, _| promise.set(()))));
        let _ = served.await;
    }
    target(node, raw).ok_or_else(|| {
        // Only the delegate could say whether it has that, and it is not there: not yet, or another is to follow.
        let absent = |id: &str| node.find(id).is_none();
        let id = percent_decoded(first, true);
        let for_delegate = node.delegate().is_some_and(|delegate| absent(delegate) && absent(&id));
        Response::new(if for_delegate { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NOT_FOUND })
    })
}

/// The route for the path `below` a process.
fn below_process(node: &NodeInner, upid: Upid, below: &str, prefix: bool) -> Option<Target> {
    let below = below.trim_matches('/');
    let (name, route) = node.find_route(&upid, below)?;
    let rest = below[name.len()..].split('/').filter(|part| !part.is_empty());
    let rest = rest.map(|part| percent_decoded(part, false).into_owned()).collect();
    let path = match (prefix, below) {
        (false, _) => String::new(),
        (true, "") => format!("/{}", upid.id()),
        (true, _) => format!("/{}/{}", upid.id(), decoded(below)),
    };
    Some(Target { upid, name, route, path, rest })
}

fn decoded(path: &str) -> String {
    percent_decoded(path, false).into_owned()
}

/// Answers one request.
pub(crate) async fn answer(
    node: Arc<NodeInner>,
    state: &State,
    head: &mut RequestHead,
    mut payload: Payload,
) -> Response {
    let length = head.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.trim().parse::<u64>().ok());
    let framing = match length {
        _ if head.headers.contains_key(header::TRANSFER_ENCODING) => Framing::CHUNKED,
        Some(length @ 1..) => Framing::Length(length),
        _ => Framing::Done,
    };
    state.begin(framing);
    let response = match answer_with_body(node, state, head, &mut payload, length).await {
        Ok(response) => response,
        Err(response) => {
            discard(state, &mut payload, length).await;
            response
        }
    };
    state.body_done();
    response
}

async fn answer_with_body(
    node: Arc<NodeInner>,
    state: &State,
    head: &mut RequestHead,
    payload: &mut Payload,
    length: Option<u64>,
) -> Result<Response, Response> {
    let raw = head.uri.path();
    check_path(raw)?;
    let is_message = is_message(head);
    if is_message {
        let body = whole_body(state, head, payload, length, MAX_MESSAGE).await?;
        let path = decoded(head.uri.path());
        let mut request = request(head, path, Vec::new(), body);
        if let Some(response) = transport::wire_message(&node, &request, &state.unhandled) {
            state.body_done();
            // A connection that waits does not keep its node alive.
            drop((node, request));
            // The next request is read once this one is answered.
            state.unhandled.room().await;
            return Ok(response);
        }
        // It only looked like one.
        let target = find(&node, head.uri.path()).await?;
        check_method(&target.route, &request.method)?;
        check_size(request.body.len(), target.route.options.max_body)?;
        (request.path, request.rest) = (target.path, target.rest);
        return Ok(call(target.upid, target.name, target.route, request).await);
    }
    let target = find(&node, raw).await?;
    check_method(&target.route, &head.method)?;
    let body = match length {
        None | Some(0) if !head.headers.contains_key(header::TRANSFER_ENCODING) => Bytes::new(),
        _ => whole_body(state, head, payload, length, target.route.options.max_body).await?,
    };
    let request = request(head, target.path, target.rest, body);
    Ok(call(target.upid, target.name, target.route, request).await)
}

/// Answers a request that is there as a whole and came over no connection: what is asked of a simulated node.
pub(crate) async fn answer_at_hand(
    node: &NodeInner,
    method: Method,
    path_and_query: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (raw, query_string) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let answered = async {
        check_path(raw)?;
        let Target { upid, name, route, path, rest } = find(node, raw).await?;
        check_method(&route, &method)?;
        check_size(body.len(), route.options.max_body)?;
        let method = if method == Method::HEAD { Method::GET } else { method };
        let (query_string, query) = (query_string.to_owned(), query(query_string));
        let request = Request { method, path, rest, query_string, query, headers, body, peer: None };
        Ok(call(upid, name, route, request).await)
    };
    answered.await.unwrap_or_else(|response| response)
}

fn check_path(raw: &str) -> Result<(), Response> {
    if !raw.starts_with('/') {
        return Err(Response::text(StatusCode::BAD_REQUEST, "The path of a request has to start with `/`."));
    }
    if raw.contains("/..") || raw.contains('%') && decoded(raw).contains("/..") {
        return Err(Response::new(StatusCode::NOT_FOUND));
    }
    Ok(())
}

/// Whether a request has the looks of a message in Apache's wire format.
fn is_message(head: &RequestHead) -> bool {
    head.method == Method::POST
        && (head.headers.contains_key("libprocess-from")
            || head
                .headers
                .get(header::USER_AGENT)
                .is_some_and(|agent| agent.as_bytes().starts_with(b"libprocess/")))
}

fn check_method(route: &Route, method: &Method) -> Result<(), Response> {
    let accepted = &route.options.methods;
    let get = *method == Method::HEAD && accepted.contains(&Method::GET);
    if accepted.is_empty() || get || accepted.contains(method) {
        return Ok(());
    }
    Err(Response::method_not_allowed(accepted, method))
}

fn check_size(size: usize, limit: usize) -> Result<(), Response> {
    if size <= limit { Ok(()) } else { Err(too_large(limit)) }
}

fn too_large(limit: usize) -> Response {
    let text = format!("The body of this request may have {limit} bytes at most.");
    Response::text(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn request(head: &mut RequestHead, path: String, rest: Vec<String>, body: Bytes) -> Request {
    let query_string = head.uri.query().unwrap_or_default().to_owned();
    Request {
        // The answer is the same; that its body is not sent is the connection's business.
        method: if head.method == Method::HEAD { Method::GET } else { head.method.clone() },
        path,
        rest,
        query: if query_string.is_empty() { Default::default() } else { query(&query_string) },
        query_string,
        headers: std::mem::take(&mut head.headers),
        body,
        peer: head.peer_addr,
    }
}

/// Lets a process, or its snapshot, answer.
async fn call(upid: Upid, name: String, route: Route, request: Request) -> Response {
    let answer = match route.shared {
        Some(shared) => match guarded(|| shared(request)) {
            Ok(Answer::Now(response)) => return response,
            Ok(Answer::Later(future)) => future,
            Err(panic) => {
                tracing::error!(process = %upid, route = name, %panic, "a route panicked");
                return Response::new(StatusCode::INTERNAL_SERVER_ERROR);
            }
        },
        None => {
            let (promise, future): (_, Future<Response>) = Promise::new();
            let request = Box::new(request);
            upid.post(Event::Http { request, route: name.into(), answer: promise });
            future
        }
    };
    // Abandoned: the process has ended, or forgot. One that was made to end may be followed by another.
    let status = || match upid.is_terminating() {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::INTERNAL_SERVER_ERROR,
    };
    answer.await.unwrap_or_else(|_| Response::new(status()))
}

/// Reads a body, decompressed, of at most `limit` bytes.
async fn whole_body(
    state: &State,
    head: &RequestHead,
    payload: &mut Payload,
    length: Option<u64>,
    limit: usize,
) -> Result<Bytes, Response> {
    let encoding = head.headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii());
    let gzipped = match encoding {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => {
            let text = "The only `Content-Encoding` understood is `gzip`.";
            return Err(Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
    };
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let body = match read(state, payload, limit).await {
        Ok(Some(body)) => body,
        Ok(None) => return Err(too_large(limit)),
        Err(error) => {
            let text = format!("The body of this request is broken: {error}.");
            return Err(Response::text(StatusCode::BAD_REQUEST, text));
        }
    };
    if !gzipped || body.is_empty() {
        return Ok(body);
    }
    let unpacked = if body.len() <= SMALL {
        gunzip(&body, limit)
    } else {
        let work = tokio::task::spawn_blocking(move || gunzip(&body, limit));
        work.await.unwrap_or(Err(GunzipError::Corrupt))
    };
    unpacked.map_err(|error| match error {
        GunzipError::TooLarge => too_large(limit),
        GunzipError::Corrupt => {
            Response::text(StatusCode::BAD_REQUEST, "The body of this request is not what gzip writes.")
        }
    })
}

/// Reads to the end; `None` when that would be more than `limit` bytes.
async fn read(state: &State, payload: &mut Payload, limit: usize) -> Result<Option<Bytes>, PayloadError> {
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk?;
        state.body_progress(chunk.len());
        if whole.len() + joined.len() + chunk.len() > limit {
            return Ok(None);
        }
        if joined.is_empty() && whole.is_empty() {
            // The common case: all of it in one piece, and no copy.
            whole = chunk;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut whole));
            joined.extend_from_slice(&chunk);
        }
    }
    Ok(Some(if joined.is_empty() { whole } else { joined.freeze() }))
}

/// Reads a short body that nobody wants: without it the connection could not be used any more.
async fn discard(state: &State, payload: &mut Payload, length: Option<u64>) {
    let mut left = MAX_UNWANTED;
    if state.is_read() || length.is_some_and(|length| length > left as u64) {
        return;
    }
    while let Some(Ok(chunk)) = payload.next().await {
        state.body_progress(chunk.len());
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
