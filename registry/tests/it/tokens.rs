//! `/token`, and what tokens allow.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::server::{ADMIN_PASSWORD, Answer, Server, USER_PASSWORD, answer, within_5_s};

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn form(server: &Server, fields: &[(&str, &str)]) -> Answer {
    let body: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = server.nobody().ask("POST", "/token");
    answer(
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body),
    )
    .await
}

#[tokio::test]
async fn a_token_holds_the_claims_of_the_contract() {
    let server = Server::start();
    let answer = server
        .admin()
        .get("/token?service=wharf-registry&scope=repository:a/b:pull,push")
        .await;
    let document = answer.json();
    assert_eq!(document["token"], document["access_token"]);
    assert!(document["expires_in"].as_u64().unwrap() >= 60);
    assert!(document["issued_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(document["refresh_token"], Value::Null);
    let token = document["token"].as_str().unwrap();
    let claims = claims(token);
    assert_eq!(claims["sub"], "admin");
    assert_eq!(claims["aud"], "wharf-registry");
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        300
    );
    assert!(
        !claims["jti"].as_str().unwrap().is_empty() && claims["nbf"].is_i64() && claims["iss"].is_string()
    );
    let access = json!([{ "type": "repository", "name": "a/b", "actions": ["pull", "push"] }]);
    assert_eq!(claims["access"], access);
}

#[tokio::test]
async fn the_published_keys_hold_the_key_of_a_token() {
    let server = Server::start();
    let token = server.admin().token(&[]).await;
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    let keys = server.nobody().get("/.well-known/jwks.json").await.json();
    assert_eq!(header["alg"], "ES256");
    assert_eq!(keys["keys"][0]["kid"], header["kid"]);
    assert_eq!(keys["keys"][0]["crv"], "P-256");
    assert_eq!(keys["keys"][0]["d"], Value::Null);
}

#[tokio::test]
async fn scopes_are_repeated_or_separated_by_spaces_and_cut_to_what_is_allowed() {
    let server = Server::start();
    server.add_user("bob");
    let path =
        "/token?scope=repository:bob/a:pull,push%20repository:alice/b:pull&scope=repository:bob/c:pull,fly";
    let access = claims(
        server.user("bob").get(path).await.json()["token"]
            .as_str()
            .unwrap(),
    )["access"]
        .clone();
    assert_eq!(
        access,
        json!([
            { "type": "repository", "name": "bob/a", "actions": ["pull", "push"] },
            { "type": "repository", "name": "bob/c", "actions": ["pull"] },
        ])
    );
}

#[tokio::test]
async fn nobody_gets_a_token_that_allows_nothing_and_wrong_credentials_get_401() {
    let server = Server::start();
    let token = server.nobody().token(&["repository:a/b:pull"]).await;
    assert_eq!(claims(&token)["access"], json!([]));
    assert_eq!(server.bearer(&token).get("/v2/").await.status, 200);
    server
        .user_with("admin", "wrong")
        .get("/token")
        .await
        .is_refused(401, "UNAUTHORIZED");
    server
        .user_with("who", "wrong")
        .get("/token?scope=repository:a/b:pull")
        .await
        .is_refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn wrong_credentials_are_401_even_where_nobody_would_do() {
    let server = Server::with("anonymous = \"pull\"");
    server
        .user_with("admin", "wrong")
        .get("/token")
        .await
        .is_refused(401, "UNAUTHORIZED");
    let token = server.nobody().token(&["repository:a/b:pull,push"]).await;
    assert_eq!(claims(&token)["access"][0]["actions"], json!(["pull"]));
}

#[tokio::test]
async fn the_oauth2_form_gives_tokens_by_password_and_by_refresh_token() {
    let server = Server::start();
    let fields = [
        ("grant_type", "password"),
        ("service", "wharf-registry"),
        ("client_id", "test"),
        ("username", "admin"),
        ("password", ADMIN_PASSWORD),
        ("access_type", "offline"),
        ("scope", "repository:a/b:pull"),
    ];
    let document = form(&server, &fields).await.json();
    assert_eq!(document["scope"], "repository:a/b:pull");
    let refresh = document["refresh_token"].as_str().unwrap();
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh),
        ("scope", "repository:a/b:push"),
    ];
    let refreshed = form(&server, &fields).await.json();
    assert_eq!(refreshed["scope"], "repository:a/b:push");
    assert_eq!(refreshed["refresh_token"], refresh);
    let token = refreshed["access_token"].as_str().unwrap();
    assert_eq!(
        server.bearer(token).post("/v2/a/b/blobs/uploads/").await.status,
        202
    );

    form(
        &server,
        &[("grant_type", "refresh_token"), ("refresh_token", "no")],
    )
    .await
    .is_refused(401, "UNAUTHORIZED");
    let wrong = [
        ("grant_type", "password"),
        ("username", "admin"),
        ("password", "no"),
    ];
    form(&server, &wrong).await.is_refused(401, "UNAUTHORIZED");
    form(&server, &[("grant_type", "magic")])
        .await
        .is_refused(400, "UNSUPPORTED");
    form(&server, &[]).await.is_refused(400, "UNSUPPORTED");
}

