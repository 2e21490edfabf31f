//! Every operation × every kind of caller, from the enum: a new operation without a row does not compile.

use serde_json::json;
use wharf_protocol::media_type::OCI_MANIFEST;
use wharf_registry::operation::Kind;

use crate::support::content::{image, sha256};
use crate::support::server::{Caller, Server, USER_PASSWORD, answer};

/// Whom an operation is open to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Everybody, whatever they show.
    ToAll,
    /// Everybody who is somebody.
    ToUsers,
    /// Holders of a token with the catalog's scope, and users by password.
    ToListers,
    /// Those whose rules, and whose token, allow it in the repository.
    ByRule,
    /// Admins by password.
    ToAdmins,
    /// Everybody who shows nothing or something right.
    ToTheHonest,
}

impl Open {
    /// Whether it is open to the owner of the repository, to `admin`, to a token of the owner's with every scope.
    fn is_open_to(self, who: &str) -> bool {
        match self {
            Self::ToTheHonest => who != "a token",
            Self::ToAdmins => who == "admin",
            Self::ToAll | Self::ToUsers | Self::ToListers | Self::ByRule => true,
        }
    }
}

/// A request that succeeds for those who may.
struct Request {
    method: &'static str,
    path: String,
    body: Vec<u8>,
}

fn request(method: &'static str, path: impl Into<String>) -> Request {
    Request {
        method,
        path: path.into(),
        body: Vec::new(),
    }
}

/// Says whom the operation is open to, and makes everything ready for it in `bob/app`.
#[expect(clippy::too_many_lines, reason = "flat table")]
async fn row(kind: Kind, owner: &Caller<'_>) -> (Open, Request) {
    let upload = || owner.begin("bob/app");
    match kind {
        Kind::Base => (Open::ToUsers, request("GET", "/v2/")),
        Kind::Discover => (Open::ToUsers, request("GET", "/v2/_oci/ext/discover")),
        Kind::ListCatalog => (Open::ToListers, request("GET", "/v2/_catalog")),
        Kind::Search => (Open::ToUsers, request("GET", "/v1/search?q=x")),
        Kind::SearchPing => (Open::ToAll, request("GET", "/v1/_ping")),
        Kind::IssueToken => (Open::ToTheHonest, request("GET", "/token")),
        Kind::ReadKeys => (Open::ToAll, request("GET", "/.well-known/jwks.json")),
        Kind::Health => (Open::ToAll, request("GET", "/healthz")),
        Kind::Ready => (Open::ToAll, request("GET", "/readyz")),
        Kind::Metrics => (Open::ToAdmins, request("GET", "/metrics")),
        Kind::ListTags => (Open::ByRule, request("GET", "/v2/bob/app/tags/list")),
        Kind::ListReferrers => (
            Open::ByRule,
            request("GET", format!("/v2/bob/app/referrers/{}", sha256(b""))),
        ),
        Kind::ReadManifest => (Open::ByRule, request("GET", "/v2/bob/app/manifests/t")),
        Kind::WriteManifest => {
            let body = serde_json::to_vec(&image(b"{}", &[])).unwrap();
            (
                Open::ByRule,
                Request {
                    body,
                    ..request("PUT", "/v2/bob/app/manifests/t")
                },
            )
        }
        Kind::DeleteManifest => (Open::ByRule, request("DELETE", "/v2/bob/app/manifests/t")),
        Kind::ReadBlob => (
            Open::ByRule,
            request("GET", format!("/v2/bob/app/blobs/{}", sha256(b"{}"))),
        ),
        Kind::DeleteBlob => {
            let blob = owner.push_blob("bob/app", b"to be deleted").await;
            (
                Open::ByRule,
                request("DELETE", format!("/v2/bob/app/blobs/{blob}")),
            )
        }
        Kind::StartUpload => (Open::ByRule, request("POST", "/v2/bob/app/blobs/uploads/")),
        Kind::PushBlob => {
            let path = format!("/v2/bob/app/blobs/uploads/?digest={}", sha256(b"x"));
            (
                Open::ByRule,
                Request {
                    body: b"x".to_vec(),
                    ..request("POST", path)
                },
            )
        }
        Kind::MountBlob => {
            let path = format!(
                "/v2/bob/app/blobs/uploads/?mount={}&from=bob/other",
                sha256(b"{}")
            );
            (Open::ByRule, request("POST", path))
        }
        Kind::ReadUpload => (Open::ByRule, request("GET", upload().await)),
        Kind::AppendUpload => (
            Open::ByRule,
            Request {
                body: b"x".to_vec(),
                ..request("PATCH", upload().await)
            },
        ),
        Kind::FinishUpload => {
            let path = format!("{}?digest={}", upload().await, sha256(b"y"));
            (
                Open::ByRule,
                Request {
                    body: b"y".to_vec(),
                    ..request("PUT", path)
                },
            )
        }
        Kind::CancelUpload => (Open::ByRule, request("DELETE", upload().await)),
    }
}

