//! `/v2/_catalog`.

use std::sync::Arc;

use axum::response::Response;
use futures_util::future::BoxFuture;
use wharf_protocol::path::Path;

use super::error::Failure;
use super::listing::{self, Frame, Names};
use crate::app::App;
use crate::auth::Authorized;
use crate::metadata::Page;
use crate::operation::ListCatalog;
use crate::repo;

struct Catalog {
    app: Arc<App>,
    list: Authorized<ListCatalog>,
}

impl Names for Catalog {
    fn page<'a>(
        &'a self,
        last: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page<String>, repo::Error>> {
        Box::pin(self.app.repo.catalog(&self.list, last, limit))
    }
}

pub(super) async fn list(app: &Arc<App>, list: Authorized<ListCatalog>) -> Result<Response, Failure> {
    let page = list.operation().page.clone();
    let frame = Frame {
        before: "{\"repositories\":".to_owned(),
        path: Path::Catalog.build(),
    };
    listing::answer(
        Catalog {
            app: Arc::clone(app),
            list,
        },
        &page,
        frame,
    )
    .await
}
