//! Which entry of `--masters` is this master.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use detector::HostPort;

use crate::flags::{Flags, InvalidFlag};
use crate::registry::Founding;

impl Flags {
    /// Alone, or as which of several. Asks for the addresses of names where that is what decides.
    pub(crate) fn founding(&self, address: SocketAddr) -> Result<Founding, InvalidFlag> {
        if self.masters.is_empty() {
            return Ok(Founding::Alone);
        }
        let resolve = |master: &HostPort| match master.address() {
            Some(address) => Ok(vec![address.ip()]),
            None => Ok(master.resolve()?.into_iter().map(|address| address.ip()).collect()),
        };
        let own = own(&self.masters, address, self.hostname.as_deref(), resolve, is_local)
            .and_then(|own| reachable(&self.masters, own, address, resolve))
            .map_err(|expected| InvalidFlag { flag: "masters", value: listed(&self.masters), expected })?;
        Ok(Founding::Group { own, masters: self.masters.clone() })
    }
}

/// As it is given on the command line.
pub(crate) fn listed(masters: &[HostPort]) -> String {
    masters.iter().map(HostPort::to_string).collect::<Vec<_>>().join(",")
}

/// Finds the entry that means the master at `address`: by its port, and then by name, by address, or because the
/// address is one of this machine's, whatever others are told.
fn own(
    masters: &[HostPort],
    address: SocketAddr,
    hostname: Option<&str>,
    resolve: impl Fn(&HostPort) -> std::io::Result<Vec<IpAddr>>,
    is_local: impl Fn(IpAddr) -> bool,
) -> Result<HostPort, String> {
    for (n, master) in masters.iter().enumerate() {
        if masters[..n].contains(master) {
            return Err(format!("it names {master} twice; name each master once"));
        }
    }
    let mut unknown = Vec::new();
    let mut at_port = Vec::new();
    for master in masters.iter().filter(|master| master.port() == address.port()) {
        let named = hostname.is_some_and(|hostname| master.host().eq_ignore_ascii_case(hostname));
        let ips = resolve(master).unwrap_or_else(|error| {
            unknown.push(format!("{}: {error}", master.host()));
            Vec::new()
        });
        at_port.push((master, named, ips));
    }
    let tiers: [Vec<&HostPort>; 3] = [
        at_port.iter().filter(|(_, named, _)| *named).map(|(master, ..)| *master).collect(),
        at_port.iter().filter(|(.., ips)| ips.contains(&address.ip())).map(|(master, ..)| *master).collect(),
        at_port
            .iter()
            .filter(|(.., ips)| ips.iter().any(|ip| is_local(*ip)))
            .map(|(master, ..)| *master)
            .collect(),
    ];
    for found in tiers {
        match found[..] {
            [] => {}
            [own] => return Ok(own.clone()),
            [one, other, ..] => {
                return Err(format!("{one} and {other} are both this master; name each master once"));
            }
        }
    }
    let name = hostname.map(|name| format!(", called {name}")).unwrap_or_default();
    let unknown = match &unknown[..] {
        [] => String::new(),
        unknown => format!(" (could not look up {})", unknown.join("; ")),
    };
    Err(format!(
        "none of these is this master, which is at {address}{name}{unknown}; add it to the list on every master, or \
         say with --port, --ip, --advertise_ip or --hostname which of them it is"
    ))
}

/// Refuses a master that others on other machines would be told to look for on their own: on some systems a
/// machine's name means one of its loopback addresses.
fn reachable(
    masters: &[HostPort],
    own: HostPort,
    address: SocketAddr,
    resolve: impl Fn(&HostPort) -> std::io::Result<Vec<IpAddr>>,
) -> Result<HostPort, String> {
    let elsewhere = |master: &&HostPort| {
        address.ip().is_loopback()
            && **master != own
            && resolve(master).is_ok_and(|ips| ips.iter().any(|ip| !ip.is_loopback()))
    };
    match masters.iter().find(elsewhere) {
        Some(other) => Err(format!(
            "{own} is this master, but {other} cannot reach it at {address}; say with --ip or --advertise_ip at which \
             address others do"
        )),
        None => Ok(own),
    }
}

