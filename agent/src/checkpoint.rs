//! Files that outlive the agent: written whole or not at all, read back with a clear error.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use prost::Message;

/// The largest record that is read back. What the agent writes came to it in one message, and messages are
/// bounded below this; a longer length is a damaged file.
const RECORD_BYTES_MAX: u32 = 256 * 1024 * 1024;

/// A checkpoint that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk refused.
    #[error("could not write checkpoint `{path}`")]
    Write {
        /// The file, link or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing panicked, and what is on disk now is unknown.
    #[error("a checkpoint was given up half-way: writing it failed within the agent")]
    Abandoned,
    /// The disk refused.
    #[error("could not read checkpoint `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A record announces more bytes than the file holds.
    #[error("checkpoint `{path}` ends {missing} bytes early")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How many bytes are not there.
        missing: u64,
    },
    /// A record is longer than any that the agent writes.
    #[error(
        "checkpoint `{path}` announces a record of {length} bytes, more than the {RECORD_BYTES_MAX} ever written"
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The length announced.
        length: u32,
    },
    /// The bytes are no message of the kind expected.
    #[error("checkpoint `{path}` holds no {kind}")]
    Decode {
        /// The file.
        path: PathBuf,
        /// What was expected.
        kind: &'static str,
        /// Where the decoder stopped.
        source: prost::DecodeError,
    },
}

/// One change on disk. A value, so that the tables can ask for it without touching the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The whole content of a file, which is never seen half-written.
    Replace {
        /// The file; its directories are made.
        path: PathBuf,
        /// Its new content.
        bytes: Vec<u8>,
    },
    /// Bytes at the end of a file.
    Append {
        /// The file; it and its directories are made.
        path: PathBuf,
        /// What to add.
        bytes: Vec<u8>,
    },
    /// A symbolic link, replacing one of that name.
    Link {
        /// The link.
        path: PathBuf,
        /// What it points to.
        target: PathBuf,
    },
}

impl Write {
    /// A message as Mesos checkpoints it: its length in four bytes of native order, then itself.
    pub fn message(path: PathBuf, message: &impl Message) -> Write {
        Write::Replace { path, bytes: record(message) }
    }

    /// A record at the end of a file of records.
    pub fn record(path: PathBuf, message: &impl Message) -> Write {
        Write::Append { path, bytes: record(message) }
    }

    /// A text.
    pub fn text(path: PathBuf, text: impl Into<String>) -> Write {
        Write::Replace { path, bytes: text.into().into_bytes() }
    }

    /// An empty file whose presence says something.
    pub fn marker(path: PathBuf) -> Write {
        Write::Replace { path, bytes: Vec::new() }
    }

    /// Carries it out. Blocks on the disk.
    pub fn perform(&self) -> Result<(), CheckpointError> {
        let path = match self {
            Write::Replace { path, .. } | Write::Append { path, .. } | Write::Link { path, .. } => path,
        };
        let written = match self {
            Write::Replace { bytes, .. } => replace(path, bytes),
            Write::Append { bytes, .. } => append(path, bytes),
            Write::Link { target, .. } => link(path, target),
        };
        written.map_err(|source| CheckpointError::Write { path: path.clone(), source })
    }
}

fn record(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend_from_slice(&(length as u32).to_ne_bytes());
    message.encode_raw(&mut bytes);
    bytes
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = parent(path);
    fs::create_dir_all(directory)?;
    let mut file =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let open = || OpenOptions::new().create(true).append(true).open(path);
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent(path))?;
            open()?
        }
        opened => opened?,
    };
    file.write_all(bytes)
}

