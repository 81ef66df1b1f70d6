//! The least of an HTTP client.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::should_implement_trait)] // Tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use api::v1::scheduler::{Call, Event};
use serde_json::Value;

use super::PATIENCE;

/// A response, its body whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    BufReader::new(stream)
}

fn read_head(reader: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no status in `{line}`")).parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => return (status, headers),
        }
    }
}

/// Reads one chunk; none at the end.
fn read_chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let size = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("no chunk size: `{line}`"));
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk).unwrap();
    chunk.truncate(size);
    (size > 0).then_some(chunk)
}

pub fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut reader = send(to, method, path, headers, body);
    let (status, headers) = read_head(&mut reader);
    let mut body = Vec::new();
    if header(&headers, "Transfer-Encoding") == Some("chunked") {
        while let Some(chunk) = read_chunk(&mut reader) {
            body.extend(chunk);
        }
    } else {
        reader.read_to_end(&mut body).unwrap();
    }
    Reply { status, headers, body }
}

pub fn get(to: SocketAddr, path: &str) -> Reply {
    request(to, "GET", path, &[], b"")
}

pub const SCHEDULER: &str = "/api/v1/scheduler";

/// A subscribed HTTP scheduler.
pub struct Scheduler {
    to: SocketAddr,
    reader: BufReader<TcpStream>,
    decoder: api::recordio::Decoder,
    protobuf: bool,
    pub stream_id: String,
    pub framework_id: String,
}

fn encode(call: &Call, protobuf: bool) -> Vec<u8> {
    if protobuf { prost::Message::encode_to_vec(call) } else { api::json::to_vec(call) }
}

fn media(protobuf: bool) -> &'static str {
    if protobuf { "application/x-protobuf" } else { "application/json" }
}

impl Scheduler {
    /// Sends SUBSCRIBE and reads the head of the answer; no event yet.
    pub fn open(to: SocketAddr, call: &Call, protobuf: bool) -> Scheduler {
        let headers = [("Content-Type", media(protobuf)), ("Accept", media(protobuf))];
        let mut reader = send(to, "POST", SCHEDULER, &headers, &encode(call, protobuf));
        let (status, headers) = read_head(&mut reader);
        assert_eq!(status, 200);
        assert_eq!(header(&headers, "Content-Type"), Some(media(protobuf)));
        let stream_id = header(&headers, "Mesos-Stream-Id").unwrap().to_owned();
        let decoder = api::recordio::Decoder::new(1 << 20);
        Scheduler { to, reader, decoder, protobuf, stream_id, framework_id: String::new() }
    }

    pub fn subscribe(to: SocketAddr, call: &Call, protobuf: bool) -> Scheduler {
        let mut scheduler = Scheduler::open(to, call, protobuf);
        let event = scheduler.next().unwrap();
        scheduler.framework_id = event.subscribed.expect("SUBSCRIBED comes first").framework_id.to_string();
        scheduler
    }

    /// The next event; none at the end of the stream.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(record) = self.decoder.next_record().unwrap() {
                return Some(match self.protobuf {
                    true => api::wire::decode(&record).unwrap(),
                    false => api::json::from_slice(&record).unwrap(),
                });
            }
            self.decoder.feed(&read_chunk(&mut self.reader)?);
        }
    }

    /// The next event of that kind.
    pub fn wait(&mut self, kind: api::v1::scheduler::event::Type) -> Event {
        loop {
            let event = self.next().expect("the stream ended");
            if event.r#type() == kind {
                return event;
            }
        }
    }

    pub fn call(&self, call: Call) -> Reply {
        let call = Call { framework_id: Some(self.framework_id.as_str().into()), ..call };
        let headers = [("Content-Type", media(self.protobuf)), ("Mesos-Stream-Id", self.stream_id.as_str())];
        request(self.to, "POST", SCHEDULER, &headers, &encode(&call, self.protobuf))
    }
}
