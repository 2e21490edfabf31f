//! `/v2/`, challenges, headers that every answer has.

use crate::support::server::{Server, answer};

#[tokio::test]
async fn nobody_gets_one_bearer_challenge_with_realm_and_service() {
    let server = Server::start();
    let answer = server.nobody().get("/v2/").await;
    answer.is_refused(401, "UNAUTHORIZED");
    let challenge = answer.header("www-authenticate");
    let realm = format!(
        "Bearer realm=\"http://{}/token\",service=\"wharf-registry\"",
        server.address()
    );
    assert_eq!(challenge, realm);
    assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1);
    assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
}

#[tokio::test]
async fn a_user_by_password_and_by_token_gets_200() {
    let server = Server::start();
    assert_eq!(server.admin().get("/v2/").await.status, 200);
    let token = server.admin().token(&[]).await;
    let answer = server.bearer(&token).get("/v2/").await;
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({})));
    assert_eq!(server.bearer(&token).get("/v2").await.status, 200);
}

#[tokio::test]
async fn challenges_name_the_scope_and_what_was_wrong_with_the_token() {
    let server = Server::start();
    server.add_user("bob");
    let scope = |answer: &crate::support::server::Answer| answer.header("www-authenticate").to_owned();
    let path = "/v2/alice/app/manifests/latest";

    let nothing = server.nobody().get(path).await;
    assert!(
        scope(&nothing).ends_with(",scope=\"repository:alice/app:pull\""),
        "{nothing:?}"
    );
    let push = server.nobody().post("/v2/alice/app/blobs/uploads/").await;
    assert!(
        scope(&push).ends_with(",scope=\"repository:alice/app:pull,push\""),
        "{push:?}"
    );
    let digest = crate::support::content::sha256(b"x");
    let mount = server
        .nobody()
        .post(&format!("/v2/a/b/blobs/uploads/?mount={digest}&from=c/d"))
        .await;
    assert!(
        scope(&mount).ends_with(",scope=\"repository:a/b:pull,push repository:c/d:pull\""),
        "{mount:?}"
    );

    let invalid = server.bearer("x.y.z").get(path).await;
    assert!(
        scope(&invalid).ends_with(",error=\"invalid_token\""),
        "{invalid:?}"
    );
    let weak = server.user("bob").token(&["repository:bob/app:pull"]).await;
    let insufficient = server.bearer(&weak).get(path).await;
    insufficient.is_refused(401, "UNAUTHORIZED");
    assert!(
        scope(&insufficient).ends_with(",error=\"insufficient_scope\""),
        "{insufficient:?}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_401_and_a_right_one_without_the_right_is_403() {
    let server = Server::start();
    server.add_user("bob");
    server
        .user_with("bob", "wrong")
        .get("/v2/")
        .await
        .is_refused(401, "UNAUTHORIZED");
    server
        .user_with("nobody-here", "wrong")
        .get("/v2/")
        .await
        .is_refused(401, "UNAUTHORIZED");
    server
        .user("bob")
        .get("/v2/alice/app/tags/list")
        .await
        .is_refused(403, "DENIED");
}

#[tokio::test]
async fn a_private_repository_looks_to_others_as_if_it_were_not_there() {
    let server = Server::start();
    server.add_user("bob");
    server.admin().push_image("alice/app", "v1", "1").await;
    let token = server
        .user("bob")
        .token(&["repository:alice/app:pull", "repository:alice/none:pull"])
        .await;
    for caller in [server.nobody(), server.user("bob"), server.bearer(&token)] {
        let there = caller.get("/v2/alice/app/manifests/v1").await;
        let not = caller.get("/v2/alice/none/manifests/v1").await;
        assert_eq!(there.refusal(), not.refusal());
        assert_eq!(
            there.header("www-authenticate"),
            not.header("www-authenticate").replace("alice/none", "alice/app")
        );
    }
}

#[tokio::test]
async fn unknown_paths_are_404_and_unknown_methods_405_with_allow() {
    let server = Server::start();
    server
        .admin()
        .get("/v2/_wharf/none")
        .await
        .is_refused(404, "UNSUPPORTED");
    let answer = answer(server.admin().ask("PATCH", "/v2/a/manifests/x")).await;
    answer.is_refused(405, "UNSUPPORTED");
    assert_eq!(answer.header("allow"), "GET, HEAD, PUT, DELETE");
}

#[tokio::test]
async fn the_api_version_is_on_every_answer() {
    let server = Server::start();
    let (admin, nobody) = (server.admin(), server.nobody());
    let digest = admin.push_blob("a/b", b"hello").await;
    let blob = format!("/v2/a/b/blobs/{digest}");
    for (status, request) in [
        (200, admin.ask("GET", "/v2/")),
        (200, admin.ask("HEAD", &blob)),
        (200, nobody.ask("GET", "/healthz")),
        (206, admin.ask("GET", &blob).header("range", "bytes=0-1,3-4")),
        (304, admin.ask("GET", &blob).header("if-none-match", "*")),
        (202, admin.ask("POST", "/v2/a/b/blobs/uploads/")),
        (400, admin.ask("GET", "/v2/A/tags/list")),
        (400, nobody.ask("POST", "/token")),
        (401, nobody.ask("GET", "/v2/")),
        (404, admin.ask("GET", "/v2/a/b/manifests/none")),
        (404, nobody.ask("GET", "/nothing/here")),
        (405, admin.ask("PATCH", "/v2/")),
        (416, admin.ask("GET", &blob).header("range", "bytes=9-")),
    ] {
        let answer = answer(request).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(
            answer.header("docker-distribution-api-version"),
            "registry/2.0",
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn names_have_255_characters_at_most_and_no_component_of_the_registrys_own() {
    let server = Server::start();
    let admin = server.admin();
    let longest = format!("a/{}", "b".repeat(253));
    admin.push_blob(&longest, b"x").await;
    for name in [format!("{longest}b"), "a/_own/b".to_owned()] {
        let path = format!("/v2/{name}/blobs/uploads/");
        admin.post(&path).await.is_refused(400, "NAME_INVALID");
    }
    admin
        .post("/v2/_wharf/blobs/uploads/")
        .await
        .is_refused(404, "UNSUPPORTED");
}

#[tokio::test]
async fn wrong_names_are_400_and_unknown_ones_404() {
    let server = Server::start();
    for name in ["A", "a//b", "a/-b", "a..b", "a___b"] {
        server
            .admin()
            .get(&format!("/v2/{name}/tags/list"))
            .await
            .is_refused(400, "NAME_INVALID");
    }
    let digest = crate::support::content::sha256(b"x");
    for path in [
        "tags/list",
        "manifests/x",
        &format!("manifests/{digest}"),
        &format!("blobs/{digest}"),
    ] {
        server
            .admin()
            .get(&format!("/v2/no/such/{path}"))
            .await
            .is_refused(404, "NAME_UNKNOWN");
    }
}

#[tokio::test]
async fn a_token_for_a_names_with_another_port_in_the_host_header_names_that_realm() {
    let server = Server::start();
    let request = server
        .nobody()
        .ask("GET", "/v2/")
        .header("host", "registry.example:5443");
    let answer = answer(request).await;
    assert!(
        answer
            .header("www-authenticate")
            .contains("realm=\"http://registry.example:5443/token\"")
    );
}

#[tokio::test]
async fn forwarded_headers_count_from_trusted_proxies_alone() {
    let proxied = |server: &Server| {
        let request = server.nobody().ask("GET", "/v2/");
        request
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "hub.example")
    };
    let server = Server::start();
    let untrusted = answer(proxied(&server)).await;
    assert!(
        untrusted
            .header("www-authenticate")
            .contains("realm=\"http://127.0.0.1:"),
        "{untrusted:?}"
    );
    let server = Server::with("trusted_proxies = [\"127.0.0.0/8\"]");
    let trusted = answer(proxied(&server)).await;
    assert!(
        trusted
            .header("www-authenticate")
            .contains("realm=\"https://hub.example/token\""),
        "{trusted:?}"
    );
}

#[tokio::test]
async fn probes_are_open_and_extensions_are_listed() {
    let server = Server::start();
    assert_eq!(server.nobody().get("/healthz").await.status, 200);
    assert_eq!(server.nobody().get("/readyz").await.status, 200);
    let discover = server.admin().get("/v2/_oci/ext/discover").await.json();
    assert_eq!(discover["extensions"][0]["name"], "_oci");
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let server = Server::start();
    let (first, second) = (
        server.nobody().get("/healthz").await,
        server.nobody().get("/v2/").await,
    );
    assert_eq!(first.header("x-request-id").len(), 16);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[tokio::test]
async fn ns_is_never_refused_on_a_pull() {
    let server = Server::start();
    let admin = server.admin();
    admin.push_image("a/b", "t", "1").await;
    let digest = crate::support::content::sha256(b"layer 1");
    for path in [
        "manifests/t",
        &format!("blobs/{digest}"),
        &format!("referrers/{digest}"),
        "tags/list",
    ] {
        for ns in ["docker.io", "", "%20", "a%0d%0ab"] {
            let answer = admin.get(&format!("/v2/a/b/{path}?ns={ns}")).await;
            assert_eq!(answer.status, 200, "{path} {ns:?}");
            assert_eq!(answer.header("oci-namespace"), "");
        }
    }
}

#[tokio::test]
async fn a_mirrors_answer_names_the_namespace_that_it_was_asked_for() {
    let server = Server::with("namespaces = [\"docker.io=mirror/docker.io\", \"ghcr.io=mirror/ghcr.io\"]");
    let admin = server.admin();
    let hub = admin
        .push_image("mirror/docker.io/library/busybox", "latest", "hub")
        .await;
    let own = admin.push_image("library/busybox", "latest", "own").await;
    let path = "/v2/library/busybox/manifests/latest";
    for (query, body, namespace) in [
        ("?ns=docker.io", &hub, "docker.io"),
        ("?ns=quay.io", &own, ""),
        ("", &own, ""),
    ] {
        let answer = admin.get(&format!("{path}{query}")).await;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (200, body.as_slice()),
            "{query}"
        );
        assert_eq!(answer.header("oci-namespace"), namespace);
    }
    let layer = crate::support::content::sha256(b"layer hub");
    let blob = admin
        .get(&format!("/v2/library/busybox/blobs/{layer}?ns=docker.io"))
        .await;
    assert_eq!((blob.status, blob.header("oci-namespace")), (200, "docker.io"));
    // What the mirror does not have the client gets elsewhere.
    let missing = admin.get(&format!("{path}?ns=ghcr.io")).await;
    missing.is_refused(404, "NAME_UNKNOWN");
    assert_eq!(missing.header("oci-namespace"), "ghcr.io");
    // The right is asked for where the content is.
    let refused = server.nobody().get(&format!("{path}?ns=docker.io")).await;
    let challenge = refused.header("www-authenticate");
    assert!(
        challenge.ends_with("scope=\"repository:mirror/docker.io/library/busybox:pull\""),
        "{challenge}"
    );
    // A push is not a pull.
    let put = admin
        .put_manifest("library/busybox", "pushed?ns=docker.io", &own)
        .await;
    assert_eq!(
        put.header("location").split("/manifests/").next(),
        Some("/v2/library/busybox")
    );
}
