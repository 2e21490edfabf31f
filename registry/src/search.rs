//! Searching repositories by name and description, as docker's old index protocol asks for it.

use std::sync::Arc;

use crate::auth::Authorized;
use crate::metadata::{self, Metadata, SearchPage, SearchQuery};
use crate::operation::Search;

/// Finds repositories.
#[derive(Debug)]
pub struct Index {
    metadata: Arc<dyn Metadata>,
}

impl Index {
    /// Makes an index over the rows.
    pub fn new(metadata: Arc<dyn Metadata>) -> Self {
        Self { metadata }
    }

    /// Returns one page of the repositories that the caller may pull and that match.
    ///
    /// # Errors
    /// The database's.
    pub async fn search(&self, search: &Authorized<Search>) -> Result<SearchPage, metadata::Error> {
        let Search { text, n, page } = search.operation();
        let query = SearchQuery {
            text: text.trim().to_owned(),
            visible: search.grants().visible(),
            offset: u64::from(*page - 1) * u64::from(*n),
            limit: *n,
        };
        self.metadata.search(&query).await
    }
}
