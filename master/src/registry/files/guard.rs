//! Between the log and its files.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use raft_engine::env::{FileSystem, Handle, Permission, WriteExt};

use super::super::log::LogError;

/// What failed first: the file, what was done to it, and the system's word.
type Failed = (PathBuf, &'static str, Arc<io::Error>);

/// Files below `F`, of which two things are to be known.
///
/// *Looking*, nothing is changed: what is written, cut off or deleted only seems so. The engine cuts off what it
/// cannot read while it opens a log; whether that may be, is decided before it happens.
///
/// The first failure is kept and ends all further use: what is on a disk after a failed sync nobody knows, and the
/// engine, which takes a failed sync for a reason to panic, is not told of it. Who uses the engine asks
/// [`Guard::check`] when it is done.
pub(in crate::registry) struct Guard<F> {
    files: Arc<F>,
    looking: bool,
    failed: Arc<Mutex<Option<Failed>>>,
}

impl<F> Clone for Guard<F> {
    fn clone(&self) -> Self {
        Guard { files: Arc::clone(&self.files), looking: self.looking, failed: Arc::clone(&self.failed) }
    }
}

impl<F> Guard<F> {
    /// Files that are to be written.
    pub(in crate::registry) fn writing(files: Arc<F>) -> Self {
        Guard { files, looking: false, failed: Arc::default() }
    }

    /// Files that stay as they are.
    pub(in crate::registry) fn looking(files: Arc<F>) -> Self {
        Guard { files, looking: true, failed: Arc::default() }
    }

    /// The first failure, if there was one.
    pub(in crate::registry) fn check(&self) -> Result<(), LogError> {
        match &*self.failed.lock() {
            Some((file, doing, source)) => {
                Err(LogError::Disk { file: file.clone(), doing, source: Arc::clone(source) })
            }
            None => Ok(()),
        }
    }

    fn guarded<T>(
        &self,
        path: &Path,
        doing: &'static str,
        f: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        guarded(&self.failed, path, doing, f)
    }

    fn handle<H>(&self, path: &Path, inner: Option<H>, permission: Permission) -> Guarded<H> {
        Guarded {
            inner: inner.map(Arc::new),
            path: path.into(),
            // The engine also shortens files that it opened to be read, when what it does not need in them is damaged.
            looking: self.looking || permission == Permission::ReadOnly,
            end: AtomicUsize::new(usize::MAX),
            failed: Arc::clone(&self.failed),
        }
    }
}

fn guarded<T>(
    failed: &Mutex<Option<Failed>>,
    path: &Path,
    doing: &'static str,
    f: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let again = |(file, doing, source): &Failed| {
        io::Error::new(source.kind(), format!("could not {doing} `{}`: {source}", file.display()))
    };
    if let Some(first) = &*failed.lock() {
        return Err(again(first));
    }
    f().map_err(|error| {
        let first = (path.into(), doing, Arc::new(error));
        let error = again(&first);
        *failed.lock() = Some(first);
        error
    })
}

/// A file of a [`Guard`].
pub(in crate::registry) struct Guarded<H> {
    /// `None` for one that only seems to be there.
    inner: Option<Arc<H>>,
    path: PathBuf,
    looking: bool,
    /// Where it seems to have been cut off.
    end: AtomicUsize,
    failed: Arc<Mutex<Option<Failed>>>,
}

impl<H: Handle> Handle for Guarded<H> {
    fn truncate(&self, length: usize) -> io::Result<()> {
        match &self.inner {
            Some(file) if !self.looking => {
                // The engine truncates when it is dropped as well, after whatever failed.
                guarded(&self.failed, &self.path, "shorten", || file.truncate(length))
            }
            _ => {
                self.end.fetch_min(length, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn file_size(&self) -> io::Result<usize> {
        let Some(file) = &self.inner else { return Ok(0) };
        let size = guarded(&self.failed, &self.path, "look at", || file.file_size())?;
        Ok(size.min(self.end.load(Ordering::Relaxed)))
    }

    fn sync(&self) -> io::Result<()> {
        if let Some(file) = self.inner.as_ref().filter(|_| !self.looking) {
            // The engine panics when this fails. It is kept, and asked for.
            let _ = guarded(&self.failed, &self.path, "sync", || file.sync());
        }
        Ok(())
    }
}

/// A place in a file of a [`Guard`].
pub(in crate::registry) struct Place<H, I> {
    file: Arc<Guarded<H>>,
    inner: Option<I>,
    offset: u64,
}

impl<H: Handle, I: Read> Read for Place<H, I> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(inner) = &mut self.inner else { return Ok(0) };
        let left = (self.file.end.load(Ordering::Relaxed) as u64).saturating_sub(self.offset);
        let at_most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = &mut bytes[..at_most];
        let n = guarded(&self.file.failed, &self.file.path, "read", || {
            loop {
                match inner.read(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result,
                }
            }
        })?;
        self.offset += n as u64;
        Ok(n)
    }
}

impl<H: Handle, I: Write> Write for Place<H, I> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = match &mut self.inner {
            Some(inner) => guarded(&self.file.failed, &self.file.path, "write", || {
                loop {
                    match inner.write(bytes) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Ok(0) if !bytes.is_empty() => break Err(io::ErrorKind::WriteZero.into()),
                        result => break result,
                    }
                }
            })?,
            None => bytes.len(),
        };
        self.offset += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<H: Handle, I: Seek> Seek for Place<H, I> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        let to = match to {
            SeekFrom::Start(offset) => offset,
            SeekFrom::Current(by) => self.offset.checked_add_signed(by).ok_or_else(outside)?,
            SeekFrom::End(by) => {
                (self.file.file_size()? as u64).checked_add_signed(by).ok_or_else(outside)?
            }
        };
        if let Some(inner) = &mut self.inner {
            inner.seek(SeekFrom::Start(to))?;
        }
        self.offset = to;
        Ok(to)
    }
}

