//! Pushing a blob: mounted where the registry has it elsewhere, else sent as one stream that is gone on
//! with when the connection breaks.

use std::path::{Path as FilePath, PathBuf};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{Method, StatusCode, header};
use reqwest::Response;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use wharf_protocol::digest::Digest;
use wharf_protocol::name::RepositoryName;
use wharf_protocol::path::Path;

use super::answer::refusal;
use super::error::RemoteError;
use super::manifests::push_scope;
use super::transport::{Body, Registry, Request};
use crate::error::Error;

/// How often an upload is gone on with after its connection broke.
const TRIES: u32 = 5;

/// How much is read from a file at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A blob to push.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its digest.
    pub digest: Digest,
    /// Where its bytes are.
    pub path: PathBuf,
    /// How many they are.
    pub size_bytes: u64,
    /// A repository of the same registry that is known to have it.
    pub mount_from: Option<RepositoryName>,
}

/// How a blob came to be in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// It was there already.
    Exists,
    /// The registry took it from another repository.
    Mounted(RepositoryName),
    /// Its bytes were sent.
    Sent,
}

impl Registry {
    /// Lets a repository have a blob.
    ///
    /// # Errors
    /// [`RemoteError::Denied`], or what else a request may meet.
    pub async fn push_blob(
        &self,
        repository: &RepositoryName,
        upload: &Upload,
    ) -> Result<Pushed, RemoteError> {
        let scopes = push_scope(repository);
        if self.has_blob(repository, &upload.digest, &scopes).await? {
            return Ok(Pushed::Exists);
        }
        let begun = match &upload.mount_from {
            Some(from) => {
                let mut both = scopes.clone();
                both.push(format!("repository:{from}:pull"));
                let target = format!("{}?mount={}&from={from}", uploads_path(repository), upload.digest);
                let response = self.send(Request::new(Method::POST, target, &both)).await?;
                if response.status() == StatusCode::CREATED {
                    return Ok(Pushed::Mounted(from.clone()));
                }
                if response.status() == StatusCode::ACCEPTED {
                    Some(response)
                } else {
                    None
                }
            }
            None => None,
        };
        let response = match begun {
            Some(response) => response,
            None => {
                let request = Request::new(Method::POST, uploads_path(repository), &scopes);
                let response = self.send(request).await?;
                if response.status() != StatusCode::ACCEPTED {
                    return Err(refusal(&Method::POST, response).await);
                }
                response
            }
        };
        self.send_bytes(upload, &scopes, self.location(&response)?)
            .await?;
        Ok(Pushed::Sent)
    }

    /// PATCHes the bytes into a session, going on after breaks, and closes it.
    async fn send_bytes(
        &self,
        upload: &Upload,
        scopes: &[String],
        mut session: String,
    ) -> Result<(), RemoteError> {
        let mut offset = 0;
        for attempt in 1..=TRIES {
            let body = Body::File {
                path: upload.path.clone(),
                offset,
                size_bytes: upload.size_bytes,
            };
            let request = Request::new(Method::PATCH, session.clone(), scopes)
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .body(body);
            // Once the session has bytes, a repetition must say where they go on.
            let request = if offset > 0 {
                let range = format!("{offset}-{}", upload.size_bytes.saturating_sub(1));
                request.header(header::CONTENT_RANGE, &range)
            } else {
                request
            };
            match self.send(request).await {
                Ok(response) if response.status().is_success() => {
                    session = self.location(&response)?;
                    break;
                }
                Ok(response)
                    if attempt == TRIES || response.status() != StatusCode::RANGE_NOT_SATISFIABLE =>
                {
                    return Err(refusal(&Method::PATCH, response).await);
                }
                Err(error) if attempt == TRIES || !matches!(error, RemoteError::Unreachable { .. }) => {
                    return Err(error);
                }
                Ok(_) | Err(_) => {
                    let response = self
                        .send(Request::new(Method::GET, session.clone(), scopes))
                        .await?;
                    if !response.status().is_success() {
                        return Err(refusal(&Method::GET, response).await);
                    }
                    offset = received(&response);
                    session = self.location(&response).unwrap_or(session);
                }
            }
        }
        let separator = if session.contains('?') { '&' } else { '?' };
        let target = format!("{session}{separator}digest={}", upload.digest);
        let response = self
            .send(Request::new(Method::PUT, target, scopes).body(Body::Bytes(Bytes::new())))
            .await?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(refusal(&Method::PUT, response).await)
        }
    }

    /// Where the registry wants the upload to go on, as a whole address.
    fn location(&self, response: &Response) -> Result<String, RemoteError> {
        let location = response
            .headers()
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok());
        location
            .and_then(|location| response.url().join(location).ok())
            .map(|url| url.to_string())
            .ok_or_else(|| RemoteError::NotARegistry {
                host: self.host().to_owned(),
                problem: "it began an upload without saying where".to_owned(),
            })
    }
}

fn uploads_path(repository: &RepositoryName) -> String {
    Path::Uploads {
        name: repository.clone(),
    }
    .build()
}

/// How many bytes a session has: `Range: 0-N` is N + 1, and `0-0` none.
fn received(response: &Response) -> u64 {
    let range = response
        .headers()
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let last = range
        .and_then(|range| range.rsplit_once('-'))
        .and_then(|(_, last)| last.parse::<u64>().ok());
    last.filter(|last| *last > 0)
        .map_or(0, |last| last.saturating_add(1))
}

/// The bytes of a file from an offset on, as a stream that holds one piece at a time.
pub(crate) async fn file_stream(
    path: &FilePath,
    offset: u64,
) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + 'static, RemoteError> {
    let failed =
        |error: std::io::Error| RemoteError::from(Error::io(format!("read {}", path.display()), error));
    let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
    file.seek(std::io::SeekFrom::Start(offset))
        .await
        .map_err(failed)?;
    file.set_max_buf_size(CHUNK_BYTES);
    Ok(stream::unfold(file, |mut file| async move {
        let mut buffer = bytes::BytesMut::with_capacity(CHUNK_BYTES);
        match file.read_buf(&mut buffer).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(buffer.freeze()), file)),
            Err(error) => Some((Err(error), file)),
        }
    }))
}
