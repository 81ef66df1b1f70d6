//! How a native link begins: an HTTP upgrade, so that it shares the port with everything else and a peer of
//! another kind answers something sensible; then a greeting each way.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::upid::Address;

/// The version of the link protocol: of the frames and of the greeting.
const VERSION: u16 = 1;
const MAGIC: [u8; 8] = *b"lp\x00link\n";
/// A handshake's HTTP head is a few lines.
const MAX_HEAD: usize = 8 << 10;
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Each step of a handshake; a peer of another kind may never answer.
const STEP_WITHIN: Duration = Duration::from_secs(2);

/// What a node says of itself at the beginning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Greeting {
    pub(crate) address: Address,
    /// Drawn when the node started: tells a node that came back from one that was here all along.
    pub(crate) incarnation: u64,
}

/// How an attempt to connect went, when no link came of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no connection: {0}")]
    Unreachable(#[source] std::io::Error),
    /// There is somebody, who does not speak this protocol.
    #[error("connected, but {0}")]
    Foreign(String),
    /// The peer answered in HTTP, and not with 101: it will do the same tomorrow.
    #[error("the peer answers HTTP, but no link: `{0}`")]
    Http(String),
    #[error(transparent)]
    Greeting(#[from] GreetingError),
}

/// A greeting that is none.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum GreetingError {
    #[error("the peer's greeting is not that of a link")]
    NoGreeting,
    #[error("the peer speaks version {0} of the link, this node version {VERSION}")]
    Version(u16),
    #[error("the peer's greeting bears no address `ip:port`")]
    Address,
}

impl Greeting {
    fn append(&self, out: &mut Vec<u8>) {
        let address = self.address.to_string();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.push(address.len() as u8);
        out.extend_from_slice(address.as_bytes());
    }

    /// Reads a greeting off the front of `bytes`; `None` when more bytes are needed.
    fn parse(bytes: &mut BytesMut) -> Result<Option<Greeting>, GreetingError> {
        let n = bytes.len().min(MAGIC.len());
        if bytes[..n] != MAGIC[..n] {
            return Err(GreetingError::NoGreeting);
        }
        let Some(version) = bytes.get(8..10) else { return Ok(None) };
        let version = u16::from_le_bytes([version[0], version[1]]);
        if version != VERSION {
            return Err(GreetingError::Version(version));
        }
        let Some(&length) = bytes.get(18) else { return Ok(None) };
        let end = 19 + usize::from(length);
        if bytes.len() < end {
            return Ok(None);
        }
        let incarnation = bytes[10..18].try_into().map_or(0, u64::from_le_bytes);
        let text = std::str::from_utf8(&bytes[19..end]).map_err(|_| GreetingError::Address)?;
        let address = text.parse().map_err(|_| GreetingError::Address)?;
        bytes.advance(end);
        Ok(Some(Greeting { address, incarnation }))
    }
}

/// Connects to `to` and upgrades; the bytes are what has arrived behind the peer's greeting.
pub(crate) async fn connect(
    to: Address,
    own: Greeting,
) -> Result<(TcpStream, Greeting, BytesMut), ConnectError> {
    let mut stream = tcp(to).await?;
    let mut out = Vec::new();
    let request = format!(
        "GET /__link__ HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: libprocess-link/{VERSION}\r\n\
         Libprocess-Address: {}\r\n\r\n",
        own.address
    );
    let foreign = |error: std::io::Error| ConnectError::Foreign(error.to_string());
    stream.write_all(request.as_bytes()).await.map_err(foreign)?;
    let mut bytes = BytesMut::new();
    let head = read_head(&mut stream, &mut bytes).await.map_err(foreign)?;
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.") {
        return Err(ConnectError::Foreign("the answer is not HTTP".to_owned()));
    }
    match status.split(' ').nth(1) {
        Some("101") => {}
        Some("426") => {
            return Err(other_version(&head).map_or_else(
                || ConnectError::Http(status.to_owned()),
                |version| GreetingError::Version(version).into(),
            ));
        }
        _ => return Err(ConnectError::Http(status.to_owned())),
    }
    own.append(&mut out);
    stream.write_all(&out).await.map_err(foreign)?;
    let greeting = read_greeting(&mut stream, &mut bytes).await?;
    Ok((stream, greeting, bytes))
}

