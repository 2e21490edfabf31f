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

/// What callers show, made once.
struct Shown {
    /// Tokens of bob: without the scope, and with it; and one of nobody.
    weak: String,
    strong: String,
    none: String,
    /// Secrets of robots with `bob/app`, and with another repository.
    robot: String,
    narrow_robot: String,
    /// Keys of bob with `bob/app`, and with another repository; one of eve with everything.
    key: String,
    narrow_key: String,
    eves_key: String,
}

impl Shown {
    async fn make(server: &Server) -> Self {
        let bob = server.user("bob");
        let every = "repository:bob/app:pull,push,delete";
        Self {
            weak: bob
                .token(&["repository:bob/app:fly", "repository:bob/none:pull,push,delete"])
                .await,
            strong: bob.token(&["repository:bob/app:*", "registry:catalog:*"]).await,
            none: server.nobody().token(&[every]).await,
            robot: server.secret(&["robot", "add", "ci", "--scope", "bob/app:*"]),
            narrow_robot: server.secret(&["robot", "add", "narrow", "--scope", "bob/none:*"]),
            key: server.secret(&["key", "add", "bob", "--scope", "bob/app:*"]),
            narrow_key: server.secret(&["key", "add", "bob", "--scope", "bob/none:*"]),
            eves_key: server.secret(&["key", "add", "eve", "--scope", "**:*"]),
        }
    }

    /// Callers who are refused what a row is not open for, each with the status.
    fn refused<'s>(&self, server: &'s Server, open: Open) -> Vec<(&'static str, Caller<'s>, Option<u16>)> {
        let wrong = (open != Open::ToAll).then_some(401);
        let forbidden = by_rule_or_admin(open);
        let nobody = (!matches!(open, Open::ToAll | Open::ToTheHonest)).then_some(401);
        let basic = |name: &str, password: &str| server.user_with(name, password);
        vec![
            ("nobody", server.nobody(), nobody),
            ("a wrong password", basic("bob", "wrong"), wrong),
            ("an unknown user", basic("mallory", "wrong"), wrong),
            ("a broken token", server.bearer("x"), wrong),
            ("a weak token", server.bearer(&self.weak), rule_or_list(open)),
            ("a token of nobody", server.bearer(&self.none), rule_or_list(open)),
            (
                "a robot with another's secret",
                basic("robot/ci", &self.narrow_robot),
                wrong,
            ),
            ("a key of another user", basic("bob", &self.eves_key), wrong),
            ("another user", server.user("eve"), forbidden),
            (
                "a robot of another scope",
                basic("robot/narrow", &self.narrow_robot),
                forbidden,
            ),
            (
                "a key of another scope",
                basic("bob", &self.narrow_key),
                forbidden,
            ),
            (
                "a key that allows what its user may not",
                basic("eve", &self.eves_key),
                forbidden,
            ),
        ]
    }

    /// Callers who may do everything in `bob/app`.
    fn allowed<'s>(&self, server: &'s Server) -> Vec<(&'static str, Caller<'s>)> {
        vec![
            ("the owner", server.user("bob")),
            ("admin", server.admin()),
            ("a user of the htpasswd file", server.user("ann")),
            ("a robot", server.user_with("robot/ci", &self.robot)),
            ("a key", server.user_with("bob", &self.key)),
            ("a token", server.bearer(&self.strong)),
        ]
    }
}

#[tokio::test]
async fn every_operation_answers_every_kind_of_caller_as_its_row_says() {
    let limits = "limits.login_failures_account = 1000\nlimits.login_failures_address = 1000";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    std::fs::write(
        &file,
        format!("ann:{}\n", bcrypt::hash(USER_PASSWORD, 4).unwrap()),
    )
    .unwrap();
    let settings = format!("htpasswd = {:?}\n{limits}", file.to_str().unwrap());
    let server = Server::in_folder(folder, &settings);
    server.add_user("bob");
    server.add_user("eve");
    assert!(server.run(&["grant", "ann", "bob/app", "*"]).status.success());
    let owner = server.user("bob");
    let shown = Shown::make(&server).await;
    for kind in Kind::EVERY {
        prepare(&owner).await;
        let (open, request) = row(*kind, &owner).await;
        for (who, caller, expected) in shown.refused(&server, open) {
            let status = send(&caller, &request).await;
            match expected {
                Some(expected) => assert_eq!(status, expected, "{kind:?} by {who}"),
                None => assert!((200..300).contains(&status), "{kind:?} by {who}: {status}"),
            }
        }
        for (who, caller) in shown.allowed(&server) {
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
