//! What a request asks for, as a value: parsed, not yet allowed, nothing done.
//!
//! [`Operation`] is the registry's whole surface. Each variant is a struct of its own, so that what carries one out
//! takes exactly that; [`Operation::needs`] says what a caller must be allowed for it.

use wharf_protocol::digest::{Algorithm, Digest};
use wharf_protocol::media_type::MediaType;
use wharf_protocol::name::{RepositoryName, Tag};
use wharf_protocol::range::{ByteRange, ContentRange};
use wharf_protocol::reference::Reference;
use wharf_protocol::scope::{Action, Scope};

use crate::metadata::Precondition;

/// Calls a macro with the name of every operation: the one list of them.
macro_rules! for_each_operation {
    ($then:ident) => {
        $then! {
            Base, Discover, ListCatalog, ListTags, ListReferrers,
            ReadManifest, WriteManifest, DeleteManifest,
            ReadBlob, DeleteBlob,
            StartUpload, PushBlob, MountBlob, ReadUpload, AppendUpload, FinishUpload, CancelUpload,
            SearchPing, Search, IssueToken, ReadKeys, Health, Ready, Metrics,
        }
    };
}
pub(crate) use for_each_operation;

macro_rules! define {
    ($($name:ident),+ $(,)?) => {
        /// Everything that can be asked of the registry.
        #[derive(Debug, Clone)]
        pub enum Operation {
            $(#[doc = concat!("See [`struct@", stringify!($name), "`].")] $name($name),)+
        }

        /// The operations without what they are about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $(#[doc = concat!("See [`struct@", stringify!($name), "`].")] $name,)+
        }

        impl Kind {
            /// Every kind.
            pub const EVERY: &'static [Kind] = &[$(Kind::$name,)+];

            /// Returns its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }

        impl Operation {
            /// Returns which operation it is.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::$name,)+
                }
            }
        }

        $(impl From<$name> for Operation {
            fn from(operation: $name) -> Self {
                Self::$name(operation)
            }
        })+
    };
}
for_each_operation!(define);

/// `GET /v2/`: does the registry know me?
#[derive(Debug, Clone)]
pub struct Base;

/// `GET /v2/_oci/ext/discover`: which extensions are there?
#[derive(Debug, Clone)]
pub struct Discover;

/// One page of a listing, as a client asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// How many entries at most; the whole listing without.
    pub n: Option<u32>,
    /// The entry after which the page begins; it need not exist.
    pub last: Option<String>,
}

/// `GET /v2/_catalog`: the repositories that the caller may see.
#[derive(Debug, Clone)]
pub struct ListCatalog {
    /// Which page.
    pub page: PageQuery,
}

/// `GET /v2/NAME/tags/list`.
#[derive(Debug, Clone)]
pub struct ListTags {
    /// The repository.
    pub name: RepositoryName,
    /// Which page.
    pub page: PageQuery,
}

/// `GET /v2/NAME/referrers/DIGEST`.
#[derive(Debug, Clone)]
pub struct ListReferrers {
    /// The repository.
    pub name: RepositoryName,
    /// The subject, which need not exist.
    pub subject: Digest,
    /// Only those of this type.
    pub artifact_type: Option<String>,
    /// The referrer after which the page begins.
    pub last: Option<Digest>,
    /// How many at most.
    pub n: Option<u32>,
}

/// The entity tags of an `If-None-Match`, by which a read is answered 304.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`.
    Any,
    /// These, without quotes.
    Each(Vec<String>),
}

impl EntityTags {
    /// Returns whether the digest is named.
    pub fn include(&self, digest: &Digest) -> bool {
        match self {
            Self::Any => true,
            Self::Each(tags) => tags.iter().any(|tag| tag == digest.as_str()),
        }
    }
}

/// GET or HEAD of `/v2/NAME/manifests/REFERENCE`.
#[derive(Debug, Clone)]
pub struct ReadManifest {
    /// The repository.
    pub name: RepositoryName,
    /// Which manifest.
    pub reference: Reference,
    /// What the client has already.
    pub if_none_match: Option<EntityTags>,
}

