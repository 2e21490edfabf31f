//! `/v2/NAME/blobs/uploads/`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use wharf_protocol::digest::Digest;
use wharf_protocol::name::RepositoryName;
use wharf_protocol::path::Path;

use super::error::Failure;
use super::{answer, body};
use crate::app::App;
use crate::auth::Authorized;
use crate::operation::{
    AppendUpload, CancelUpload, FinishUpload, MountBlob, PushBlob, ReadUpload, StartUpload,
};
use crate::repo::{Mounted, Progress};

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

pub(super) async fn start(app: &App, start: Authorized<StartUpload>) -> Result<Response, Failure> {
    let progress = app.repo.start_upload(start).await?;
    Ok(begun(app, &progress))
}

pub(super) async fn push(app: &App, push: Authorized<PushBlob>, body: Body) -> Result<Response, Failure> {
    let PushBlob { name, digest, .. } = push.operation().clone();
    app.repo.push_blob(push, body::stream(body)).await?;
    Ok(created(name, digest))
}

pub(super) async fn mount(app: &App, mount: Authorized<MountBlob>) -> Result<Response, Failure> {
    let MountBlob { name, digest, .. } = mount.operation().clone();
    match app.repo.mount(mount).await? {
        Mounted::Here => Ok(created(name, digest)),
        Mounted::Upload(progress) => Ok(begun(app, &progress)),
    }
}

pub(super) async fn read(app: &App, read: &Authorized<ReadUpload>) -> Result<Response, Failure> {
    let progress = app.repo.upload(read).await?;
    Ok(standing(StatusCode::NO_CONTENT, &progress))
}

pub(super) async fn append(
    app: &App,
    append: Authorized<AppendUpload>,
    body: Body,
) -> Result<Response, Failure> {
    let progress = app.repo.append_upload(append, body::stream(body)).await?;
    Ok(standing(StatusCode::ACCEPTED, &progress))
}

pub(super) async fn finish(
    app: &App,
    finish: Authorized<FinishUpload>,
    body: Body,
) -> Result<Response, Failure> {
    let FinishUpload { name, digest, .. } = finish.operation().clone();
    app.repo.finish_upload(finish, body::stream_if_any(body)).await?;
    Ok(created(name, digest))
}

pub(super) async fn cancel(app: &App, cancel: Authorized<CancelUpload>) -> Result<Response, Failure> {
    app.repo.cancel_upload(cancel).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

fn created(name: RepositoryName, digest: Digest) -> Response {
    let mut answer = answer::empty(StatusCode::CREATED);
    answer::put_digest(&mut answer, &digest);
    answer::put(
        &mut answer,
        header::LOCATION,
        &Path::Blob { name, digest }.build(),
    );
    answer
}

fn begun(app: &App, progress: &Progress) -> Response {
    let mut answer = standing(StatusCode::ACCEPTED, progress);
    if let Some(bytes) = app.repo.chunk_min_bytes() {
        answer
            .headers_mut()
            .insert(CHUNK_MIN_LENGTH, HeaderValue::from(bytes));
    }
    answer
}

/// Tells where a session is and how far it has come.
fn standing(status: StatusCode, progress: &Progress) -> Response {
    let mut answer = answer::empty(status);
    place(&mut answer, &progress.name, &progress.id, progress.offset);
    answer::put(&mut answer, UPLOAD_UUID, &progress.id);
    answer
}

/// Adds a session's address and the range of its bytes. Clients know an empty one as `0-0`.
pub(super) fn place(answer: &mut Response, name: &RepositoryName, id: &str, offset: u64) {
    let location = Path::Upload {
        name: name.clone(),
        id: id.to_owned(),
    }
    .build();
    answer::put(answer, header::LOCATION, &location);
    answer::put(answer, header::RANGE, &format!("0-{}", offset.saturating_sub(1)));
}
