//! Rows in PostgreSQL behind a slow network: each question takes some milliseconds, so that what happens at the same
//! time meets in other places.

use std::time::Duration;

use super::postgres;
use super::proxy::{Proxy, Rule};
use super::rows::RowsUnderTest;

/// Makes a fresh database behind a proxy of its own.
pub async fn start() -> RowsUnderTest {
    let proxy = Proxy::before(&postgres::start_empty().await).await;
    let store = RowsUnderTest::open(proxy.url(), true, None).await;
    proxy.set(Rule::Delay(Duration::from_millis(3)));
    store.behind(proxy)
}
