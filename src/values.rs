//! How the values of flags are read.

use std::time::Duration;

use detector::{HostPort, InvalidMasters, Masters};

/// `15secs`, `1.5mins`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    api::duration::parse(text).map_err(|error| error.to_string())
}

/// `4KB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    api::byte_size::parse(text).map_err(|error| error.to_string())
}

/// `host:port` of a master, or a host alone, which means port 5050.
pub(crate) fn master(text: &str) -> Result<HostPort, String> {
    text.parse().map_err(|error: detector::InvalidHostPort| error.to_string())
}

/// `m1:5050,m2:5050,m3:5050`, or a file that says so. The file has to be right now; it is read again later.
pub(crate) fn masters(text: &str) -> Result<Masters, String> {
    let masters: Masters = text.parse().map_err(|error: InvalidMasters| error.to_string())?;
    match masters.read() {
        Ok(_) => Ok(masters),
        Err(error) => Err(match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_named_by_host_and_port_or_in_a_file() {
        assert_eq!(masters("m1,m2:99").map(|it| it.to_string()).as_deref(), Ok("m1:5050,m2:99"));
        assert!(masters(":5050").is_err());
        assert!(masters("zk://m1:2181/mesos").unwrap_err().contains("m1:5050,m2:5050,m3:5050"));
        let directory = tempfile::tempdir().unwrap();
        let file = format!("file://{}/masters", directory.path().display());
        assert!(masters(&file).unwrap_err().contains("cannot read the masters"));
        std::fs::write(directory.path().join("masters"), "m1\nm2\n").unwrap();
        assert_eq!(masters(&file).map(|it| it.to_string()), Ok(file));
    }
}
