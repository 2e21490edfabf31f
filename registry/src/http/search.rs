//! `/v1/_ping` and `/v1/search`: what is left of docker's first protocol, which `docker search` still speaks.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::answer;
use super::error::Failure;
use crate::app::App;
use crate::auth::Authorized;
use crate::operation::Search;
use crate::repo;

const STANDALONE: HeaderName = HeaderName::from_static("x-docker-registry-standalone");

/// Says that searching is done here, with the credentials of here.
pub(super) fn ping() -> Response {
    let mut answer = answer::json(StatusCode::OK, &json!({ "standalone": true }));
    answer
        .headers_mut()
        .insert(STANDALONE, HeaderValue::from_static("true"));
    answer
}

pub(super) async fn search(app: &App, search: &Authorized<Search>) -> Result<Response, Failure> {
    let found = app.index.search(search).await.map_err(repo::Error::from)?;
    let Search { text, n, page } = search.operation();
    let results: Vec<Value> = found
        .hits
        .iter()
        .map(|hit| {
            json!({
                "name": hit.name,
                "description": hit.description,
                "star_count": hit.stars,
                "is_official": false,
                "is_automated": false,
            })
        })
        .collect();
    let document = json!({
        "query": text,
        "num_results": found.total,
        "num_pages": found.total.div_ceil(u64::from(*n)),
        "page": page,
        "page_size": n,
        "results": results,
    });
    Ok(answer::json(StatusCode::OK, &document))
}
