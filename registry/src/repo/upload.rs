//! Uploads: sessions whose whole state is a row, so that any replica, and the next process, goes on with them.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wharf_protocol::digest::Algorithm;
use wharf_protocol::name::RepositoryName;
use wharf_protocol::range::ContentRange;

use super::blob::key;
use super::{Error, Repo, to_the_end};
use crate::auth::Authorized;
use crate::blobs::{Appended, BlobError, BoxFuture, ByteStream, HashState, Journal, Session, Staged, Stored};
use crate::metadata::{self, CommitBlob, NewUpload, Upload, UploadClaim, UploadProgress};
use crate::operation::{AppendUpload, CancelUpload, FinishUpload, PushBlob, ReadUpload, StartUpload};

/// For how long a writer holds a session without saying that it is alive.
const HOLD: Duration = Duration::from_secs(15);
/// How often it says so.
const RENEW: Duration = Duration::from_secs(5);
/// How long a writer waits for the one before it: a client that lost its connection comes back before we know of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many expired sessions are looked up at once.
const AT_ONCE: u32 = 100;

/// How far an upload has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The repository.
    pub name: RepositoryName,
    /// The session's UUID.
    pub id: String,
    /// How many bytes have been taken.
    pub offset: u64,
}

impl Repo {
    /// Begins a session.
    ///
    /// # Errors
    /// [`Error::TooManyUploads`].
    pub async fn start_upload(self: &Arc<Self>, start: Authorized<StartUpload>) -> Result<Progress, Error> {
        let repo = Arc::clone(self);
        to_the_end(async move {
            let StartUpload { name, algorithm } = start.operation();
            repo.begin(name, *algorithm, start.grants().name()).await
        })
        .await
    }

    pub(super) async fn begin(
        &self,
        name: &RepositoryName,
        algorithm: Algorithm,
        owner: &str,
    ) -> Result<Progress, Error> {
        let upload = self.new_upload(name, algorithm, owner);
        let id = upload.id.clone();
        self.metadata
            .begin_upload(upload, self.rules.uploads_per_user)
            .await?;
        Ok(Progress {
            name: name.clone(),
            id,
            offset: 0,
        })
    }

    fn new_upload(&self, name: &RepositoryName, algorithm: Algorithm, owner: &str) -> NewUpload {
        let now = self.clock.now();
        let id = uuid::Builder::from_random_bytes(self.random.number().to_le_bytes()).into_uuid();
        NewUpload {
            id: id.to_string(),
            repository: name.clone(),
            owner: owner.to_owned(),
            object_key: self.new_key().to_string(),
            algorithm,
            held: None,
            now,
            expires: now.plus(self.rules.upload_life),
        }
    }

    /// Tells how far a session has come.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`].
    pub async fn upload(&self, read: &Authorized<ReadUpload>) -> Result<Progress, Error> {
        let ReadUpload { name, id } = read.operation();
        let upload = self
            .metadata
            .upload(name, id, self.clock.now())
            .await?
            .ok_or(Error::UploadUnknown)?;
        Ok(Progress {
            name: name.clone(),
            id: id.clone(),
            offset: upload.offset,
        })
    }

    /// Ends a session without a blob.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`].
    pub async fn cancel_upload(self: &Arc<Self>, cancel: Authorized<CancelUpload>) -> Result<(), Error> {
        let repo = Arc::clone(self);
        to_the_end(async move {
            let CancelUpload { name, id } = cancel.operation();
            if repo.end(name, id).await? {
                Ok(())
            } else {
                Err(Error::UploadUnknown)
            }
        })
        .await
    }

