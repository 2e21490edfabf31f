//! Users of an htpasswd file, beside those of the database.

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::support::server::{Server, USER_PASSWORD, within_5_s};

/// A line as `htpasswd -B` writes it, of the cheapest cost.
fn line(name: &str, password: &str, kind: &str) -> String {
    let hash = bcrypt::hash(password, 4).unwrap();
    format!("{name}:{}\n", hash.replacen("$2b$", kind, 1))
}

/// Puts the file in the place of the old one, as an editor or Kubernetes does.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn serve(content: &str, settings: &str) -> Server {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("htpasswd");
    std::fs::write(&path, content).unwrap();
    let settings = format!("htpasswd = {:?}\n{settings}", path.to_str().unwrap());
    Server::in_folder(folder, &settings)
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn users_of_the_htpasswd_file_log_in_beside_those_of_the_database() {
    let content = format!(
        "# three kinds of bcrypt\n{}{}\n{}",
        line("bob", USER_PASSWORD, "$2y$"),
        line("ann", USER_PASSWORD, "$2a$"),
        line("eve", USER_PASSWORD, "$2b$")
    );
    let server = serve(&content, "");
    server.add_user("row");
    for name in ["bob", "ann", "eve", "row"] {
        let user = server.user(name);
        assert_eq!(user.get("/v2/").await.status, 200, "{name}");
        let app = format!("{name}/app");
        user.push_image(&app, "t", "1").await;
        let token = user.token(&[&format!("repository:{app}:pull,push,delete")]).await;
        let manifest = format!("/v2/{app}/manifests/t");
        assert_eq!(server.bearer(&token).get(&manifest).await.status, 200, "{name}");
        user.get("/v2/other/app/manifests/t")
            .await
            .is_refused(403, "DENIED");
        server
            .user_with(name, "wrong")
            .get("/v2/")
            .await
            .is_refused(401, "UNAUTHORIZED");
    }
    let offline = server.user("bob").get("/token?offline_token=true").await.json();
    assert!(offline["token"].is_string() && offline["refresh_token"].is_null());
}

#[tokio::test]
async fn rules_hold_for_users_of_the_htpasswd_file() {
    let server = serve(&line("bob", USER_PASSWORD, "$2y$"), "");
    server.admin().push_image("team/app", "t", "1").await;
    let pull = async || server.user("bob").get("/v2/team/app/manifests/t").await.status;
    assert_eq!(pull().await, 403);
    let grant = server.run(&["grant", "bob", "team/**", "pull"]);
    assert!(grant.status.success() && stderr(&grant).is_empty(), "{grant:?}");
    within_5_s(pull, 200).await;
    assert!(server.run(&["revoke", "bob", "team/**"]).status.success());
    within_5_s(pull, 403).await;
}

#[tokio::test]
async fn a_changed_htpasswd_file_holds_within_5_s_without_a_restart() {
    let both = line("bob", USER_PASSWORD, "$2y$") + &line("eve", USER_PASSWORD, "$2y$");
    let server = serve(&both, "");
    let login = async |name: &str, password: &str| server.user_with(name, password).get("/v2/").await.status;
    let token = server.user("bob").token(&[]).await;
    let bearer = async || server.bearer(&token).get("/v2/").await.status;
    assert_eq!(bearer().await, 200);
    assert_eq!(login("eve", USER_PASSWORD).await, 200);

    let path = server.beside("htpasswd");
    replace(
        &path,
        &(line("bob", "another", "$2y$") + &line("new", "third", "$2y$")),
    );
    within_5_s(bearer, 401).await;
    within_5_s(async || login("bob", USER_PASSWORD).await, 401).await;
    within_5_s(async || login("eve", USER_PASSWORD).await, 401).await;
    assert_eq!(login("bob", "another").await, 200);
    assert_eq!(login("new", "third").await, 200);
}