/// Makes what every request needs.
async fn prepare(owner: &Caller<'_>) {
    for name in ["bob/app", "bob/other"] {
        owner.push_blob(name, b"{}").await;
    }
    let manifest = serde_json::to_vec(&image(b"{}", &[])).unwrap();
    assert_eq!(owner.put_manifest("bob/app", "t", &manifest).await.status, 201);
}

async fn send(caller: &Caller<'_>, request: &Request) -> u16 {
    let mut sent = caller
        .ask(request.method, &request.path)
        .body(request.body.clone());
    if request.path.contains("/manifests/") {
        sent = sent.header("content-type", OCI_MANIFEST);
    }
    answer(sent).await.status
}

/// A line of an htpasswd file, with the password of every user that a test adds.
fn htpasswd_line(name: &str) -> String {
    format!("{name}:{}\n", bcrypt::hash(USER_PASSWORD, 4).unwrap())
}

#[tokio::test]
async fn every_operation_answers_every_kind_of_caller_as_its_row_says() {
    let limits = "limits.login_failures_account = 1000\nlimits.login_failures_address = 1000";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    std::fs::write(&file, htpasswd_line("ann")).unwrap();
    let server = Server::in_folder(
        folder,
        &format!("htpasswd = {:?}\n{limits}", file.to_str().unwrap()),
    );
    server.add_user("bob");
    server.add_user("eve");
    assert!(server.run(&["grant", "ann", "bob/app", "*"]).status.success());
    let narrow_robot = server.secret(&["robot", "add", "narrow", "--scope", "bob/none:*"]);
    let robot = server.secret(&["robot", "add", "ci", "--scope", "bob/app:*"]);
    let narrow_key = server.secret(&["key", "add", "bob", "--scope", "bob/none:*"]);
    let eves_key = server.secret(&["key", "add", "eve", "--scope", "**:*"]);
    let key = server.secret(&["key", "add", "bob", "--scope", "bob/app:*"]);
    let owner = server.user("bob");
    let weak = server
        .user("bob")
        .token(&["repository:bob/app:fly", "repository:bob/none:pull,push,delete"])
        .await;
    let none = server
        .nobody()
        .token(&["repository:bob/app:pull,push,delete"])
        .await;
    let strong = server
        .user("bob")
        .token(&["repository:bob/app:*", "registry:catalog:*"])
        .await;
    for kind in Kind::EVERY {
        prepare(&owner).await;
        let (open, request) = row(*kind, &owner).await;
        let denied = [
            (
                "nobody",
                server.nobody(),
                (!matches!(open, Open::ToAll | Open::ToTheHonest)).then_some(401),
            ),
            (
                "a wrong password",
                server.user_with("bob", "wrong"),
                (open != Open::ToAll).then_some(401),
            ),
            (
                "an unknown user",
                server.user_with("mallory", "wrong"),
                (open != Open::ToAll).then_some(401),
            ),
            (
                "a broken token",
                server.bearer("x"),
                (open != Open::ToAll).then_some(401),
            ),
            ("a weak token", server.bearer(&weak), rule_or_list(open)),
            ("a token of nobody", server.bearer(&none), rule_or_list(open)),
            (
                "a robot with another's secret",
                server.user_with("robot/ci", &narrow_robot),
                (open != Open::ToAll).then_some(401),
            ),
            (
                "a key of another user",
                server.user_with("bob", &eves_key),
                (open != Open::ToAll).then_some(401),
            ),
            (
                "a robot of another scope",
                server.user_with("robot/narrow", &narrow_robot),
                by_rule_or_admin(open),
            ),
            (
                "a key of another scope",
                server.user_with("bob", &narrow_key),
                by_rule_or_admin(open),
            ),
            (
                "a key that allows what its user may not",
                server.user_with("eve", &eves_key),
                by_rule_or_admin(open),
            ),
            ("another user", server.user("eve"), by_rule_or_admin(open)),
        ];
        for (who, caller, expected) in denied {
            let status = send(&caller, &request).await;
            match expected {
                Some(expected) => assert_eq!(status, expected, "{kind:?} by {who}"),
                None => assert!((200..300).contains(&status), "{kind:?} by {who}: {status}"),
            }
        }
        for (who, caller) in [
            ("the owner", owner.clone()),
            ("admin", server.admin()),
            ("a user of the htpasswd file", server.user("ann")),
            ("a robot", server.user_with("robot/ci", &robot)),
            ("a key", server.user_with("bob", &key)),
            ("a token", server.bearer(&strong)),
        ] {
            prepare(&owner).await;
            let (open, request) = row(*kind, &owner).await;
            let status = send(&caller, &request).await;
            let allowed = (200..300).contains(&status);
            assert_eq!(allowed, open.is_open_to(who), "{kind:?} by {who}: {status}");
        }
    }
}