    /// Ends the sessions that have expired; returns how many. One that another replica ends meanwhile is none of them.
    ///
    /// # Errors
    /// The first that could not be ended.
    pub async fn end_expired_uploads(&self) -> Result<usize, Error> {
        let mut ended = 0;
        loop {
            let expired = self.metadata.expired_uploads(self.clock.now(), AT_ONCE).await?;
            for upload in &expired {
                ended += usize::from(self.end(&upload.repository, &upload.id).await?);
            }
            if expired.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX) {
                return Ok(ended);
            }
        }
    }

    /// Ends the session first, so that no commit can follow, then its bytes, and forgets it last: what fails in between
    /// is found among the expired ones and done again.
    async fn end(&self, name: &RepositoryName, id: &str) -> Result<bool, Error> {
        let Some(upload) = self.metadata.end_upload(name, id).await? else {
            return Ok(false);
        };
        self.discard(&session(&upload)?).await?;
        self.metadata.forget_upload(id).await?;
        Ok(true)
    }

    /// Ends a session for another error's sake, which is what the client shall see.
    async fn end_after(&self, error: Error, name: &RepositoryName, id: &str) -> Error {
        if let Err(also) = self.end(name, id).await {
            tracing::warn!(
                error = &also as &dyn std::error::Error,
                "the bytes of an ended upload stay until the next sweep"
            );
        }
        error
    }

    /// Adds bytes to a session. What came before a cut is kept, and the client can go on from there.
    ///
    /// # Errors
    /// [`Error::ChunkOutOfOrder`], [`Error::LengthMismatch`]: the session is as it was. [`Error::BodyCut`],
    /// [`Error::UploadUnknown`], [`Error::UploadBusy`].
    pub async fn append_upload(
        self: &Arc<Self>,
        append: Authorized<AppendUpload>,
        body: ByteStream<'static>,
    ) -> Result<Progress, Error> {
        let repo = Arc::clone(self);
        to_the_end(async move {
            let AppendUpload {
                name,
                id,
                range,
                length,
            } = append.operation();
            let writer = Writer::claim(&repo, name, id).await?;
            let appended = writer.append(body, *range, *length, Append::More).await;
            let appended = writer.or_release(appended).await?;
            writer.advance(&appended.session).await?;
            match appended.cut {
                Some(cause) => Err(Error::BodyCut(cause)),
                None => Ok(Progress {
                    name: name.clone(),
                    id: id.clone(),
                    offset: appended.session.offset,
                }),
            }
        })
        .await
    }

    /// Ends a session with a blob, after the last bytes if there are any.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`]: the session is gone. Else as [`Repo::append_upload`].
    pub async fn finish_upload(
        self: &Arc<Self>,
        finish: Authorized<FinishUpload>,
        body: Option<ByteStream<'static>>,
    ) -> Result<(), Error> {
        let repo = Arc::clone(self);
        to_the_end(async move {
            let FinishUpload {
                name,
                id,
                digest,
                range,
                length,
            } = finish.operation();
            let writer = Writer::claim(&repo, name, id).await?;
            let session = match body {
                None if range.is_none() => writer.session.clone(),
                body => {
                    let body = body.unwrap_or_else(|| Box::pin(futures_util::stream::empty()));
                    let appended = writer.append(body, *range, *length, Append::Last).await;
                    let appended = writer.or_release(appended).await?;
                    if let Some(cause) = appended.cut {
                        writer.advance(&appended.session).await?;
                        return Err(Error::BodyCut(cause));
                    }
                    appended.session
                }
            };
            let finished = writer.holding(repo.blobs.finish(&session, digest)).await;
            match finished {
                Ok(stored) => repo.commit(name, stored, writer.claim).await,
                Err(error @ BlobError::DigestMismatch { .. }) => {
                    Err(repo.end_after(error.into(), name, id).await)
                }
                Err(error) => writer.or_release(Err(error.into())).await,
            }
        })
        .await
    }

    /// Takes a whole blob at once. It has a session all the same, which ends with the request: were this process to die
    /// in between, the sweep would know of the bytes.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::LengthMismatch`], [`Error::BodyCut`].
    pub async fn push_blob(
        self: &Arc<Self>,
        push: Authorized<PushBlob>,
        body: ByteStream<'static>,
    ) -> Result<(), Error> {
        let repo = Arc::clone(self);
        to_the_end(async move {
            let PushBlob { name, digest, length } = push.operation();
            let upload = repo.new_upload(name, digest.algorithm(), push.grants().name());
            let writer = Writer::begin(&repo, name, upload).await?;
            let at_most = length.unwrap_or(u64::MAX);
            let put = repo.blobs.put(writer.session.key, body, at_most, digest, &writer);
            match writer.holding(put).await {
                Ok(stored) => repo.commit(name, stored, writer.claim).await,
                Err(error) => Err(repo.end_after(error.into(), name, &writer.claim.id).await),
            }
        })
        .await
    }

    /// Makes durable bytes a blob of the repository. If they were there before, the new ones go.
    async fn commit(&self, name: &RepositoryName, stored: Stored, upload: UploadClaim) -> Result<(), Error> {
        let object_key = stored.key.to_string();
        let commit = CommitBlob {
            repository: name.clone(),
            digest: stored.digest,
            object_key: object_key.clone(),
            size: stored.size,
            upload: Some(upload),
            lease: self.lease(),
        };
        // After an error the object stays: whoever took the session over may have committed this very one, and a commit
        // whose answer was lost may have happened.
        let committed = self.metadata.commit_blob(commit).await?;
        // A redundant object is on the list of the dead until it is gone, so a failure here is made good later.
        if committed.redundant && self.blobs.delete(&stored.key).await.is_ok() {
            let _ = self.metadata.forget_object(&object_key).await;
        }
        Ok(())
    }
}

