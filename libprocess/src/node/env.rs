//! What the environment says about a node's addresses.

use std::net::{IpAddr, Ipv4Addr};

use super::NodeBuilder;
use crate::builtin::is_rate_limit;

const PREFIX: &str = "LIBPROCESS_";

/// An environment variable whose value is none it can have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is `{value}`; it must be {expected}")]
pub struct EnvironmentError {
    variable: String,
    value: String,
    expected: &'static str,
}

impl NodeBuilder {
    /// A node that listens and advertises as the environment says:
    ///
    /// | variable | meaning | without it |
    /// | --- | --- | --- |
    /// | `LIBPROCESS_IP` | IPv4 address to listen on | all |
    /// | `LIBPROCESS_PORT` | port to listen on; 0 takes a free one | 0 |
    /// | `LIBPROCESS_ADVERTISE_IP` | IPv4 address others reach the node at | the one listened on |
    /// | `LIBPROCESS_ADVERTISE_PORT` | port others reach it at | the one listened on |
    /// | `LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH` | see [`require_peer_address_ip_match`](Self::require_peer_address_ip_match) | `false` |
    /// | `LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT` | how often `/metrics/snapshot` may be asked; empty for no limit | `2/1secs` |
    ///
    /// What is set on the builder afterwards prevails.
    pub fn from_env() -> Result<NodeBuilder, EnvironmentError> {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        NodeBuilder::from_vars(std::env::vars_os().map(|(name, value)| (text(name), text(value))))
    }

    fn from_vars(vars: impl Iterator<Item = (String, String)>) -> Result<NodeBuilder, EnvironmentError> {
        let mut ip = Ipv4Addr::UNSPECIFIED;
        let mut port = 0_u16;
        let mut builder = NodeBuilder::default();
        for (variable, value) in vars {
            let Some(name) = variable
                .split_at_checked(PREFIX.len())
                .filter(|(prefix, _)| prefix.eq_ignore_ascii_case(PREFIX))
                .map(|(_, name)| name.to_ascii_uppercase())
            else {
                continue;
            };
            let text = value.trim();
            let expected = match name.as_str() {
                "IP" => text.parse().map(|it| ip = it).err().map(|_| "an IPv4 address"),
                "PORT" => text.parse().map(|it| port = it).err().map(|_| "a port from 0 to 65535"),
                "ADVERTISE_IP" => text
                    .parse()
                    .map(|it| builder.advertise_ip = Some(IpAddr::V4(it)))
                    .err()
                    .map(|_| "an IPv4 address"),
                "ADVERTISE_PORT" => match text.parse() {
                    Ok(port) if port > 0 => {
                        builder.advertise_port = Some(port);
                        None
                    }
                    _ => Some("a port from 1 to 65535"),
                },
                "REQUIRE_PEER_ADDRESS_IP_MATCH" => match text {
                    "true" | "1" => {
                        builder.require_ip_match = true;
                        None
                    }
                    "false" | "0" => {
                        builder.require_ip_match = false;
                        None
                    }
                    _ => Some("`true` or `false`"),
                },
                "METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT" => {
                    (!is_rate_limit(text)).then_some("a rate like `2/1secs`, or empty for no limit")
                }
                _ => None,
            };
            if let Some(expected) = expected {
                return Err(EnvironmentError { variable, value, expected });
            }
        }
        Ok(builder.listen(format!("{ip}:{port}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(vars: &[(&str, &str)]) -> Result<NodeBuilder, EnvironmentError> {
        NodeBuilder::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn names_are_taken_in_any_case_and_unknown_ones_passed_over() {
        let vars = [
            ("LIBPROCESS_IP", "127.0.0.1"),
            ("libprocess_port", "0"),
            ("LIBPROCESS_advertise_ip", "10.1.2.3"),
            ("LIBPROCESS_ADVERTISE_PORT", "8080"),
            ("LIBPROCESS_FUTURE", "x"),
            ("PATH", "/bin"),
        ];
        let node = builder(&vars).unwrap().start().unwrap();
        assert_eq!(node.address(), "10.1.2.3:8080".parse().unwrap());
    }

    #[test]
    fn each_half_of_the_advertised_address_may_be_left_to_what_is_listened_on() {
        let node = builder(&[("LIBPROCESS_ADVERTISE_IP", "10.1.2.3")]).unwrap().start().unwrap();
        assert_eq!(node.address().ip(), IpAddr::from([10, 1, 2, 3]));
        assert_ne!(node.address().port(), 0);
        let vars = [("LIBPROCESS_IP", "127.0.0.1"), ("LIBPROCESS_ADVERTISE_PORT", "77")];
        let node = builder(&vars).unwrap().start().unwrap();
        assert_eq!(node.address(), "127.0.0.1:77".parse().unwrap());
    }

    #[test]
    fn a_bad_value_is_refused_by_name() {
        let check = |name: &str, value: &str| builder(&[(name, value)]).unwrap_err().to_string();
        assert_eq!(check("LIBPROCESS_IP", "::1"), "LIBPROCESS_IP is `::1`; it must be an IPv4 address");
        assert_eq!(
            check("LIBPROCESS_PORT", "65536"),
            "LIBPROCESS_PORT is `65536`; it must be a port from 0 to 65535"
        );
        assert_eq!(
            check("LIBPROCESS_ADVERTISE_PORT", "0"),
            "LIBPROCESS_ADVERTISE_PORT is `0`; it must be a port from 1 to 65535"
        );
        assert!(check("LIBPROCESS_ADVERTISE_IP", "here").contains("LIBPROCESS_ADVERTISE_IP"));
        assert!(check("LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH", "maybe").contains("`true` or `false`"));
        assert!(
            check("LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT", "2").contains("a rate like `2/1secs`")
        );
    }
}
