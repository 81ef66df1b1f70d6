//! How far the log had got when its last write was told to be durable, kept outside the log.
//!
//! After a crash the end of the log may be torn: a write that nobody was told of. That is ordinary and
//! dropped. A log that lost what somebody *was* told of, be it an agent or the leader, looks the same from the
//! inside, so the position is kept beside it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SLOT: usize = 32;
const MAGIC: u64 = 0x6d65_736f_7377_6d31;

/// A file of two slots written in turn, so that a torn write leaves the other one.
#[derive(Debug)]
pub(super) struct Watermark {
    file: File,
    sequence: u64,
    index: u64,
}

impl Watermark {
    /// Opens or creates the file. A file of which neither slot can be read is an error.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let length = file.metadata()?.len();
        let mut best = None;
        for slot in 0..2 {
            let mut bytes = [0; SLOT];
            if file.read_exact_at(&mut bytes, slot * SLOT as u64).is_ok()
                && let Some((sequence, index)) = decode(&bytes)
                && best.is_none_or(|(newest, _)| sequence > newest)
            {
                best = Some((sequence, index));
            }
        }
        match best {
            Some((sequence, index)) => Ok(Watermark { file, sequence, index }),
            // The very first write may be torn; nothing had been acknowledged before it.
            None if length <= SLOT as u64 => Ok(Watermark { file, sequence: 0, index: 0 }),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "neither of its two records can be read")),
        }
    }

    /// The last acknowledged log index; 0 when there is none.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Records that everything up to `index` is about to be acknowledged, or that what is after it is about to be
    /// replaced. Synced when it returns.
    pub(super) fn set(&mut self, index: u64) -> io::Result<()> {
        if index == self.index {
            return Ok(());
        }
        let sequence = self.sequence + 1;
        self.file.write_all_at(&encode(sequence, index), sequence % 2 * SLOT as u64)?;
        self.file.sync_data()?;
        self.sequence = sequence;
        self.index = index;
        Ok(())
    }
}

fn encode(sequence: u64, index: u64) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
    bytes[16..24].copy_from_slice(&index.to_le_bytes());
    let sum = checksum(&bytes[..24]);
    bytes[24..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; SLOT]) -> Option<(u64, u64)> {
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    };
    (word(0) == MAGIC && word(24) == checksum(&bytes[..24])).then(|| (word(8), word(16)))
}

/// FNV-1a, 64 bits: it only has to tell a torn record from a whole one.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_reopening_and_a_torn_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acknowledged");
        let mut mark = Watermark::open(&path).unwrap();
        assert_eq!(mark.index(), 0);
        mark.set(5).unwrap();
        mark.set(5).unwrap();
        mark.set(9).unwrap();
        assert_eq!(Watermark::open(&path).unwrap().index(), 9);

        // The newest record torn: the one before it counts. 9 was the second write, in the first slot.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff; 4], 18).unwrap();
        assert_eq!(Watermark::open(&path).unwrap().index(), 5);

        file.write_all_at(&[0xff; 4], 18 + SLOT as u64).unwrap();
        assert_eq!(Watermark::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