#[tokio::test]
async fn a_broken_htpasswd_file_keeps_the_last_one_and_is_warned_of_by_its_line() {
    let good = line("bob", USER_PASSWORD, "$2y$");
    // The password that is not yet right is tried until it is.
    let often = "limits.login_failures_account = 1000\nlimits.login_failures_address = 1000\n";
    let server = serve(&good, often);
    let path = server.beside("htpasswd");
    let hash = "$apr1$saltsalt$0123456789abcdefABCDEF";
    replace(
        &path,
        &format!("{}\nnew:{hash}\n", line("bob", "another", "$2y$")),
    );
    let log = async |text: &str| {
        assert_eq!(server.user("bob").get("/v2/").await.status, 200);
        if server.log().contains(text) { 1 } else { 0 }
    };
    within_5_s(
        async || log("line 3: the hash of new is of another kind than bcrypt").await,
        1,
    )
    .await;
    std::fs::remove_file(&path).unwrap();
    within_5_s(async || log("No such file").await, 1).await;
    assert!(
        !server.log().contains(hash) && !server.log().contains("$2y$"),
        "a hash is in the log"
    );
    replace(&path, &line("bob", "repaired", "$2y$"));
    let repaired = async || server.user_with("bob", "repaired").get("/v2/").await.status;
    within_5_s(repaired, 200).await;
}

#[tokio::test]
async fn a_broken_htpasswd_file_stops_the_start_by_its_line() {
    let mut server = serve(&line("bob", USER_PASSWORD, "$2y$"), "");
    replace(
        &server.beside("htpasswd"),
        "\nbob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n",
    );
    let check = server.run(&["config", "check"]);
    let text = stderr(&check);
    assert!(
        !check.status.success() && text.contains("line 2: ") && text.contains("htpasswd -B"),
        "{text}"
    );
    let mut start = server.command("serve");
    start.args(["--listen", "127.0.0.1:0"]);
    server.stop();
    let start = start.output().unwrap();
    assert!(
        !start.status.success() && stderr(&start).contains("line 2: "),
        "{start:?}"
    );
}

#[tokio::test]
async fn a_user_in_both_is_the_databases() {
    let content = line("admin", "of the file", "$2y$") + &line("bob", "of the file", "$2y$");
    let server = serve(
        &content,
        "limits.login_failures_account = 1000\nlimits.login_failures_address = 1000",
    );
    server.add_user("bob");
    for name in ["admin", "bob"] {
        server
            .user_with(name, "of the file")
            .get("/v2/")
            .await
            .is_refused(401, "UNAUTHORIZED");
    }
    assert_eq!(server.user("bob").get("/v2/").await.status, 200);
    assert!(server.run(&["user", "rm", "bob"]).status.success());
    within_5_s(
        async || server.user_with("bob", "of the file").get("/v2/").await.status,
        200,
    )
    .await;
    within_5_s(async || server.user("bob").get("/v2/").await.status, 401).await;
}

/// bcrypt hashes 72 bytes and drops the rest: what is longer would be right with any ending.
#[tokio::test]
async fn a_password_longer_than_bcrypt_hashes_is_refused() {
    let longest = "x".repeat(72);
    let server = serve(&line("bob", &longest, "$2y$"), "");
    let login = async |password: &str| server.user_with("bob", password).get("/v2/").await.status;
    assert_eq!(login(&longest).await, 200);
    assert_eq!(login(&format!("{longest}y")).await, 401);
    assert_eq!(login(&"x".repeat(71)).await, 401);
}

#[tokio::test]
async fn failed_logins_of_the_htpasswd_file_are_slowed() {
    let server = serve(
        &line("bob", USER_PASSWORD, "$2y$"),
        "limits.login_failures_account = 2",
    );
    for _ in 0..2 {
        server
            .user_with("bob", "wrong")
            .get("/token")
            .await
            .is_refused(401, "UNAUTHORIZED");
    }
    let answer = server.user("bob").get("/token").await;
    answer.is_refused(429, "TOOMANYREQUESTS");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
}
