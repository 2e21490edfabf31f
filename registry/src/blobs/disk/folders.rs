//! The store's folders: every system call on a name, and what makes it durable.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::super::{BlobError, Key};

/// How long a call waits for one that was given up on but has a write under way.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has the store open.
    #[error("{folder} is in use by another server; stop it first, or give this one a folder of its own", folder = folder.display())]
    Locked {
        /// The store's folder.
        folder: PathBuf,
    },
    /// The folder, or something in it, cannot be made or opened.
    #[error("{doing} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, as a gerund.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The open folders.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    uploads: File,
    blobs: File,
    /// Whether a file without a name can be made and named later; not every file system can.
    unnamed: AtomicBool,
    /// Set when a sync fails: see [`BlobError::WritesStopped`].
    stopped: AtomicBool,
    /// Held as long as the store is open.
    _lock: File,
}

/// A session's file, locked, and still under its name.
#[derive(Debug)]
pub(super) struct StagedFile {
    file: Arc<File>,
    name: String,
}

impl StagedFile {
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Cuts the file to its first `bytes`.
    pub(super) fn cut_back(&self, bytes: u64) -> Result<(), BlobError> {
        self.file
            .set_len(bytes)
            .map_err(|error| BlobError::io("cutting", &self.name, error))
    }
}

/// A file on its way to become an object: without a name, or with one in `uploads/` where that cannot be.
#[derive(Debug)]
pub(super) struct UnnamedFile {
    file: Arc<File>,
    staged: Option<Key>,
    folders: Arc<Folders>,
}

