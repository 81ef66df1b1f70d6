//! Messages to and from a program that speaks Apache's wire protocol by hand, as a C++ or Go libprocess would.

// Test helpers fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use libprocess::{Context, Node, Process, Runtime, Upid};

const SOON: Duration = Duration::from_secs(10);

/// Sends each message named `ping` back as a `pong`.
struct Echo;

impl Process for Echo {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("ping", |_: &mut Echo, from: &Upid, _, body: Bytes, ctx| {
            ctx.send(from, Pong(body.to_vec()));
        });
    }
}

struct Pong(Vec<u8>);

impl libprocess::Message for Pong {
    fn name() -> &'static str {
        "pong"
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode(body: &[u8]) -> Result<Pong, libprocess::DecodeError> {
        Ok(Pong(body.to_vec()))
    }
}

fn echo(require_ip_match: bool) -> Node {
    let builder = Node::builder().listen("127.0.0.1:0").require_peer_address_ip_match(require_ip_match);
    let node = builder.start().unwrap();
    node.spawn("echo(1)", Echo).unwrap();
    node
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Reads up to and including `end`.
fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Sends one request and reads the status and body of its answer.
fn ask(stream: &mut TcpStream, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let head = read_to(stream, "\r\n\r\n");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or_default();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

#[test]
fn messages_go_both_ways() {
    let node = echo(false);
    let me = TcpListener::bind("127.0.0.1:0").unwrap();
    let from = format!("driver@{}", me.local_addr().unwrap());
    let mut stream = connect(node.address());
    // As the C++ library writes it: chunked, and named twice over.
    let answer = ask(
        &mut stream,
        &format!(
            "POST /echo(1)/ping HTTP/1.1\r\nUser-Agent: libprocess/{from}\r\nLibprocess-From: {from}\r\n\
             Connection: Keep-Alive\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            node.address()
        ),
    );
    assert_eq!(answer, (202, String::new()));
    let (mut back, _) = me.accept().unwrap();
    back.set_read_timeout(Some(SOON)).unwrap();
    // Answered in the protocol it spoke, without a question for a link first.
    let echo = format!("echo(1)@{}", node.address());
    let head = format!(
        "POST /driver/pong HTTP/1.1\r\nUser-Agent: libprocess/{echo}\r\nLibprocess-From: {echo}\r\n\
         Connection: Keep-Alive\r\nHost: {}\r\n",
        me.local_addr().unwrap()
    );
    assert_eq!(
        read_to(&mut back, "0\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    );
    // Again on the same connections, the other ways of saying it: one header only, a length, no body.
    for (headers, body) in [
        (format!("libprocess-from: {from}\r\nContent-Length: 2\r\n"), "de"),
        (format!("user-agent: libprocess/{from}\r\n"), ""),
    ] {
        let answer =
            ask(&mut stream, &format!("POST /echo%281%29/ping HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}"));
        assert_eq!(answer.0, 202);
        let rest =
            if body.is_empty() { "\r\n" } else { "Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n" };
        let expected = format!("{head}{rest}");
        let end = if body.is_empty() { "\r\n\r\n" } else { "\r\n0\r\n\r\n" };
        assert_eq!(read_to(&mut back, end), expected);
    }
}

#[test]
fn what_cannot_be_delivered_is_answered_by_its_kind() {
    let node = echo(false);
    let mut stream = connect(node.address());
    let mut status = |request: &str| ask(&mut stream, request).0;
    let from = "Host: x\r\nLibprocess-From: x@127.0.0.1:1\r\nContent-Length: 0\r\n";
    assert_eq!(status(&format!("POST /nobody/ping HTTP/1.1\r\n{from}\r\n")), 404);
    // Whatever its name, the message is the process's business, and so is one from nobody.
    assert_eq!(status(&format!("POST /echo(1)/unheard/of HTTP/1.1\r\n{from}\r\n")), 202);
    let nobody = "Host: x\r\nLibprocess-From: rubbish\r\nContent-Length: 0\r\n";
    assert_eq!(status(&format!("POST /echo(1)/ping HTTP/1.1\r\n{nobody}\r\n")), 202);
    // A GET is never a message.
    assert_eq!(status(&format!("GET /echo(1)/ping HTTP/1.1\r\n{from}\r\n")), 404);
}

#[test]
fn a_sender_that_claims_another_address_is_refused_where_that_is_asked_for() {
    let node = echo(true);
    let mut stream = connect(node.address());
    let mut send = |from: &str| {
        let request = format!(
            "POST /echo(1)/ping HTTP/1.1\r\nHost: x\r\nLibprocess-From: {from}\r\nContent-Length: 0\r\n\r\n"
        );
        ask(&mut stream, &request)
    };
    assert_eq!(send("x@127.0.0.1:1").0, 202);
    let (status, text) = send("x@10.0.0.1:1");
    assert_eq!(status, 400);
    assert!(text.contains("10.0.0.1") && text.contains("127.0.0.1"), "{text}");
    // A link has to keep to it too.
    let mut stream = connect(node.address());
    let upgrade = "GET /__link__ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: libprocess-link/1\r\n\
                   Libprocess-Address: 10.0.0.1:5\r\n\r\n";
    let (status, text) = ask(&mut stream, upgrade);
    assert_eq!(status, 400);
    assert!(text.contains("10.0.0.1:5"), "{text}");
}

#[test]
fn a_message_is_answered_once_there_is_room_for_the_next() {
    let node = Node::builder().listen("127.0.0.1:0").runtime(Runtime::new(2).unwrap()).start().unwrap();
    let flooded = node.spawn_on(1, "flooded", Echo).unwrap();
    let (open, gate) = mpsc::channel::<()>();
    flooded.call(move |_, _| gate.recv().unwrap());
    let post = |to: &str, body: &str| {
        format!(
            "POST /{to} HTTP/1.1\r\nHost: x\r\nLibprocess-From: a@127.0.0.1:1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // One that is not served beside the process that does not return.
    let mut connections = (0..16).map(|_| {
        let mut stream = connect(node.address());
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.write_all(post("nobody/x", "").as_bytes()).unwrap();
        stream
    });
    let mut stream = connections.find(|stream| stream.peek(&mut [0]).is_ok()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    assert!(read_to(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 404"));
    read_to(&mut stream, "404 Not Found.");

    let body = "x".repeat(4 << 20);
    for _ in 0..15 {
        assert_eq!(ask(&mut stream, &post("flooded/nothing", &body)).0, 202);
    }
    stream.write_all(post("flooded/nothing", &body).as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(stream.peek(&mut [0]).is_err(), "64 MiB wait");
    stream.set_read_timeout(Some(SOON)).unwrap();
    open.send(()).unwrap();
    assert!(read_to(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 202"));
}
