//! What the clauses of the metadata are given: a fresh database, seen by as many replicas as it can have.

use std::sync::Arc;

use tempfile::TempDir;
use wharf_registry::config::DatabaseUrl;
use wharf_registry::metadata::{Metadata, Options, SqlMetadata};

use super::proxy::Proxy;

/// A fresh database under test.
#[derive(Debug)]
pub struct RowsUnderTest {
    url: DatabaseUrl,
    rows: Arc<dyn Metadata>,
    replicas: bool,
    _folder: Option<TempDir>,
    _proxy: Option<Proxy>,
}

impl RowsUnderTest {
    /// Opens a fresh database; `replicas` says whether several processes may serve from it.
    pub(super) async fn open(url: DatabaseUrl, replicas: bool, folder: Option<TempDir>) -> Self {
        let rows = open(&url, Options::default()).await;
        Self {
            url,
            rows,
            replicas,
            _folder: folder,
            _proxy: None,
        }
    }

    /// Keeps the proxy that the database is behind.
    pub(super) fn behind(mut self, proxy: Proxy) -> Self {
        self._proxy = Some(proxy);
        self
    }

    /// Returns the first replica's view.
    pub fn rows(&self) -> Arc<dyn Metadata> {
        Arc::clone(&self.rows)
    }

    /// Returns another replica's view: the first one's where only one process serves.
    pub async fn another(&self) -> Arc<dyn Metadata> {
        if self.replicas {
            open(&self.url, Options::default()).await
        } else {
            self.rows()
        }
    }

    /// Returns the view of a command that is run beside the server.
    pub async fn command(&self) -> Arc<dyn Metadata> {
        let options = Options {
            beside_a_server: true,
            ..Options::default()
        };
        open(&self.url, options).await
    }

    /// Ends the first replica and returns the view of the one that is started after it.
    pub async fn restarted(&self) -> Arc<dyn Metadata> {
        self.rows.close().await;
        open(&self.url, Options::default()).await
    }

    /// Returns where the database is.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }
}

async fn open(url: &DatabaseUrl, options: Options) -> Arc<dyn Metadata> {
    Arc::new(SqlMetadata::open(url, options).await.unwrap())
}
