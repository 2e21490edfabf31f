//! `/v2/NAME/referrers/DIGEST`.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use wharf_protocol::media_type::OCI_INDEX;
use wharf_protocol::path::Path;

use super::answer;
use super::error::Failure;
use crate::app::App;
use crate::auth::Authorized;
use crate::metadata::Referrer;
use crate::operation::ListReferrers;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Answers with an index of the referrers, empty for what is not known (distribution-spec, "Listing Referrers").
pub(super) async fn list(app: &App, list: &Authorized<ListReferrers>) -> Result<Response, Failure> {
    let page = app.repo.referrers(list).await?;
    let query = list.operation();
    let manifests: Vec<Value> = page.items.iter().map(descriptor).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let mut answer = answer::json(StatusCode::OK, &index);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(OCI_INDEX));
    if query.artifact_type.is_some() {
        answer
            .headers_mut()
            .insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let (true, Some(last)) = (page.more, page.items.last()) {
        answer::put(&mut answer, header::LINK, &next(query, last));
    }
    Ok(answer)
}

fn descriptor(referrer: &Referrer) -> Value {
    let mut descriptor = Map::new();
    descriptor.insert("mediaType".to_owned(), referrer.media_type.as_str().into());
    descriptor.insert("digest".to_owned(), referrer.digest.as_str().into());
    descriptor.insert("size".to_owned(), referrer.size.into());
    if let Some(artifact_type) = &referrer.artifact_type {
        descriptor.insert("artifactType".to_owned(), artifact_type.as_str().into());
    }
    // They were written down as a JSON object when the manifest was pushed.
    if let Some(annotations) = referrer
        .annotations
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
    {
        descriptor.insert("annotations".to_owned(), annotations);
    }
    Value::Object(descriptor)
}

fn next(query: &ListReferrers, last: &Referrer) -> String {
    let path = Path::Referrers {
        name: query.name.clone(),
        digest: query.subject.clone(),
    }
    .build();
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    if let Some(n) = query.n {
        parameters.append_pair("n", &n.to_string());
    }
    if let Some(artifact_type) = &query.artifact_type {
        parameters.append_pair("artifactType", artifact_type);
    }
    parameters.append_pair("last", last.digest.as_str());
    format!("<{path}?{}>; rel=\"next\"", parameters.finish())
}
