//! Objects in a folder.
//!
//! ```text
//! STORAGE/lock            held by the one server that writes here
//! STORAGE/uploads/<ulid>  an upload on its way: its session's bytes, and perhaps more that no row knows of
//! STORAGE/blobs/<ulid>    an object: complete, verified, never changed
//! ```
//!
//! A session's file becomes the object by a rename; a blob that comes in one piece is written without a name
//! (`O_TMPFILE`) and gets one when it is whole. Both folders and files are synced before a call returns.
//!
//! Invariant: a name in `blobs/` is never given twice and its bytes never change. Whoever writes to a file in
//! `uploads/` holds its lock and has seen, since it got the lock, that the name is still that file's.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use wharf_protocol::digest::{Digest, Hasher};

use super::{
    Appended, BlobError, Blobs, BoxFuture, ByteStream, Content, HashState, Journal, Key, Session, Staged,
    Stored, agree,
};

mod direct;
mod folders;
mod intake;
#[cfg(test)]
mod tests;

pub use folders::OpenError;

use direct::ReadBack;
use folders::Folders;
use intake::Intake;

/// How much is read at once to hash a staged file again.
const REREAD_BYTES: usize = 1024 * 1024;

/// A store in a folder of this machine.
#[derive(Debug)]
pub struct Disk {
    folders: Arc<Folders>,
    intake: Intake,
    read_back: Arc<ReadBack>,
}

impl Disk {
    /// Opens the store in `folder`, makes what is missing, and keeps every other server out of it until dropped.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another server has it open.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let folders = Arc::new(Folders::open(folder)?);
        Ok(Self {
            intake: Intake::new(Arc::clone(&folders)),
            folders,
            read_back: Arc::default(),
        })
    }

    /// Takes a stream's bytes to the end of a session.
    async fn take(
        &self,
        session: Session,
        bytes: ByteStream<'_>,
        at_most: u64,
        then: Then,
    ) -> Result<Appended, BlobError> {
        let hasher = session.hash.resume()?;
        let (key, offset) = (session.key, session.offset);
        let staged = self
            .blocking(move |folders| folders.open_staged(key, offset))
            .await?;
        let file = staged.file();
        let taken = match self.intake.take(&file, offset, hasher, bytes, at_most).await {
            Ok(taken) => taken,
            Err(error) => {
                // Gives the space back now; the next append would cut it off anyway.
                let _ = run_blocking(move || staged.cut_back(offset)).await;
                return Err(error);
            }
        };
        if then == Then::Row || taken.cut.is_some() {
            self.blocking(move |folders| folders.sync_staged(&staged)).await?;
        }
        let hash = HashState::of(&taken.hasher);
        let session = Session {
            offset: offset + taken.bytes,
            staged: Staged::File,
            hash,
            ..session
        };
        Ok(Appended {
            session,
            taken: taken.bytes,
            cut: taken.cut,
        })
    }

    /// Readies a new object for the first pull, while its pusher gets the answer.
    fn read_back(&self, file: Arc<File>, size: u64) {
        let read_back = Arc::clone(&self.read_back);
        tokio::task::spawn_blocking(move || read_back.begin(&file, size));
    }

    /// Runs `work`, which waits for the disk, on a thread that may wait.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Folders>) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let folders = Arc::clone(&self.folders);
        run_blocking(move || work(&folders)).await
    }
}

/// What follows an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Its state goes to a row, and must be durable before.
    Row,
    /// The session is finished, which makes all of it durable.
    Finish,
}

/// Runs `work` on a thread that may wait. It runs to its end even if nobody waits for it any more.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|died| {
        Err(BlobError::Io {
            doing: "working on",
            what: "the storage".to_owned(),
            source: Box::new(died),
        })
    })
}

impl Blobs for Disk {
    fn append<'a>(
        &'a self,
        session: Session,
        bytes: ByteStream<'a>,
        at_most: u64,
        _journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Appended, BlobError>> {
        Box::pin(self.take(session, bytes, at_most, Then::Row))
    }

