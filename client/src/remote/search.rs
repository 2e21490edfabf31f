//! `GET /v1/search`, as docker's engine asks it.

use http::Method;
use serde::Deserialize;

use super::answer::small_json;
use super::error::RemoteError;
use super::transport::{Registry, Request};

/// The longest answer that is read.
const MAX_RESULTS_BYTES: usize = 8 << 20;

/// One repository that was found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// Its name, without the host.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// How many like it.
    #[serde(default)]
    pub star_count: u64,
    /// It is one of the registry's own.
    #[serde(default)]
    pub is_official: bool,
    /// It was built by the registry.
    #[serde(default)]
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Results {
    results: Option<Vec<Found>>,
}

impl Registry {
    /// Searches for repositories, in the registry's order.
    ///
    /// # Errors
    /// [`RemoteError::NotARegistry`] where there is no such search.
    pub async fn search(&self, term: &str, limit: u32) -> Result<Vec<Found>, RemoteError> {
        let mut query = self.query_address();
        query
            .query_pairs_mut()
            .append_pair("q", term)
            .append_pair("n", &limit.to_string());
        let target = format!("/v1/search?{}", query.query().unwrap_or_default());
        let scopes = ["registry:catalog:search".to_owned()];
        let response = self.send_ok(Request::new(Method::GET, target, &scopes)).await?;
        let results: Results = small_json(self.host(), response, MAX_RESULTS_BYTES).await?;
        Ok(results.results.unwrap_or_default())
    }
}
