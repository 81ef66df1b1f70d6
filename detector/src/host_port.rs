//! `host:port`, kept as it was written: a name may come to mean another address.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::DEFAULT_PORT;

/// A host, by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// What is no [`HostPort`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostPort {
    /// Nothing in front of the port.
    #[error("`{0}` names no host; write host:port, for example 127.0.0.1:5050")]
    NoHost(String),
    /// What follows the colon.
    #[error("`{0}` is no port; write host:port, for example 127.0.0.1:5050")]
    NoPort(String),
}

impl HostPort {
    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, when the host is written as one: then nobody has to be asked.
    pub fn address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse().ok()?, self.port))
    }

    /// Asks the system for the addresses of the host, IPv4 first. May block for seconds.
    ///
    /// # Errors
    /// If the name is not known, or the name server does not answer.
    pub fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        let mut addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        addresses.sort_by_key(|address| !address.is_ipv4());
        Ok(addresses)
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> HostPort {
        HostPort { host: address.ip().to_string(), port: address.port() }
    }
}

impl FromStr for HostPort {
    type Err = InvalidHostPort;

    /// A host alone means port 5050. An IPv6 address with a port is in brackets.
    fn from_str(text: &str) -> Result<HostPort, InvalidHostPort> {
        let text = text.trim();
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(HostPort { host: ip.to_string(), port: DEFAULT_PORT });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) if port > 0 => (host, port),
                _ => return Err(InvalidHostPort::NoPort(port.to_owned())),
            },
            None => (text, DEFAULT_PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/,@".contains(c)) {
            return Err(InvalidHostPort::NoHost(text.to_owned()));
        }
        Ok(HostPort { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_kept_and_5050_goes_without_saying() {
        for (text, shown) in [
            ("m1", "m1:5050"),
            (" 10.0.0.1:99 ", "10.0.0.1:99"),
            ("::1", "[::1]:5050"),
            ("[::1]:99", "[::1]:99"),
            ("[::1]", "[::1]:5050"),
        ] {
            assert_eq!(text.parse::<HostPort>().map(|it| it.to_string()).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_an_example() {
        for text in ["", ":5050", "m1:http", "m1:0", "m1:70000", "master@m1:5050", "a b:1", "http://m1:5050"]
        {
            let error = text.parse::<HostPort>().unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:5050"), "{text}: {error}");
        }
    }

    #[test]
    fn an_address_needs_no_name_server() {
        assert_eq!("10.0.0.1:99".parse::<HostPort>().unwrap().address(), "10.0.0.1:99".parse().ok());
        assert_eq!("m1:99".parse::<HostPort>().unwrap().address(), None);
    }
}