fn link(path: &Path, target: &Path) -> io::Result<()> {
    let directory = parent(path);
    fs::create_dir_all(directory)?;
    // Made beside and renamed over, so that a reader finds the old target or the new one.
    let temporary = tempfile::Builder::new().make_in(directory, |path| symlink(target, path))?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The one message that `path` holds, or `None` when there is no such file, or an empty one: a crash
/// between creating and writing leaves that, and nothing was promised on its strength.
pub fn read_message<M: Message + Default>(
    path: &Path,
    kind: &'static str,
) -> Result<Option<M>, CheckpointError> {
    Ok(read_records(path, kind)?.records.into_iter().next())
}

/// What a file of records holds.
#[derive(Debug)]
pub struct Records<M> {
    /// The whole records, in order.
    pub records: Vec<M>,
    /// Where the last whole record ends: what lies behind was being written when the agent died.
    pub whole_bytes: u64,
    /// The bytes behind it.
    pub partial_bytes: u64,
}

/// Every whole record of `path`; a file that is not there has none. A last record that was cut off is no
/// error, for an append may be interrupted, but bytes that are no `kind` are.
pub fn read_records<M: Message + Default>(
    path: &Path,
    kind: &'static str,
) -> Result<Records<M>, CheckpointError> {
    let read = |source| CheckpointError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes).map_err(read)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(read(error)),
    };
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some((prefix, rest)) = bytes[at..].split_first_chunk::<4>() {
        let length = u32::from_ne_bytes(*prefix);
        if length > RECORD_BYTES_MAX {
            return Err(CheckpointError::TooLong { path: path.to_owned(), length });
        }
        let Some(body) = rest.get(..length as usize) else { break };
        let record = M::decode(body).map_err(|source| CheckpointError::Decode {
            path: path.to_owned(),
            kind,
            source,
        })?;
        records.push(record);
        at += 4 + length as usize;
    }
    Ok(Records { records, whole_bytes: at as u64, partial_bytes: (bytes.len() - at) as u64 })
}

#[cfg(test)]
mod tests {
    use api::internal::{StatusUpdateRecord, status_update_record};
    use api::v1::FrameworkInfo;

    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was_written_with_its_length_in_front() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("meta/slaves/S0/framework.info");
        let info = FrameworkInfo { user: "me".into(), name: "pi".into(), ..Default::default() };
        Write::message(path.clone(), &info).perform().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes[..4], (info.encoded_len() as u32).to_ne_bytes());
        assert_eq!(read_message(&path, "FrameworkInfo").unwrap(), Some(info));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn records_are_read_up_to_the_one_that_was_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("task.updates");
        let ack = |n: u8| StatusUpdateRecord {
            r#type: status_update_record::Type::Ack as i32,
            update: None,
            uuid: Some(vec![n; 16]),
        };
        for n in 0..3 {
            Write::record(path.clone(), &ack(n)).perform().unwrap();
        }
        let whole = fs::metadata(&path).unwrap().len();
        append(&path, &[40, 0, 0]).unwrap();
        let read = read_records::<StatusUpdateRecord>(&path, "StatusUpdateRecord").unwrap();
        assert_eq!(read.records, vec![ack(0), ack(1), ack(2)]);
        assert_eq!((read.whole_bytes, read.partial_bytes), (whole, 3));
    }

    #[test]
    fn a_missing_file_is_nothing_and_garbage_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        assert_eq!(read_message::<FrameworkInfo>(&path, "FrameworkInfo").unwrap(), None);
        fs::write(&path, [3, 0, 0, 0, 0xff, 0xff, 0xff]).unwrap();
        let error = read_message::<FrameworkInfo>(&path, "FrameworkInfo").unwrap_err();
        assert!(error.to_string().ends_with("holds no FrameworkInfo"), "{error}");
        fs::write(&path, [0xff; 8]).unwrap();
        assert!(matches!(
            read_message::<FrameworkInfo>(&path, "FrameworkInfo"),
            Err(CheckpointError::TooLong { .. })
        ));
    }

    #[test]
    fn a_link_is_renewed_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("runs/latest");
        for target in ["a", "b"] {
            Write::Link { path: path.clone(), target: target.into() }.perform().unwrap();
            assert_eq!(fs::read_link(&path).unwrap(), Path::new(target));
        }
    }
}
