//! Where others reach a driver.

use std::net::{IpAddr, UdpSocket};

use libprocess::{Address, Node, StartError, Upid};

/// Starts a node that `peer` can reach: it listens on the interface towards it, on a free port.
pub fn node_facing(peer: &Upid) -> Result<Node, StartError> {
    let ip = address_facing(peer.address()).map_err(StartError::NoAddress)?;
    Node::builder().listen(Address::new(ip, 0).to_string()).start()
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
