//! Upload sessions: all that a replica needs to go on with one that another began.

use wharf_protocol::digest::Algorithm;
use wharf_protocol::name::RepositoryName;

use super::Answer;
use crate::clock::Timestamp;

/// The hash of the bytes that a session has received, in the middle of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashState {
    /// Which form the bytes have. A program that does not know the form reads the staged bytes again.
    pub format: u32,
    /// The state, as the hasher wrote it.
    pub bytes: Vec<u8>,
}

/// A session to begin, at offset 0.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Its UUID.
    pub id: String,
    /// Where the blob is going.
    pub repository: RepositoryName,
    /// Whose session it is: the limit is counted by this word.
    pub owner: String,
    /// The key of the object that it becomes.
    pub object_key: String,
    /// What the bytes are hashed with as they come.
    pub algorithm: Algorithm,
    /// Who holds it from its begin on (a writer's word), and until when: the maker, for the one request that it lives.
    pub held: Option<(String, Timestamp)>,
    /// The present moment.
    pub now: Timestamp,
    /// When the session ends by itself.
    pub expires: Timestamp,
}

/// A session as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its UUID.
    pub id: String,
    /// Where the blob is going.
    pub repository: RepositoryName,
    /// Whose session it is.
    pub owner: String,
    /// The key of the object that it becomes.
    pub object_key: String,
    /// What the bytes are hashed with.
    pub algorithm: Algorithm,
    /// How many bytes have been taken.
    pub offset: u64,
    /// The hash of these bytes; none before the first.
    pub hash_state: Option<HashState>,
    /// Where these bytes lie: the store's own account, empty before the first.
    pub staged: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ends by itself.
    pub expires: Timestamp,
}

/// The right to write to one session: shown with every change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadClaim {
    /// The session's UUID.
    pub id: String,
    /// A word that no other writer uses (random).
    pub writer: String,
}

/// How far a writer has come.
#[derive(Debug, Clone)]
pub struct UploadProgress {
    /// The writer's right.
    pub claim: UploadClaim,
    /// Where the session stood.
    pub from: u64,
    /// Where it stands.
    pub offset: u64,
    /// The hash of the bytes up to there.
    pub hash_state: Option<HashState>,
    /// Where these bytes lie: the store's own account.
    pub staged: String,
    /// The present moment.
    pub now: Timestamp,
    /// Until when the writer goes on holding the session; `None` lets go of it.
    pub hold: Option<Timestamp>,
    /// When the session ends by itself from now on.
    pub expires: Timestamp,
}

/// Upload sessions.
///
/// One writer at a time: it claims the session, writes, and lets go. A claim that is not renewed in time can be taken
/// over, and its holder's next change is refused; so a replica that died holds nobody up for longer than that.
///
/// A session that has expired or ended is unknown to every method but [`expired_uploads`](Self::expired_uploads),
/// [`end_upload`](Self::end_upload) and [`forget_upload`](Self::forget_upload).
///
/// The progress of sessions is as durable as a crash of the process needs; after a crash of the machine a session may
/// stand where it stood before its last changes, or be unknown. Nothing was promised for its bytes before the commit.
pub trait Uploads {
    /// Begins a session. The repository need not exist.
    ///
    /// # Errors
    /// [`Error::TooManyUploads`](super::Error::TooManyUploads) if the owner has `limit` sessions open that have not
    /// expired. One that is held from its begin on is not refused: requests are limited elsewhere.
    fn begin_upload(&self, upload: NewUpload, limit: u32) -> Answer<'_, ()>;

    /// Finds a session of this repository; one of another repository is unknown here.
    fn upload<'a>(
        &'a self,
        repository: &'a RepositoryName,
        id: &'a str,
        now: Timestamp,
    ) -> Answer<'a, Option<Upload>>;

    /// Claims a session of this repository until `hold` and returns how it stands.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`](super::Error::UploadUnknown); [`Error::UploadBusy`](super::Error::UploadBusy) while
    /// another writer holds it.
    fn claim_upload<'a>(
        &'a self,
        repository: &'a RepositoryName,
        claim: &'a UploadClaim,
        now: Timestamp,
        hold: Timestamp,
    ) -> Answer<'a, Upload>;

    /// Writes down a writer's progress, and renews its claim or lets go of the session.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`](super::Error::UploadUnknown); [`Error::UploadBusy`](super::Error::UploadBusy) if the
    /// claim is no longer the caller's; [`Error::UploadMoved`](super::Error::UploadMoved) if the session does not stand
    /// at `from`.
    fn advance_upload(&self, progress: UploadProgress) -> Answer<'_, ()>;

    /// Lets go of a session without a change. A claim that is no longer the caller's is left alone.
    fn release_upload<'a>(&'a self, claim: &'a UploadClaim) -> Answer<'a, ()>;

    /// Ends a session of this repository without a blob, whoever holds it, and returns how it stood, so that the
    /// caller can give its staged bytes back to the store and then forget it. `None` if there is none.
    ///
    /// From then on no commit can follow. Until it is forgotten it is among the expired ones: a crash, or a store that
    /// fails, leaves it to whoever looks for those.
    fn end_upload<'a>(&'a self, repository: &'a RepositoryName, id: &'a str) -> Answer<'a, Option<Upload>>;

    /// Forgets a session that has ended and whose bytes are gone. One that has not ended is left alone.
    fn forget_upload<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// Lists sessions that have expired and that no writer holds, the oldest first.
    fn expired_uploads(&self, now: Timestamp, limit: u32) -> Answer<'_, Vec<Upload>>;

    /// Counts the open sessions of an owner.
    fn open_uploads<'a>(&'a self, owner: &'a str, now: Timestamp) -> Answer<'a, u64>;

    /// Lets go of every claim. For a server that starts and knows that it is alone on its database (it holds the data
    /// folder's lock): whoever claimed is gone.
    fn release_all_uploads(&self) -> Answer<'_, ()>;
}
