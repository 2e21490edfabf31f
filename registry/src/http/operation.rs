//! From a request's head to an [`Operation`], or to a refusal. Pure: no I/O, no clock, no settings but limits.

mod headers;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use http::{HeaderMap, Method, Uri, header};
use thiserror::Error;
use wharf_protocol::digest::{Algorithm, Digest, DigestError};
use wharf_protocol::media_type::MediaType;
use wharf_protocol::name::{NameError, RepositoryName, Tag, TagError};
use wharf_protocol::path::{Path, PathError};
use wharf_protocol::reference::Reference;

use crate::operation::{
    AppendUpload, Base, CancelUpload, DeleteBlob, DeleteManifest, Discover, FinishUpload, Health, IssueToken,
    ListCatalog, ListReferrers, ListTags, Metrics, MountBlob, Operation, PageQuery, PushBlob, ReadBlob,
    ReadKeys, ReadManifest, ReadUpload, Ready, Search, SearchPing, StartUpload, WriteManifest,
};

/// Why a request's head is not an operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No such path.
    #[error("there is nothing at this path")]
    PathUnknown,
    /// The path exists, not with this method.
    #[error("this path does not answer this method: use {allow}")]
    MethodNotAllowed {
        /// What it answers, as the `Allow` header says it.
        allow: &'static str,
    },
    /// The repository's name is wrong.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A digest is wrong or of an unknown algorithm, wherever it stands.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The tag to write is wrong.
    #[error(transparent)]
    Tag(TagError),
    /// The tag to read or delete is wrong: there can be none of that name.
    #[error("there is no such tag: it is {0}")]
    TagUnknown(TagError),
    /// A tag of `?tag=` is wrong.
    #[error("the tag {0:?} of ?tag= is not a tag")]
    QueryTag(String),
    /// More `?tag=` than allowed.
    #[error("{count} tags in one push, more than the {limit} of limits.manifest_tags")]
    TooManyTags {
        /// How many there are.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// `?tag=` in a push by tag.
    #[error("?tag= belongs to a push by digest")]
    TagsWithoutDigest,
    /// The digest of a closing PUT is missing.
    #[error("the query has no digest: end an upload with ?digest=sha256:…")]
    DigestMissing,
    /// `n` is not a number.
    #[error("n={0:?} is not a number of entries")]
    PageSize(String),
    /// The manifest's `Content-Type` is not a media type.
    #[error("the Content-Type {0:?} is not a media type")]
    ContentType(String),
    /// A chunk's `Content-Range` is not one, or disagrees with `Content-Length`.
    #[error("the Content-Range {0}")]
    ContentRange(String),
    /// `If-Match` or `If-None-Match` is neither `*` nor quoted digests.
    #[error("{0} must be * or digests in quotes")]
    EntityTags(&'static str),
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        use wharf_protocol::reference::ReferenceError;
        match error {
            PathError::Unknown => Self::PathUnknown,
            PathError::Name(error) => Self::Name(error),
            PathError::Digest(error) | PathError::Reference(ReferenceError::Digest(error)) => {
                Self::Digest(error)
            }
            PathError::Reference(ReferenceError::Tag(error)) => Self::TagUnknown(error),
        }
    }
}

/// What a parse must know of the limits.
#[derive(Debug, Clone, Copy)]
pub struct ParseLimits {
    /// `?tag=` in one push.
    pub manifest_tags: usize,
    /// Entries of a page: a larger `n` is cut to it.
    pub page_entries: u32,
}