impl UnnamedFile {
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

impl Drop for UnnamedFile {
    fn drop(&mut self) {
        if let Some(key) = self.staged {
            // What stays behind names nothing.
            let _ = rustix::fs::unlinkat(&self.folders.uploads, key.ulid(), AtFlags::empty());
        }
    }
}

impl Folders {
    pub(super) fn open(root: &Path) -> Result<Self, OpenError> {
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { doing, path, source }
        };
        let folder = |name: &str| {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(failed("making the folder", &path))?;
            File::open(&path).map_err(failed("opening the folder", &path))
        };
        let (uploads, blobs) = (folder("uploads")?, folder("blobs")?);
        let path = root.join("lock");
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("opening", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    folder: root.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed("locking", &path)(source)),
        }
        // The names of the folders themselves must survive as well.
        let root_folder = File::open(root).map_err(failed("opening the folder", root))?;
        root_folder
            .sync_all()
            .map_err(failed("syncing the folder", root))?;
        if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)
                .and_then(|parent| parent.sync_all())
                .map_err(failed("syncing", parent))?;
        }
        let (unnamed, stopped) = (AtomicBool::new(true), AtomicBool::new(false));
        Ok(Self {
            root: root.to_owned(),
            uploads,
            blobs,
            unnamed,
            stopped,
            _lock: lock,
        })
    }

    /// Goes on as if the file system could not make files without a name.
    #[cfg(test)]
    pub(super) fn without_unnamed(&self) {
        self.unnamed.store(false, Ordering::Relaxed);
    }

    /// Tells whether writing has been stopped.
    pub(super) fn writable(&self) -> Result<(), BlobError> {
        if self.stopped.load(Ordering::Acquire) {
            Err(BlobError::WritesStopped)
        } else {
            Ok(())
        }
    }

    /// Opens the session's file, locks it, and cuts it back to `offset`. For offset 0 it is made if need be.
    pub(super) fn open_staged(&self, key: Key, offset: u64) -> Result<StagedFile, BlobError> {
        self.writable()?;
        let name = key.ulid();
        let patience = Instant::now() + LOCK_PATIENCE;
        loop {
            let make = if offset == 0 {
                OFlags::CREATE
            } else {
                OFlags::empty()
            };
            let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | make;
            let file = match rustix::fs::openat(&self.uploads, &name, flags, Mode::from_raw_mode(0o600)) {
                Ok(file) => File::from(file),
                Err(Errno::NOENT) => return Err(BlobError::SessionLost),
                Err(error) => return Err(self.failed("opening upload", &name, error.into())),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                Err(TryLockError::WouldBlock) => return Err(BlobError::Busy),
                Err(TryLockError::Error(error)) => return Err(self.failed("locking upload", &name, error)),
            }
            if !self.is_still(&name, &file)? {
                // Finished or thrown away between opening and locking: look again.
                continue;
            }
            let length = file
                .metadata()
                .map_err(|error| self.failed("reading upload", &name, error))?
                .len();
            if length < offset {
                return Err(BlobError::SessionLost);
            }
            let staged = StagedFile {
                file: Arc::new(file),
                name,
            };
            if length > offset {
                staged.cut_back(offset)?;
            }
            return Ok(staged);
        }
    }

    /// Whether `name` in `uploads/` is (still) this file's.
    fn is_still(&self, name: &str, file: &File) -> Result<bool, BlobError> {
        let open =
            rustix::fs::fstat(file).map_err(|error| self.failed("reading upload", name, error.into()))?;
        match rustix::fs::statat(&self.uploads, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(self.failed("reading upload", name, error.into())),
        }
    }

    /// Makes a session's bytes durable. Its name is not synced by itself: the file systems that there are keep the
    /// name of a file that is synced, and one that does not makes the session lost as a whole, never a part of it.
    pub(super) fn sync_staged(&self, staged: &StagedFile) -> Result<(), BlobError> {
        self.sync(|| staged.file.sync_data(), "upload", &staged.name)
    }

    /// Begins to bring a file's bytes to the disk while more of them come.
    pub(super) fn sync_early(&self, file: &File) -> Result<(), BlobError> {
        self.sync(|| file.sync_data(), "a file", "on its way")
    }

    /// Gives a session's file the object's name, and makes both durable.
    ///
    /// It is named first and synced then, so that one commit of the file system's journal holds both; until this
    /// returns no row names it.
    pub(super) fn publish_staged(&self, staged: &StagedFile, key: Key) -> Result<(), BlobError> {
        let name = key.ulid();
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.uploads, &staged.name, &self.blobs, &name, flags) {
            Ok(()) => {}
            // A repetition for no bytes makes an empty file anew beside the object; only then are the two the same.
            Err(Errno::EXIST)
                if self.is_empty(&name) && staged.file.metadata().is_ok_and(|new| new.len() == 0) =>
            {
                self.remove_staged(key)?;
            }
            Err(Errno::EXIST) => return Err(BlobError::SessionLost),
            Err(error) => return Err(self.failed("naming", key, error.into())),
        }
        self.sync(|| staged.file.sync_all(), "object", &name)?;
        self.sync_objects()
    }

    /// Whether there is an object `name` and it has no bytes.
    fn is_empty(&self, name: &str) -> bool {
        rustix::fs::statat(&self.blobs, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|object| object.st_size == 0)
    }

    /// Makes a file that has no name yet and vanishes if it never gets one.
    pub(super) fn create_unnamed(self: &Arc<Self>, key: Key) -> Result<UnnamedFile, BlobError> {
        self.writable()?;
        let folders = Arc::clone(self);
        if self.unnamed.load(Ordering::Relaxed) {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match rustix::fs::openat(&self.blobs, ".", flags, Mode::from_raw_mode(0o600)) {
                Ok(file) => {
                    return Ok(UnnamedFile {
                        file: Arc::new(file.into()),
                        staged: None,
                        folders,
                    });
                }
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                    self.unnamed.store(false, Ordering::Relaxed);
                }
                Err(error) => return Err(self.failed("making a file in", "blobs", error.into())),
            }
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.uploads, key.ulid(), flags, Mode::from_raw_mode(0o600))
            .map_err(|error| self.failed("making upload", key.ulid(), error.into()))?;
        Ok(UnnamedFile {
            file: Arc::new(file.into()),
            staged: Some(key),
            folders,
        })
    }

    /// Makes the whole, verified file an object.
    ///
    /// It is named first and synced then, so that one commit of the file system's journal holds both; until this
    /// returns no row names it.
    pub(super) fn publish_unnamed(&self, unnamed: UnnamedFile, key: Key) -> Result<(), BlobError> {
        let name = key.ulid();
        let named = match unnamed.staged {
            None => {
                use std::os::fd::AsRawFd as _;
                let open = format!("/proc/self/fd/{}", unnamed.file.as_raw_fd());
                rustix::fs::linkat(rustix::fs::CWD, open, &self.blobs, &name, AtFlags::SYMLINK_FOLLOW)
            }
            Some(staged) => {
                let flags = RenameFlags::NOREPLACE;
                rustix::fs::renameat_with(&self.uploads, staged.ulid(), &self.blobs, &name, flags)
            }
        };
        named.map_err(|error| self.failed("naming", key, error.into()))?;
        let synced = self
            .sync(|| unnamed.file.sync_all(), "object", &name)
            .and_then(|()| self.sync_objects());
        if synced.is_err() {
            // Nothing names it; what cannot be removed either is only space.
            let _ = rustix::fs::unlinkat(&self.blobs, &name, AtFlags::empty());
        }
        synced
    }

    /// Makes the names of objects durable.
    pub(super) fn sync_objects(&self) -> Result<(), BlobError> {
        self.sync(|| self.blobs.sync_all(), "folder", "blobs")
    }

    /// Opens an object that has `bytes` bytes or more.
    pub(super) fn open_object(&self, key: Key, bytes: u64) -> Result<Arc<File>, BlobError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(&self.blobs, key.ulid(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Err(BlobError::Missing { key }),
            Err(error) => return Err(self.failed("opening", key, error.into())),
        };
        let length = file
            .metadata()
            .map_err(|error| self.failed("reading", key, error))?
            .len();
        if length < bytes {
            Err(BlobError::Missing { key })
        } else {
            Ok(Arc::new(file))
        }
    }

    pub(super) fn remove_staged(&self, key: Key) -> Result<(), BlobError> {
        match rustix::fs::unlinkat(&self.uploads, key.ulid(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("deleting upload", key.ulid(), error.into())),
        }
    }

    pub(super) fn remove_object(&self, key: Key) -> Result<(), BlobError> {
        match rustix::fs::unlinkat(&self.blobs, key.ulid(), AtFlags::empty()) {
            // A power cut may bring the name back after its row is gone: space lost, nothing wrong. So it is synced,
            // but not where syncing has failed before.
            Ok(()) if self.writable().is_ok() => self.sync_objects(),
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("deleting", key, error.into())),
        }
    }

    /// Syncs; if the disk fails, stops all writing.
    fn sync(&self, sync: impl FnOnce() -> io::Result<()>, what: &str, name: &str) -> Result<(), BlobError> {
        self.writable()?;
        let Err(error) = sync() else { return Ok(()) };
        match BlobError::io("syncing", name, error) {
            BlobError::Full => Err(BlobError::Full),
            error => {
                self.stopped.store(true, Ordering::Release);
                let storage = self.root.display();
                tracing::error!(%error, %storage, "the disk failed to sync {what} {name}: no more writes until a restart");
                Err(BlobError::WritesStopped)
            }
        }
    }

    fn failed(&self, doing: &'static str, what: impl std::fmt::Display, error: io::Error) -> BlobError {
        BlobError::io(doing, format_args!("{what} in {}", self.root.display()), error)
    }
}