/// PUT of `/v2/NAME/manifests/REFERENCE`.
#[derive(Debug, Clone)]
pub struct WriteManifest {
    /// The repository.
    pub name: RepositoryName,
    /// The tag to set, or the digest that the bytes must have.
    pub reference: Reference,
    /// The tags of `?tag=`, each to be set too, each once.
    pub tags: Vec<Tag>,
    /// The `Content-Type`, if any.
    pub content_type: Option<MediaType>,
    /// What must hold of the tags.
    pub precondition: Precondition,
}

/// DELETE of `/v2/NAME/manifests/REFERENCE`.
#[derive(Debug, Clone)]
pub struct DeleteManifest {
    /// The repository.
    pub name: RepositoryName,
    /// The tag alone, or the manifest and its tags.
    pub reference: Reference,
    /// What must hold of it.
    pub precondition: Precondition,
}

/// GET or HEAD of `/v2/NAME/blobs/DIGEST`.
#[derive(Debug, Clone)]
pub struct ReadBlob {
    /// The repository.
    pub name: RepositoryName,
    /// Which blob.
    pub digest: Digest,
    /// Whether only the answer's head is wanted.
    pub head: bool,
    /// Which bytes; everything if there is none, or the header could not be read.
    pub range: Option<Vec<ByteRange>>,
    /// The `If-Range`: the range holds only for this.
    pub if_range: Option<String>,
    /// What the client has already.
    pub if_none_match: Option<EntityTags>,
}

/// DELETE of `/v2/NAME/blobs/DIGEST`.
#[derive(Debug, Clone)]
pub struct DeleteBlob {
    /// The repository.
    pub name: RepositoryName,
    /// Which blob.
    pub digest: Digest,
}

/// POST of `/v2/NAME/blobs/uploads/`: begins a session.
#[derive(Debug, Clone)]
pub struct StartUpload {
    /// The repository.
    pub name: RepositoryName,
    /// What the client will name the blob by; SHA-256 if it doesn't say.
    pub algorithm: Algorithm,
}

/// POST of `/v2/NAME/blobs/uploads/?digest=`: the whole blob at once.
#[derive(Debug, Clone)]
pub struct PushBlob {
    /// The repository.
    pub name: RepositoryName,
    /// What the bytes must be.
    pub digest: Digest,
    /// How many bytes are announced.
    pub length: Option<u64>,
}

/// POST of `/v2/NAME/blobs/uploads/?mount=`: a blob that another repository holds.
#[derive(Debug, Clone)]
pub struct MountBlob {
    /// The repository.
    pub name: RepositoryName,
    /// Which blob.
    pub digest: Digest,
    /// The repository that holds it; any that the caller may read, if it doesn't say.
    pub from: Option<RepositoryName>,
}

/// GET of a session.
#[derive(Debug, Clone)]
pub struct ReadUpload {
    /// The repository.
    pub name: RepositoryName,
    /// The session.
    pub id: String,
}

/// PATCH of a session.
#[derive(Debug, Clone)]
pub struct AppendUpload {
    /// The repository.
    pub name: RepositoryName,
    /// The session.
    pub id: String,
    /// Where the bytes belong; at the end, if the client doesn't say.
    pub range: Option<ContentRange>,
    /// How many bytes are announced.
    pub length: Option<u64>,
}

/// PUT of a session, with or without the last bytes.
#[derive(Debug, Clone)]
pub struct FinishUpload {
    /// The repository.
    pub name: RepositoryName,
    /// The session.
    pub id: String,
    /// What all the bytes must be.
    pub digest: Digest,
    /// Where the last bytes belong.
    pub range: Option<ContentRange>,
    /// How many last bytes are announced.
    pub length: Option<u64>,
}

/// DELETE of a session.
#[derive(Debug, Clone)]
pub struct CancelUpload {
    /// The repository.
    pub name: RepositoryName,
    /// The session.
    pub id: String,
}

/// `GET /v1/_ping`: is there a search?
#[derive(Debug, Clone)]
pub struct SearchPing;

/// `GET /v1/search`.
#[derive(Debug, Clone)]
pub struct Search {
    /// What to look for; everything if empty.
    pub text: String,
    /// How many hits a page.
    pub n: u32,
    /// Which page, from 1.
    pub page: u32,
}

