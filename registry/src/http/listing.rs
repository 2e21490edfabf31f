//! Lists of names, in pages or whole.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, StatusCode, header};

use super::answer;
use super::error::Failure;
use crate::metadata::Page;
use crate::operation::PageQuery;
use crate::repo;

/// How many entries are read at once where the client wants the whole list.
const AT_ONCE: u32 = 1000;

/// A list that can be read page by page: from after an entry, so many.
pub(super) trait Names: Send + Sync + 'static {
    /// Reads a page.
    fn page<'a>(
        &'a self,
        last: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page<String>, repo::Error>>;
}

/// How the document looks around the names.
pub(super) struct Frame {
    /// What comes before the list: `{"name":"a","tags":`.
    pub(super) before: String,
    /// The path of the list, for the link to the next page.
    pub(super) path: String,
}

/// Answers with the page that is asked for, or with everything.
pub(super) async fn answer(names: impl Names, query: &PageQuery, frame: Frame) -> Result<Response, Failure> {
    let limit = query.n.unwrap_or(AT_ONCE);
    // Even an empty page says whether there is such a list.
    let mut page = names.page(query.last.as_deref(), limit.max(1)).await?;
    if limit == 0 {
        page = Page {
            items: Vec::new(),
            more: false,
        };
    }
    if query.n.is_none() && page.more {
        return Ok(whole(names, page, frame));
    }
    let document = format!("{}{}}}", frame.before, array(&page.items));
    let mut answer = answer::content(
        StatusCode::OK,
        HeaderValue::from_static("application/json"),
        document,
    );
    if let (true, Some(last)) = (page.more, page.items.last()) {
        let link = format!("<{}?n={limit}&last={last}>; rel=\"next\"", frame.path);
        answer::put(&mut answer, header::LINK, &link);
    }
    Ok(answer)
}

/// Sends a long list as it is read, so that it is never in memory whole.
fn whole(names: impl Names, first: Page<String>, frame: Frame) -> Response {
    let start = Bytes::from(format!("{}[{}", frame.before, entries(&first.items)));
    // Between two pieces only the last name is kept, however long the client takes.
    let rest = stream::unfold((names, Some(after(first))), |(names, last)| async move {
        let Some(last) = last? else {
            return Some((Ok(Bytes::from_static(b"]}")), (names, None)));
        };
        match names.page(Some(&last), AT_ONCE).await {
            Ok(page) => {
                let comma = if page.items.is_empty() { "" } else { "," };
                let piece = Bytes::from(format!("{comma}{}", entries(&page.items)));
                Some((Ok(piece), (names, Some(after(page)))))
            }
            // The status has gone out: all that is left is to break off.
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a listing broke off");
                Some((Err(error), (names, None)))
            }
        }
    });
    let body = stream::once(async move { Ok(start) }).chain(rest);
    let mut answer = Response::new(Body::from_stream(body));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The name that the next page begins after, if there is one.
fn after(page: Page<String>) -> Option<String> {
    page.more.then_some(page.items).and_then(|mut items| items.pop())
}

fn array(names: &[String]) -> String {
    // A list of texts always has a JSON form.
    serde_json::to_string(names).unwrap_or_default()
}

/// The array without its brackets.
fn entries(names: &[String]) -> String {
    let mut array = array(names);
    array.pop();
    array.drain(..array.len().min(1));
    array
}
