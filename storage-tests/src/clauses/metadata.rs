//! The clauses of the metadata's contract, a file a part, and the samples that they are made of.

pub mod accounts;
pub mod blob_rows;
pub mod collection;
pub mod jobs;
pub mod manifests;
pub mod programs;
pub mod referrers;
pub mod repositories;
pub mod tags;
pub mod tokens;
pub mod uploads;
pub mod whole;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_protocol::name::{RepositoryName, Tag};
use wharf_registry::clock::Timestamp;
use wharf_registry::metadata::{
    Actions, CommitBlob, Lease, Metadata, NewUpload, NewUser, Pattern, Precondition, PutManifest, Rule,
    StoredManifest, StoredReferences, UploadClaim,
};

/// How long leases of the samples are kept.
pub const KEEP: Duration = Duration::from_secs(3600);

/// Returns a moment, in seconds after the one at which the clauses begin.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
}

/// Returns a repository's name.
pub fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

/// Returns a tag.
pub fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// Returns a pattern.
pub fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

/// Returns the SHA-256 of a text.
pub fn digest(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

/// Returns a lease from a moment on.
pub fn lease(seconds: i64) -> Lease {
    Lease {
        now: at(seconds),
        keep: KEEP,
    }
}

/// Returns a key that no other call returns.
pub fn object_key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("blobs/{:026}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Returns a push of a text, at the beginning, under a new key and without a session.
pub fn commit(repository: &str, content: &str) -> CommitBlob {
    CommitBlob {
        repository: name(repository),
        digest: digest(content),
        object_key: object_key(),
        size: u64::try_from(content.len()).unwrap(),
        upload: None,
        lease: lease(0),
    }
}

/// Pushes a text and returns its digest.
pub async fn push(rows: &dyn Metadata, repository: &str, content: &str) -> Digest {
    rows.commit_blob(commit(repository, content)).await.unwrap();
    digest(content)
}

/// Returns a manifest whose bytes are a text, with these tags, and nothing that it names.
pub fn manifest(repository: &str, content: &str, tags: &[&str]) -> PutManifest {
    PutManifest {
        repository: name(repository),
        manifest: StoredManifest {
            digest: digest(content),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            bytes: Bytes::copy_from_slice(content.as_bytes()),
        },
        references: StoredReferences::default(),
        artifact_type: None,
        annotations: None,
        tags: tags.iter().map(|text| tag(text)).collect(),
        precondition: Precondition::None,
        sparse: false,
        description: None,
        by: "alice".to_owned(),
        now: at(0),
    }
}

/// Returns a manifest that names these blobs.
pub fn image(repository: &str, content: &str, tags: &[&str], blobs: &[&Digest]) -> PutManifest {
    let mut put = manifest(repository, content, tags);
    put.references.blobs = blobs.iter().map(|blob| (*blob).clone()).collect();
    put
}

/// Returns a manifest that lists these manifests.
pub fn index(repository: &str, content: &str, tags: &[&str], children: &[&Digest]) -> PutManifest {
    let mut put = manifest(repository, content, tags);
    put.references.children = children.iter().map(|child| (*child).clone()).collect();
    put
}

/// Returns a session of alice's that expires after an hour.
pub fn session(id: &str, repository: &str) -> NewUpload {
    NewUpload {
        id: id.to_owned(),
        repository: name(repository),
        owner: "alice".to_owned(),
        object_key: object_key(),
        algorithm: Algorithm::Sha256,
        held: None,
        now: at(0),
        expires: at(3600),
    }
}

/// Returns a writer's claim of a session.
pub fn claim(id: &str, writer: &str) -> UploadClaim {
    UploadClaim {
        id: id.to_owned(),
        writer: writer.to_owned(),
    }
}

/// Returns a user without rules.
pub fn user(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        password_hash: format!("hash of {name}'s password"),
        admin: false,
        rules: Vec::new(),
    }
}

/// Returns a rule.
pub fn rule(who: &str, repositories: &str, actions: &str) -> Rule {
    Rule {
        who: who.to_owned(),
        pattern: pattern(repositories),
        actions: actions.parse::<Actions>().unwrap(),
    }
}