/// GET or POST of `/token`.
#[derive(Debug, Clone)]
pub struct IssueToken {
    /// Whether it came as a form (OAuth2) instead of a query.
    pub form: bool,
    /// The query of a GET.
    pub query: String,
}

/// `GET /.well-known/jwks.json`: the keys that tokens are signed with.
#[derive(Debug, Clone)]
pub struct ReadKeys;

/// `GET /healthz`: does the process answer?
#[derive(Debug, Clone)]
pub struct Health;

/// `GET /readyz`: can it read and write?
#[derive(Debug, Clone)]
pub struct Ready;

/// `GET /metrics`: what has been counted.
#[derive(Debug, Clone)]
pub struct Metrics;

/// What a caller must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// Nothing: open to all, whatever credentials come along.
    Nothing,
    /// To be somebody: a user, or the holder of an anonymous token.
    Identity,
    /// To search: a user, or anybody where anybody may pull.
    Search,
    /// To list repositories.
    Catalog,
    /// To be an admin, by password.
    Admin,
    /// An action in a repository.
    Repository {
        /// Which repository.
        name: &'a RepositoryName,
        /// What is done there.
        action: Action,
    },
}

/// Everything that an operation touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs<'a> {
    /// Without this the operation is refused.
    pub must: Need<'a>,
    /// A mount's source. Without the right to read it, the operation goes on as if the source held nothing.
    pub source: Option<&'a RepositoryName>,
}

impl Operation {
    /// Names all that a caller must be allowed for the operation.
    pub fn needs(&self) -> Needs<'_> {
        let source = match self {
            Self::MountBlob(mount) => mount.from.as_ref(),
            _ => None,
        };
        Needs {
            must: self.must(),
            source,
        }
    }

    fn must(&self) -> Need<'_> {
        let (name, action) = match self {
            Self::SearchPing(_)
            | Self::IssueToken(_)
            | Self::ReadKeys(_)
            | Self::Health(_)
            | Self::Ready(_) => {
                return Need::Nothing;
            }
            Self::Base(_) | Self::Discover(_) => return Need::Identity,
            Self::Search(_) => return Need::Search,
            Self::ListCatalog(_) => return Need::Catalog,
            Self::Metrics(_) => return Need::Admin,
            Self::ListTags(list) => (&list.name, Action::Pull),
            Self::ListReferrers(list) => (&list.name, Action::Pull),
            Self::ReadManifest(read) => (&read.name, Action::Pull),
            Self::ReadBlob(read) => (&read.name, Action::Pull),
            Self::WriteManifest(write) => (&write.name, Action::Push),
            Self::StartUpload(start) => (&start.name, Action::Push),
            Self::PushBlob(push) => (&push.name, Action::Push),
            Self::MountBlob(mount) => (&mount.name, Action::Push),
            Self::ReadUpload(read) => (&read.name, Action::Push),
            Self::AppendUpload(append) => (&append.name, Action::Push),
            Self::FinishUpload(finish) => (&finish.name, Action::Push),
            Self::CancelUpload(cancel) => (&cancel.name, Action::Push),
            Self::DeleteManifest(delete) => (&delete.name, Action::Delete),
            Self::DeleteBlob(delete) => (&delete.name, Action::Delete),
        };
        Need::Repository { name, action }
    }
}

impl Needs<'_> {
    /// Returns the scopes that a token must hold for it, as a challenge names them.
    pub fn scopes(&self) -> Vec<Scope> {
        let mut scopes = match self.must {
            Need::Nothing | Need::Identity | Need::Search | Need::Admin => Vec::new(),
            Need::Catalog => vec![Scope::catalog()],
            Need::Repository { name, action } => {
                // Whoever pushes also asks what is there: one token for both.
                let actions = if action == Action::Push {
                    vec![Action::Pull, Action::Push]
                } else {
                    vec![action]
                };
                vec![Scope::repository(name.as_str(), actions.into_iter().collect())]
            }
        };
        if let Some(source) = self.source {
            scopes.push(Scope::repository(
                source.as_str(),
                [Action::Pull].into_iter().collect(),
            ));
        }
        scopes
    }
}
