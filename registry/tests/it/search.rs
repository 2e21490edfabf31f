//! `/v1/search` as podman and docker's engine call it.

use serde_json::{Value, json};

use crate::support::content::image;
use crate::support::server::{Caller, Server, answer};

async fn describe(caller: &Caller<'_>, name: &str, description: &str) {
    caller.push_blob(name, b"{}").await;
    let mut document = image(b"{}", &[]);
    document["annotations"] = json!({ "org.opencontainers.image.description": description });
    let put = caller
        .put_manifest(name, "t", &serde_json::to_vec(&document).unwrap())
        .await;
    assert_eq!(put.status, 201, "{put:?}");
}

fn names(document: &Value) -> Vec<String> {
    document["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_ping_is_open_and_says_that_we_stand_alone() {
    let server = Server::start();
    let ping = server.nobody().get("/v1/_ping").await;
    assert_eq!(
        (ping.status, ping.header("x-docker-registry-standalone")),
        (200, "true")
    );
}

#[tokio::test]
async fn hits_have_the_old_indexs_form() {
    let server = Server::start();
    let admin = server.admin();
    describe(&admin, "team/web", "A web server\nand more").await;
    admin.push_image("team/db", "t", "1").await;
    let found = admin.get("/v1/search?q=web&n=10").await.json();
    assert_eq!(
        found,
        json!({
            "query": "web", "num_results": 1, "num_pages": 1, "page": 1, "page_size": 10,
            "results": [{
                "name": "team/web", "description": "A web server",
                "star_count": 0, "is_official": false, "is_automated": false,
            }],
        })
    );
    assert_eq!(
        names(&admin.get("/v1/search?q=SERVER").await.json()),
        ["team/web"]
    );
    assert_eq!(names(&admin.get("/v1/search?q=").await.json()).len(), 2);
    assert_eq!(
        admin.get("/v1/search?q=nothing-like-it").await.json()["num_results"],
        0
    );
}

#[tokio::test]
async fn a_label_describes_where_no_annotation_does() {
    let server = Server::start();
    let admin = server.admin();
    let config = br#"{"config":{"Labels":{"org.opencontainers.image.description":"From the label"}}}"#;
    admin.push_blob("a/b", config).await;
    let manifest = serde_json::to_vec(&image(config, &[])).unwrap();
    assert_eq!(admin.put_manifest("a/b", "t", &manifest).await.status, 201);
    let found = admin.get("/v1/search?q=label").await.json();
    assert_eq!(found["results"][0]["description"], "From the label");
}

/// Pushes an artifact of one file, as `oras push` does, with an annotation of the manifest or without.
async fn push_file(caller: &Caller<'_>, name: &str, file: &str, content: &[u8], annotations: Value) {
    caller.push_blob(name, b"{}").await;
    caller.push_blob(name, content).await;
    let mut document = image(b"{}", &[content]);
    document["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json");
    document["artifactType"] = json!("application/vnd.example");
    document["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
    document["layers"][0]["annotations"] = json!({ "org.opencontainers.image.title": file });
    document["annotations"] = annotations;
    let put = caller
        .put_manifest(name, "t", &serde_json::to_vec(&document).unwrap())
        .await;
    assert_eq!(put.status, 201, "{put:?}");
}

#[tokio::test]
async fn a_readmes_first_line_describes_where_neither_annotation_nor_label_does() {
    let server = Server::start();
    let admin = server.admin();
    let described = async || admin.get("/v1/search?q=a/b").await.json()["results"][0]["description"].clone();
    let readme = "\n\n# A **tool**\u{7}\nand more".as_bytes();
    push_file(&admin, "a/b", "other.md", readme, json!({})).await;
    assert_eq!(described().await, "");
    push_file(&admin, "a/b", "README.md", readme, json!({})).await;
    assert_eq!(described().await, "A **tool**");
    push_file(&admin, "a/b", "README", b"\xff\xfe", json!({})).await;
    assert_eq!(described().await, "A **tool**");
    let long = "\u{e4}".repeat(5000);
    push_file(&admin, "a/b", "readme.TXT", long.as_bytes(), json!({})).await;
    assert_eq!(described().await, "\u{e4}".repeat(500));

    // What comes from further up stays.
    let annotation = json!({ "org.opencontainers.image.description": "Annotated" });
    push_file(&admin, "a/b", "README.md", readme, annotation).await;
    assert_eq!(described().await, "Annotated");
    push_file(&admin, "a/b", "README.md", b"# Another", json!({})).await;
    assert_eq!(described().await, "Annotated");
}

#[tokio::test]
async fn results_come_in_pages() {
    let server = Server::start();
    let admin = server.admin();
    for name in ["x/a", "x/b", "x/c"] {
        admin.push_image(name, "t", "1").await;
    }
    let first = admin.get("/v1/search?q=x/&n=2").await.json();
    assert_eq!(
        (names(&first), first["num_pages"].clone()),
        (vec!["x/a".to_owned(), "x/b".to_owned()], json!(2))
    );
    assert_eq!(
        names(&admin.get("/v1/search?q=x/&n=2&page=2").await.json()),
        ["x/c"]
    );
}

/// podman without a login, and docker's engine without: on 401 podman goes on with the catalog.
#[tokio::test]
async fn nobody_is_401_unless_anybody_may_pull() {
    let server = Server::start();
    server
        .nobody()
        .get("/v1/search?q=a")
        .await
        .is_refused(401, "UNAUTHORIZED");
    let server = Server::with("anonymous = \"pull\"");
    server.admin().push_image("a/b", "t", "1").await;
    assert_eq!(
        names(&server.nobody().get("/v1/search?q=a").await.json()),
        ["a/b"]
    );
}

/// podman with a login: it sends none to the search, is told 401, and goes on with the catalog, first without a scope.
#[tokio::test]
async fn podman_with_a_login_finds_by_the_catalog() {
    let server = Server::start();
    server.add_user("bob");
    server.user("bob").push_image("bob/app", "t", "1").await;
    server.admin().push_image("alice/app", "t", "1").await;
    server
        .nobody()
        .get("/v1/search?q=app&n=25")
        .await
        .is_refused(401, "UNAUTHORIZED");
    let scopeless = server.user("bob").token(&[]).await;
    let refused = server.bearer(&scopeless).get("/v2/_catalog").await;
    refused.is_refused(401, "UNAUTHORIZED");
    let challenge = refused.header("www-authenticate");
    assert!(
        challenge.contains("scope=\"registry:catalog:*\"") && challenge.contains("insufficient_scope"),
        "{challenge}"
    );
    let token = server.user("bob").token(&["registry:catalog:*"]).await;
    let listed = server.bearer(&token).get("/v2/_catalog").await.json();
    assert_eq!(listed, json!({ "repositories": ["bob/app"] }));
}

/// docker's engine after `docker login`: it keeps the refresh token alone and asks `registry:catalog:search` with it.
#[tokio::test]
async fn dockers_engine_searches_with_its_refresh_token() {
    let server = Server::start();
    server.add_user("bob");
    server.user("bob").push_image("bob/app", "t", "1").await;
    let login = "/token?account=bob&client_id=docker&offline_token=true&service=wharf-registry";
    let document = server.user("bob").get(login).await.json();
    let form = format!(
        "grant_type=refresh_token&service=wharf-registry&client_id=docker&scope=registry%3Acatalog%3Asearch\
         &refresh_token={}",
        document["refresh_token"].as_str().unwrap()
    );
    let request = server.nobody().ask("POST", "/token");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let refreshed = answer(request.body(form)).await.json();
    assert_eq!(refreshed["scope"], "registry:catalog:search");
    let token = refreshed["access_token"].as_str().unwrap();
    let found = server.bearer(token).get("/v1/search?q=app&n=25").await.json();
    assert_eq!(names(&found), ["bob/app"]);
    // That scope searches, and does not list.
    assert_eq!(server.bearer(token).get("/v2/_catalog").await.status, 401);
}

/// docker's engine with Basic, and with a refresh token (then it asks for `registry:catalog:search`).
#[tokio::test]
async fn a_caller_finds_only_what_they_may_pull() {
    let server = Server::start();
    server.add_user("bob");
    let admin = server.admin();
    admin.push_image("alice/app", "t", "1").await;
    admin.push_image("bob/app", "t", "1").await;
    let bob = server.user("bob");
    assert_eq!(names(&bob.get("/v1/search?q=app").await.json()), ["bob/app"]);
    for scopes in [&["registry:catalog:search"][..], &[]] {
        let token = bob.token(scopes).await;
        assert_eq!(
            names(&server.bearer(&token).get("/v1/search?q=app").await.json()),
            ["bob/app"]
        );
    }
    server
        .user_with("bob", "wrong")
        .get("/v1/search?q=app")
        .await
        .is_refused(401, "UNAUTHORIZED");
}
