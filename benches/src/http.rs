//! The least of an HTTP client: blocking, on one kept connection, with nothing between the bench and the socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A response's head.
#[derive(Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Names and values as they came.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A kept connection.
pub struct Connection {
    reader: BufReader<TcpStream>,
    host: SocketAddr,
}

impl Connection {
    /// Connects.
    pub fn open(to: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection { reader: BufReader::with_capacity(256 << 10, stream), host: to })
    }

    /// The bytes of a GET request.
    pub fn get_request(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host).into_bytes()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends a POST request, in one piece.
    pub fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        let mut request =
            format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", self.host, body.len());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        self.send(&request)
    }

    /// Reads a response's head.
    pub fn read_head(&mut self) -> io::Result<Head> {
        let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| broken("a response without a status"))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => return Ok(Head { status, headers }),
            }
        }
    }

    /// Reads a response that says its length, the body into `body`.
    pub fn read_response(&mut self, body: &mut Vec<u8>) -> io::Result<Head> {
        let head = self.read_head()?;
        let length = head.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
        body.resize(length, 0);
        self.reader.read_exact(body)?;
        Ok(head)
    }

    /// Reads one chunk of a chunked body; none at its end.
    pub fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("no size of a chunk: {line:?}"))
        })?;
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    /// `GET path`, its answer, which has to be 200, in `body`.
    pub fn get(&mut self, path: &str, body: &mut Vec<u8>) -> io::Result<()> {
        self.send(&self.get_request(path))?;
        match self.read_response(body)?.status {
            200 => Ok(()),
            status => Err(io::Error::other(format!("`GET {path}` is answered by {status}"))),
        }
    }
}

/// `GET path` on a connection of its own, as JSON.
pub fn get_json(to: SocketAddr, path: &str) -> io::Result<serde_json::Value> {
    let mut body = Vec::new();
    Connection::open(to)?.get(path, &mut body)?;
    Ok(serde_json::from_slice(&body)?)
}
