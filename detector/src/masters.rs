//! Who may lead, as one is told at the start: `--master=m1:5050,m2:5050,m3:5050`.

use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use libprocess::Upid;

use crate::{HostPort, InvalidHostPort, Leader};

/// At most so many masters are followed.
pub const MAX_MASTERS: usize = 16;
/// A file that names masters is no longer than this, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The masters one may be led by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Masters {
    /// One that leads because it was said so: nobody is asked. `master@10.0.0.1:5050`.
    Appointed(Upid),
    /// Any of these tells who leads; at least one. `m1:5050,m2:5050,m3:5050`, or a host alone.
    Listed(Vec<HostPort>),
    /// A file holds one of the other two, and is read again while one runs. `file:///etc/mesos/masters`.
    File(PathBuf),
}

/// What names no masters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMasters {
    /// There is nothing.
    #[error("no master is named; write host:port, several separated by commas, for example {EXAMPLE}")]
    Empty,
    /// One that is listed is none.
    #[error(transparent)]
    HostPort(#[from] InvalidHostPort),
    /// What follows `master@` is no address.
    #[error(
        "`{0}` is no address of a process; write master@10.0.0.1:5050, or without `master@` a host name, \
         for example m1:5050"
    )]
    NoAddress(String),
    /// More than are followed.
    #[error("{0} masters are named; at most {MAX_MASTERS} can be followed")]
    TooMany(usize),
    /// ZooKeeper.
    #[error(
        "`{0}`: there is no ZooKeeper here; name the masters themselves, for example {EXAMPLE}, or a file \
         that does, for example file:///etc/mesos/masters"
    )]
    ZooKeeper(String),
    /// The file's path is not one from the root.
    #[error("`{0}` has no absolute path; write three slashes, for example file:///etc/mesos/masters")]
    RelativePath(String),
}

/// Why a file names no masters.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the masters from `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its content is not what it should be.
    #[error("`{path}` does not name the masters")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidMasters,
    },
    /// It names a file in turn.
    #[error("`{path}` names another file, `{other}`; write the masters themselves, for example {EXAMPLE}")]
    Nested {
        /// The file.
        path: PathBuf,
        /// What it names.
        other: PathBuf,
    },
}

/// No master has an address.
#[derive(Debug, thiserror::Error)]
pub enum UnresolvedMasters {
    /// See [`FileError`].
    #[error(transparent)]
    File(#[from] FileError),
    /// None of the names is known.
    #[error("no master's name has an address: {}", reasons.join("; "))]
    Names {
        /// What the system said of each.
        reasons: Vec<String>,
    },
}

const EXAMPLE: &str = "m1:5050,m2:5050,m3:5050";

impl Masters {
    /// The appointed one, as a leader: there is nobody who could say more of it.
    pub fn appointed(&self) -> Option<Leader> {
        match self {
            Masters::Appointed(master) => Some(Leader::unannounced(master.id(), master.address())),
            _ => None,
        }
    }

    /// What the file names, if it is one; otherwise these. May block.
    ///
    /// # Errors
    /// If the file cannot be read, or does not say who the masters are.
    pub fn read(&self) -> Result<Masters, FileError> {
        match self {
            Masters::File(path) => read(path),
            _ => Ok(self.clone()),
        }
    }

    /// The address of the first of them that has one: enough to know on which interface they are. May block,
    /// for files and name servers.
    ///
    /// # Errors
    /// If none has.
    pub fn first_address(&self) -> Result<SocketAddr, UnresolvedMasters> {
        let hosts = match self.read()? {
            Masters::Appointed(master) => return Ok(master.address()),
            Masters::Listed(hosts) => hosts,
            // `read` gives none of these.
            Masters::File(_) => Vec::new(),
        };
        let mut reasons = Vec::new();
        for host in &hosts {
            match host.resolve().map(|addresses| addresses.first().copied()) {
                Ok(Some(address)) => return Ok(address),
                Ok(None) => reasons.push(format!("{host}: it has no address")),
                Err(error) => reasons.push(format!("{host}: {error}")),
            }
        }
        Err(UnresolvedMasters::Names { reasons })
    }
}

fn read(path: &Path) -> Result<Masters, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    let mut text = String::new();
    let mut file = std::fs::File::open(path).map_err(unreadable)?.take(MAX_FILE + 1);
    file.read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(unreadable(io::Error::other(format!("it is longer than {MAX_FILE} bytes"))));
    }
    // A master on each line is as good as commas between them.
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let text = lines.collect::<Vec<_>>().join(",");
    match text.parse() {
        Ok(Masters::File(other)) => Err(FileError::Nested { path: path.to_owned(), other }),
        Ok(masters) => Ok(masters),
        Err(source) => Err(FileError::Invalid { path: path.to_owned(), source }),
    }
}

