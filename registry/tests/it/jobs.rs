//! CI jobs and service accounts: a JWT of an issuer of the settings in a password's place.

mod issuer;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::issuer::{Issuer, Key, now_s};
use crate::support::server::{Answer, Server, answer};

/// Settings for an issuer whose jobs of `acme/app` push to `acme/**`, and of any ref pull from `base/**`.
fn settings(url: &str, more: &str) -> String {
    format!(
        r#"
        [[issuers]]
        name = "ci"
        issuer = "{url}"
        audience = "wharf.example"
        {more}
        [[issuers.rules]]
        claims = {{ repository = "acme/app", ref = "refs/heads/*" }}
        allow = ["acme/**:pull,push"]
        [[issuers.rules]]
        claims = {{ repository = "acme/*" }}
        allow = ["base/**:pull"]
        "#
    )
}

fn claims(url: &str) -> Value {
    json!({
        "iss": url, "aud": "wharf.example", "sub": "repo:acme/app:ref:refs/heads/main",
        "iat": now_s(), "nbf": now_s(), "exp": now_s() + 300,
        "repository": "acme/app", "ref": "refs/heads/main",
    })
}

/// The claims with some of them changed.
fn with(url: &str, changes: Value) -> Value {
    let mut claims = claims(url);
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

async fn token(server: &Server, jwt: &str) -> Answer {
    let path = "/token?service=wharf-registry&scope=repository:acme/app:pull,push,delete%20repository:base/x:pull,push";
    server.user_with("jwt", jwt).get(path).await
}

#[tokio::test]
async fn a_job_gets_a_token_for_its_jwt_and_pushes_with_it() {
    let issuer = Issuer::start(vec![Key::es256("one")]).await;
    let server = Server::with(&settings(&issuer.url, ""));
    let jwt = issuer.sign("one", &claims(&issuer.url));
    let document = token(&server, &jwt).await.json();
    let token = document["token"].as_str().unwrap();
    let ours = issuer::payload(token);
    assert_eq!(ours["sub"], "ci:repo:acme/app:ref:refs/heads/main");
    let access = json!([
        { "type": "repository", "name": "acme/app", "actions": ["pull", "push"] },
        { "type": "repository", "name": "base/x", "actions": ["pull"] },
    ]);
    assert_eq!(ours["access"], access);
    assert!(document["refresh_token"].is_null());

    let bearer = server.bearer(token);
    bearer.push_image("acme/app", "t", "1").await;
    assert_eq!(bearer.get("/v2/acme/app/manifests/t").await.status, 200);
    bearer
        .delete("/v2/acme/app/manifests/t")
        .await
        .is_refused(401, "UNAUTHORIZED");
    bearer
        .post("/v2/base/x/blobs/uploads/")
        .await
        .is_refused(401, "UNAUTHORIZED");

    // As it is, and in OAuth2's form.
    let direct = server.user_with("whatever", &jwt);
    assert_eq!(direct.get("/v2/acme/app/manifests/t").await.status, 200);
    direct
        .delete("/v2/acme/app/manifests/t")
        .await
        .is_refused(403, "DENIED");
    let form: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "password"),
            ("username", "jwt"),
            ("password", &jwt),
        ])
        .extend_pairs([("scope", "repository:acme/app:push"), ("access_type", "offline")])
        .finish();
    let document = answer(server.nobody().ask("POST", "/token").body(form))
        .await
        .json();
    assert_eq!(document["scope"], "repository:acme/app:push");
    assert!(document["refresh_token"].is_null());
    assert!(!server.log().contains(&jwt) && !server.log().contains(token));
}

#[tokio::test]
async fn a_jwts_claims_decide_which_rules_are_for_it() {
    let issuer = Issuer::start(vec![Key::rs256("rsa")]).await;
    let server = Server::with(&settings(&issuer.url, ""));
    let ask = async |changes: Value| token(&server, &issuer.sign("rsa", &with(&issuer.url, changes))).await;
    let access =
        |answer: &Answer| issuer::payload(answer.json()["token"].as_str().unwrap())["access"].clone();
    let tag = ask(json!({ "ref": "refs/tags/v1" })).await;
    assert_eq!(
        access(&tag),
        json!([{ "type": "repository", "name": "base/x", "actions": ["pull"] }])
    );
    for changes in [
        json!({ "repository": "evil/app" }),
        json!({ "repository": ["x", 7] }),
        json!({ "repository": null }),
    ] {
        let refused = ask(changes).await;
        refused.is_refused(401, "UNAUTHORIZED");
        let message = refused.json()["errors"][0]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.contains("no rule"), "{message}");
    }
}

