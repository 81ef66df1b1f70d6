//! The whitelist: a file with the names of the hosts whose agents are offered, one on a line. It is read again
//! and again, so that an operator has but to edit it.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long after one reading of the file the next one comes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// A file larger than this is not one of host names.
const BYTES_MAX: u64 = 64 << 20;

/// The hosts in a file. Empty lines and blanks around a name do not count; no name at all is no host.
pub(crate) fn read(path: &Path) -> io::Result<BTreeSet<String>> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than the {BYTES_MAX} bytes of the longest list")));
    }
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// What is known of the file.
#[derive(Debug, Default)]
pub(crate) struct Whitelist {
    /// Without one every agent is offered.
    pub(crate) path: Option<PathBuf>,
    hosts: Option<BTreeSet<String>>,
    /// Why it could not be read, as already told.
    failed: Option<String>,
}

impl Whitelist {
    /// Of the flag, where `*` is every host.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        let path = path.filter(|path| path.as_os_str() != "*");
        Whitelist { path, ..Whitelist::default() }
    }

    /// Takes in what a reading brought. Returns the hosts if they are others than before; a file that cannot be
    /// read leaves them as they are.
    pub(crate) fn take(&mut self, read: io::Result<BTreeSet<String>>) -> Option<BTreeSet<String>> {
        match read {
            Ok(hosts) => {
                self.failed = None;
                let changed = self.hosts.as_ref() != Some(&hosts);
                changed.then(|| self.hosts.insert(hosts).clone())
            }
            Err(error) => {
                let error = error.to_string();
                if self.failed.as_ref() != Some(&error) {
                    tracing::error!(path = ?self.path, error, "cannot read the whitelist; what it said last holds");
                    self.failed = Some(error);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_file_is_one_name_on_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("whitelist");
        std::fs::write(&path, "a\n  b.example.com \r\n\n a").unwrap();
        assert_eq!(read(&path).unwrap(), hosts(&["a", "b.example.com"]));
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(read(&path).unwrap(), hosts(&[]));
        assert!(read(dir.path()).is_err());
        std::fs::write(&path, [0xFF]).unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn only_changes_count_and_what_cannot_be_read_is_none() {
        let mut whitelist = Whitelist::new(Some("hosts".into()));
        assert_eq!(whitelist.take(Err(io::Error::other("no such file"))), None);
        assert_eq!(whitelist.take(Ok(hosts(&[]))), Some(hosts(&[])), "an empty file is no host");
        assert_eq!(whitelist.take(Ok(hosts(&["a"]))), Some(hosts(&["a"])));
        assert_eq!(whitelist.take(Ok(hosts(&["a"]))), None);
        assert_eq!(whitelist.take(Err(io::Error::other("no such file"))), None);
        assert_eq!(whitelist.take(Ok(hosts(&["a"]))), None);
        assert_eq!(whitelist.take(Ok(hosts(&["b"]))), Some(hosts(&["b"])));
        assert_eq!(Whitelist::new(Some("*".into())).path, None);
    }
}