/// Reads a request's head.
///
/// # Errors
/// What is wrong with it; nothing of it has been done.
pub fn parse(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    limits: ParseLimits,
) -> Result<Operation, Refusal> {
    let request = Head {
        method,
        query: uri.query().unwrap_or_default(),
        headers,
        limits,
    };
    let path = uri.path();
    if path.starts_with("/v2") {
        let path = Path::parse(path).map_err(|error| match Refusal::from(error) {
            Refusal::TagUnknown(error) if *method == Method::PUT => Refusal::Tag(error),
            refusal => refusal,
        });
        return request.distribution(path?);
    }
    match path {
        "/token" if *method == Method::GET => Ok(IssueToken {
            form: false,
            query: request.query.to_owned(),
        }
        .into()),
        "/token" if *method == Method::POST => Ok(IssueToken {
            form: true,
            query: String::new(),
        }
        .into()),
        "/token" => Err(Refusal::MethodNotAllowed { allow: "GET, POST" }),
        "/v1/_ping" => request.read(SearchPing),
        "/v1/search" => request.search(),
        "/healthz" => request.read(Health),
        "/readyz" => request.read(Ready),
        "/.well-known/jwks.json" => request.read(ReadKeys),
        super::metrics::PATH => request.read(Metrics),
        _ => Err(Refusal::PathUnknown),
    }
}

struct Head<'a> {
    method: &'a Method,
    query: &'a str,
    headers: &'a HeaderMap,
    limits: ParseLimits,
}

impl<'a> Head<'a> {
    /// What stands under `/v2/`.
    fn distribution(&self, path: Path) -> Result<Operation, Refusal> {
        match path {
            Path::Base => self.read(Base),
            Path::Discover => self.read(Discover),
            Path::Catalog => self.read(ListCatalog { page: self.page()? }),
            Path::Tags { name } => self.read(ListTags {
                name,
                page: self.page()?,
            }),
            Path::Referrers { name, digest } => self.referrers(name, digest),
            Path::Manifest { name, reference } => self.manifest(name, reference),
            Path::Blob { name, digest } => self.blob(name, digest),
            Path::Uploads { name } => self.uploads(name),
            Path::Upload { name, id } => self.upload(name, id),
        }
    }

    /// An operation that GET and HEAD ask for alike.
    fn read(&self, operation: impl Into<Operation>) -> Result<Operation, Refusal> {
        if *self.method == Method::GET || *self.method == Method::HEAD {
            Ok(operation.into())
        } else {
            Err(Refusal::MethodNotAllowed { allow: "GET, HEAD" })
        }
    }

    fn referrers(&self, name: RepositoryName, subject: Digest) -> Result<Operation, Refusal> {
        let page = self.page()?;
        // A place to go on from that is no digest can only be the beginning.
        let last = page.last.and_then(|last| last.parse().ok());
        let artifact_type = self
            .parameter("artifactType")
            .filter(|text| !text.is_empty())
            .map(Cow::into_owned);
        self.read(ListReferrers {
            name,
            subject,
            artifact_type,
            last,
            n: page.n,
        })
    }

    fn manifest(&self, name: RepositoryName, reference: Reference) -> Result<Operation, Refusal> {
        match *self.method {
            Method::GET | Method::HEAD => Ok(ReadManifest {
                name,
                reference,
                if_none_match: headers::if_none_match(self.headers),
            }
            .into()),
            Method::PUT => self.write_manifest(name, reference),
            Method::DELETE => {
                let precondition = headers::precondition(self.headers)?;
                Ok(DeleteManifest {
                    name,
                    reference,
                    precondition,
                }
                .into())
            }
            _ => Err(Refusal::MethodNotAllowed {
                allow: "GET, HEAD, PUT, DELETE",
            }),
        }
    }

