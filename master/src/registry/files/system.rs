//! The system's files, with the system's words when something fails.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{FallocateFlags, fallocate};
use raft_engine::env::{FileSystem, Handle, Permission, WriteExt};

/// Real files. raft-engine brings the same, but keeps from its errors which one the system gave.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::registry) struct System;

/// An open file.
pub(in crate::registry) struct Opened(File);

/// A place in an open file.
pub(in crate::registry) struct Cursor {
    file: Arc<Opened>,
    offset: u64,
}

impl FileSystem for System {
    type Handle = Opened;
    type Reader = Cursor;
    type Writer = Cursor;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<Opened> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map(Opened)
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<Opened> {
        OpenOptions::new().read(true).write(permission == Permission::ReadWrite).open(path).map(Opened)
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn new_reader(&self, file: Arc<Opened>) -> io::Result<Cursor> {
        Ok(Cursor { file, offset: 0 })
    }

    fn new_writer(&self, file: Arc<Opened>) -> io::Result<Cursor> {
        Ok(Cursor { file, offset: 0 })
    }
}

impl Handle for Opened {
    fn truncate(&self, length: usize) -> io::Result<()> {
        self.0.set_len(length as u64)
    }

    fn file_size(&self) -> io::Result<usize> {
        self.0.metadata().map(|metadata| metadata.len() as usize)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl Read for Cursor {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n = self.file.0.read_at(bytes, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

impl Write for Cursor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.0.write_at(bytes, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        self.offset = match to {
            SeekFrom::Start(offset) => offset,
            SeekFrom::Current(by) => self.offset.checked_add_signed(by).ok_or_else(outside)?,
            SeekFrom::End(by) => {
                (self.file.file_size()? as u64).checked_add_signed(by).ok_or_else(outside)?
            }
        };
        Ok(self.offset)
    }
}

impl WriteExt for Cursor {
    fn truncate(&mut self, length: usize) -> io::Result<()> {
        self.file.truncate(length)?;
        self.offset = length as u64;
        Ok(())
    }

    /// Room ahead, so that a write that is synced need not change the file's length as well. Where the file system
    /// cannot do that, it is done without.
    fn allocate(&mut self, offset: usize, length: usize) -> io::Result<()> {
        let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return Ok(()) };
        fallocate(&self.file.0, FallocateFlags::empty(), offset, length).map_err(io::Error::from)
    }
}
