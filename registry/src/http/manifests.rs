//! `/v2/NAME/manifests/REFERENCE`.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use wharf_protocol::media_type::OCI_ARTIFACT;
use wharf_protocol::path::Path;
use wharf_protocol::reference::Reference;

use super::error::Failure;
use super::{answer, body, warning};
use crate::app::App;
use crate::auth::Authorized;
use crate::metadata::StoredManifest;
use crate::operation::{DeleteManifest, ReadManifest, WriteManifest};
use crate::repo::{self, Advice};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

pub(super) async fn read(app: &App, read: &Authorized<ReadManifest>) -> Result<Response, Failure> {
    let manifest = app.repo.manifest(read).await?;
    Ok(answer(read.operation(), &manifest))
}

/// Answers with the bytes as they were pushed, whatever the client says it accepts.
pub(super) fn answer(read: &ReadManifest, manifest: &StoredManifest) -> Response {
    let known = read
        .if_none_match
        .as_ref()
        .is_some_and(|tags| tags.include(&manifest.digest));
    let mut answer = if known {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        // What was stored was parsed as a media type.
        let content_type = HeaderValue::from_str(&manifest.media_type);
        let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
        answer::content(StatusCode::OK, content_type, manifest.bytes.clone())
    };
    answer::put_digest(&mut answer, &manifest.digest);
    // One type has something said of it, and a pull is not the place for parsing the others.
    if manifest.media_type == OCI_ARTIFACT {
        let advice = manifest.media_type.parse().ok();
        warning::add(&mut answer, advice.as_ref().and_then(Advice::of_type));
    }
    answer
}

pub(super) async fn write(
    app: &Arc<App>,
    head: &Parts,
    write: Authorized<WriteManifest>,
    body: Body,
) -> Result<Response, Failure> {
    let limit = app.config.limits.manifest_bytes;
    let announced = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|announced: usize| announced > limit) {
        return Err(repo::Error::ManifestTooLarge { limit }.into());
    }
    let whole = body::whole(body, limit, &app.buffers).await;
    let whole = whole.map_err(|unread| match unread {
        body::Unread::TooLarge => repo::Error::ManifestTooLarge { limit }.into(),
        body::Unread::Cut(cause) => repo::Error::BodyCut(cause).into(),
        body::Unread::NoRoom => Failure::NoRoom,
    })?;
    let name = write.operation().name.clone();
    let tags = write.operation().tags.clone();
    let written = app.repo.write_manifest(write, whole.bytes.clone()).await?;
    let mut answer = answer::empty(StatusCode::CREATED);
    let location = Path::Manifest {
        name,
        reference: Reference::Digest(written.digest.clone()),
    };
    answer::put(&mut answer, header::LOCATION, &location.build());
    answer::put_digest(&mut answer, &written.digest);
    if let Some(subject) = written.subject {
        answer::put(&mut answer, OCI_SUBJECT, subject.as_str());
    }
    for tag in tags {
        if let Ok(value) = HeaderValue::from_str(tag.as_str()) {
            answer.headers_mut().append(OCI_TAG, value);
        }
    }
    warning::add(&mut answer, written.advice);
    Ok(answer)
}

pub(super) async fn delete(app: &App, delete: Authorized<DeleteManifest>) -> Result<Response, Failure> {
    app.repo.delete_manifest(delete).await?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}
