//! Blobs: whether the registry has one, and its bytes from any offset on.

use http::{Method, StatusCode, header};
use reqwest::Response;
use wharf_protocol::digest::Digest;
use wharf_protocol::name::RepositoryName;
use wharf_protocol::path::Path;

use super::answer::refusal;
use super::error::RemoteError;
use super::manifests::pull_scope;
use super::transport::{Registry, Request};

/// The bytes of a blob as they arrive.
#[derive(Debug)]
pub struct Download {
    response: Response,
    url: String,
    /// Where the first of them stands: what was asked for, or 0 where the registry sends the whole.
    pub offset: u64,
}

impl Download {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`RemoteError::Cut`] when the connection broke.
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>, RemoteError> {
        self.response.chunk().await.map_err(|source| RemoteError::Cut {
            url: self.url.clone(),
            source,
        })
    }
}

impl Registry {
    /// Begins to get a blob from this offset on.
    ///
    /// # Errors
    /// [`RemoteError::NotFound`], or what else a request may meet.
    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        offset: u64,
    ) -> Result<Download, RemoteError> {
        let path = Path::Blob {
            name: repository.clone(),
            digest: digest.clone(),
        }
        .build();
        let mut request = Request::new(Method::GET, path, &pull_scope(repository));
        if offset > 0 {
            request = request.header(header::RANGE, &format!("bytes={offset}-"));
        }
        let response = self.send(request).await?;
        let offset = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => first_byte(&response).unwrap_or(offset),
            // Nothing from there on: what is here already is all of it or wrong; begin anew.
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                return Box::pin(self.blob(repository, digest, 0)).await;
            }
            _ => return Err(refusal(&Method::GET, response).await),
        };
        let url = path_of(&response);
        Ok(Download {
            response,
            url,
            offset,
        })
    }

    /// Whether the registry has a blob in this repository; the scopes are those that the caller will go
    /// on with.
    pub(crate) async fn has_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        scopes: &[String],
    ) -> Result<bool, RemoteError> {
        let path = Path::Blob {
            name: repository.clone(),
            digest: digest.clone(),
        }
        .build();
        let response = self.send(Request::new(Method::HEAD, path, scopes)).await?;
        match response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(refusal(&Method::HEAD, response).await),
        }
    }
}

fn path_of(response: &Response) -> String {
    let url = response.url();
    format!("{}://{}{}", url.scheme(), url.authority(), url.path())
}

/// The first byte's number of `Content-Range: bytes N-M/S`.
fn first_byte(response: &Response) -> Option<u64> {
    let value = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    value.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
