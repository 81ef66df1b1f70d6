//! Names of resources.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// What a resource is called. The names everyone uses take no memory and compare in one instruction.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Repr);

/// In alphabetical order, so that comparing variants compares names. A known name is never an `Other`.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Cpus,
    Disk,
    Gpus,
    Mem,
    Ports,
    /// Boxed twice to be a word long.
    Other(Arc<Box<str>>),
}

impl Name {
    /// Cores.
    pub const CPUS: Name = Name(Repr::Cpus);
    /// Megabytes of disk.
    pub const DISK: Name = Name(Repr::Disk);
    /// Whole devices.
    pub const GPUS: Name = Name(Repr::Gpus);
    /// Megabytes of memory.
    pub const MEM: Name = Name(Repr::Mem);
    /// Port numbers.
    pub const PORTS: Name = Name(Repr::Ports);

    /// The name as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Cpus => "cpus",
            Repr::Disk => "disk",
            Repr::Gpus => "gpus",
            Repr::Mem => "mem",
            Repr::Ports => "ports",
            Repr::Other(name) => name,
        }
    }

    fn known(&self) -> Option<u8> {
        Some(match &self.0 {
            Repr::Cpus => 0,
            Repr::Disk => 1,
            Repr::Gpus => 2,
            Repr::Mem => 3,
            Repr::Ports => 4,
            Repr::Other(_) => return None,
        })
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Name {
        Name(match name {
            "cpus" => Repr::Cpus,
            "disk" => Repr::Disk,
            "gpus" => Repr::Gpus,
            "mem" => Repr::Mem,
            "ports" => Repr::Ports,
            other => Repr::Other(Arc::new(other.into())),
        })
    }
}

impl From<&String> for Name {
    fn from(name: &String) -> Name {
        name.as_str().into()
    }
}

impl From<&Name> for Name {
    fn from(name: &Name) -> Name {
        name.clone()
    }
}

/// Alphabetical.
impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        match (self.known(), other.known()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => self.as_str().cmp(other.as_str()),
        }
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_sort_as_their_text() {
        let mut names: Vec<Name> =
            ["ports", "zebras", "mem", "bugs", "gpus", "cpus", "disk", "network"].map(Name::from).to_vec();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()), "{names:?}");
    }
}
