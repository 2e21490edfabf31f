//! Blobs by digest, as they came: compressed layers, configurations, manifests.
//!
//! A blob arrives in `ingest/`, under its digest, and is renamed into `content/` once its bytes are
//! durable and have that digest. Whoever lets it arrive holds the lock on the file there, so two pulls of
//! one layer make one download, and what a killed pull left is gone on from.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use wharf_protocol::digest::{Algorithm, Digest, Hasher};

use crate::error::{Error, Kind, Result};
use crate::store::Store;

/// The blobs of a store.
#[derive(Debug, Clone)]
pub struct Content {
    content: PathBuf,
    ingest: PathBuf,
}

/// A blob that is arriving; this process alone writes it.
#[derive(Debug)]
pub struct Ingest {
    content: Content,
    digest: Digest,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    offset: u64,
}

impl Content {
    /// The blobs of this store.
    pub fn of(store: &Store) -> Self {
        Self {
            content: store.path("content"),
            ingest: store.path("ingest"),
        }
    }

    /// Where a blob is or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.content.join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// The size of a blob, if it is here.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest))
            .ok()
            .map(|metadata| metadata.len())
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// [`Kind::Damaged`] when it is not here.
    pub fn open(&self, digest: &Digest) -> Result<File> {
        File::open(self.path(digest)).map_err(|cause| missing(digest, cause))
    }

    /// Reads a small blob and checks that it is what its digest says.
    ///
    /// # Errors
    /// [`Kind::Damaged`] when it is absent, larger than `limit_bytes`, or changed.
    pub fn read(&self, digest: &Digest, limit_bytes: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(digest)?
            .take(limit_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|cause| missing(digest, cause))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit_bytes {
            return Err(Error::new(
                Kind::Damaged,
                format!("the blob {digest} is larger than {limit_bytes} bytes"),
            ));
        }
        if Digest::of(digest.algorithm(), &bytes) != *digest {
            return Err(Error::new(
                Kind::Damaged,
                format!("the blob {digest} in the store is damaged"),
            )
            .hint("Remove the image and pull it again."));
        }
        Ok(bytes)
    }

    /// Keeps a small blob, durably.
    ///
    /// # Errors
    /// What the file system says.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        self.put_as(&digest, bytes)?;
        Ok(digest)
    }

    /// Keeps a small blob under the digest that the caller has checked it against.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn put_as(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.size(digest).is_some() {
            return Ok(());
        }
        self.make_folder(digest.algorithm())?;
        crate::store::write_durably(&self.path(digest), bytes)
    }

    /// Every blob that is here.
    ///
    /// # Errors
    /// What the file system says.
    pub fn list(&self) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let folder = self.content.join(algorithm);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io(format!("list {}", folder.display()), error)),
            };
            for entry in entries.flatten() {
                digests
                    .extend(format!("{algorithm}:{}", entry.file_name().to_string_lossy()).parse::<Digest>());
            }
        }
        Ok(digests)
    }

    /// Removes a blob; one that is absent is removed already.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        remove_file(&self.path(digest))
    }

    /// Waits until nobody else lets this blob arrive, then goes on from what is there. `None` when the
    /// blob is complete meanwhile. Blocks, and reads what is there already to take up its digest.
    ///
    /// # Errors
    /// What the file system says.
    pub fn ingest(&self, digest: &Digest) -> Result<Option<Ingest>> {
        self.make_folder(digest.algorithm())?;
        let path = self
            .ingest
            .join(format!("{}-{}", digest.algorithm(), digest.hex()));
        let failed = |cause: io::Error| Error::io(format!("write {}", path.display()), cause);
        let mut file = loop {
            if self.size(digest).is_some() {
                return Ok(None);
            }
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(failed)?;
            rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
            // Whoever held the lock may have renamed or removed the file that we then waited for.
            let here = fs::metadata(&path).map(|metadata| metadata.ino()).ok();
            if here == Some(file.metadata().map_err(failed)?.ino()) && self.size(digest).is_none() {
                break file;
            }
        };
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0_u8; 256 << 10];
        let mut offset = 0_u64;
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
            offset += u64::try_from(read).unwrap_or(0);
        }
        Ok(Some(Ingest {
            content: self.clone(),
            digest: digest.clone(),
            path,
            file,
            hasher,
            offset,
        }))
    }

    /// Makes the names of blobs durable that were renamed into place.
    pub(crate) fn sync_folders(&self) -> Result<()> {
        for algorithm in ["sha256", "sha512"] {
            match File::open(self.content.join(algorithm)).and_then(|folder| folder.sync_all()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("sync {}", self.content.display()), error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a place for a blob whose digest is not known yet; dropped, it is removed.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        self.make_folder(Algorithm::Sha256)?;
        let path = self
            .ingest
            .join(format!("scratch-{}", crate::app::random_hex::<8>()));
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Error::io(format!("write {}", path.display()), error))?;
        let hasher = Hasher::new(Algorithm::Sha256);
        Ok(Scratch {
            content: self.clone(),
            path,
            file,
            hasher,
            size_bytes: 0,
        })
    }

    fn make_folder(&self, algorithm: Algorithm) -> Result<()> {
        let folder = self.content.join(algorithm.as_str());
        fs::create_dir_all(&folder).map_err(|error| Error::io(format!("make {}", folder.display()), error))
    }
}