    fn append_last<'a>(
        &'a self,
        session: Session,
        bytes: ByteStream<'a>,
        at_most: u64,
        _journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Appended, BlobError>> {
        Box::pin(self.take(session, bytes, at_most, Then::Finish))
    }

    fn finish<'a>(
        &'a self,
        session: &'a Session,
        expected: &'a Digest,
    ) -> BoxFuture<'a, Result<Stored, BlobError>> {
        let (session, expected) = (session.clone(), expected.clone());
        Box::pin(async move {
            let (key, size) = (session.key, session.offset);
            let finishing = self.blocking(move |folders| {
                let file = match folders.open_staged(key, size) {
                    Ok(staged) => {
                        let file = staged.file();
                        verify(&session, &expected, &file)?;
                        folders.publish_staged(&staged, key)?;
                        return Ok((expected, file));
                    }
                    // An earlier call may have come as far as the rename.
                    Err(BlobError::SessionLost) => folders.open_object(key, size).ok(),
                    Err(error) => return Err(error),
                };
                let file = file.ok_or(BlobError::SessionLost)?;
                verify(&session, &expected, &file)?;
                folders.sync_objects()?;
                Ok((expected, file))
            });
            let (digest, file) = finishing.await?;
            self.read_back(file, size);
            Ok(Stored { key, digest, size })
        })
    }

    fn put<'a>(
        &'a self,
        key: Key,
        bytes: ByteStream<'a>,
        at_most: u64,
        expected: &'a Digest,
        _journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Stored, BlobError>> {
        Box::pin(async move {
            let unnamed = self.blocking(move |folders| folders.create_unnamed(key)).await?;
            let file = unnamed.file();
            let hasher = Hasher::new(expected.algorithm());
            let taken = self.intake.take(&file, 0, hasher, bytes, at_most).await?;
            if let Some(cut) = taken.cut {
                return Err(BlobError::Cut(cut));
            }
            agree(taken.hasher.finish(), expected)?;
            self.blocking(move |folders| folders.publish_unnamed(unnamed, key))
                .await?;
            self.read_back(file, taken.bytes);
            Ok(Stored {
                key,
                digest: expected.clone(),
                size: taken.bytes,
            })
        })
    }

    fn abort<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), BlobError>> {
        let key = session.key;
        // First the staged name, then the object's: a `finish` that overtakes can move one to the other only before.
        Box::pin(self.blocking(move |folders| {
            folders.remove_staged(key)?;
            folders.remove_object(key)
        }))
    }

    fn open<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Content, BlobError>> {
        let key = *key;
        Box::pin(self.blocking(move |folders| {
            let file = folders.open_object(key, range.end)?;
            Ok(Content::File { file, range })
        }))
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), BlobError>> {
        let key = *key;
        Box::pin(self.blocking(move |folders| folders.remove_object(key)))
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(std::future::ready(self.folders.writable()))
    }
}

/// Verifies that a session's bytes have the digest `expected`: by the hash that was computed as they came, or, if
/// that is of another algorithm, by reading them again.
fn verify(session: &Session, expected: &Digest, file: &File) -> Result<(), BlobError> {
    if session.hash.algorithm == expected.algorithm() {
        return agree(session.hash.resume()?.finish(), expected);
    }
    let mut hasher = Hasher::new(expected.algorithm());
    let mut buffer = vec![0; REREAD_BYTES];
    let mut at = 0;
    while at < session.offset {
        let most = usize::try_from(session.offset - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let piece = buffer.get_mut(..most).unwrap_or_default();
        let read = match file.read_at(piece, at) {
            Ok(0) => return Err(BlobError::SessionLost),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(BlobError::io("reading", session.key, error)),
        };
        hasher.update(piece.get(..read).unwrap_or_default());
        at += u64::try_from(read).unwrap_or(u64::MAX);
    }
    agree(hasher.finish(), expected)
}
