//! What a node answers over real sockets.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test waits with a deadline")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use libprocess::http::{Answer, BodyWriter, Method, Request, Response, RouteOptions, StatusCode, WriteError};
use libprocess::{Context, Future, Node, Pid, Process};

const SOON: Duration = Duration::from_secs(20);

/// Bytes of an answer that is sent in many pieces, the last one not full.
const LONG: usize = (3 << 20) + 7;

fn long() -> Vec<u8> {
    (0..LONG).map(|n| (n % 251) as u8).collect()
}

/// Answers in every way there is.
#[derive(Default)]
struct Desk {
    /// Streams it has opened.
    streams: Vec<BodyWriter>,
    left: Option<mpsc::Sender<()>>,
    held: Vec<libprocess::Promise<Response>>,
}

impl Desk {
    fn echo(&mut self, request: Request, _: &mut Context<Self>) -> Response {
        let text = format!(
            "{} {} {:?} {:?} {}",
            request.method,
            request.path,
            request.rest,
            request.query,
            String::from_utf8_lossy(&request.body)
        );
        Response::text(StatusCode::OK, text)
    }
    fn big(&mut self, _: Request, _: &mut Context<Self>) -> Response {
        Response::json("x".repeat(4096))
    }
    fn huge(&mut self, _: Request, _: &mut Context<Self>) -> Response {
        Response::ok().body(vec![b'x'; 64 << 20])
    }
    fn later(&mut self, _: Request, _: &mut Context<Self>) -> Answer {
        let (promise, future) = libprocess::Promise::new();
        self.held.push(promise);
        future.into()
    }
    fn forget(&mut self, _: Request, _: &mut Context<Self>) -> Answer {
        let (_, future) = libprocess::Promise::<Response>::new();
        future.into()
    }
    fn stream(&mut self, _: Request, ctx: &mut Context<Self>) -> Response {
        let (response, writer) = Response::stream("application/json");
        writer.write("first").unwrap();
        if let Some(left) = self.left.clone() {
            ctx.then(writer.closed(), move |_, closed, _| {
                if closed.is_ok() {
                    let _ = left.send(());
                }
            });
        }
        self.streams.push(writer);
        response
    }
    fn release(&mut self) {
        for promise in self.held.drain(..) {
            promise.set(Response::text(StatusCode::OK, "released"));
        }
    }
}

impl Process for Desk {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/", Self::echo);
        ctx.route("/echo", Self::echo);
        ctx.route("/echo/deeper", |_: &mut Desk, _, _: &mut Context<Desk>| {
            Response::text(StatusCode::OK, "deeper")
        });
        ctx.route("/big", Self::big);
        ctx.route("/huge", Self::huge);
        ctx.route("/long", |_: &mut Desk, _, _: &mut Context<Desk>| Response::ok().body(long()));
        ctx.route("/later", Self::later);
        ctx.route("/forget", Self::forget);
        ctx.route("/stream", Self::stream);
        ctx.route("/panic", |_: &mut Desk, _, _: &mut Context<Desk>| -> Response { panic!("as asked") });
        let options =
            RouteOptions { max_body: 1000, methods: vec![Method::GET, Method::POST], ..Default::default() };
        ctx.route_with("/small", options, Self::echo);
        ctx.route_shared("/shared", RouteOptions::default(), |request| {
            Response::json(format!("{:?}", request.path)).into()
        });
        ctx.route_shared("/shared-panic", RouteOptions::default(), |_| panic!("as asked"));
        ctx.route("/jsonp", |_: &mut Desk, request: Request, _: &mut Context<Desk>| request.json("{}"));
        ctx.route("/empty", |_: &mut Desk, request: Request, _: &mut Context<Desk>| {
            let code = request.query["code"].parse().unwrap();
            Response::new(StatusCode::from_u16(code).unwrap())
        });
    }
}

