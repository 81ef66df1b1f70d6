//! How the values of flags are read.

use std::time::Duration;

/// `15secs`, `1.5mins`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    api::duration::parse(text).map_err(|error| error.to_string())
}

/// `4KB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    api::byte_size::parse(text).map_err(|error| error.to_string())
}

/// `host:port`, or a host alone, which means port 5050.
pub(crate) fn host_port(text: &str) -> Result<String, String> {
    let text = text.trim();
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "5050"));
    if host.is_empty() {
        return Err(format!("`{text}` names no host; write host:port, for example 127.0.0.1:5050"));
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(format!("{host}:{port}")),
        _ => Err(format!("`{port}` is no port; write host:port, for example 127.0.0.1:5050")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_is_named_by_host_and_port_and_5050_goes_without_saying() {
        assert_eq!(host_port("m1").as_deref(), Ok("m1:5050"));
        assert_eq!(host_port("10.0.0.1:99").as_deref(), Ok("10.0.0.1:99"));
        assert!(host_port(":5050").is_err());
        assert!(host_port("m1:http").is_err());
    }
}