/// JWTs that the issuer did not sign so, each with what is wrong with it.
fn forged(issuer: &Issuer) -> Vec<(String, String)> {
    let url = &issuer.url;
    let (good, stranger) = (claims(url), Key::es256("one"));
    let signed = issuer.sign("one", &good);
    let other_claims = with(url, json!({ "repository": "acme/other" }));
    let forged = [
        ("another's key of the same id", stranger.sign(&good)),
        ("a key that it brings", stranger.sign_with_own_key(&good)),
        ("no algorithm", issuer::unsigned(&good)),
        (
            "the public key as a shared secret",
            issuer.signed_by_public_key("rsa", &good),
        ),
        (
            "a critical header",
            issuer.sign_with("one", &good, json!({ "crit": ["b64"] })),
        ),
        (
            "the other key's id",
            issuer.sign_with("one", &good, json!({ "kid": "rsa" })),
        ),
        (
            "an unknown id",
            issuer.sign_with("one", &good, json!({ "kid": "none" })),
        ),
        (
            "a cut signature",
            signed.strip_suffix(|_: char| true).unwrap().to_owned(),
        ),
        (
            "other claims under the signature",
            issuer::with_payload(&signed, &other_claims),
        ),
        (
            "another issuer",
            issuer.sign("one", &with(url, json!({ "iss": "https://i.example" }))),
        ),
    ];
    forged.map(|(why, jwt)| (why.to_owned(), jwt)).into()
}

#[tokio::test]
async fn a_jwt_that_is_not_for_us_not_now_or_not_the_issuers_is_refused() {
    let issuer = Issuer::start(vec![Key::es256("one"), Key::rs256("rsa")]).await;
    let url = &issuer.url;
    let limits = "limits.login_failures_account = 1000\nlimits.login_failures_address = 1000\n";
    let server = Server::with(&format!("{limits}{}", settings(url, "")));
    assert_eq!(
        token(&server, &issuer.sign("one", &claims(url))).await.status,
        200
    );
    let several = with(url, json!({ "aud": ["other", "wharf.example"] }));
    assert_eq!(token(&server, &issuer.sign("rsa", &several)).await.status, 200);

    let mut refused = Vec::new();
    for changes in [
        json!({ "aud": "other.example" }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "exp": now_s() - 60 }),
        json!({ "exp": null }),
        json!({ "exp": "never" }),
        json!({ "nbf": now_s() + 120 }),
        json!({ "sub": "" }),
        json!({ "sub": "a\u{0}b" }),
        json!({ "sub": "x".repeat(256) }),
    ] {
        refused.push((changes.to_string(), issuer.sign("one", &with(url, changes))));
    }
    refused.extend(forged(&issuer));
    for (why, jwt) in refused {
        token(&server, &jwt).await.is_refused(401, "UNAUTHORIZED");
        let status = server
            .user_with("jwt", &jwt)
            .get("/v2/acme/app/tags/list")
            .await
            .status;
        assert_eq!(status, 401, "{why}");
    }
}

/// A JWT without a key id is good where one key alone could have signed it.
#[tokio::test]
async fn a_jwt_without_a_key_id_is_good_where_one_key_fits() {
    let issuer = Issuer::start(vec![Key::es256("one"), Key::rs256("rsa")]).await;
    let limits = "limits.login_failures_account = 1000\nlimits.login_failures_address = 1000\n";
    let server = Server::with(&format!("{limits}{}", settings(&issuer.url, "")));
    let nameless = issuer.sign_with("one", &claims(&issuer.url), json!({ "kid": null }));
    assert_eq!(token(&server, &nameless).await.status, 200);
    issuer.replace(vec![issuer.key("one"), Key::es256("two")]);
    // The keys are asked for again by a key that is not known.
    let known = async || {
        token(&server, &issuer.sign("two", &claims(&issuer.url)))
            .await
            .status
    };
    wait_for(known, 200, Duration::from_secs(10)).await;
    token(&server, &nameless).await.is_refused(401, "UNAUTHORIZED");
}

