//! `/v1/search` as podman and docker's engine call it.

use serde_json::{Value, json};

use crate::support::content::image;
use crate::support::server::{Caller, Server};

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