#[tokio::test]
async fn offline_token_asks_for_a_refresh_token_which_dies_with_the_password() {
    let server = Server::start();
    server.add_user("bob");
    let document = server
        .user("bob")
        .get("/token?offline_token=true&client_id=docker")
        .await
        .json();
    let refresh = document["refresh_token"].as_str().unwrap().to_owned();
    let use_it = async || {
        form(
            &server,
            &[("grant_type", "refresh_token"), ("refresh_token", &refresh)],
        )
        .await
        .status
    };
    assert_eq!(use_it().await, 200);
    server.set_password("bob", "another password");
    within_5_s(use_it, 401).await;
}

#[tokio::test]
async fn a_refresh_token_dies_with_its_user() {
    let server = Server::start();
    server.add_user("bob");
    let document = server.user("bob").get("/token?offline_token=true").await.json();
    let refresh = document["refresh_token"].as_str().unwrap().to_owned();
    let fields = [("grant_type", "refresh_token"), ("refresh_token", &refresh)];
    assert_eq!(form(&server, &fields).await.status, 200);
    assert!(server.run(&["user", "rm", "bob"]).status.success());
    within_5_s(async || form(&server, &fields).await.status, 401).await;
    server.add_user("bob");
    within_5_s(async || server.user("bob").get("/token").await.status, 200).await;
    assert_eq!(form(&server, &fields).await.status, 401);
}