/// What is in no rule of a user, and no user's right by being an admin, is 403.
fn by_rule_or_admin(open: Open) -> Option<u16> {
    matches!(open, Open::ByRule | Open::ToAdmins).then_some(403)
}

/// A token that lacks the scope is 401 where a scope is needed; `/token` itself takes no token, and no scope speaks of
/// what is for admins.
fn rule_or_list(open: Open) -> Option<u16> {
    match open {
        Open::ByRule | Open::ToListers | Open::ToTheHonest => Some(401),
        Open::ToAdmins => Some(403),
        Open::ToAll | Open::ToUsers => None,
    }
}

#[tokio::test]
async fn rules_give_exactly_the_actions_they_name() {
    let server = Server::start();
    server.add_user("bob");
    server.admin().push_image("team/app", "t", "1").await;
    let digest = server.admin().push_blob("team/app", b"blob").await;
    let bob = server.user("bob");
    for (actions, pull, push, delete) in [
        ("pull", 200, 403, 403),
        ("push", 403, 202, 403),
        ("delete", 403, 403, 202),
        ("pull,push", 200, 202, 403),
    ] {
        server.admin().push_blob("team/app", b"blob").await;
        assert!(server.run(&["grant", "bob", "team/*", actions]).status.success());
        let begun = std::time::Instant::now();
        loop {
            let got = (
                bob.get("/v2/team/app/manifests/t").await.status,
                bob.post("/v2/team/app/blobs/uploads/").await.status,
                bob.delete(&format!("/v2/team/app/blobs/{digest}")).await.status,
            );
            let deleted = got.2 == 404 && delete == 202;
            if got == (pull, push, delete) || (deleted && (got.0, got.1) == (pull, push)) {
                break;
            }
            assert!(begun.elapsed().as_secs() < 5, "{actions}: {got:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_rule_for_all_users_and_one_for_nobody_hold_for_those() {
    let server = Server::start();
    server.add_user("bob");
    server.admin().push_image("all/app", "t", "1").await;
    server.admin().push_image("open/app", "t", "1").await;
    assert!(server.run(&["grant", "*", "all/**", "pull"]).status.success());
    assert!(
        server
            .run(&["grant", "anonymous", "open/**", "pull"])
            .status
            .success()
    );
    let begun = std::time::Instant::now();
    let wanted = [(200, 401), (200, 200)];
    loop {
        let mut got = Vec::new();
        for name in ["all/app", "open/app"] {
            let path = format!("/v2/{name}/manifests/t");
            got.push((
                server.user("bob").get(&path).await.status,
                server.nobody().get(&path).await.status,
            ));
        }
        if got == wanted {
            return;
        }
        assert!(begun.elapsed().as_secs() < 5, "{got:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn anonymous_pull_lets_everybody_pull_and_nobody_push() {
    let server = Server::with("anonymous = \"pull\"");
    server.add_user("bob");
    server.admin().push_image("alice/app", "t", "1").await;
    let token = server.nobody().token(&["repository:alice/app:pull,push"]).await;
    for caller in [server.bearer(&token), server.user("bob"), server.nobody()] {
        assert_eq!(caller.get("/v2/alice/app/manifests/t").await.status, 200);
        assert!([401, 403].contains(&caller.post("/v2/alice/app/blobs/uploads/").await.status));
    }
    server.nobody().get("/v2/").await.is_refused(401, "UNAUTHORIZED");
    assert_eq!(
        server.nobody().get("/v2/_catalog").await.json(),
        json!({ "repositories": ["alice/app"] })
    );
}
