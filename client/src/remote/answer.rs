//! What a registry answered: a refusal's words, or a small body within a limit.

use bytes::Bytes;
use http::{Method, StatusCode};
use reqwest::{Response, Url};

use super::error::{RemoteError, words_of};

/// How much of a refusal is read.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// An address without its query, which may hold a signature.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// An error of what a refused request was answered.
pub(crate) async fn refusal(method: &Method, mut response: Response) -> RemoteError {
    let (status, url) = (response.status(), shown(response.url()));
    let mut body = Vec::new();
    while body.len() < MAX_REFUSAL_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            // What could be read of the refusal is what there is to say.
            Ok(None) | Err(_) => break,
        }
    }
    let message = words_of(status, &body);
    match status {
        StatusCode::NOT_FOUND => RemoteError::NotFound { message },
        StatusCode::UNAUTHORIZED => RemoteError::Unauthorized { message },
        StatusCode::FORBIDDEN => RemoteError::Denied { message },
        _ => RemoteError::Status {
            method: method.to_string(),
            url,
            status,
            message,
        },
    }
}

/// The whole of an answer that must be small.
pub(crate) async fn small_body(
    host: &str,
    mut response: Response,
    limit_bytes: usize,
) -> Result<Bytes, RemoteError> {
    let url = shown(response.url());
    let mut bytes = bytes::BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|source| RemoteError::Cut {
        url: url.clone(),
        source,
    })? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > limit_bytes {
            return Err(RemoteError::NotARegistry {
                host: host.to_owned(),
                problem: format!("its answer to {url} has more than {limit_bytes} bytes"),
            });
        }
    }
    Ok(bytes.freeze())
}

/// Reads an answer that must be small and JSON.
pub(crate) async fn small_json<T: serde::de::DeserializeOwned>(
    host: &str,
    response: Response,
    limit_bytes: usize,
) -> Result<T, RemoteError> {
    let url = shown(response.url());
    let bytes = small_body(host, response, limit_bytes).await?;
    serde_json::from_slice(&bytes).map_err(|error| RemoteError::NotARegistry {
        host: host.to_owned(),
        problem: format!("its answer to {url} is not the JSON that was asked for ({error})"),
    })
}
