//! What machines log in with, given to people's programs as passwords: robots' secrets, API keys, jobs' JWTs.

use std::process::Command;

use tempfile::TempDir;

use crate::support::images::busybox;
use crate::support::programs::{refused, root, said, said_after, tool};
use crate::support::registry::Registry;

/// A registry, and a folder for what clients keep.
struct Scene {
    registry: Registry,
    home: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    fn with(settings: &str) -> Self {
        Self {
            registry: Registry::with(settings),
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// `skopeo copy` of an image to the registry, with this name and secret.
    fn push(&self, credentials: &str, name: &str) -> Command {
        let archive = busybox(self.home.path(), "logins");
        let mut skopeo = self.client("skopeo");
        skopeo
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .args(["--dest-creds", credentials])
            .arg(format!("oci-archive:{}", archive.display()))
            .arg(self.image(name));
        skopeo
    }

    /// `skopeo inspect` with this name and secret.
    fn look(&self, credentials: &str, name: &str) -> Command {
        let mut skopeo = self.client("skopeo");
        skopeo
            .args(["inspect", "--raw", "--tls-verify=false", "--creds", credentials])
            .arg(self.image(name));
        skopeo
    }

    fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.registry.address())
    }

    fn client(&self, program: &str) -> Command {
        let mut client = Command::new(program);
        client
            .env("HOME", self.home.path())
            .env("REGISTRY_AUTH_FILE", self.home.path().join("auth.json"))
            .env_remove("DOCKER_CONFIG");
        client
    }
}

/// The secret that a command prints, this once.
fn secret(told: &str) -> &str {
    told.split_whitespace().last().unwrap()
}

#[test]
fn a_robot_pushes_and_pulls_where_its_scope_says_and_nowhere_else() {
    let scene = Scene::new();
    let add = ["robot", "add", "ci", "--scope", "team/**:pull,push"];
    let told = scene.registry.command(&add, "");
    let credentials = format!("robot/ci:{}", secret(&told));
    said(&mut scene.push(&credentials, "team/app:1"));
    said(&mut scene.look(&credentials, "team/app:1"));
    let told = refused(&mut scene.push(&credentials, "other/app:1"));
    assert!(told.contains("denied") || told.contains("unauthorized"), "{told}");
    let mut login = scene.client("podman");
    login.args([
        "login",
        "--tls-verify=false",
        "--username",
        "robot/ci",
        "--password",
        "wrong",
    ]);
    let told = refused(login.arg(scene.registry.address()));
    assert!(told.contains("invalid username/password"), "{told}");
}

#[test]
fn an_api_key_is_its_users_password_within_its_scope() {
    let scene = Scene::new();
    let admin = scene.registry.credentials();
    said(&mut scene.push(&admin, "team/app:1"));
    scene
        .registry
        .add_user("ann", "battery staple", "team/**", "pull,push");
    let told = scene
        .registry
        .command(&["key", "add", "ann", "--scope", "team/app:pull"], "");
    let credentials = format!("ann:{}", secret(&told));
    said(&mut scene.look(&credentials, "team/app:1"));
    let told = refused(&mut scene.push(&credentials, "team/app:2"));
    assert!(told.contains("denied") || told.contains("unauthorized"), "{told}");
    let mut login = scene.client("podman");
    login.args([
        "login",
        "--tls-verify=false",
        "--username",
        "ann",
        "--password",
        credentials.trim_start_matches("ann:"),
    ]);
    assert!(said(login.arg(scene.registry.address())).contains("Login Succeeded"));
}

#[test]
fn a_job_logs_in_with_the_jwt_that_its_service_gave_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks.json");
    let issuer = "https://ci.test";
    let mut job = tool("python3");
    job.arg(root().join(".ci/xtask/tests/outside/job.py"));
    let jwt = said(job.arg(&keys).args([issuer, "wharf", "acme/app"]));
    let scene = Scene::with(&format!(
        "[[issuers]]\nname = \"ci\"\nissuer = {issuer:?}\naudience = \"wharf\"\njwks = {keys:?}\n\
         [[issuers.rules]]\nclaims = {{ repository = \"acme/*\" }}\nallow = [\"acme/**:pull,push\"]\n"
    ));
    let mut login = scene.client("podman");
    login.args([
        "login",
        "--tls-verify=false",
        "--username",
        "job",
        "--password-stdin",
    ]);
    let told = said_after(login.arg(scene.registry.address()), &jwt);
    assert!(told.contains("Login Succeeded"), "{told}");
    let mut push = scene.client("skopeo");
    let archive = busybox(scene.home.path(), "job");
    push.args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
    push.arg(format!("oci-archive:{}", archive.display()));
    said(push.arg(scene.image("acme/app:1")));
    let credentials = format!("job:{}", jwt.trim_end());
    said(&mut scene.look(&credentials, "acme/app:1"));
    let told = refused(&mut scene.push(&credentials, "other/app:1"));
    assert!(told.contains("denied") || told.contains("unauthorized"), "{told}");
}

#[test]
fn where_everyone_may_pull_clients_pull_without_a_login_and_push_with_one_alone() {
    let scene = Scene::with("anonymous = \"pull\"");
    said(&mut scene.push(&scene.registry.credentials(), "public/app:1"));
    let out = scene.home.path().join("out");
    let mut pull = scene.client("skopeo");
    pull.args([
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        "--src-no-creds",
    ]);
    said(
        pull.arg(scene.image("public/app:1"))
            .arg(format!("dir:{}", out.display())),
    );
    let mut push = scene.client("skopeo");
    push.args([
        "--insecure-policy",
        "copy",
        "--dest-tls-verify=false",
        "--dest-no-creds",
    ]);
    push.arg(format!("dir:{}", out.display()))
        .arg(scene.image("public/app:2"));
    let told = refused(&mut push);
    assert!(told.contains("denied") || told.contains("unauthorized"), "{told}");
}
