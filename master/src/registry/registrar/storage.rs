//! Where a registrar keeps its registry.

use std::path::PathBuf;

use super::super::group::{Disk, MemoryDisk, Seat, Stored, StoredSnapshot, Write};
use super::super::log::{Log, LogError};

/// Where the registry is kept.
#[derive(Debug, Clone)]
pub enum Storage {
    /// Nowhere: it is gone when the master ends. For tests and trials.
    Memory,
    /// In memory that outlives the master. For simulations.
    Kept(MemoryDisk),
    /// In that directory.
    Directory(PathBuf),
}

impl Storage {
    /// Opens it. One that was never used becomes the disk of the member `fresh`, or of that seat.
    pub(super) fn open(&self, fresh: u64, seat: Option<&Seat>) -> Result<(Box<dyn Disk>, Stored), LogError> {
        let voters = seat.map_or_else(|| vec![fresh], Seat::voters);
        let mut disk = match self {
            Storage::Memory => MemoryDisk::default(),
            Storage::Kept(disk) => disk.clone(),
            Storage::Directory(path) => {
                let (log, stored) = Log::open(path, &voters)?;
                return Ok((Box::new(log), stored));
            }
        };
        if disk.load().snapshot.voters.is_empty() {
            let snapshot = StoredSnapshot { voters, ..StoredSnapshot::default() };
            disk.submit(Write { compact: Some(snapshot), ..Write::default() })()?;
        }
        let stored = disk.load();
        Ok((Box::new(disk), stored))
    }
}
