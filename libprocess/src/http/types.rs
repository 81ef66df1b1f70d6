//! Requests, responses and routes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{BodyReader, BodyWriter, HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use crate::future::Future;

/// A request, its body read to the end.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The whole path, decoded, without the query: `/master/state`.
    pub path: String,
    /// What of the path is below the route, part by part and decoded: `/quota/a%2Fb` leaves `["a/b"]` to the
    /// route `/quota`.
    pub rest: Vec<String>,
    /// The query string as received, without its `?`.
    pub query_string: String,
    /// The query, decoded; of a name given twice the last value counts.
    pub query: BTreeMap<String, String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
    /// The other end of the connection, when there is one.
    pub peer: Option<SocketAddr>,
}

impl Request {
    /// A header's value, when it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A JSON document as the answer to this request: as JSONP if it asks for that with `?jsonp=function`.
    pub fn json(&self, document: impl Into<Bytes>) -> Response {
        let Some(function) = self.query.get("jsonp") else { return Response::json(document) };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.' | '[' | ']');
        if function.is_empty() || !function.chars().all(is_name) {
            // Whatever else might be in there would run in somebody's browser.
            return Response::text(StatusCode::BAD_REQUEST, "`jsonp` has to be the name of a function.");
        }
        let document = document.into();
        let mut body = Vec::with_capacity(function.len() + document.len() + 2);
        body.extend_from_slice(function.as_bytes());
        body.push(b'(');
        body.extend_from_slice(&document);
        body.push(b')');
        Response::ok().header("Content-Type", "text/javascript").body(body)
    }
}

/// What a response carries.
#[derive(Debug)]
pub enum Body {
    /// Nothing; `Content-Length: 0`.
    Empty,
    /// All of it at once.
    Bytes(Bytes),
    /// Chunk by chunk, as it is written.
    Stream(BodyReader),
}

/// A response.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers, without those that describe the connection or the body's length.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Response {
    /// A response of that status, without a body.
    pub fn new(status: StatusCode) -> Response {
        Response { status, headers: HeaderMap::new(), body: Body::Empty }
    }

    /// `200 OK`, without a body.
    pub fn ok() -> Response {
        Response::new(StatusCode::OK)
    }

    /// A response of that status with a text to explain it.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Response {
        Response::new(status).body(text.into())
    }

    /// `405 Method Not Allowed`, naming what is accepted.
    pub fn method_not_allowed(accepted: &[Method], received: &Method) -> Response {
        let names: Vec<&str> = accepted.iter().map(Method::as_str).collect();
        let text = format!("Expecting one of {{ '{}' }}, but received '{received}'", names.join("', '"));
        Response::text(StatusCode::METHOD_NOT_ALLOWED, text).header("Allow", &names.join(", "))
    }

    /// `200 OK` with a JSON document.
    pub fn json(document: impl Into<Bytes>) -> Response {
        Response::ok().header("Content-Type", "application/json").body(document)
    }

    /// `200 OK` with a body that is written as it comes into being.
    pub fn stream(content_type: &str) -> (Response, BodyWriter) {
        let (writer, reader) = BodyWriter::new();
        let mut response = Response::ok().header("Content-Type", content_type);
        response.body = Body::Stream(reader);
        (response, writer)
    }

    /// Adds a header. What is no legal header is left out, and logged: it can only be a mistake of ours.
    pub fn header(mut self, name: &str, value: &str) -> Response {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                self.headers.insert(name, value);
            }
            _ => tracing::error!(name, value, "not a legal HTTP header; left out"),
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Response {
        let body = body.into();
        self.body = if body.is_empty() { Body::Empty } else { Body::Bytes(body) };
        self
    }
}

/// A response now, or one that comes later.
pub enum Answer {
    /// Here it is.
    Now(Response),
    /// It comes; if it is abandoned the client gets a 500, or a 503 if the process was terminated.
    Later(Future<Response>),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Answer {
        Answer::Now(response)
    }
}

impl From<Future<Response>> for Answer {
    fn from(future: Future<Response>) -> Answer {
        Answer::Later(future)
    }
}

/// What a route accepts, and how `/help` describes it.
#[derive(Clone, Debug)]
pub struct RouteOptions {
    /// The largest body in bytes, after decompression; beyond it the client gets a 413.
    pub max_body: usize,
    /// The methods accepted; empty for all. `HEAD` goes with `GET`.
    pub methods: Vec<Method>,
    /// Only for the route `/`: whether it also answers what is below it and no other route of the process
    /// takes.
    pub catch_all: bool,
    /// One line for the index of `/help`.
    pub summary: String,
    /// The rest of the help text, in Markdown.
    pub description: String,
}

impl Default for RouteOptions {
    fn default() -> Self {
        RouteOptions {
            max_body: 8 << 20,
            methods: Vec::new(),
            catch_all: false,
            summary: String::new(),
            description: String::new(),
        }
    }
}

impl RouteOptions {
    /// Options with that one line of help.
    pub fn help(summary: &str) -> RouteOptions {
        RouteOptions { summary: summary.to_owned(), ..RouteOptions::default() }
    }
}

type Shared = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

/// A route as its node knows it.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) options: RouteOptions,
    /// Set when the answer needs no process.
    pub(crate) shared: Option<Shared>,
}

/// A route's path as it is stored: no slashes at its ends.
pub(crate) fn normalized(path: &str) -> String {
    path.trim_matches('/').to_owned()
}
