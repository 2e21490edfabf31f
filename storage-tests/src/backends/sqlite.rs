//! Rows in a SQLite file, in a temporary folder.

use wharf_registry::config::DatabaseUrl;

use super::rows::RowsUnderTest;

/// Makes a fresh file.
pub async fn start() -> RowsUnderTest {
    let folder = tempfile::tempdir().unwrap();
    // A name that a URL would read otherwise.
    let url = DatabaseUrl::Sqlite(folder.path().join("rows of 100%?.db"));
    RowsUnderTest::open(url, false, Some(folder)).await
}
