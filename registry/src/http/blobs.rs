//! `/v2/NAME/blobs/DIGEST`.

mod parts;

use std::ops::Range;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use wharf_protocol::range::{ResolvedRange, Selection};

use super::error::Failure;
use super::server::FileBody;
use super::{answer, origin};
use crate::app::App;
use crate::auth::Authorized;
use crate::blobs::Content;
use crate::metadata::Blob;
use crate::operation::{DeleteBlob, ReadBlob};

/// A part under this many bytes is served here, even where blobs are fetched from the storage itself.
const LEAST_PART_SENT_ON: u64 = 64 << 10;

pub(super) async fn read(app: &App, head: &Parts, read: &Authorized<ReadBlob>) -> Result<Response, Failure> {
    let blob = app.repo.blob(read).await?;
    let operation = read.operation();
    if operation
        .if_none_match
        .as_ref()
        .is_some_and(|tags| tags.include(&blob.digest))
    {
        return Ok(dressed(answer::empty(StatusCode::NOT_MODIFIED), &blob));
    }
    if operation.head {
        return Ok(dressed(whole(&blob, Body::empty()), &blob));
    }
    let selection = selection(operation, &blob);
    if worth_sending_on(&selection)
        && let Some(url) = address(app, head, operation, &blob).await
    {
        return Ok(elsewhere(&url, &blob));
    }
    let answer = match selection {
        Selection::Whole => whole(&blob, open(app, &blob, 0..blob.size).await?),
        Selection::Part(part) => one_part(&blob, part, open(app, &blob, part.start..part.end).await?),
        Selection::Parts(parts) => parts::answer(&app.repo, &blob, &parts, &app.boundary()).await?,
        Selection::Nothing => return Err(Failure::RangeUnmet { size: blob.size }),
    };
    Ok(dressed(answer, &blob))
}

/// Returns which bytes are asked for. RFC 9110, "Range": it is defined for GET alone, and holds under `If-Range`.
fn selection(read: &ReadBlob, blob: &Blob) -> Selection {
    let changed = read
        .if_range
        .as_ref()
        .is_some_and(|tag| *tag != format!("\"{}\"", blob.digest));
    match &read.range {
        Some(ranges) if !changed => Selection::of(ranges, blob.size),
        _ => Selection::Whole,
    }
}

/// Says whether the bucket could answer, and whether sending the client there costs less than the bytes.
///
/// A client that reads lazily begins with a small part (stargz's snapshotter asks for `bytes=0-1`) and fetches all
/// others where that came from: sent to a bucket, which answers one range at most, it would get a whole layer for its
/// several ranges.
fn worth_sending_on(selection: &Selection) -> bool {
    match selection {
        Selection::Whole => true,
        Selection::Part(part) => part.len() >= LEAST_PART_SENT_ON,
        Selection::Parts(_) | Selection::Nothing => false,
    }
}

/// Returns where the client shall fetch the bytes itself, if it shall and the storage has such addresses.
async fn address(app: &App, head: &Parts, read: &ReadBlob, blob: &Blob) -> Option<String> {
    let redirects = &app.config.redirects;
    // The storage knows its own entity tags alone, and nothing is gained where there are no bytes.
    let may = read.if_range.is_none() && blob.size > 0;
    if !may || !redirects.apply(read.name.as_str(), origin::client(&app.config, head)) {
        return None;
    }
    match app.repo.address(blob, redirects.life).await {
        Ok(url) => url,
        Err(error) => {
            let cause = &error as &dyn std::error::Error;
            tracing::warn!(cause, "signing an address failed: the blob is served here");
            None
        }
    }
}

/// Sends the client to the storage; with the same method and the same `Range`, as 307 says.
fn elsewhere(url: &str, blob: &Blob) -> Response {
    let mut answer = answer::empty(StatusCode::TEMPORARY_REDIRECT);
    answer::put(&mut answer, header::LOCATION, url);
    answer::put(&mut answer, answer::CONTENT_DIGEST, blob.digest.as_str());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    // The address is a secret, and soon good for nothing.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

async fn open(app: &App, blob: &Blob, range: Range<u64>) -> Result<Body, Failure> {
    Ok(body(app.repo.open(blob, range).await?))
}

/// Makes a body of opened bytes.
fn body(content: Content) -> Body {
    match content {
        Content::File { file, range } => Body::new(FileBody::new(file, range)),
        Content::Stream(stream) => Body::from_stream(stream),
    }
}

fn whole(blob: &Blob, body: Body) -> Response {
    bytes_answer(StatusCode::OK, blob.size, body)
}

fn one_part(blob: &Blob, part: ResolvedRange, body: Body) -> Response {
    let mut answer = bytes_answer(StatusCode::PARTIAL_CONTENT, part.len(), body);
    answer::put(
        &mut answer,
        header::CONTENT_RANGE,
        &content_range(part, blob.size),
    );
    answer
}

fn bytes_answer(status: StatusCode, length: u64, body: Body) -> Response {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    answer
}

/// Writes a part's place as `Content-Range` does.
fn content_range(part: ResolvedRange, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
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
