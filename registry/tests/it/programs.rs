//! What programs log in with: robots and API keys.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{Server, USER_PASSWORD, within_5_s};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn names(answer: &Value) -> Vec<String> {
    let names = answer["repositories"].as_array().unwrap();
    names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_robot_logs_in_with_its_secret_and_does_what_its_scope_says() {
    let server = Server::start();
    server.admin().push_image("team/app", "t", "1").await;
    server.admin().push_image("other/app", "t", "1").await;
    let secret = server.secret(&[
        "robot",
        "add",
        "ci",
        "--scope",
        "team/**:pull,push",
        "--scope",
        "read/*:pull",
    ]);
    let robot = server.user_with("robot/ci", &secret);
    assert_eq!(robot.get("/v2/").await.status, 200);
    assert_eq!(robot.get("/v2/team/app/manifests/t").await.status, 200);
    robot.push_image("team/new", "t", "1").await;
    robot
        .delete("/v2/team/app/manifests/t")
        .await
        .is_refused(403, "DENIED");
    robot
        .get("/v2/other/app/manifests/t")
        .await
        .is_refused(403, "DENIED");
    assert_eq!(
        names(&robot.get("/v2/_catalog").await.json()),
        ["team/app", "team/new"]
    );

    let asked = [
        "repository:team/app:pull,push,delete",
        "repository:other/app:pull",
    ];
    let token = robot.token(&asked).await;
    let bearer = server.bearer(&token);
    assert_eq!(bearer.get("/v2/team/app/manifests/t").await.status, 200);
    bearer
        .delete("/v2/team/app/manifests/t")
        .await
        .is_refused(401, "UNAUTHORIZED");
    bearer
        .get("/v2/other/app/manifests/t")
        .await
        .is_refused(401, "UNAUTHORIZED");
    let offline = robot.get("/token?offline_token=true").await.json();
    assert!(offline["refresh_token"].is_null());

    for (name, secret) in [
        ("robot/ci", "wrong"),
        ("ci", &secret),
        ("robot/no", &secret),
        ("robot/", &secret),
    ] {
        let stranger = server.user_with(name, secret);
        stranger.get("/token").await.is_refused(401, "UNAUTHORIZED");
        stranger.get("/v2/").await.is_refused(401, "UNAUTHORIZED");
    }
}

/// What every user may do is no robot's right; what nobody needs a login for is.
#[tokio::test]
async fn a_robot_may_only_what_rules_give_to_it() {
    let server = Server::start();
    server.admin().push_image("all/app", "t", "1").await;
    server.admin().push_image("open/app", "t", "1").await;
    assert!(server.run(&["grant", "*", "all/**", "pull"]).status.success());
    assert!(
        server
            .run(&["grant", "anonymous", "open/**", "pull"])
            .status
            .success()
    );
    let secret = server.secret(&["robot", "add", "ci"]);
    let robot = server.user_with("robot/ci", &secret);
    assert_eq!(robot.get("/v2/open/app/manifests/t").await.status, 200);
    robot
        .get("/v2/all/app/manifests/t")
        .await
        .is_refused(403, "DENIED");
    let grant = server.run(&["grant", "robot/ci", "all/app", "pull"]);
    assert!(grant.status.success() && grant.stderr.is_empty(), "{grant:?}");
    within_5_s(async || robot.get("/v2/all/app/manifests/t").await.status, 200).await;
}

#[tokio::test]
async fn a_removed_robot_and_a_new_secret_hold_within_5_s() {
    let server = Server::start();
    let old = server.secret(&["robot", "add", "ci", "--scope", "team/**:pull"]);
    let token = server.user_with("robot/ci", &old).token(&[]).await;
    let base = async |caller: crate::support::server::Caller<'_>| caller.get("/v2/").await.status;
    assert_eq!(base(server.bearer(&token)).await, 200);
    let new = server.secret(&["robot", "add", "ci"]);
    within_5_s(async || base(server.user_with("robot/ci", &old)).await, 401).await;
    within_5_s(async || base(server.bearer(&token)).await, 401).await;
    assert_eq!(base(server.user_with("robot/ci", &new)).await, 200);
    assert!(stdout(&server.run(&["rules", "ls"])).contains("robot/ci\tteam/**\tpull\n"));
    assert!(server.run(&["robot", "rm", "ci"]).status.success());
    within_5_s(async || base(server.user_with("robot/ci", &new)).await, 401).await;
    assert!(!stdout(&server.run(&["rules", "ls"])).contains("robot/ci"));
}

