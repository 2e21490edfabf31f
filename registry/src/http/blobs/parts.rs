//! Several parts of a blob in one answer: `multipart/byteranges` (RFC 9110, section 14.6).

use std::future::ready;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, StatusCode, header};
use wharf_protocol::range::ResolvedRange;

use super::content_range;
use crate::blobs::BodyError;
use crate::http::answer;
use crate::metadata::Blob;
use crate::repo::{self, Repo};

/// Makes the answer of these parts. The first one's bytes are opened before, so that a store that fails is told by the
/// status; the others as the answer goes out, so that one is open at a time however many are asked for.
pub(super) async fn answer(
    repo: &Arc<Repo>,
    blob: &Blob,
    parts: &[ResolvedRange],
    boundary: &str,
) -> Result<Response, repo::Error> {
    let mut first = match parts.first() {
        Some(part) => Some(open(repo, blob, *part).await?),
        None => None,
    };
    let heads: Vec<Bytes> = parts
        .iter()
        .enumerate()
        .map(|(number, part)| head(boundary, *part, blob.size, number == 0))
        .collect();
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let frame_bytes: usize = heads.iter().map(Bytes::len).sum::<usize>() + tail.len();
    let content_bytes: u64 = parts.iter().map(|part| part.len()).sum();
    let length = content_bytes.saturating_add(u64::try_from(frame_bytes).unwrap_or(u64::MAX));

    let (repo, blob) = (Arc::clone(repo), blob.clone());
    let pieces = heads.into_iter().zip(parts.to_vec());
    let pieces = stream::iter(pieces).flat_map(move |(head, part)| {
        let (repo, blob, opened) = (Arc::clone(&repo), blob.clone(), first.take());
        let content = async move {
            match opened {
                Some(content) => Ok(content),
                None => open(&repo, &blob, part).await.inspect_err(broke_off),
            }
        };
        let content = content.map_err(BodyError::from).try_flatten_stream();
        stream::once(ready(Ok(head))).chain(content)
    });
    let mut answer = Response::new(Body::from_stream(pieces.chain(stream::once(ready(Ok(tail))))));
    *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    answer::put(&mut answer, header::CONTENT_TYPE, &content_type);
    Ok(answer)
}

/// The status has gone out: the connection ends, and the log says why.
fn broke_off(error: &repo::Error) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "an answer of several parts broke off"
    );
}

/// What comes before a part's bytes.
fn head(boundary: &str, part: ResolvedRange, size: u64, first: bool) -> Bytes {
    let line = if first { "" } else { "\r\n" };
    Bytes::from(format!(
        "{line}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
        content_range(part, size)
    ))
}

/// Opens one part's bytes. The frames pass as they are: those of a file are placeholders, which only the connection
/// can fill.
async fn open(
    repo: &Repo,
    blob: &Blob,
    part: ResolvedRange,
) -> Result<impl futures_util::Stream<Item = Result<Bytes, BodyError>> + Send + use<>, repo::Error> {
    let content = repo.open(blob, part.start..part.end).await?;
    Ok(super::body(content).into_data_stream().map_err(BodyError::from))
}