fn node() -> (Node, Pid<Desk>) {
    let node = Node::builder().listen("127.0.0.1:0").delegate("desk(1)").start().unwrap();
    let pid = node.spawn("desk(1)", Desk::default()).unwrap();
    pid.dispatch(|_, _| ()).wait(SOON).unwrap();
    (node, pid)
}

/// One connection, as a client sees it.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Got {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    fn new(node: &Node) -> Client {
        let stream = TcpStream::connect(node.address()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        Client { stream, buffer: Vec::new() }
    }

    fn send(&mut self, text: impl AsRef<[u8]>) -> &mut Client {
        self.stream.write_all(text.as_ref()).unwrap();
        self
    }

    fn get(&mut self, path: &str) -> Got {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).receive()
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 65536];
        let n = self.stream.read(&mut bytes).unwrap();
        self.buffer.extend_from_slice(&bytes[..n]);
        n > 0
    }

    fn head(&mut self) -> Got {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            assert!(
                self.fill(),
                "the connection ended in a head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Got { status, headers, body: Vec::new() }
    }

    fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            assert!(self.fill(), "the connection ended in a body");
        }
        self.buffer.drain(..n).collect()
    }

    fn chunk(&mut self) -> Vec<u8> {
        let end = loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            assert!(self.fill(), "the connection ended before a chunk");
        };
        let size: Vec<u8> = self.buffer.drain(..end + 2).collect();
        let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
        let mut chunk = self.exactly(size + 2);
        chunk.truncate(size);
        chunk
    }

    fn receive(&mut self) -> Got {
        let mut got = self.head();
        if let Some(length) = got.headers.get("content-length") {
            got.body = self.exactly(length.parse().unwrap());
        } else if got.headers.contains_key("transfer-encoding") {
            loop {
                let chunk = self.chunk();
                if chunk.is_empty() {
                    break;
                }
                got.body.extend(chunk);
            }
        }
        got
    }

    /// Whether the other end closes the connection, by whatever means.
    fn is_closed(&mut self) -> bool {
        let mut bytes = [0; 65536];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

fn eventually(mut what: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !what() {
        assert!(Instant::now() < deadline, "it did not come to be");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_path_finds_its_process_and_its_longest_route() {
    let (node, _) = node();
    let mut client = Client::new(&node);
    for (path, text) in [
        ("/desk(1)/echo", "GET /desk(1)/echo [] {} "),
        ("/desk%281%29/echo", "GET /desk(1)/echo [] {} "),
        ("/desk(1)/echo/", "GET /desk(1)/echo/ [] {} "),
        ("/desk(1)", "GET /desk(1) [] {} "),
        ("/", "GET /desk(1) [] {} "),
        ("/echo?a=1&b=x+y%26", "GET /desk(1)/echo [] {\"a\": \"1\", \"b\": \"x y&\"} "),
        ("/echo/deeper", "deeper"),
        ("/echo/deeper/still", "deeper"),
        ("/echo/a%2Fb/c", "GET /desk(1)/echo/a/b/c [\"a/b\", \"c\"] {} "),
        ("/desk(1)/shared", "\"/desk(1)/shared\""),
        ("http://somewhere/echo", "GET /desk(1)/echo [] {} "),
    ] {
        let got = client.get(path);
        assert_eq!((got.status, got.text()), (200, text), "{path}");
        assert!(got.headers.contains_key("date") && !got.headers.contains_key("server"));
    }
    for path in
        ["/nothing", "/desk(1)/nothing", "/desk(2)/echo", "/echo/../echo", "/echo/%2e%2e", "/metrics/x"]
    {
        let got = client.get(path);
        assert_eq!((got.status, got.text()), (404, "404 Not Found."), "{path}");
    }
    assert_eq!(client.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").receive().status, 400);
}

#[test]
fn without_a_delegate_only_ids_find_anything() {
    let node = Node::builder().listen("127.0.0.1:0").start().unwrap();
    node.spawn("desk", Desk::default()).unwrap().dispatch(|_, _| ()).wait(SOON).unwrap();
    let mut client = Client::new(&node);
    assert_eq!(client.get("/desk/echo").status, 200);
    assert_eq!(client.get("/echo").status, 404);
    assert_eq!(client.get("/").status, 404);
}

#[test]
fn head_is_get_without_its_body() {
    let (node, _) = node();
    let mut client = Client::new(&node);
    // Behind each other, so that one's nature could rub off on the other.
    client.send("HEAD /big HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status, head.headers["content-length"].as_str()), (200, "4096"));
    assert_eq!(client.receive().text(), "GET /desk(1)/echo [] {} ");
    let head = client.head();
    assert_eq!((head.status, head.headers["transfer-encoding"].as_str()), (200, "chunked"));
    assert_eq!(client.receive().text(), "GET /desk(1)/echo [] {} ");
}

#[test]
fn a_method_that_a_route_does_not_take_is_named_with_those_it_does() {
    let (node, _) = node();
    let mut client = Client::new(&node);
    let got = client.send("PUT /small HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").receive();
    assert_eq!((got.status, got.headers["allow"].as_str()), (405, "GET, POST"));
    assert_eq!(got.text(), "Expecting one of { 'GET', 'POST' }, but received 'PUT'");
    assert_eq!(client.send("HEAD /small HTTP/1.1\r\nHost: x\r\n\r\n").head().status, 200);
    assert_eq!(client.get("/small").status, 200, "the connection lives on");
}

#[test]
fn answers_keep_the_order_of_the_requests() {
    let (node, pid) = node();
    let mut client = Client::new(&node);
    let mut requests = "GET /later HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
    for n in 0..500 {
        requests += &format!("GET /echo?n={n} HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    client.send(requests);
    eventually(|| pid.dispatch(|desk, _| desk.held.len()).wait(SOON) == Ok(1));
    pid.call(|desk, _| desk.release());
    assert_eq!(client.receive().text(), "released");
    for n in 0..500 {
        assert_eq!(client.receive().text(), format!("GET /desk(1)/echo [] {{\"n\": \"{n}\"}} "));
    }
}

#[test]
fn bodies_come_whole_however_they_are_sent() {
    let (node, _) = node();
    let mut client = Client::new(&node);
    let got = client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").receive();
    assert_eq!(got.text(), "POST /desk(1)/echo [] {} abc");
    let chunked = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for _ in 0..2 {
        client.send(chunked);
    }
    for byte in chunked.as_bytes() {
        client.send([*byte]);
    }
    for _ in 0..3 {
        assert_eq!(client.receive().text(), "POST /desk(1)/echo [] {} abcde");
    }
    let packed = gzip(b"compressed");
    client.send(format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    ));
    assert_eq!(client.send(&packed).receive().text(), "POST /desk(1)/echo [] {} compressed");
    let large = vec![b'x'; 3 << 20];
    client.send(format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        large.len()
    ));
    assert_eq!(client.head().status, 100);
    assert_eq!(client.send(&large).receive().body.len(), large.len() + "POST /desk(1)/echo [] {} ".len());
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let (node, _) = node();
    let too_large = |got: Got| {
        assert_eq!((got.status, got.text()), (413, "The body of this request may have 1000 bytes at most."));
    };
    // Announced.
    too_large(
        Client::new(&node)
            .send("POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
            .receive(),
    );
    // Found out on the way.
    let mut client = Client::new(&node);
    client.send("POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("400\r\n{}\r\n", "x".repeat(1024)));
    client.send("0\r\n\r\n");
    too_large(client.receive());
    assert_eq!(client.get("/echo").status, 200, "what is left of it was short, so the connection lives on");
    // Unpacked.
    let bomb = gzip(&vec![0; 1 << 20]);
    let mut client = Client::new(&node);
    client.send(format!(
        "POST /small HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    ));
    client.stream.write_all(&bomb).unwrap();
    too_large(client.receive());
    let mut client = Client::new(&node);
    let got = client
        .send("POST /small HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx")
        .receive();
    assert_eq!(got.status, 415);
    let got = client
        .send("POST /small HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx")
        .receive();
    assert_eq!(got.status, 400);
}

#[test]
fn an_endless_body_is_cut_off_but_the_refusal_arrives() {
    let (node, _) = node();
    let mut client = Client::new(&node);
    client.send("POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n");
    assert_eq!(client.receive().status, 413);
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while client.stream.write_all(&chunk).is_ok() && sent < 1024 {
        sent += 1;
    }
    assert!(sent < 1024, "a gigabyte was taken from a client that had been refused");
}

#[test]
fn large_answers_are_compressed_for_those_who_accept_it() {
    let (node, _) = node();
    let mut client = Client::new(&node);
    let with = |accept: &str, path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {accept}\r\n\r\n")
    };
    let got = client.send(with("deflate, gzip", "/big")).receive();
    assert_eq!(got.headers["content-encoding"], "gzip");
    assert_eq!(got.headers["content-type"], "application/json");
    let mut body = String::new();
    flate2::read::GzDecoder::new(&got.body[..]).read_to_string(&mut body).unwrap();
    assert_eq!(body, "x".repeat(4096));
    for (accept, path) in [("gzip;q=0", "/big"), ("identity", "/big"), ("gzip", "/echo")] {
        assert!(!client.send(with(accept, path)).receive().headers.contains_key("content-encoding"));
    }
    let got = client.send(with("gzip", "/stream")).head();
    assert!(!got.headers.contains_key("content-encoding"), "streams are never compressed");
}

#[test]
fn a_stream_is_chunks_as_they_are_written() {
    let (node, pid) = node();
    let mut client = Client::new(&node);
    let got =
        client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n").head();
    assert_eq!(got.headers["content-type"], "application/json");
    assert_eq!(got.headers["transfer-encoding"], "chunked");
    assert!(!got.headers.contains_key("content-length"));
    assert_eq!(client.chunk(), b"first");
    pid.call(|desk, _| desk.streams[0].write("second").unwrap());
    assert_eq!(client.chunk(), b"second");
    pid.call(|desk, _| desk.streams.clear());
    assert_eq!(client.chunk(), b"");
    assert_eq!(client.receive().status, 200, "the request behind the stream has had to wait");
}

#[test]
fn a_stream_for_an_old_client_ends_with_its_connection() {
    let (node, pid) = node();
    let mut client = Client::new(&node);
    let got = client.send("GET /stream HTTP/1.0\r\n\r\n").head();
    assert!(!got.headers.contains_key("transfer-encoding"));
    pid.call(|desk, _| desk.streams.clear());
    while client.fill() {}
    assert_eq!(client.buffer, b"first");
}

#[test]
fn a_streams_writer_hears_at_once_that_its_client_is_gone() {
    let (node, pid) = node();
    for half in [false, true] {
        let (left, leaves) = mpsc::channel();
        pid.call(move |desk, _| desk.left = Some(left));
        let mut client = Client::new(&node);
        client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").head();
        assert_eq!(client.chunk(), b"first");
        if half {
            client.stream.shutdown(Shutdown::Write).unwrap();
        } else {
            drop(client);
        }
        leaves.recv_timeout(SOON).unwrap();
        let write = pid.dispatch(|desk, _| desk.streams.pop().unwrap().write("more"));
        assert_eq!(write.wait(SOON).unwrap(), Err(WriteError::Closed));
    }
}

#[test]
fn a_client_that_never_reads_a_stream_is_cut_off() {
    let (node, pid) = node();
    let mut client = Client::new(&node);
    client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").head();
    let mut written = 0;
    eventually(|| {
        let write = pid.dispatch(|desk, _| desk.streams[0].write(vec![b'x'; 1 << 20])).wait(SOON).unwrap();
        written += 1;
        write == Err(WriteError::Full)
    });
    assert!(written < 64, "{written} MiB were kept for a client that reads nothing");
    eventually(|| pid.dispatch(|desk, _| desk.streams[0].is_closed()).wait(SOON).unwrap());
    // What was on its way may still be read, but not a clean end.
    let mut bytes = Vec::new();
    let result = client.stream.read_to_end(&mut bytes);
    assert!(result.is_err() || !bytes.ends_with(b"0\r\n\r\n"));
}

#[test]
fn half_a_connection_still_gets_its_answer() {
    let (node, pid) = node();
    let mut client = Client::new(&node);
    client.send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    eventually(|| pid.dispatch(|desk, _| desk.held.len()).wait(SOON) == Ok(1));
    pid.call(|desk, _| desk.release());
    assert_eq!(client.receive().text(), "released");
    assert!(client.is_closed());
}

#[test]
fn whoever_forgets_to_answer_or_dies_answers_500() {
    let (node, pid) = node();
    let mut client = Client::new(&node);
    for path in ["/forget", "/shared-panic", "/panic"] {
        let got = client.get(path);
        assert_eq!((got.status, got.text()), (500, "500 Internal Server Error."), "{path}");
    }
    assert!(node.find(pid.upid().id()).is_none());
    assert_eq!(client.get("/echo").status, 503, "whether the delegate has that, nobody can say");
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn an_answer_without_a_word_gets_the_usual_one() {
    let (node, _) = node();
    let mut client = Client::new(&node);
    for (code, text) in [
        (400, "400 Bad Request."),
        (403, "403 Forbidden."),
        (503, "503 Service Unavailable."),
        (202, ""),
        (415, ""),
        (307, ""),
    ] {
        let got = client.get(&format!("/empty?code={code}"));
        assert_eq!((got.status, got.text()), (code, text));
        assert_eq!(got.headers["content-length"], text.len().to_string());
        assert!(!got.headers.contains_key("content-type"));
    }
}

#[test]
fn connections_stay_or_close_as_the_client_wishes() {
    let (node, _) = node();
    let mut client = Client::new(&node);
    client.send(
        "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    let got = client.receive();
    assert_eq!(got.headers["connection"], "close");
    assert!(client.buffer.is_empty() && client.is_closed(), "nothing is answered after the last request");
    let mut client = Client::new(&node);
    assert_eq!(client.send("GET /echo HTTP/1.0\r\n\r\n").receive().status, 200);
    assert!(client.is_closed());
    let mut client = Client::new(&node);
    for _ in 0..2 {
        let got = client.send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").receive();
        assert_eq!(got.headers["connection"], "keep-alive");
    }
}

#[test]
fn what_is_no_http_is_answered_and_left() {
    let (node, _) = node();
    for junk in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        "GET /echo\r\n\r\n",
        "GET /echo HTTP/1.1\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost x\r\n\r\n",
        "GET /echo HTTP/9.9\r\nHost: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut client = Client::new(&node);
        assert_eq!(client.send(junk).head().status, 400, "{junk:?}");
        assert!(client.is_closed());
    }
    let mut client = Client::new(&node);
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert!(client.is_closed(), "behind a broken body there is nothing to go on with");
    let mut client = Client::new(&node);
    client.send("GET /echo HTTP/1.1\r\nHost: x\r\n");
    while client.stream.write_all(&[b"X-Long: ", [b'x'; 4000].as_slice(), b"\r\n"].concat()).is_ok() {}
    assert_eq!(Client::new(&node).get("/echo").status, 200, "the others do not notice");
}

#[test]
fn jsonp_is_json_in_a_call() {
    let (node, _) = node();
    let mut client = Client::new(&node);
    let got = client.get("/jsonp");
    assert_eq!((got.text(), got.headers["content-type"].as_str()), ("{}", "application/json"));
    let got = client.get("/jsonp?jsonp=a.b");
    assert_eq!((got.text(), got.headers["content-type"].as_str()), ("a.b({})", "text/javascript"));
    assert_eq!(client.get("/jsonp?jsonp=alert(1)//").status, 400);
}

#[test]
fn metrics_are_served_in_two_dialects() {
    let (node, _) = node();
    node.metrics().counter("desk/letters").add(2);
    let mut client = Client::new(&node);
    let got = client.get("/metrics/snapshot?timeout=5secs");
    assert_eq!(got.headers["content-type"], "application/json");
    let all: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(all["desk/letters"], 2.0);
    assert!(all["system/cpus_total"].as_f64() >= Some(1.0));
    assert!(got.text().contains("\"desk/letters\":2.0"), "{}", got.text());
    let got = client.get("/metrics");
    assert!(got.text().contains("# TYPE desk_letters counter\ndesk_letters 2\n"));
    assert_eq!(client.get("/metrics/snapshot?timeout=soon").status, 400);
}

#[test]
fn snapshots_beyond_the_rate_wait_for_their_turn() {
    let (node, _) = node();
    node.clock().pause();
    let mut client = Client::new(&node);
    let mut second = Client::new(&node);
    assert_eq!(client.get("/metrics/snapshot").status, 200);
    second.send("GET /metrics/snapshot HTTP/1.1\r\nHost: x\r\n\r\n");
    second.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(second.stream.peek(&mut [0]).is_err(), "answered before its time");
    second.stream.set_read_timeout(Some(SOON)).unwrap();
    node.clock().advance(Duration::from_millis(500));
    assert_eq!(second.receive().status, 200);
}

#[test]
fn a_node_tells_of_itself() {
    let (node, _) = node();
    node.spawn("version", libprocess::Version::new("{\"version\":\"1\"}")).unwrap();
    let mut client = Client::new(&node);
    let all: serde_json::Value = serde_json::from_slice(&client.get("/__processes__").body).unwrap();
    assert!(
        all.as_array()
            .unwrap()
            .iter()
            .any(|process| process["id"] == "desk(1)" && process["events"].is_array())
    );
    let all: serde_json::Value = serde_json::from_slice(&client.get("/help?format=json").body).unwrap();
    let ids: Vec<_> =
        all["processes"].as_array().unwrap().iter().map(|process| process["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"desk(1)") && ids.contains(&"metrics") && !ids.contains(&"help"));
    assert!(client.get("/help/desk(1)").text().contains("<a href=\"/help/desk(1)/echo/deeper\">"));
    let curl = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8\r\n\r\n");
    let got = client.send(curl("/help/metrics/snapshot")).receive();
    assert_eq!(got.headers["content-type"], "text/x-markdown");
    assert!(got.text().starts_with("### USAGE ###\n>        /metrics/snapshot\n"));
    assert_eq!(client.get("/help/nobody").status, 400);
    let all: serde_json::Value = serde_json::from_slice(&client.get("/system/stats.json").body).unwrap();
    assert!(all["mem_total_bytes"].as_f64() > Some(0.0));
    assert_eq!(client.get("/version").text(), "{\"version\":\"1\"}");
    assert_eq!((client.get("/health").status, client.get("/health").text().len()), (200, 0));
}

#[test]
fn the_log_can_be_turned_up_for_a_while() {
    let (node, _) = node();
    node.clock().pause();
    let mut client = Client::new(&node);
    assert_eq!(client.get("/logging/toggle").text(), "0\n");
    assert_eq!(client.get("/logging/toggle?level=1&duration=5secs").status, 501);
    let (tell, told) = mpsc::channel();
    libprocess::set_log_toggler(move |level| tell.send(level).unwrap());
    for bad in [
        "level=1",
        "duration=5secs",
        "level=-1&duration=5secs",
        "level=x&duration=5secs",
        "level=1&duration=x",
    ] {
        assert_eq!(client.get(&format!("/logging/toggle?{bad}")).status, 400, "{bad}");
    }
    assert_eq!(client.get("/logging/toggle?level=2&duration=5secs").status, 200);
    assert_eq!(told.recv_timeout(SOON), Ok(2));
    assert_eq!(client.get("/logging/toggle").text(), "2\n");
    node.clock().advance(Duration::from_secs(5));
    assert_eq!(told.recv_timeout(SOON), Ok(0));
}

/// Has its own word on its health.
struct Proud;

impl Process for Proud {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/health", |_: &mut Proud, _, _: &mut Context<Proud>| {
            Future::ready(Response::text(StatusCode::OK, "splendid"))
        });
    }
}

#[test]
fn a_delegates_own_health_goes_before_the_nodes() {
    let node = Node::builder().listen("127.0.0.1:0").delegate("proud").start().unwrap();
    let mut client = Client::new(&node);
    assert_eq!(client.get("/health").text(), "");
    node.spawn("proud", Proud).unwrap().dispatch(|_, _| ()).wait(SOON).unwrap();
    assert_eq!(client.get("/health").text(), "splendid");
}

#[test]
fn a_long_answer_is_whole_and_the_connection_goes_on() {
    let (node, _) = node();
    let mut client = Client::new(&node);
    client.send("HEAD /long HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.head().headers["content-length"], LONG.to_string());
    for _ in 0..2 {
        // Behind each other: what follows must not get into the body.
        client.send("GET /long HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(client.receive().body == long(), "not the body that was given");
        assert_eq!(client.receive().text(), "GET /desk(1)/echo [] {} ");
    }
}

#[test]
fn a_huge_answer_does_not_hold_up_the_others() {
    let (node, _) = node();
    let mut slow = Client::new(&node);
    slow.send("GET /huge HTTP/1.1\r\nHost: x\r\n\r\n").head();
    for _ in 0..4 {
        assert_eq!(Client::new(&node).get("/echo").status, 200);
    }
}

/// Takes messages of one name.
struct Mailbox(mpsc::Sender<(String, Vec<u8>)>);

impl Process for Mailbox {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("test.Note", |mailbox: &mut Mailbox, from, _, body, _| {
            let _ = mailbox.0.send((from.to_string(), body.to_vec()));
        });
    }
}

#[test]
fn a_message_in_apaches_wire_format_is_delivered_and_acknowledged() {
    let (node, _) = node();
    let (tell, told) = mpsc::channel();
    node.spawn("box(1)", Mailbox(tell)).unwrap();
    let mut client = Client::new(&node);
    let message = |path: &str, sender: &str| {
        format!(
            "POST {path} HTTP/1.1\r\n{sender}\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
    };
    for sender in ["User-Agent: libprocess/me@127.0.0.1:9", "Libprocess-From: me@127.0.0.1:9"] {
        let got = client.send(message("/box(1)/test.Note", sender)).receive();
        assert_eq!((got.status, got.body.len()), (202, 0));
        assert_eq!(told.recv_timeout(SOON).unwrap(), ("me@127.0.0.1:9".to_owned(), b"abc".to_vec()));
    }
    let got = client.send(message("/nobody/test.Note", "Libprocess-From: me@127.0.0.1:9")).receive();
    assert_eq!((got.status, got.text()), (404, "404 Not Found."));
    assert_eq!(client.send(message("/box(1)/test.Note", "User-Agent: curl/8")).receive().status, 404);
}

#[test]
fn after_shutdown_the_port_is_free_and_connections_are_closed() {
    let (node, _) = node();
    let address = node.address();
    let mut idle = Client::new(&node);
    assert_eq!(idle.get("/echo").status, 200);
    node.shutdown().wait(SOON).unwrap();
    assert!(idle.is_closed());
    let again = Node::builder().listen(address.to_string()).start().unwrap();
    assert_eq!(Client::new(&again).get("/health").status, 200);
}