/// Whether more may follow the bytes of an append, or the session is finished with them.
#[derive(Debug, Clone, Copy)]
enum Append {
    More,
    Last,
}

/// Somebody who holds a session, and the session as it stood when they took it.
struct Writer<'a> {
    repo: &'a Repo,
    claim: UploadClaim,
    session: Session,
    /// What the row says of where bytes lie, once the store has noted more than it said at first.
    noted: Mutex<Option<Staged>>,
    name: &'a RepositoryName,
}

/// Makes a claim to a session that no other writer's is like.
fn new_claim(repo: &Repo, id: &str) -> UploadClaim {
    UploadClaim {
        id: id.to_owned(),
        writer: format!("{:032x}", repo.random.number()),
    }
}

impl Journal for Writer<'_> {
    fn note<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(async move {
            // First, so that a renewal of the claim meanwhile does not take it back.
            *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(staged.clone());
            self.renew().await.map_err(|error| match error {
                metadata::Error::UploadUnknown
                | metadata::Error::UploadBusy
                | metadata::Error::UploadMoved { .. } => BlobError::Busy,
                error => BlobError::Unavailable {
                    doing: "noting",
                    what: "where an upload's bytes will lie".to_owned(),
                    source: Box::new(error),
                },
            })
        })
    }
}

impl<'a> Writer<'a> {
    /// Begins a session that nobody else can take.
    async fn begin(repo: &'a Repo, name: &'a RepositoryName, mut upload: NewUpload) -> Result<Self, Error> {
        let claim = new_claim(repo, &upload.id);
        let session = Session::new(key(&upload.object_key)?, upload.algorithm);
        upload.held = Some((claim.writer.clone(), upload.now.plus(HOLD)));
        repo.metadata
            .begin_upload(upload, repo.rules.uploads_per_user)
            .await?;
        Ok(Self::of(repo, name, claim, session))
    }

    /// Is the writer whose claim the row holds.
    fn of(repo: &'a Repo, name: &'a RepositoryName, claim: UploadClaim, session: Session) -> Self {
        Self {
            repo,
            claim,
            session,
            noted: Mutex::default(),
            name,
        }
    }

