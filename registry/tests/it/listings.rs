//! Tags and catalog.

use serde_json::json;

use crate::support::server::{Caller, Server, answer};

/// Follows `Link` from page to page.
async fn pages(caller: &Caller<'_>, path: &str, key: &str) -> Vec<Vec<String>> {
    let (mut pages, mut next) = (Vec::new(), path.to_owned());
    loop {
        let page = caller.get(&next).await;
        assert_eq!(page.status, 200, "{page:?}");
        pages.push(serde_json::from_value(page.json()[key].clone()).unwrap());
        let link = page.header("link");
        if link.is_empty() {
            return pages;
        }
        next = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .unwrap()
            .to_owned();
    }
}

/// Pushes an image under many tags.
async fn tagged(server: &Server, name: &str, tags: &[&str]) {
    let admin = server.admin();
    let manifest = admin.push_image(name, tags[0], "1").await;
    for tag in tags {
        assert_eq!(admin.put_manifest(name, tag, &manifest).await.status, 201);
    }
}

#[tokio::test]
async fn tags_are_listed_in_byte_order_and_never_as_null() {
    let server = Server::start();
    let admin = server.admin();
    admin.push_blob("a/empty", b"x").await;
    assert_eq!(
        admin.get("/v2/a/empty/tags/list").await.json(),
        json!({ "name": "a/empty", "tags": [] })
    );
    tagged(&server, "a/b", &["b", "B", "a", "_", "10", "9", "a.b", "a-b"]).await;
    let list = admin.get("/v2/a/b/tags/list").await;
    assert_eq!(list.header("content-type"), "application/json");
    assert_eq!(list.header("link"), "");
    assert_eq!(
        list.json()["tags"],
        json!(["10", "9", "B", "_", "a", "a-b", "a.b", "b"])
    );
    admin
        .get("/v2/no/such/tags/list")
        .await
        .is_refused(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn pages_of_tags_are_linked_and_last_need_not_exist() {
    let server = Server::start();
    let admin = server.admin();
    tagged(&server, "a/b", &["a", "b", "c", "d", "e"]).await;
    assert_eq!(
        pages(&admin, "/v2/a/b/tags/list?n=2", "tags").await,
        [vec!["a", "b"], vec!["c", "d"], vec!["e"]]
    );
    assert_eq!(pages(&admin, "/v2/a/b/tags/list?n=5", "tags").await.len(), 1);
    let after = admin.get("/v2/a/b/tags/list?last=bb").await;
    assert_eq!(after.json()["tags"], json!(["c", "d", "e"]));
    let none = admin.get("/v2/a/b/tags/list?n=0").await;
    assert_eq!(
        (none.json()["tags"].clone(), none.header("link")),
        (json!([]), "")
    );
    admin
        .get("/v2/no/such/tags/list?n=0")
        .await
        .is_refused(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn a_bad_n_is_400_and_a_large_one_is_capped() {
    let server = Server::with("limits.page_entries = 2");
    let admin = server.admin();
    tagged(&server, "a/b", &["a", "b", "c"]).await;
    for n in ["x", "-1", "1.5", ""] {
        for path in ["/v2/a/b/tags/list", "/v2/_catalog"] {
            admin
                .get(&format!("{path}?n={n}"))
                .await
                .is_refused(400, "UNSUPPORTED");
        }
    }
    let capped = admin.get("/v2/a/b/tags/list?n=99999999999").await;
    assert_eq!(
        (capped.json()["tags"].clone(), capped.header("link").is_empty()),
        (json!(["a", "b"]), false)
    );
    assert_eq!(
        admin.get("/v2/a/b/tags/list").await.json()["tags"],
        json!(["a", "b", "c"])
    );
}

#[tokio::test]
async fn the_catalog_lists_what_the_caller_may_pull_and_no_empty_repositories() {
    let server = Server::start();
    server.add_user("bob");
    let admin = server.admin();
    admin.push_image("alice/app", "t", "1").await;
    admin.push_image("bob/app", "t", "1").await;
    admin.push_image("bob/zoo", "t", "1").await;
    admin.push_blob("bob/empty", b"x").await;
    let all = json!(["alice/app", "bob/app", "bob/zoo"]);
    assert_eq!(admin.get("/v2/_catalog").await.json()["repositories"], all);
    assert_eq!(
        server.user("bob").get("/v2/_catalog").await.json()["repositories"],
        json!(["bob/app", "bob/zoo"])
    );
    let one = [vec!["alice/app"], vec!["bob/app"], vec!["bob/zoo"]];
    assert_eq!(pages(&admin, "/v2/_catalog?n=1", "repositories").await, one);
    let zoo = admin.get("/v2/_catalog?last=bob/app").await;
    assert_eq!(zoo.json()["repositories"], json!(["bob/zoo"]));
}

#[tokio::test]
async fn the_catalog_without_its_scope_is_401_that_names_it() {
    let server = Server::start();
    server
        .nobody()
        .get("/v2/_catalog")
        .await
        .is_refused(401, "UNAUTHORIZED");
    let without = server.admin().token(&[]).await;
    let refused = server.bearer(&without).get("/v2/_catalog").await;
    refused.is_refused(401, "UNAUTHORIZED");
    let challenge = refused.header("www-authenticate");
    assert!(
        challenge.ends_with("scope=\"registry:catalog:*\",error=\"insufficient_scope\""),
        "{challenge}"
    );
    let with = server.admin().token(&["registry:catalog:*"]).await;
    assert_eq!(server.bearer(&with).get("/v2/_catalog").await.status, 200);
}

#[tokio::test]
async fn a_long_list_comes_whole_without_n() {
    let server = Server::start();
    let admin = server.admin();
    let manifest = admin.push_image("a/b", "t", "1").await;
    let digest = crate::support::content::sha256(&manifest);
    let mut expected = vec!["t".to_owned()];
    for batch in 0..350 {
        let tags: Vec<String> = (0..30).map(|n| format!("t{:05}", batch * 30 + n)).collect();
        let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
        let put = admin
            .put_manifest("a/b", &format!("{digest}?{}", query.join("&")), &manifest)
            .await;
        assert_eq!(put.status, 201);
        expected.extend(tags);
    }
    expected.sort();
    let list = answer(admin.ask("GET", "/v2/a/b/tags/list")).await;
    assert_eq!(list.json()["tags"], json!(expected));
}
