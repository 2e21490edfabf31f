//! Long lists.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;

use crate::gauge::{forget_peak, peak_bytes};
use crate::support::server::{Caller, Server, answer};

const TAGS: usize = 100_000;

/// Gives one manifest many tags, by the rows alone: the server is not running.
fn add_tags(server: &Server, count: usize) {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})
         INSERT INTO tags (repository_id, name, manifest_id, moved_ms)
         SELECT repository_id, printf('v%06d-%s', i, '{}'), id, 0 FROM manifests, n",
        "x".repeat(100)
    );
    rows(server, &sql);
}

fn add_repositories(server: &Server, count: usize) {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})
         INSERT INTO repositories (name, created_ms) SELECT printf('many/r%06d', i), 0 FROM n;
         INSERT INTO manifests (repository_id, digest, media_type, size_bytes, created_ms, pushed_by, bytes)
         SELECT r.id, m.digest, m.media_type, m.size_bytes, 0, 'admin', m.bytes
         FROM repositories r, manifests m WHERE r.name LIKE 'many/%'"
    );
    rows(server, &sql);
}

fn rows(server: &Server, sql: &str) {
    let database = server.data_dir().join("registry.db");
    let run = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.commit()";
    let output = std::process::Command::new("python3")
        .args(["-c", run])
        .arg(database)
        .arg(sql)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Reads a list whole without keeping it.
async fn read_whole(caller: &Caller<'_>, path: &str, key: &str) -> (usize, usize) {
    let response = caller.ask("GET", path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("link"));
    let mut body = response.bytes_stream();
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    let document: serde_json::Value = serde_json::from_slice(&all).unwrap();
    (document[key].as_array().unwrap().len(), all.len())
}

/// Follows the links from page to page, and returns every name.
async fn read_pages(caller: &Caller<'_>, path: &str, key: &str, n: usize) -> Vec<String> {
    let mut next = format!("{path}?n={n}");
    let mut names = Vec::new();
    loop {
        let page = answer(caller.ask("GET", &next)).await;
        assert_eq!(page.status, 200, "{page:?}");
        let document = page.json();
        let items = document[key].as_array().unwrap();
        names.extend(items.iter().map(|name| name.as_str().unwrap().to_owned()));
        let link = page.header("link");
        if link.is_empty() {
            return names;
        }
        assert_eq!(items.len(), n.min(10_000));
        next = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_tags_are_listed_whole_and_by_pages_in_bounded_memory() {
    let mut server = Server::start();
    server.admin().push_image("a/b", "latest", "1").await;
    server.stop();
    add_tags(&server, TAGS);
    server.start_again();
    let admin = server.admin();
    let before = forget_peak(server.pid());
    let (count, bytes) = read_whole(&admin, "/v2/a/b/tags/list", "tags").await;
    assert_eq!(count, TAGS + 1);
    // Several at once cost a part of what one of them has in bytes.
    let lists = (0..8).map(|_| read_whole(&admin, "/v2/a/b/tags/list", "tags"));
    for (count, _) in futures_util::future::join_all(lists).await {
        assert_eq!(count, TAGS + 1);
    }
    let grown = peak_bytes(server.pid()) - before;
    eprintln!("{bytes} bytes a list, {grown} bytes of memory");
    assert!(bytes > 10 << 20);
    assert!(grown < 32 << 20, "{grown} bytes for lists of {bytes}");
    for n in [9_999, 1_000_000] {
        let names = read_pages(&admin, "/v2/a/b/tags/list", "tags", n).await;
        assert_eq!(names.len(), TAGS + 1);
        assert!(names.is_sorted());
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_of_many_is_listed_whole_and_by_pages_in_bounded_memory() {
    let mut server = Server::start();
    server.admin().push_image("a/b", "latest", "1").await;
    server.stop();
    add_repositories(&server, 30_000);
    server.start_again();
    let admin = server.admin();
    let before = forget_peak(server.pid());
    assert_eq!(read_whole(&admin, "/v2/_catalog", "repositories").await.0, 30_001);
    let grown = peak_bytes(server.pid()) - before;
    assert!(grown < 32 << 20, "{grown} bytes");
    let names = read_pages(&admin, "/v2/_catalog", "repositories", 7_000).await;
    assert_eq!(names.len(), 30_001);
    assert!(names.is_sorted());
}