/// Whether that is an address of this machine: only then can something listen on it.
fn is_local(ip: IpAddr) -> bool {
    !ip.is_unspecified() && UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(masters: &str, address: &str, hostname: Option<&str>) -> Result<String, String> {
        let masters: Vec<HostPort> = masters.split(',').map(|it| it.parse().unwrap()).collect();
        let resolve = |master: &HostPort| match (master.address(), master.host()) {
            (Some(address), _) => Ok(vec![address.ip()]),
            (None, "h1") => Ok(vec!["10.0.0.1".parse().unwrap()]),
            (None, "h2") => Ok(vec!["127.0.1.1".parse().unwrap()]),
            _ => Err(std::io::Error::other("no such name")),
        };
        let own = own(&masters, address.parse().unwrap(), hostname, resolve, |ip| ip.is_loopback());
        own.map(|own| own.to_string())
    }

    #[test]
    fn the_port_decides_then_name_address_and_machine() {
        for (masters, address, hostname, own) in [
            ("127.0.0.1:5050,127.0.0.1:5060", "127.0.0.1:5060", None, "127.0.0.1:5060"),
            ("h1:5050,h3:5050", "10.0.0.1:5050", None, "h1:5050"),
            ("h1:5050,h3:5050", "10.0.0.9:5050", Some("H3"), "h3:5050"),
            // Told as another address than the one the name has on this machine.
            ("h1:5050,h2:5050", "10.0.0.2:5050", None, "h2:5050"),
            ("10.0.0.1:5050,10.0.0.2:5050", "10.0.0.2:5050", None, "10.0.0.2:5050"),
        ] {
            assert_eq!(found(masters, address, hostname).as_deref(), Ok(own), "{masters} {address}");
        }
    }

    #[test]
    fn who_is_not_listed_is_told_what_would_be_right() {
        let error = found("h1:5050,h3:5050", "10.0.0.7:5050", Some("h7")).unwrap_err();
        assert!(error.contains("10.0.0.7:5050, called h7"), "{error}");
        assert!(error.contains("h3: no such name") && error.contains("--hostname"), "{error}");
        let error = found("h1:5050", "10.0.0.1:5051", None).unwrap_err();
        assert!(error.contains("--port"), "{error}");
    }

    #[test]
    fn an_address_that_means_another_machine_elsewhere_is_refused() {
        let masters: Vec<HostPort> = ["m1", "m2", "m3"].map(|it| it.parse().unwrap()).to_vec();
        let check = |address: &str, others: [u8; 4]| {
            let resolve = |master: &HostPort| match master.host() {
                "m1" => Ok(vec![[127, 0, 1, 1].into()]),
                "m2" => Ok(vec![others.into()]),
                _ => Err(std::io::Error::other("no such name")),
            };
            reachable(&masters, masters[0].clone(), address.parse().unwrap(), resolve)
        };
        let error = check("127.0.1.1:5050", [10, 0, 0, 2]).unwrap_err();
        assert!(
            error.contains("m2:5050 cannot reach it at 127.0.1.1:5050") && error.contains("--ip"),
            "{error}"
        );
        assert!(check("10.0.0.1:5050", [10, 0, 0, 2]).is_ok());
        assert!(check("127.0.0.1:5050", [127, 0, 0, 1]).is_ok(), "all of them on one machine");
    }

    #[test]
    fn each_master_is_named_once() {
        for masters in ["h1:5050,h1:5050", "h1:5050,10.0.0.1:5050"] {
            let error = found(masters, "10.0.0.1:5050", None).unwrap_err();
            assert!(error.contains("name each master once"), "{error}");
        }
    }
}