impl Ingest {
    /// How many bytes are there.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// A second handle on what is there, from its start.
    ///
    /// # Errors
    /// What the file system says.
    pub fn reader(&self) -> Result<File> {
        File::open(&self.path).map_err(|error| self.failed(error))
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// What the file system says, a full disk above all.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| self.failed(error))?;
        self.hasher.update(bytes);
        self.offset += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    /// Throws away what is there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn restart(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(io::SeekFrom::Start(0)))
            .map_err(|error| self.failed(error))?;
        self.hasher = Hasher::new(self.digest.algorithm());
        self.offset = 0;
        Ok(())
    }

    /// The digest of what is there.
    pub fn found(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Removes what is there; it is wrong.
    ///
    /// # Errors
    /// What the file system says.
    pub fn discard(&self) -> Result<()> {
        remove_file(&self.path)
    }

    /// Checks the digest, makes the bytes durable, and lets the blob exist. Bytes with another digest are
    /// removed.
    ///
    /// # Errors
    /// [`Kind::Damaged`] with both digests, or what the file system says.
    pub fn finish(self) -> Result<()> {
        let found = self.found();
        if found != self.digest {
            self.discard()?;
            return Err(Error::new(
                Kind::Damaged,
                format!(
                    "the blob that arrived has the digest {found} and should have {}",
                    self.digest
                ),
            )
            .hint("The registry or something on the way changed it; nothing of it was kept."));
        }
        self.file.sync_all().map_err(|error| self.failed(error))?;
        let content = self.content.clone();
        self.keep()?;
        content.sync_folders()
    }

    /// Lets the blob exist, whose digest was checked and whose bytes were synced by the caller.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn keep(self) -> Result<()> {
        let target = self.content.path(&self.digest);
        fs::rename(&self.path, &target)
            .map_err(|error| Error::io(format!("write {}", target.display()), error))
    }

    fn failed(&self, error: io::Error) -> Error {
        let full = error.kind() == io::ErrorKind::StorageFull;
        let error = Error::io(format!("write {}", self.path.display()), error);
        if full {
            error.hint("Free some space and pull again: what has arrived is kept.")
        } else {
            error
        }
    }
}

/// A blob whose digest is known when all of it was written.
#[derive(Debug)]
pub(crate) struct Scratch {
    content: Content,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    size_bytes: u64,
}

impl Scratch {
    /// Makes the bytes durable and lets the blob exist; returns its digest and size.
    pub(crate) fn keep(self) -> Result<(Digest, u64)> {
        let digest = self.hasher.clone().finish();
        let failed = |error: io::Error| Error::io(format!("write {}", self.path.display()), error);
        self.file.sync_all().map_err(failed)?;
        fs::rename(&self.path, self.content.path(&digest)).map_err(failed)?;
        self.content.sync_folders()?;
        Ok((digest, self.size_bytes))
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.size_bytes += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Renamed away when it was kept.
        drop(fs::remove_file(&self.path));
    }
}

fn missing(digest: &Digest, cause: io::Error) -> Error {
    Error::new(
        Kind::Damaged,
        format!("the blob {digest} cannot be read from the store"),
    )
    .because(cause)
    .hint("Remove the image and pull it again.")
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(folder: &tempfile::TempDir) -> Content {
        Content::of(&Store::open_at(folder.path().join("root"), folder.path().join("run")).unwrap())
    }

    #[test]
    fn a_blob_that_was_cut_off_is_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let content = content(&folder);
        let digest = Digest::of(Algorithm::Sha256, b"hello world");
        let mut ingest = content.ingest(&digest).unwrap().unwrap();
        ingest.append(b"hello ").unwrap();
        drop(ingest);
        let mut ingest = content.ingest(&digest).unwrap().unwrap();
        assert_eq!(ingest.offset(), 6);
        ingest.append(b"world").unwrap();
        ingest.finish().unwrap();
        assert_eq!(content.read(&digest, 100).unwrap(), b"hello world");
        assert!(content.ingest(&digest).unwrap().is_none());
    }

    #[test]
    fn bytes_with_another_digest_never_exist() {
        let folder = tempfile::tempdir().unwrap();
        let content = content(&folder);
        let digest = Digest::of(Algorithm::Sha256, b"good");
        let mut ingest = content.ingest(&digest).unwrap().unwrap();
        ingest.append(b"evil").unwrap();
        assert_eq!(ingest.finish().unwrap_err().kind(), Kind::Damaged);
        assert!(content.size(&digest).is_none() && content.list().unwrap().is_empty());
        assert_eq!(content.ingest(&digest).unwrap().unwrap().offset(), 0);
    }
}