/// A plain connection.
pub(crate) async fn tcp(to: Address) -> Result<TcpStream, ConnectError> {
    let stream = match timeout(CONNECT_WITHIN, TcpStream::connect(to)).await {
        Ok(stream) => stream.map_err(ConnectError::Unreachable)?,
        Err(_) => return Err(ConnectError::Unreachable(std::io::ErrorKind::TimedOut.into())),
    };
    // A port of the system's own choosing may be the very one tried, if nobody listens there any more.
    if stream.local_addr().ok() == Some(to) {
        return Err(ConnectError::Unreachable(std::io::ErrorKind::ConnectionRefused.into()));
    }
    stream.set_nodelay(true).map_err(ConnectError::Unreachable)?;
    Ok(stream)
}

/// Why an incoming link was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Greeting(#[from] GreetingError),
}

/// Answers a connection whose first request is for an upgrade. `require_ip` is the IP address that the peer
/// must announce.
pub(crate) async fn accept(
    stream: &mut TcpStream,
    own: Greeting,
    require_ip: Option<IpAddr>,
) -> Result<(Greeting, BytesMut), AcceptError> {
    stream.set_nodelay(true)?;
    let mut bytes = BytesMut::new();
    let head = read_head(stream, &mut bytes).await?;
    let announced = match announced(&head, require_ip) {
        Ok(address) => address,
        Err(refusal) => {
            let text = refusal.text;
            let mut response = format!("HTTP/1.1 {}\r\n", refusal.status);
            let _ = write!(
                response,
                "Upgrade: libprocess-link/{VERSION}\r\nConnection: close\r\nContent-Type: text/plain\r\n\
                 Content-Length: {}\r\n\r\n{text}",
                text.len()
            );
            stream.write_all(response.as_bytes()).await?;
            stream.shutdown().await?;
            return Err(AcceptError::Refused(text));
        }
    };
    let mut out = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: libprocess-link/{VERSION}\r\n\r\n"
    )
    .into_bytes();
    own.append(&mut out);
    stream.write_all(&out).await?;
    let greeting = read_greeting(stream, &mut bytes).await?;
    if greeting.address != announced {
        return Err(AcceptError::Refused(format!(
            "the peer announced {announced}, then {}",
            greeting.address
        )));
    }
    Ok((greeting, bytes))
}

struct Refusal {
    status: &'static str,
    text: String,
}

/// The address that the upgrade request `head` announces.
fn announced(head: &str, require_ip: Option<IpAddr>) -> Result<SocketAddr, Refusal> {
    let refuse = |status, text: String| Err(Refusal { status, text });
    let upgrade = header(head, "upgrade").unwrap_or_default();
    let Some(version) = upgrade.strip_prefix("libprocess-link/") else {
        return refuse(
            "400 Bad Request",
            format!(
                "/__link__ is for links between nodes: `Upgrade: libprocess-link/{VERSION}` is missing\n"
            ),
        );
    };
    if version.parse() != Ok(VERSION) {
        return refuse(
            "426 Upgrade Required",
            format!("you speak version {version} of the link, this node version {VERSION}\n"),
        );
    }
    let text = header(head, "libprocess-address").unwrap_or_default();
    let Ok(address) = text.parse::<SocketAddr>() else {
        return refuse("400 Bad Request", format!("Libprocess-Address is `{text}`; it must be `ip:port`\n"));
    };
    match require_ip {
        Some(ip) if ip.to_canonical() != address.ip().to_canonical() => refuse(
            "400 Bad Request",
            format!("Libprocess-Address is `{address}`, but the connection comes from {ip}\n"),
        ),
        _ => Ok(address),
    }
}