/// Clients add what others understand: an `account`, a query of their own, scopes of other kinds, none at all.
#[tokio::test]
async fn what_a_token_request_holds_beside_its_scopes_changes_nothing() {
    let server = Server::start();
    for query in [
        "",
        "?",
        "?scope=",
        "?service=another&account=mallory&x=y&x=z",
        "?scope=repository(plugin):&scope=registry:network:*&scope=%F0%9F%90%B3",
    ] {
        let answer = server.admin().get(&format!("/token{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        let claims = claims(answer.json()["token"].as_str().unwrap());
        assert_eq!(
            (&claims["access"], &claims["sub"]),
            (&json!([]), &json!("admin")),
            "{query}"
        );
    }
    let fields = [
        ("grant_type", "password"),
        ("username", "admin"),
        ("password", ADMIN_PASSWORD),
        ("scope", "repository:a/b:pull repository:a/b:push"),
        ("scope", "repository:a/c:pull"),
        ("more", "of it"),
    ];
    let document = form(&server, &fields).await.json();
    assert_eq!(document["scope"], "repository:a/b:pull,push repository:a/c:pull");
    assert!(document["expires_in"].as_u64().unwrap() >= 60);
    assert_eq!(document["refresh_token"], Value::Null);
}

/// A key signs for 30 days and verifies for 60: its row is made older while the server is stopped.
#[tokio::test]
async fn keys_are_rotated_and_the_old_one_verifies_on() {
    use sqlx::Connection as _;

    let kid = |token: &str| {
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<Value>(&header).unwrap()["kid"].clone()
    };
    let mut server = Server::start();
    let old = server.admin().token(&[]).await;
    server.stop();
    let path = server.data_dir().join("registry.db");
    let url = format!("sqlite:{}", path.display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let month_ms = 31 * 86_400_000_i64;
    let aged =
        sqlx::query("UPDATE signing_keys SET created_ms = created_ms - $1, expires_ms = expires_ms - $1");
    assert_eq!(
        aged.bind(month_ms)
            .execute(&mut database)
            .await
            .unwrap()
            .rows_affected(),
        1
    );
    database.close().await.unwrap();
    server.start_again();
    let new = server.admin().token(&[]).await;
    assert_ne!(kid(&new), kid(&old));
    let published = server.nobody().get("/.well-known/jwks.json").await.json();
    let kids: Vec<&Value> = published["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["kid"])
        .collect();
    assert_eq!(kids, [&kid(&new), &kid(&old)]);
    for token in [&old, &new] {
        assert_eq!(server.bearer(token).get("/v2/").await.status, 200);
    }
}

#[tokio::test]
async fn a_token_with_a_star_may_do_all_that_its_user_may() {
    let server = Server::start();
    server.add_user("bob");
    let token = server.user("bob").token(&["repository:bob/app:*"]).await;
    server.user("bob").push_image("bob/app", "t", "1").await;
    assert_eq!(
        server
            .bearer(&token)
            .delete("/v2/bob/app/manifests/t")
            .await
            .status,
        202
    );
    let token = server.user("bob").token(&["repository:alice/app:*"]).await;
    assert_eq!(claims(&token)["access"], json!([]));
}

#[tokio::test]
async fn a_name_with_a_port_is_no_repository_and_no_error() {
    let server = Server::start();
    let token = server
        .admin()
        .token(&["repository:host:5000/app:pull", "nonsense"])
        .await;
    assert_eq!(claims(&token)["access"], json!([]));
}

#[tokio::test]
async fn changed_rights_hold_within_5_s_for_tokens_and_passwords() {
    let server = Server::start();
    server.add_user("bob");
    server.admin().push_image("team/app", "t", "1").await;
    let path = "/v2/team/app/manifests/t";
    let basic = async || server.user("bob").get(path).await.status;
    assert_eq!(basic().await, 403);
    assert!(server.run(&["grant", "bob", "team/**", "pull"]).status.success());
    within_5_s(basic, 200).await;
    let token = server.user("bob").token(&["repository:team/app:pull"]).await;
    let bearer = async || server.bearer(&token).get(path).await.status;
    assert_eq!(bearer().await, 200);
    assert!(server.run(&["revoke", "bob", "team/**"]).status.success());
    within_5_s(bearer, 401).await;
    within_5_s(basic, 403).await;
}

#[tokio::test]
async fn a_removed_user_and_a_changed_password_stop_tokens_and_logins_within_5_s() {
    let server = Server::start();
    server.add_user("bob");
    server.add_user("eve");
    let token = server.user("bob").token(&[]).await;
    let bearer = async || server.bearer(&token).get("/v2/").await.status;
    assert_eq!(bearer().await, 200);
    server.set_password("bob", "changed since");
    within_5_s(bearer, 401).await;
    within_5_s(
        async || server.user_with("bob", USER_PASSWORD).get("/v2/").await.status,
        401,
    )
    .await;
    assert_eq!(server.user("eve").get("/v2/").await.status, 200);
    assert!(server.run(&["user", "rm", "eve"]).status.success());
    within_5_s(async || server.user("eve").get("/v2/").await.status, 401).await;
}

#[tokio::test]
async fn tokens_outlive_a_restart() {
    let mut server = Server::start();
    let token = server.admin().token(&[]).await;
    server.stop();
    server.start_again();
    assert_eq!(server.bearer(&token).get("/v2/").await.status, 200);
}

/// CVE-2025-24976: a token must not bring the key that verifies it.
#[tokio::test]
async fn cve_2025_24976_a_token_with_a_key_of_its_own_is_refused() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let server = Server::start();
    let good = server.admin().token(&[]).await;
    let kid = URL_SAFE_NO_PAD.decode(good.split('.').next().unwrap()).unwrap();
    let kid = serde_json::from_slice::<Value>(&kid).unwrap()["kid"]
        .as_str()
        .unwrap()
        .to_owned();
    let pair = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &aws_lc_rs::rand::SystemRandom::new(),
    )
    .unwrap();
    let key = jsonwebtoken::EncodingKey::from_ec_der(pair.as_ref());
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    header.jwk =
        Some(jsonwebtoken::jwk::Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::ES256).unwrap());
    for kid in [None, Some(kid), Some("own".to_owned())] {
        header.kid = kid;
        let forged = jsonwebtoken::encode(&header, &claims(&good), &key).unwrap();
        server
            .bearer(&forged)
            .get("/v2/")
            .await
            .is_refused(401, "UNAUTHORIZED");
    }
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let unsigned = format!("{unsigned}.{}.", good.split('.').nth(1).unwrap());
    server
        .bearer(&unsigned)
        .get("/v2/")
        .await
        .is_refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn too_many_scopes_are_refused_by_the_limits_name() {
    let server = Server::start();
    let scopes: Vec<String> = (0..65).map(|n| format!("scope=repository:a/r{n}:pull")).collect();
    let answer = server.admin().get(&format!("/token?{}", scopes.join("&"))).await;
    answer.is_refused(400, "UNSUPPORTED");
    assert!(
        answer.json()["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("limits.token_scopes")
    );
}

#[tokio::test]
async fn failed_logins_are_slowed_by_account_with_retry_after() {
    let server = Server::with("limits.login_failures_account = 3");
    server.add_user("bob");
    for _ in 0..3 {
        server
            .user_with("bob", "wrong")
            .get("/token")
            .await
            .is_refused(401, "UNAUTHORIZED");
    }
    for caller in [server.user_with("bob", "wrong"), server.user("bob")] {
        let answer = caller.get("/token").await;
        answer.is_refused(429, "TOOMANYREQUESTS");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(server.admin().get("/token").await.status, 200);
}

#[tokio::test]
async fn failed_logins_are_slowed_by_address_and_a_remembered_password_is_not() {
    let server = Server::with("limits.login_failures_address = 3");
    assert_eq!(server.admin().get("/token").await.status, 200);
    for n in 0..3 {
        server
            .user_with(&format!("u{n}"), "wrong")
            .get("/token")
            .await
            .is_refused(401, "UNAUTHORIZED");
    }
    server
        .user_with("u9", "wrong")
        .get("/v2/")
        .await
        .is_refused(429, "TOOMANYREQUESTS");
    assert_eq!(server.admin().get("/token").await.status, 200);
}
