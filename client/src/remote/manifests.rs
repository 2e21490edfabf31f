//! Manifests and tags.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde::Deserialize;
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_protocol::manifest::{Manifest, ManifestLimits};
use wharf_protocol::media_type::{self, MediaType};
use wharf_protocol::name::RepositoryName;
use wharf_protocol::path::Path;
use wharf_protocol::reference::Reference;

use super::answer::{refusal, small_body, small_json};
use super::error::RemoteError;
use super::transport::{Body, Registry, Request};

/// The manifests that can be read, most wanted first.
const ACCEPTED: [&str; 4] = [
    media_type::OCI_INDEX,
    media_type::OCI_MANIFEST,
    media_type::DOCKER_LIST,
    media_type::DOCKER_MANIFEST,
];

/// The largest manifest that is read.
const MAX_MANIFEST_BYTES: usize = 8 << 20;

/// How many tags of one repository are listed at most.
const MAX_TAGS: usize = 100_000;

/// What a token must allow to pull.
pub(crate) fn pull_scope(repository: &RepositoryName) -> Vec<String> {
    vec![format!("repository:{repository}:pull")]
}

/// What a token must allow to push.
pub(crate) fn push_scope(repository: &RepositoryName) -> Vec<String> {
    vec![format!("repository:{repository}:pull,push")]
}

#[derive(Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

impl Registry {
    /// Asks which manifest a tag points at, without its bytes; `None` where the registry does not say.
    ///
    /// # Errors
    /// [`RemoteError::NotFound`] for an unknown tag, and whatever else a request may meet.
    pub async fn head_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Digest>, RemoteError> {
        let request = manifest_request(Method::HEAD, repository, reference, &pull_scope(repository));
        let response = self.send_ok(request).await?;
        let digest = response
            .headers()
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok());
        Ok(digest.and_then(|digest| digest.parse().ok()))
    }

    /// Gets a manifest: its exact bytes, read and checked. Asked for by digest it has that digest.
    ///
    /// # Errors
    /// [`RemoteError::NotFound`], or [`RemoteError::NotARegistry`] for anything that is no manifest.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<(Manifest, Digest), RemoteError> {
        let request = manifest_request(Method::GET, repository, reference, &pull_scope(repository));
        let response = self.send_ok(request).await?;
        let content_type = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let content_type: Option<MediaType> = content_type.and_then(|value| value.parse().ok());
        let bad = |problem: String| RemoteError::NotARegistry {
            host: self.host().to_owned(),
            problem,
        };
        if let Some(kind) = content_type.as_ref().filter(|kind| kind.as_str() == "text/html") {
            return Err(bad(format!("what should be a manifest is a web page ({kind})")));
        }
        let bytes = small_body(self.host(), response, MAX_MANIFEST_BYTES).await?;
        // A registry may say application/json or nothing; then the document itself decides.
        let content_type = content_type.filter(|kind| ACCEPTED.contains(&kind.as_str()));
        let limits = ManifestLimits {
            max_bytes: MAX_MANIFEST_BYTES,
            ..ManifestLimits::default()
        };
        let manifest =
            Manifest::parse(bytes, content_type.as_ref(), &limits).map_err(|error| bad(error.to_string()))?;
        let algorithm = match reference {
            Reference::Digest(digest) => digest.algorithm(),
            Reference::Tag(_) => Algorithm::Sha256,
        };
        let digest = manifest.digest(algorithm);
        if let Reference::Digest(wanted) = reference
            && *wanted != digest
        {
            return Err(bad(format!(
                "the manifest {wanted} arrived with the digest {digest}"
            )));
        }
        Ok((manifest, digest))
    }

    /// Stores a manifest under a tag or its digest.
    ///
    /// # Errors
    /// [`RemoteError::Denied`], or the registry's words for a manifest that it does not take.
    pub async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<(), RemoteError> {
        let path = Path::Manifest {
            name: repository.clone(),
            reference: reference.clone(),
        }
        .build();
        let request = Request::new(Method::PUT, path, &push_scope(repository))
            .header(header::CONTENT_TYPE, media_type)
            .body(Body::Bytes(bytes));
        self.send_ok(request).await.map(drop)
    }

    /// The tags of a repository, all pages of them.
    ///
    /// # Errors
    /// [`RemoteError::NotFound`] for an unknown repository.
    pub async fn tags(&self, repository: &RepositoryName) -> Result<Vec<String>, RemoteError> {
        let mut tags = Vec::new();
        let mut next = Some(
            Path::Tags {
                name: repository.clone(),
            }
            .build(),
        );
        while let Some(target) = next.take() {
            let request = Request::new(Method::GET, target, &pull_scope(repository));
            let response = self.send(request).await?;
            if response.status() != StatusCode::OK {
                return Err(refusal(&Method::GET, response).await);
            }
            next = next_page(response.headers());
            let page: TagList = small_json(self.host(), response, MAX_MANIFEST_BYTES).await?;
            tags.extend(page.tags.unwrap_or_default());
            if tags.len() > MAX_TAGS {
                return Err(RemoteError::NotARegistry {
                    host: self.host().to_owned(),
                    problem: format!("it lists more than {MAX_TAGS} tags"),
                });
            }
        }
        Ok(tags)
    }
}

fn manifest_request(
    method: Method,
    repository: &RepositoryName,
    reference: &Reference,
    scopes: &[String],
) -> Request {
    let path = Path::Manifest {
        name: repository.clone(),
        reference: reference.clone(),
    }
    .build();
    ACCEPTED
        .iter()
        .fold(Request::new(method, path, scopes), |request, kind| {
            request.header(header::ACCEPT, kind)
        })
}

/// The target of `Link: <…>; rel="next"`.
fn next_page(headers: &http::HeaderMap) -> Option<String> {
    let link = headers.get(header::LINK)?.to_str().ok()?;
    let (target, relation) = link.strip_prefix('<')?.split_once('>')?;
    relation.contains("rel=\"next\"").then(|| target.to_owned())
}
