//! The rows: what exists, who may see it, and what is under way.
//!
//! The database is the only truth about what exists. [`Metadata`] is the contract; its parts, one file a noun, say
//! what each method promises. Each method is one transaction with a meaning in the registry's domain, and each
//! sentence of these docs that promises something is a clause in `storage-tests`, run over every database.
//!
//! What holds for all of them:
//!
//! - **Atomic.** A method's effect is there whole or not at all, after a crash of the process or of the machine too.
//!   What a method answered was durable before it answered, but for the progress of upload sessions (see
//!   [`Uploads`]).
//! - **Runs to its end.** A write that has begun is finished or undone even if its caller stops waiting for it.
//! - **Serial.** Methods called at the same time, from any number of replicas, have the effect of some order of
//!   them, one after the other.
//! - **Read your writes.** What a method answered is seen by every later call on every replica; only
//!   [`Accounts::auth_epoch`] may lag, by a second.
//! - **No clock, no dice.** Times, ids, keys and secrets are made by the caller.
//! - **Not found is no error.** `None` says so. An [`Error`] is a refusal or a fault.
//! - **A condemned blob does not exist**, for every method but those of [`Collection`].
//!
//! What the metadata must not know: HTTP, tokens, where and how bytes are kept (an object's key and an upload's
//! parts are words it hands back as it got them).

mod access;
mod accounts;
mod blobs;
mod collection;
mod db;
mod dialect;
mod error;
mod jobs;
mod keys;
mod manifests;
mod programs;
mod repositories;
mod sql;
mod tags;
mod uploads;

use futures_util::future::BoxFuture;

pub use access::{Actions, Allowance, BadPattern, Pattern, Visible};
pub use accounts::{Accounts, NewUser, Rule, User};
pub use blobs::{Blob, BlobRows, CommitBlob, CommittedBlob, Lease, MountBlob, MountSource};
pub use collection::{Collection, CondemnedBlob, DeadObject};
pub use error::Error;
pub use jobs::{Job, Jobs};
pub use keys::{NewRefreshToken, SigningKey, TokenRows};
pub use manifests::{
    Manifests, Precondition, PutManifest, Referrer, ReferrersQuery, StoredManifest, StoredReferences,
};
pub use programs::{ApiKey, NewRobot, Programs, Robot};
pub use repositories::{Description, DescriptionSource, Repositories, SearchHit, SearchPage, SearchQuery};
pub use sql::{Options, SqlMetadata};
pub use tags::{TagMove, Tags};
pub use uploads::{HashState, NewUpload, Upload, UploadClaim, UploadProgress, Uploads};

/// What every method of [`Metadata`] returns.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The page's items, in the listing's order.
    pub items: Vec<T>,
    /// Whether items follow the last of these.
    pub more: bool,
}

/// All rows of the registry. See the module's page for what holds for every method.
pub trait Metadata:
    Repositories
    + BlobRows
    + Manifests
    + Tags
    + Uploads
    + Accounts
    + Programs
    + TokenRows
    + Jobs
    + Collection
    + std::fmt::Debug
    + Send
    + Sync
{
    /// Answers whether the database can be read right now: what a readiness probe asks.
    fn ping(&self) -> Answer<'_, ()>;

    /// Ends all connections, after the writes under way. Calls after it are [`Error::Unavailable`].
    fn close(&self) -> BoxFuture<'_, ()>;
}