impl<H: Handle, I: WriteExt> WriteExt for Place<H, I> {
    fn truncate(&mut self, length: usize) -> io::Result<()> {
        match &mut self.inner {
            Some(inner) => {
                guarded(&self.file.failed, &self.file.path, "shorten", || inner.truncate(length))?;
            }
            None => self.file.truncate(length)?,
        }
        self.offset = length as u64;
        Ok(())
    }

    /// Only a hint: what is really missing shows when it is written.
    fn allocate(&mut self, offset: usize, length: usize) -> io::Result<()> {
        match &mut self.inner {
            Some(inner) if self.file.failed.lock().is_none() => inner.allocate(offset, length),
            _ => Ok(()),
        }
    }
}

impl<F: FileSystem> FileSystem for Guard<F> {
    type Handle = Guarded<F::Handle>;
    type Reader = Place<F::Handle, F::Reader>;
    type Writer = Place<F::Handle, F::Writer>;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<Self::Handle> {
        let path = path.as_ref();
        let inner = match self.looking {
            true => None,
            false => Some(self.guarded(path, "create", || self.files.create(path))?),
        };
        Ok(self.handle(path, inner, Permission::ReadWrite))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<Self::Handle> {
        let path = path.as_ref();
        let permission = if self.looking { Permission::ReadOnly } else { permission };
        let inner = self.guarded(path, "open", || self.files.open(path, permission))?;
        Ok(self.handle(path, Some(inner), permission))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref();
        if self.looking {
            return Ok(());
        }
        self.guarded(path, "delete", || self.files.delete(path))
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        if self.looking {
            return Ok(());
        }
        self.guarded(from, "rename", || self.files.rename(from, to))
    }

    fn new_reader(&self, file: Arc<Self::Handle>) -> io::Result<Self::Reader> {
        let inner = file.inner.as_ref().map(|inner| self.files.new_reader(Arc::clone(inner))).transpose()?;
        Ok(Place { file, inner, offset: 0 })
    }

    fn new_writer(&self, file: Arc<Self::Handle>) -> io::Result<Self::Writer> {
        let inner = file.inner.as_ref().filter(|_| !self.looking);
        let inner = inner.map(|inner| self.files.new_writer(Arc::clone(inner))).transpose()?;
        Ok(Place { file, inner, offset: 0 })
    }
}
