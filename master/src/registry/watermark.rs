//! Which write of the log was told to be durable, kept outside the log.
//!
//! After a crash the end of the log may be torn: a write that nobody was told of. That is ordinary and
//! dropped. A log that lost what somebody *was* told of, be it an agent or the leader, looks the same from the
//! inside, so the number of the write is kept beside it.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use raft_engine::env::{FileSystem, Handle as _};

const SLOT: usize = 32;
/// Counts writes of the log.
const MAGIC: u64 = 0x6d65_736f_7377_6d32;
/// Counted writes of its own, before the log did.
const MAGIC_BEFORE: u64 = 0x6d65_736f_7377_6d31;

/// A write of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its number; they are counted from 1, without a gap.
    pub(super) write: u64,
    /// The last entry in the log after it.
    pub(super) index: u64,
    /// Whether the log counts its writes, so that `write` can be compared.
    pub(super) counted: bool,
}

/// A file of two slots written in turn, so that a torn write leaves the other one.
pub(super) struct Watermark<F: FileSystem> {
    file: Arc<F::Handle>,
    writer: F::Writer,
}

impl<F: FileSystem> Watermark<F> {
    /// Opens or creates the file; gives the newest mark in it that can be read.
    pub(super) fn open(files: &F, path: &Path) -> io::Result<(Self, Option<Mark>)> {
        let file = Arc::new(files.create(path)?);
        let newest = newest(&mut files.new_reader(Arc::clone(&file))?)?;
        let writer = files.new_writer(Arc::clone(&file))?;
        Ok((Watermark { file, writer }, newest))
    }

    /// Records that a write is about to be acknowledged. Synced when it returns, as far as the file system says.
    pub(super) fn set(&mut self, mark: Mark) -> io::Result<()> {
        self.writer.seek(SeekFrom::Start(mark.write % 2 * SLOT as u64))?;
        self.writer.write_all(&encode(mark))?;
        self.file.sync()
    }
}

/// The newest mark in a file; `None` when there is none that can be read.
pub(super) fn newest(file: &mut impl io::Read) -> io::Result<Option<Mark>> {
    let mut bytes = Vec::new();
    file.take(2 * SLOT as u64).read_to_end(&mut bytes)?;
    let (slots, _) = bytes.as_chunks::<SLOT>();
    Ok(slots.iter().filter_map(decode).max_by_key(|mark| mark.write))
}

fn encode(mark: Mark) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[8..16].copy_from_slice(&mark.write.to_le_bytes());
    bytes[16..24].copy_from_slice(&mark.index.to_le_bytes());
    let sum = checksum(&bytes[..24]);
    bytes[24..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; SLOT]) -> Option<Mark> {
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    };
    let counted = match word(0) {
        MAGIC => true,
        MAGIC_BEFORE => false,
        _ => return None,
    };
    (word(24) == checksum(&bytes[..24])).then(|| Mark { write: word(8), index: word(16), counted })
}

/// FNV-1a, 64 bits: it only has to tell a torn record from a whole one.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::files::System;
    use super::*;

    #[test]
    fn it_survives_reopening_and_a_torn_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acknowledged");
        let open = || Watermark::open(&System, &path).unwrap();
        let mark = |write| Mark { write, index: 7 * write, counted: true };
        assert_eq!(open().1, None);
        for write in 1..=3 {
            open().0.set(mark(write)).unwrap();
            assert_eq!(open().1, Some(mark(write)));
        }
        // The newest record torn: the one before it counts. 3 is odd, so it is in the second slot.
        let mut bytes = fs::read(&path).unwrap();
        bytes[SLOT + 18] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(open().1, Some(mark(2)));
        bytes.truncate(SLOT - 1);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(open().1, None);
    }
}
