//! `/v2/NAME/blobs/DIGEST`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use wharf_protocol::range::ResolvedRange;

use super::answer;
use super::error::Failure;
use super::server::FileBody;
use crate::app::App;
use crate::auth::Authorized;
use crate::blobs::Content;
use crate::metadata::Blob;
use crate::operation::{DeleteBlob, ReadBlob};

pub(super) async fn read(app: &App, read: &Authorized<ReadBlob>) -> Result<Response, Failure> {
    let blob = app.repo.blob(read).await?;
    let operation = read.operation();
    if operation
        .if_none_match
        .as_ref()
        .is_some_and(|tags| tags.include(&blob.digest))
    {
        return Ok(dressed(answer::empty(StatusCode::NOT_MODIFIED), &blob));
    }
    // RFC 9110, "Range": it is defined for GET alone.
    let part = if operation.head {
        None
    } else {
        wanted_part(operation, &blob)?
    };
    let whole = ResolvedRange {
        start: 0,
        end: blob.size,
    };
    let range = part.unwrap_or(whole);
    let body = if operation.head {
        Body::empty()
    } else {
        match app.repo.open(&blob, range.start..range.end).await? {
            Content::File { file, range } => Body::new(FileBody::new(file, range)),
            Content::Stream(stream) => Body::from_stream(stream),
        }
    };
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.len()));
    if part.is_some() {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let place = format!("bytes {}-{}/{}", range.start, range.end - 1, blob.size);
        answer::put(&mut answer, header::CONTENT_RANGE, &place);
    }
    Ok(dressed(answer, &blob))
}

/// Returns the one part that is asked for. Several parts are answered as the whole, which RFC 9110 allows.
fn wanted_part(read: &ReadBlob, blob: &Blob) -> Result<Option<ResolvedRange>, Failure> {
    let Some([range]) = read.range.as_deref() else {
        return Ok(None);
    };
    let changed = read
        .if_range
        .as_ref()
        .is_some_and(|tag| *tag != format!("\"{}\"", blob.digest));
    if changed {
        return Ok(None);
    }
    range
        .resolve(blob.size)
        .map(Some)
        .ok_or(Failure::RangeUnmet { size: blob.size })
}

/// Adds what every answer about a blob holds. Its bytes never change, but who may read them does.
fn dressed(mut answer: Response, blob: &Blob) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=31536000, immutable"),
    );
    answer::put_digest(&mut answer, &blob.digest);
    answer
}

pub(super) async fn delete(app: &App, delete: Authorized<DeleteBlob>) -> Result<Response, Failure> {
    app.repo.delete_blob(delete).await?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}