    fn write_manifest(&self, name: RepositoryName, reference: Reference) -> Result<Operation, Refusal> {
        let tags: Vec<_> = self.parameters("tag").collect();
        if tags.len() > self.limits.manifest_tags {
            return Err(Refusal::TooManyTags {
                count: tags.len(),
                limit: self.limits.manifest_tags,
            });
        }
        if !tags.is_empty() && matches!(reference, Reference::Tag(_)) {
            return Err(Refusal::TagsWithoutDigest);
        }
        let mut named: Vec<Tag> = Vec::with_capacity(tags.len());
        for tag in tags {
            let tag = tag.parse().map_err(|_not| Refusal::QueryTag(tag.into_owned()))?;
            if !named.contains(&tag) {
                named.push(tag);
            }
        }
        let content_type = self.headers.get(header::CONTENT_TYPE).map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            text.parse::<MediaType>()
                .map_err(|_not| Refusal::ContentType(text.into_owned()))
        });
        let precondition = headers::precondition(self.headers)?;
        Ok(WriteManifest {
            name,
            reference,
            tags: named,
            content_type: content_type.transpose()?,
            precondition,
        }
        .into())
    }

    fn blob(&self, name: RepositoryName, digest: Digest) -> Result<Operation, Refusal> {
        match *self.method {
            Method::GET | Method::HEAD => Ok(ReadBlob {
                name,
                digest,
                head: *self.method == Method::HEAD,
                range: headers::range(self.headers),
                if_range: headers::text(self.headers, &header::IF_RANGE).map(str::to_owned),
                if_none_match: headers::if_none_match(self.headers),
            }
            .into()),
            Method::DELETE => Ok(DeleteBlob { name, digest }.into()),
            _ => Err(Refusal::MethodNotAllowed {
                allow: "GET, HEAD, DELETE",
            }),
        }
    }

    fn uploads(&self, name: RepositoryName) -> Result<Operation, Refusal> {
        if *self.method != Method::POST {
            return Err(Refusal::MethodNotAllowed { allow: "POST" });
        }
        if let Some(digest) = self.parameter("mount") {
            let from = self.parameter("from").map(|from| from.parse()).transpose()?;
            return Ok(MountBlob {
                name,
                digest: digest.parse()?,
                from,
            }
            .into());
        }
        if let Some(digest) = self.parameter("digest") {
            let length = headers::content_length(self.headers);
            return Ok(PushBlob {
                name,
                digest: digest.parse()?,
                length,
            }
            .into());
        }
        let hint = self
            .parameter("digest-algorithm")
            .map(|hint| hint.parse())
            .transpose()?;
        Ok(StartUpload {
            name,
            algorithm: hint.unwrap_or(Algorithm::Sha256),
        }
        .into())
    }

    fn upload(&self, name: RepositoryName, id: String) -> Result<Operation, Refusal> {
        match *self.method {
            Method::GET | Method::HEAD => Ok(ReadUpload { name, id }.into()),
            Method::DELETE => Ok(CancelUpload { name, id }.into()),
            Method::PATCH => {
                let (range, length) = headers::chunk(self.headers)?;
                Ok(AppendUpload {
                    name,
                    id,
                    range,
                    length,
                }
                .into())
            }
            Method::PUT => {
                let digest = self.parameter("digest").ok_or(Refusal::DigestMissing)?.parse()?;
                let (range, length) = headers::chunk(self.headers)?;
                Ok(FinishUpload {
                    name,
                    id,
                    digest,
                    range,
                    length,
                }
                .into())
            }
            _ => Err(Refusal::MethodNotAllowed {
                allow: "GET, PATCH, PUT, DELETE",
            }),
        }
    }

    fn search(&self) -> Result<Operation, Refusal> {
        let number = |name, default: u32| match self.parameter(name).filter(|text| !text.is_empty()) {
            Some(text) => text
                .parse::<u32>()
                .map_err(|_not| Refusal::PageSize(text.into_owned())),
            None => Ok(default),
        };
        let text = self.parameter("q").map(Cow::into_owned).unwrap_or_default();
        let n = number("n", 25)?.clamp(1, 100);
        self.read(Search {
            text,
            n,
            page: number("page", 1)?.max(1),
        })
    }

    fn page(&self) -> Result<PageQuery, Refusal> {
        let number = |text: Cow<'_, str>| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            // Digits that no u32 can hold are more than any page has.
            if digits {
                Ok(text.parse().unwrap_or(u32::MAX))
            } else {
                Err(Refusal::PageSize(text.into_owned()))
            }
        };
        let n = self
            .parameter("n")
            .map(number)
            .transpose()?
            .map(|n: u32| n.min(self.limits.page_entries));
        let last = self
            .parameter("last")
            .filter(|last| !last.is_empty())
            .map(Cow::into_owned);
        Ok(PageQuery { n, last })
    }

    fn parameter(&self, name: &'a str) -> Option<Cow<'a, str>> {
        self.parameters(name).next()
    }

    fn parameters(&self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        form_urlencoded::parse(self.query.as_bytes())
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value)
    }
}
