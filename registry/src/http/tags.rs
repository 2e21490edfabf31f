//! `/v2/NAME/tags/list`.

use std::sync::Arc;

use axum::response::Response;
use futures_util::future::BoxFuture;
use wharf_protocol::path::Path;

use super::error::Failure;
use super::listing::{self, Frame, Names};
use crate::app::App;
use crate::auth::Authorized;
use crate::metadata::Page;
use crate::operation::ListTags;
use crate::repo;

struct Tags {
    app: Arc<App>,
    list: Authorized<ListTags>,
}

impl Names for Tags {
    fn page<'a>(
        &'a self,
        last: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page<String>, repo::Error>> {
        Box::pin(self.app.repo.tags(&self.list, last, limit))
    }
}

pub(super) async fn list(app: &Arc<App>, list: Authorized<ListTags>) -> Result<Response, Failure> {
    let ListTags { name, page } = list.operation().clone();
    // A repository's name needs no escaping.
    let before = format!("{{\"name\":\"{name}\",\"tags\":");
    let frame = Frame {
        before,
        path: Path::Tags { name }.build(),
    };
    listing::answer(
        Tags {
            app: Arc::clone(app),
            list,
        },
        &page,
        frame,
    )
    .await
}
