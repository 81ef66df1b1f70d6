//! Where others reach a driver.

use std::net::{IpAddr, UdpSocket};

use detector::{Masters, UnresolvedMasters};
use libprocess::{Address, Node};

/// Why there is no node that the masters can reach.
#[derive(Debug, thiserror::Error)]
pub enum FacingError {
    /// No master's address is known.
    #[error(transparent)]
    Masters(#[from] UnresolvedMasters),
    /// There is no way to it.
    #[error("there is no way from here to the master at {master}")]
    NoWay {
        /// Where it is.
        master: Address,
        /// What the system said.
        source: std::io::Error,
    },
    /// See [`StartError`](libprocess::StartError).
    #[error(transparent)]
    Start(#[from] libprocess::StartError),
}

/// Starts a node that the masters can reach: it listens on a free port, on the interface towards the first of them
/// whose address is known, or at the address that `LIBPROCESS_IP` names. Blocks while names are looked up.
///
/// # Errors
/// If no master's address is known, there is no way to it, or the node cannot listen.
pub fn node_facing(masters: &Masters) -> Result<Node, FacingError> {
    let said = std::env::var("LIBPROCESS_IP").ok().and_then(|ip| ip.parse().ok());
    let ip = match said {
        Some(ip) => ip,
        None => {
            let master = masters.first_address()?;
            address_facing(master).map_err(|source| FacingError::NoWay { master, source })?
        }
    };
    Ok(Node::builder().listen(Address::new(ip, 0).to_string()).start()?)
}

/// The address of this machine's interface towards `peer`. Nothing is sent.
pub(super) fn address_facing(peer: Address) -> std::io::Result<IpAddr> {
    let any: Address = match peer {
        Address::V4(_) => ([0, 0, 0, 0], 0).into(),
        Address::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_towards_this_machine_is_its_own() {
        assert_eq!(address_facing(([127, 0, 0, 1], 5051).into()).unwrap(), IpAddr::from([127, 0, 0, 1]));
    }
}