#[tokio::test]
async fn robots_and_keys_end_when_they_expire_and_so_do_their_tokens() {
    let server = Server::start();
    server.add_user("bob");
    for (name, command) in [
        ("robot/ci", &["robot", "add", "ci", "--expires", "6s"][..]),
        (
            "bob",
            &["key", "add", "bob", "--scope", "**:pull", "--expires", "6s"],
        ),
    ] {
        let before = Instant::now();
        let secret = server.secret(command);
        let end = Instant::now() + Duration::from_secs(6);
        let caller = server.user_with(name, &secret);
        let token = caller.token(&[]).await;
        for caller in [caller, server.bearer(&token)] {
            assert!(
                caller.get("/v2/").await.status == 200 || Instant::now() >= before + Duration::from_secs(6)
            );
            while caller.get("/v2/").await.status != 401 {
                assert!(
                    Instant::now() < end + Duration::from_secs(5),
                    "{name} outlives its end"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(
                Instant::now() >= before + Duration::from_secs(6),
                "{name} ended too early"
            );
        }
    }
    assert!(stdout(&server.run(&["robot", "ls"])).starts_with("robot/ci\texpired 20"));
    assert!(stdout(&server.run(&["key", "ls"])).contains("\tbob\t**:pull\texpired 20"));
    assert_eq!(server.user("bob").get("/v2/").await.status, 200);
}

#[tokio::test]
async fn a_key_does_what_its_user_may_within_its_scope() {
    let server = Server::start();
    server.add_user("bob");
    server.user("bob").push_image("bob/app", "t", "1").await;
    server.user("bob").push_image("bob/web", "t", "1").await;
    server.admin().push_image("team/app", "t", "1").await;
    let secret = server.secret(&[
        "key",
        "add",
        "bob",
        "--scope",
        "bob/app:pull",
        "--scope",
        "team/**:pull",
    ]);
    let key = server.user_with("bob", &secret);
    assert_eq!(key.get("/v2/bob/app/manifests/t").await.status, 200);
    for path in ["/v2/bob/web/manifests/t", "/v2/team/app/manifests/t"] {
        key.get(path).await.is_refused(403, "DENIED");
    }
    key.delete("/v2/bob/app/manifests/t")
        .await
        .is_refused(403, "DENIED");
    assert_eq!(names(&key.get("/v2/_catalog").await.json()), ["bob/app"]);
    let hits = key.get("/v1/search?q=").await.json();
    assert_eq!(hits["num_results"], json!(1));

    let token = key
        .token(&["repository:bob/app:pull,push", "repository:bob/web:pull"])
        .await;
    let bearer = server.bearer(&token);
    assert_eq!(bearer.get("/v2/bob/app/manifests/t").await.status, 200);
    bearer
        .post("/v2/bob/app/blobs/uploads/")
        .await
        .is_refused(401, "UNAUTHORIZED");
    bearer
        .get("/v2/bob/web/manifests/t")
        .await
        .is_refused(401, "UNAUTHORIZED");

    // A right of the user's that comes or goes comes and goes for the key.
    assert!(
        server
            .run(&["grant", "bob", "team/app", "pull,push"])
            .status
            .success()
    );
    within_5_s(async || key.get("/v2/team/app/manifests/t").await.status, 200).await;
    key.post("/v2/team/app/blobs/uploads/")
        .await
        .is_refused(403, "DENIED");
}

/// A mount's source is judged by the caller's rights, which a key's scope cuts.
#[tokio::test]
async fn a_key_mounts_nothing_from_outside_its_scope() {
    let server = Server::start();
    server.add_user("bob");
    let digest = server.user("bob").push_blob("bob/private", b"blob").await;
    let secret = server.secret(&["key", "add", "bob", "--scope", "bob/app:*"]);
    let key = server.user_with("bob", &secret);
    for from in ["&from=bob/private", ""] {
        let path = format!("/v2/bob/app/blobs/uploads/?mount={digest}{from}");
        assert_eq!(key.post(&path).await.status, 202, "{from}");
        let token = key.token(&["repository:bob/app:pull,push"]).await;
        assert_eq!(server.bearer(&token).post(&path).await.status, 202, "{from}");
    }
    let path = format!("/v2/bob/app/blobs/uploads/?mount={digest}&from=bob/private");
    assert_eq!(server.user("bob").post(&path).await.status, 201);
}

#[tokio::test]
async fn a_key_of_admin_is_cut_to_its_scope_too() {
    let server = Server::start();
    server.admin().push_image("team/app", "t", "1").await;
    server.admin().push_image("other/app", "t", "1").await;
    let secret = server.secret(&["key", "add", "admin", "--scope", "team/*:pull"]);
    let key = server.user_with("admin", &secret);
    assert_eq!(key.get("/v2/team/app/manifests/t").await.status, 200);
    key.get("/v2/other/app/manifests/t")
        .await
        .is_refused(403, "DENIED");
    assert_eq!(names(&key.get("/v2/_catalog").await.json()), ["team/app"]);
}

#[tokio::test]
async fn a_removed_key_and_a_removed_user_hold_within_5_s_and_a_new_password_leaves_keys() {
    let server = Server::start();
    server.add_user("bob");
    let one = server.secret(&["key", "add", "bob", "--scope", "bob/**:*"]);
    let two = server.secret(&["key", "add", "bob", "--scope", "bob/**:pull"]);
    let token = server.user_with("bob", &one).token(&[]).await;
    let login = async |secret: &str| server.user_with("bob", secret).get("/v2/").await.status;
    let bearer = async || server.bearer(&token).get("/v2/").await.status;
    assert_eq!(
        (login(&one).await, login(&two).await, bearer().await),
        (200, 200, 200)
    );
    let listed = stdout(&server.run(&["key", "ls"]));
    let id = one.strip_prefix("wharf_ak_").unwrap().split('_').next().unwrap();
    assert!(
        listed.contains(&format!("{id}\tbob\tbob/**:pull,push,delete\tnever expires\n")),
        "{listed}"
    );
    assert!(!listed.contains(&one) && listed.lines().count() == 2, "{listed}");

    server.set_password("bob", "changed since");
    within_5_s(async || login(USER_PASSWORD).await, 401).await;
    assert_eq!((login(&one).await, bearer().await), (200, 200));
    assert!(server.run(&["key", "rm", id]).status.success());
    within_5_s(async || login(&one).await, 401).await;
    within_5_s(bearer, 401).await;
    assert_eq!(login(&two).await, 200);
    assert!(server.run(&["user", "rm", "bob"]).status.success());
    within_5_s(async || login(&two).await, 401).await;
    server.add_user("bob");
    within_5_s(async || login(USER_PASSWORD).await, 200).await;
    assert_eq!(login(&two).await, 401);
}

#[tokio::test]
async fn failed_logins_of_robots_and_keys_are_slowed_and_the_right_secret_is_not() {
    let server = Server::with("limits.login_failures_account = 2");
    server.add_user("bob");
    let robot = server.secret(&["robot", "add", "ci"]);
    let key = server.secret(&["key", "add", "bob", "--scope", "**:pull"]);
    let wrong_key = format!("{key}x");
    for (name, right, wrong) in [("robot/ci", &robot, "wrong"), ("bob", &key, &wrong_key)] {
        for _ in 0..2 {
            server
                .user_with(name, wrong)
                .get("/token")
                .await
                .is_refused(401, "UNAUTHORIZED");
        }
        let answer = server.user_with(name, wrong).get("/token").await;
        answer.is_refused(429, "TOOMANYREQUESTS");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert_eq!(
            server.user_with(name, right).get("/token").await.status,
            200,
            "{name}"
        );
    }
    assert_eq!(server.user("bob").get("/token").await.status, 200);
}

#[tokio::test]
async fn only_hashes_of_secrets_are_kept() {
    let mut server = Server::start();
    let robot = server.secret(&["robot", "add", "ci"]);
    let key = server.secret(&["key", "add", "admin", "--scope", "**:pull"]);
    let offline = server.admin().get("/token?offline_token=true").await.json();
    let refresh = offline["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(server.user_with("robot/ci", &robot).get("/v2/").await.status, 200);
    assert_eq!(server.user_with("admin", &key).get("/v2/").await.status, 200);
    server.stop();
    for entry in std::fs::read_dir(server.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for secret in [&robot, &key, &refresh] {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "a secret stands in {}", path.display());
        }
    }
}
