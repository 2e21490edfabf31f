//! Reading and deleting blobs.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{Error, Repo, to_the_end};
use crate::auth::Authorized;
use crate::blobs::{Content, Key};
use crate::metadata::Blob;
use crate::operation::{DeleteBlob, ReadBlob};

impl Repo {
    /// Finds a blob. An answer to HEAD may keep a client from uploading, so it extends the blob's lease.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], [`Error::NameUnknown`].
    pub async fn blob(&self, read: &Authorized<ReadBlob>) -> Result<Blob, Error> {
        let ReadBlob {
            name, digest, head, ..
        } = read.operation();
        let blob = if *head {
            self.metadata.claim_blob(name, digest, self.lease()).await?
        } else {
            self.metadata.blob(name, digest).await?
        };
        match blob {
            Some(blob) => Ok(blob),
            None => Err(self
                .unknown(
                    name,
                    Error::BlobUnknown {
                        name: name.clone(),
                        digest: digest.clone(),
                    },
                )
                .await),
        }
    }

    /// Opens some bytes of a blob that was found.
    ///
    /// # Errors
    /// The row says that they are there, so it is a fault if they are not.
    pub async fn open(&self, blob: &Blob, range: Range<u64>) -> Result<Content, Error> {
        Ok(self.blobs.open(&key(&blob.object_key)?, range).await?)
    }

    /// Returns a URL at which whoever has it may GET a blob that was found, for some time; `None` if the storage has none.
    ///
    /// # Errors
    /// The storage's.
    pub async fn address(&self, blob: &Blob, life: Duration) -> Result<Option<String>, Error> {
        Ok(self.blobs.presign(&key(&blob.object_key)?, life).await?)
    }

    /// Ends the repository's hold on a blob that no manifest of it names.
    ///
    /// # Errors
    /// [`Error::BlobInUse`], [`Error::BlobUnknown`], [`Error::NameUnknown`], [`Error::DeletesOff`].
    pub async fn delete_blob(self: &Arc<Self>, delete: Authorized<DeleteBlob>) -> Result<(), Error> {
        if !self.rules.deletes {
            return Err(Error::DeletesOff);
        }
        let repo = Arc::clone(self);
        to_the_end(async move {
            let DeleteBlob { name, digest } = delete.operation();
            if repo.metadata.unlink_blob(name, digest).await? {
                return Ok(());
            }
            Err(repo
                .unknown(
                    name,
                    Error::BlobUnknown {
                        name: name.clone(),
                        digest: digest.clone(),
                    },
                )
                .await)
        })
        .await
    }
}

/// How long an object stays that nothing points at any more: whoever read its row a moment before may still open it.
const DEAD_FOR: Duration = Duration::from_secs(600);

impl Repo {
    /// Removes objects that nothing has pointed at for some time; returns how many.
    ///
    /// # Errors
    /// The first that could not be removed.
    pub async fn remove_dead_objects(&self) -> Result<usize, Error> {
        let dead = self
            .metadata
            .dead_objects(self.clock.now().minus(DEAD_FOR), 100)
            .await?;
        let keys: Vec<Key> = dead
            .iter()
            .map(|object| key(&object.object_key))
            .collect::<Result<_, _>>()?;
        self.blobs.delete_many(&keys).await?;
        for object in &dead {
            self.metadata.forget_object(&object.object_key).await?;
        }
        Ok(dead.len())
    }
}

/// Reads an object's key from its row.
pub(super) fn key(text: &str) -> Result<Key, Error> {
    text.parse()
        .map_err(|error| Error::fault("an object's key in the database", error))
}
