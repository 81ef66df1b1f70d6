//! The least of an HTTP client: what a command asks a master.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use detector::HostPort;

/// How long connecting, and each step of an answer, may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a change may take: it is answered when it is in effect.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// No answer that is asked for here is longer.
const MAX_ANSWER: u64 = 16 << 20;

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Where a redirect leads.
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

/// Asks `at` for `path`, which may have a query.
pub(crate) fn ask(at: &HostPort, method: &str, path: &str) -> anyhow::Result<Reply> {
    let mut stream = connect(at).with_context(|| format!("no connection to {at}"))?;
    let mut answer = Vec::new();
    let asked = (|| {
        stream.set_read_timeout(Some(if method == "GET" { TIMEOUT } else { CHANGE_TIMEOUT }))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        stream.take(MAX_ANSWER).read_to_end(&mut answer)
    })();
    asked.with_context(|| format!("{at} did not answer"))?;
    parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("{at} does not answer as a master does"))
}

fn connect(at: &HostPort) -> std::io::Result<TcpStream> {
    let mut failed = std::io::Error::other("it has no address");
    for address in at.resolve()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn parse(answer: &str) -> Option<Reply> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let location = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
    });
    Some(Reply { status, location, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_its_status_its_location_and_its_body() {
        let reply =
            parse("HTTP/1.1 307 Temporary Redirect\r\ncontent-length: 0\r\nlocation: //m1:5050/x\r\n\r\n");
        let expected = Reply { status: 307, location: Some("//m1:5050/x".into()), body: String::new() };
        assert_eq!(reply, Some(expected));
        assert_eq!(parse("HTTP/1.1 200 OK\r\n\r\nbody").unwrap().body, "body");
        assert_eq!(parse("SSH-2.0-OpenSSH"), None);
    }
}
