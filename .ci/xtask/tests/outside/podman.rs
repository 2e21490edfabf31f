//! podman pushes, searches and pulls.

use std::process::Command;

use tempfile::TempDir;

use crate::support::images::busybox;
use crate::support::programs::{refused, said};
use crate::support::registry::Registry;

/// A registry, and folders that stand for a machine with podman.
struct Scene {
    registry: Registry,
    machine: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    fn with(settings: &str) -> Self {
        let scene = Self {
            registry: Registry::with(settings),
            machine: tempfile::tempdir().unwrap(),
        };
        // Without a file of its own podman would ask the registries that this machine names.
        let registries = format!(
            "[[registry]]\nlocation = \"{}\"\ninsecure = true\n",
            scene.registry.address()
        );
        std::fs::write(scene.machine.path().join("registries.conf"), registries).unwrap();
        scene
    }

    fn podman(&self) -> Command {
        let at = |name: &str| self.machine.path().join(name);
        let mut podman = Command::new("podman");
        podman
            .env("HOME", self.machine.path())
            .env("REGISTRY_AUTH_FILE", at("auth.json"));
        podman
            .env("CONTAINERS_REGISTRIES_CONF", at("registries.conf"))
            .env_remove("DOCKER_CONFIG");
        podman
            .arg("--root")
            .arg(at("storage"))
            .arg("--runroot")
            .arg(at("run"))
            .arg("--tmpdir")
            .arg(at("tmp"));
        podman.args([
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
        ]);
        podman
    }

    fn login(&self) {
        let (address, password) = (self.registry.address(), self.registry.password());
        let mut podman = self.podman();
        podman.args(["login", "--username", "admin", "--password", &password, address]);
        assert!(said(&mut podman).contains("Login Succeeded"));
    }

    fn logout(&self) {
        said(self.podman().args(["logout", self.registry.address()]));
    }

    /// Pushes busybox under these names.
    fn push(&self, images: &[&str]) {
        let archive = busybox(self.machine.path(), "podman");
        said(self.podman().arg("load").arg("--input").arg(archive));
        for image in images {
            let mut push = self.podman();
            said(push.args(["push", "localhost/busybox:1", &self.name(image)]));
        }
    }

    /// `podman search` for a term in the registry.
    fn search(&self, term: &str) -> Command {
        let mut search = self.podman();
        search.args(["search", "--format", "{{.Name}}", &self.name(term)]);
        search
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.registry.address())
    }
}

#[test]
fn an_image_pushed_and_removed_is_pulled_back_the_same() {
    let scene = Scene::new();
    scene.login();
    let archive = busybox(scene.machine.path(), "podman");
    said(scene.podman().arg("load").arg("--input").arg(archive));
    let name = scene.name("admin/busybox:1");
    said(scene.podman().args(["tag", "localhost/busybox:1", &name]));
    said(scene.podman().args(["push", &name]));
    let id = |image: &str| {
        said(
            scene
                .podman()
                .args(["image", "inspect", "--format", "{{.Id}}", image]),
        )
    };
    let before = id(&name);
    said(scene.podman().args(["rmi", "--all"]));
    said(scene.podman().args(["pull", &name]));
    assert_eq!(id(&name), before);
}

#[test]
fn a_search_with_a_login_finds_what_the_user_may_pull() {
    let scene = Scene::new();
    scene.login();
    scene.push(&["admin/busybox:1"]);
    let found = said(&mut scene.search("busy"));
    assert_eq!(found.trim_end(), scene.name("admin/busybox"));
}

#[test]
fn a_search_without_a_login_is_refused_unless_everyone_may_pull() {
    for (settings, open) in [("", false), ("anonymous = \"pull\"", true)] {
        let scene = Scene::with(settings);
        scene.login();
        scene.push(&["admin/busybox:1"]);
        scene.logout();
        if open {
            let found = said(&mut scene.search("busy"));
            assert_eq!(found.trim_end(), scene.name("admin/busybox"));
        } else {
            let told = refused(&mut scene.search("busy"));
            assert!(told.contains("auth"), "{told}");
        }
    }
}

#[test]
fn a_search_shows_nobody_what_they_may_not_pull() {
    let scene = Scene::new();
    scene.login();
    scene.push(&["admin/busybox:1", "team/busybox:1"]);
    scene.logout();
    scene
        .registry
        .add_user("ann", "battery staple", "team/**", "pull");
    let mut login = scene.podman();
    login.args(["login", "--username", "ann", "--password", "battery staple"]);
    said(login.arg(scene.registry.address()));
    let found = said(&mut scene.search("busy"));
    assert_eq!(found.trim_end(), scene.name("team/busybox"));
}

#[test]
fn the_tags_of_a_repository_are_searched() {
    let scene = Scene::new();
    scene.login();
    scene.push(&["admin/busybox:2", "admin/busybox:1"]);
    let mut search = scene.podman();
    let found = said(search.args(["search", "--list-tags", &scene.name("admin/busybox")]));
    let tags: Vec<&str> = found
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(tags, ["1", "2"], "{found}");
}