async fn wait_for(mut ask: impl AsyncFnMut() -> u16, wanted: u16, at_most: Duration) {
    let begun = Instant::now();
    loop {
        let status = ask().await;
        if status == wanted {
            return;
        }
        assert!(begun.elapsed() < at_most, "still {status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn keys_are_fetched_once_again_for_a_new_key_and_not_for_every_made_up_one() {
    let issuer = Issuer::start(vec![Key::es256("one")]).await;
    let limits = "limits.login_failures_account = 1000\nlimits.login_failures_address = 1000\n";
    let server = Server::with(&format!("{limits}{}", settings(&issuer.url, "")));
    assert_eq!(issuer.asked(), 0, "nothing is fetched before it is needed");
    for _ in 0..5 {
        assert_eq!(
            token(&server, &issuer.sign("one", &claims(&issuer.url)))
                .await
                .status,
            200
        );
    }
    assert_eq!(issuer.asked(), 1);

    let begun = Instant::now();
    issuer.replace(vec![Key::es256("two")]);
    let new = async || {
        token(&server, &issuer.sign("two", &claims(&issuer.url)))
            .await
            .status
    };
    wait_for(new, 200, Duration::from_secs(10)).await;
    for n in 0..20 {
        let jwt = issuer.sign_with(
            "two",
            &claims(&issuer.url),
            json!({ "kid": format!("made-up-{n}") }),
        );
        token(&server, &jwt).await.is_refused(401, "UNAUTHORIZED");
    }
    let most = 2 + begun.elapsed().as_secs() / 5;
    assert!(
        u64::from(issuer.asked()) <= most,
        "{} fetches, at most {most}",
        issuer.asked()
    );
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_503_and_its_last_keys_go_on() {
    let issuer = Issuer::start(vec![Key::es256("one")]).await;
    let server = Server::with(&settings(&issuer.url, ""));
    issuer.fail(true);
    let jwt = issuer.sign("one", &claims(&issuer.url));
    let answer = token(&server, &jwt).await;
    answer.is_refused(503, "TOOMANYREQUESTS");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(
        server.log().contains("the keys of an issuer cannot be had"),
        "{}",
        server.log()
    );
    issuer.fail(false);
    wait_for(
        async || token(&server, &jwt).await.status,
        200,
        Duration::from_secs(10),
    )
    .await;
    issuer.fail(true);
    assert_eq!(token(&server, &jwt).await.status, 200);
}

/// An issuer's description of itself is data: what it points at must not be what only we can reach.
#[tokio::test]
async fn a_discovery_document_leads_to_no_private_address_and_no_redirect_is_followed() {
    let issuer = Issuer::start(vec![Key::es256("one")]).await;
    let server = Server::with(&settings(&issuer.url, ""));
    let jwt = issuer.sign("one", &claims(&issuer.url));
    let port = issuer.url.rsplit_once(':').unwrap().1;
    for (uri, why) in [
        (format!("http://127.0.0.2:{port}/keys"), "no public address"),
        (format!("http://[::1]:{port}/keys"), "no public address"),
        (format!("http://localhost:{port}/keys"), "no public address"),
        ("file:///etc/passwd".to_owned(), "no https URL"),
        (format!("{}/redirect", issuer.url), "302"),
    ] {
        issuer.point_at(&uri);
        let logged = async || {
            assert_eq!(token(&server, &jwt).await.status, 503, "{uri}");
            server.log().lines().filter(|line| line.contains(why)).count() > 0
        };
        let begun = Instant::now();
        while !logged().await {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{why} is not in {}",
                server.log()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(issuer.asked(), 0, "{uri}");
    }
}

#[tokio::test]
async fn keys_come_from_a_file_or_an_address_of_the_settings_too() {
    let issuer = Issuer::start(vec![Key::es256("one")]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, issuer.jwks().to_string()).unwrap();
    let file = format!("jwks = {:?}", path.to_str().unwrap());
    let server = Server::in_folder(folder, &settings("https://kubernetes.default.svc", &file));
    let cluster = claims("https://kubernetes.default.svc");
    assert_eq!(token(&server, &issuer.sign("one", &cluster)).await.status, 200);
    assert_eq!(issuer.asked(), 0);
    issuer.replace(vec![Key::es256("two")]);
    let old = issuer.jwks();
    std::fs::write(server.beside("jwks.json"), old.to_string()).unwrap();
    let new = async || token(&server, &issuer.sign("two", &cluster)).await.status;
    crate::support::server::within_5_s(new, 200).await;

    let server = Server::with(&settings(
        "https://i.example",
        &format!("jwks = \"{}/keys\"", issuer.url),
    ));
    assert_eq!(
        token(&server, &issuer.sign("two", &claims("https://i.example")))
            .await
            .status,
        200
    );
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn tokens_of_jobs_end_with_the_issuers_settings() {
    let issuer = Issuer::start(vec![Key::es256("one")]).await;
    let mut server = Server::with(&settings(&issuer.url, ""));
    let document = token(&server, &issuer.sign("one", &claims(&issuer.url)))
        .await
        .json();
    let ours = document["token"].as_str().unwrap().to_owned();
    assert_eq!(server.bearer(&ours).get("/v2/").await.status, 200);
    server.stop();
    server.start_again();
    assert_eq!(server.bearer(&ours).get("/v2/").await.status, 200);
    server.stop();
    let changed = settings(&issuer.url, "").replace("acme/**:pull,push", "acme/**:pull");
    std::fs::write(server.beside("config.toml"), changed).unwrap();
    server.start_again();
    assert_eq!(server.bearer(&ours).get("/v2/").await.status, 401);
}

#[tokio::test]
async fn bad_jwts_are_slowed_and_good_ones_are_not() {
    let issuer = Issuer::start(vec![Key::es256("one")]).await;
    let server = Server::with(&format!(
        "limits.login_failures_account = 2\n{}",
        settings(&issuer.url, "")
    ));
    let bad = Key::es256("one").sign(&claims(&issuer.url));
    for _ in 0..2 {
        token(&server, &bad).await.is_refused(401, "UNAUTHORIZED");
    }
    let slowed = token(&server, &bad).await;
    slowed.is_refused(429, "TOOMANYREQUESTS");
    assert!(slowed.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(
        token(&server, &issuer.sign("one", &claims(&issuer.url)))
            .await
            .status,
        200
    );
}
