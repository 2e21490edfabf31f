//! Mounting: a blob that one repository holds, held by another without an upload.

use std::sync::Arc;

use wharf_protocol::digest::Algorithm;

use super::{Error, Progress, Repo, to_the_end};
use crate::auth::Authorized;
use crate::metadata::{self, MountSource};
use crate::operation::MountBlob;

/// What became of a mount.
#[derive(Debug)]
pub enum Mounted {
    /// The repository holds the blob now.
    Here,
    /// There is nothing that the caller may read to mount: an upload has begun instead.
    Upload(Progress),
}

impl Repo {
    /// Lets the repository hold a blob of another one; begins an upload where the caller may not read it or it is not
    /// there, without telling which.
    ///
    /// # Errors
    /// Those of [`Repo::start_upload`].
    pub async fn mount(self: &Arc<Self>, mount: Authorized<MountBlob>) -> Result<Mounted, Error> {
        let repo = Arc::clone(self);
        to_the_end(async move {
            let MountBlob { name, digest, from } = mount.operation();
            let source = match from {
                Some(from) if mount.source_readable() => Some(MountSource::Repository(from.clone())),
                Some(_) => None,
                None => Some(MountSource::Anywhere(mount.grants().visible())),
            };
            if let Some(from) = source {
                let row = metadata::MountBlob {
                    into: name.clone(),
                    from,
                    digest: digest.clone(),
                    lease: repo.lease(),
                };
                if repo.metadata.mount_blob(row).await?.is_some() {
                    return Ok(Mounted::Here);
                }
            }
            let upload = repo.begin(name, Algorithm::Sha256, mount.grants().name()).await?;
            Ok(Mounted::Upload(upload))
        })
        .await
    }
}