impl FromStr for Masters {
    type Err = InvalidMasters;

    /// Asks no name server and reads no file.
    fn from_str(text: &str) -> Result<Masters, InvalidMasters> {
        let text = text.trim();
        if text.starts_with("zk://") {
            return Err(InvalidMasters::ZooKeeper(text.to_owned()));
        }
        if let Some(path) = text.strip_prefix("file://") {
            return match Path::new(path) {
                path if path.is_absolute() => Ok(Masters::File(path.to_owned())),
                _ => Err(InvalidMasters::RelativePath(text.to_owned())),
            };
        }
        if text.contains('@') {
            let appointed = Upid::parse_ip(text).filter(|it| !it.id().is_empty() && it.address().port() > 0);
            return match appointed {
                Some(master) => Ok(Masters::Appointed(master)),
                None => Err(InvalidMasters::NoAddress(text.to_owned())),
            };
        }
        let mut hosts: Vec<HostPort> = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let host = name.parse()?;
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        match hosts.len() {
            0 => Err(InvalidMasters::Empty),
            n if n > MAX_MASTERS => Err(InvalidMasters::TooMany(n)),
            _ => Ok(Masters::Listed(hosts)),
        }
    }
}

impl fmt::Display for Masters {
    /// As it is written on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Masters::Appointed(master) => master.fmt(f),
            Masters::Listed(hosts) => {
                for (n, host) in hosts.iter().enumerate() {
                    write!(f, "{}{host}", if n == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Masters::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

impl From<Upid> for Masters {
    fn from(master: Upid) -> Masters {
        Masters::Appointed(master)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Masters>().unwrap_err().to_string()
    }

    #[test]
    fn each_form_is_shown_as_it_is_written() {
        for (text, shown) in [
            ("m1", "m1:5050"),
            (" m1:5050, m2 ,m3:99,", "m1:5050,m2:5050,m3:99"),
            ("m1,m1:5050", "m1:5050"),
            ("master@10.0.0.1:5050", "master@10.0.0.1:5050"),
            ("file:///etc/mesos/masters", "file:///etc/mesos/masters"),
            ("[::1]:5050,::2", "[::1]:5050,[::2]:5050"),
        ] {
            let masters: Masters = text.parse().unwrap();
            assert_eq!(masters.to_string(), shown);
            assert_eq!(shown.parse::<Masters>(), Ok(masters));
        }
    }

    #[test]
    fn what_names_no_master_says_what_would() {
        assert!(error(" , ").contains("m1:5050,m2:5050,m3:5050"));
        assert!(error("m1:http").contains("`http` is no port"));
        assert!(error("zk://z1:2181/mesos").contains("m1:5050,m2:5050,m3:5050"));
        assert!(error("file://masters").contains("file:///etc/mesos/masters"));
        assert!(error("master@m1:5050").contains("m1:5050"));
        assert!(error("master@10.0.0.1").contains("master@10.0.0.1:5050"));
        let many: Vec<_> = (0..17).map(|n| format!("m{n}")).collect();
        assert!(error(&many.join(",")).contains("17 masters"));
    }

    #[test]
    fn a_file_names_masters_on_lines_or_with_commas_but_no_other_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("masters");
        let masters: Masters = format!("file://{}", path.display()).parse().unwrap();
        let read = |content: &str| {
            std::fs::write(&path, content).unwrap();
            masters.read()
        };
        assert!(matches!(masters.read(), Err(FileError::Unreadable { .. })));
        assert_eq!(read("# of rack 1\nm1\nm2:99, m3\n\n").unwrap().to_string(), "m1:5050,m2:99,m3:5050");
        assert_eq!(read("master@10.0.0.1:1\n").unwrap().to_string(), "master@10.0.0.1:1");
        assert!(matches!(read(""), Err(FileError::Invalid { source: InvalidMasters::Empty, .. })));
        assert!(matches!(read("file:///x"), Err(FileError::Nested { .. })));
        assert!(matches!(read(&"m".repeat(100_000)), Err(FileError::Unreadable { .. })));
    }

    #[test]
    fn the_first_that_has_an_address_shows_the_way() {
        let masters: Masters = "no-such-host.invalid,127.0.0.1:99".parse().unwrap();
        assert_eq!(masters.first_address().unwrap(), "127.0.0.1:99".parse().unwrap());
        let masters: Masters = "no-such-host.invalid".parse().unwrap();
        assert!(masters.first_address().unwrap_err().to_string().contains("no-such-host.invalid:5050"));
    }
}