    /// Takes a session, waiting a little for a writer before.
    async fn claim(repo: &'a Repo, name: &'a RepositoryName, id: &str) -> Result<Self, Error> {
        let claim = new_claim(repo, id);
        let give_up = tokio::time::Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(10);
        let upload = loop {
            let now = repo.clock.now();
            match repo
                .metadata
                .claim_upload(name, &claim, now, now.plus(HOLD))
                .await
            {
                Ok(upload) => break upload,
                Err(metadata::Error::UploadBusy) if tokio::time::Instant::now() < give_up => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(250));
                }
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Self::of(repo, name, claim, session(&upload)?))
    }

    /// Lets go of the session if what was tried failed.
    async fn or_release<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err()
            && let Err(error) = self.repo.metadata.release_upload(&self.claim).await
        {
            tracing::warn!(%error, "an upload stays claimed until its claim runs out");
        }
        result
    }

    async fn append(
        &self,
        body: ByteStream<'_>,
        range: Option<ContentRange>,
        length: Option<u64>,
        which: Append,
    ) -> Result<Appended, Error> {
        let offset = self.session.offset;
        if let Some(range) = range.filter(|range| range.first != offset) {
            return Err(Error::ChunkOutOfOrder {
                name: self.name.clone(),
                id: self.claim.id.clone(),
                first: range.first,
                offset,
            });
        }
        let announced = range.and_then(ContentRange::length).or(length);
        let (blobs, session) = (&self.repo.blobs, self.session.clone());
        let at_most = announced.unwrap_or(u64::MAX);
        let append = match which {
            Append::More => blobs.append(session, body, at_most, self),
            Append::Last => blobs.append_last(session, body, at_most, self),
        };
        let appended = self.holding(append).await?;
        match announced {
            Some(announced) if appended.cut.is_none() && appended.taken != announced => {
                Err(Error::LengthMismatch {
                    announced,
                    received: appended.taken.to_string(),
                })
            }
            _ => Ok(appended),
        }
    }

    /// Waits for some work on the session, and says meanwhile that the session is still held.
    async fn holding<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(RENEW) => {
                    if let Err(error) = self.renew().await {
                        tracing::warn!(%error, "renewing the claim of an upload failed");
                    }
                }
            }
        }
    }

    /// Writes down how far the session has come, and lets go of it.
    async fn advance(&self, session: &Session) -> Result<(), Error> {
        Ok(self.write(session, &session.staged, None).await?)
    }

    /// Says that the session, which stands where it stood, is still held, and what was noted of it.
    async fn renew(&self) -> Result<(), metadata::Error> {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let hold = self.repo.clock.now().plus(HOLD);
        let staged = noted.as_ref().unwrap_or(&self.session.staged);
        self.write(&self.session, staged, Some(hold)).await
    }

    async fn write(
        &self,
        session: &Session,
        staged: &Staged,
        hold: Option<crate::clock::Timestamp>,
    ) -> Result<(), metadata::Error> {
        let now = self.repo.clock.now();
        let progress = UploadProgress {
            claim: self.claim.clone(),
            from: self.session.offset,
            offset: session.offset,
            hash_state: Some(metadata::HashState {
                format: session.hash.format,
                bytes: session.hash.bytes.clone(),
            }),
            staged: staged.to_text(),
            now,
            hold,
            expires: now.plus(self.repo.rules.upload_life),
        };
        self.repo.metadata.advance_upload(progress).await
    }
}

/// Reads a store's session from its row.
fn session(upload: &Upload) -> Result<Session, Error> {
    let new = Session::new(key(&upload.object_key)?, upload.algorithm);
    let staged = Staged::from_text(&upload.staged)
        .map_err(|error| Error::fault("an upload's staged bytes in the database", error))?;
    let hash = match &upload.hash_state {
        Some(state) => HashState {
            algorithm: upload.algorithm,
            format: state.format,
            bytes: state.bytes.clone(),
        },
        None => new.hash.clone(),
    };
    Ok(Session {
        offset: upload.offset,
        staged,
        hash,
        ..new
    })
}