/// The version of the link that a peer speaks which refuses ours.
fn other_version(head: &str) -> Option<u16> {
    header(head, "upgrade")?.strip_prefix("libprocess-link/")?.parse().ok()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Reads to the blank line; what follows it stays in `bytes`.
async fn read_head(stream: &mut TcpStream, bytes: &mut BytesMut) -> std::io::Result<String> {
    let read = async {
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = bytes.split_to(end + 4);
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            if bytes.len() > MAX_HEAD {
                return Err(std::io::Error::other(format!("more than {MAX_HEAD} bytes of HTTP head")));
            }
            if stream.read_buf(bytes).await? == 0 {
                return Err(std::io::Error::other("the peer hung up before it had answered"));
            }
        }
    };
    timeout(STEP_WITHIN, read).await.unwrap_or_else(|_| Err(std::io::Error::other("the peer keeps silent")))
}

async fn read_greeting(stream: &mut TcpStream, bytes: &mut BytesMut) -> Result<Greeting, GreetingError> {
    let read = async {
        loop {
            if let Some(greeting) = Greeting::parse(bytes)? {
                return Ok(greeting);
            }
            match stream.read_buf(bytes).await {
                Ok(n) if n > 0 => {}
                _ => return Err(GreetingError::NoGreeting),
            }
        }
    };
    timeout(STEP_WITHIN, read).await.unwrap_or(Err(GreetingError::NoGreeting))
}

/// Reads `bytes` as a greeting and as the head of an upgrade request; whether either is one.
pub(crate) fn read_any(bytes: &[u8]) -> bool {
    let greeting = Greeting::parse(&mut BytesMut::from(bytes));
    let head = String::from_utf8_lossy(bytes);
    matches!(greeting, Ok(Some(_))) || announced(&head, None).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn greeting() -> Greeting {
        Greeting { address: "10.0.0.1:5050".parse().unwrap(), incarnation: 7 }
    }

    #[test]
    fn a_greeting_is_read_back_whatever_pieces_it_comes_in() {
        let mut out = Vec::new();
        greeting().append(&mut out);
        out.extend(b"more");
        for cut in 0..out.len() {
            let mut bytes = BytesMut::from(&out[..cut]);
            let expected = (cut >= out.len() - 4).then(greeting);
            assert_eq!(Greeting::parse(&mut bytes), Ok(expected), "{cut}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut out = Vec::new();
        greeting().append(&mut out);
        out[8] = 9;
        let error = Greeting::parse(&mut BytesMut::from(&out[..])).unwrap_err();
        assert_eq!(error.to_string(), "the peer speaks version 9 of the link, this node version 1");
    }

    #[test]
    fn an_upgrade_request_is_refused_for_what_is_wrong_with_it() {
        let check = |headers: &str, ip: Option<&str>| {
            let head = format!("GET /__link__ HTTP/1.1\r\n{headers}\r\n\r\n");
            announced(&head, ip.map(|ip| ip.parse().unwrap())).map_err(|refusal| refusal.text)
        };
        let good = "upgrade: libprocess-link/1\r\nLIBPROCESS-ADDRESS: 10.0.0.1:5050";
        assert_eq!(check(good, Some("10.0.0.1")), Ok("10.0.0.1:5050".parse().unwrap()));
        assert!(check(good, Some("10.0.0.2")).unwrap_err().contains("comes from 10.0.0.2"));
        assert!(check("Upgrade: libprocess-link/2", None).unwrap_err().contains("version 2"));
        assert!(check("Upgrade: h2c", None).unwrap_err().contains("is missing"));
        let none = "Upgrade: libprocess-link/1\r\nLibprocess-Address: here";
        assert!(check(none, None).unwrap_err().contains("`here`"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_greeting_fall_over(bytes: Vec<u8>) {
            let mut with_magic = MAGIC.to_vec();
            with_magic.extend([1, 0]);
            with_magic.extend(&bytes);
            let _ = Greeting::parse(&mut BytesMut::from(&bytes[..]));
            let _ = Greeting::parse(&mut BytesMut::from(&with_magic[..]));
        }
    }
}
