//! skopeo moves images in and out, in both forms, and gets the digests that it gave.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::bucket::Bucket;
use crate::support::certificate::Certificate;
use crate::support::images::{busybox, manifest_digest};
use crate::support::programs::{refused, said};
use crate::support::registry::Registry;

/// A registry, and a folder that stands for skopeo's home.
struct Scene {
    registry: Registry,
    home: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self::of(Registry::start())
    }

    fn of(registry: Registry) -> Self {
        Self {
            registry,
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn skopeo(&self, verb: &str) -> Command {
        let mut skopeo = Command::new("skopeo");
        skopeo
            .env("HOME", self.home.path())
            .env("XDG_RUNTIME_DIR", self.home.path())
            .env_remove("DOCKER_CONFIG");
        skopeo.arg("--insecure-policy").arg(verb);
        skopeo
    }

    fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.registry.address())
    }

    fn push(&self, arguments: &[&str], from: &str, name: &str) {
        let mut skopeo = self.skopeo("copy");
        skopeo.args([
            "--dest-tls-verify=false",
            "--dest-creds",
            &self.registry.credentials(),
        ]);
        said(skopeo.args(arguments).arg(from).arg(self.image(name)));
    }

    fn pull(&self, name: &str, to: &str) {
        let mut skopeo = self.skopeo("copy");
        skopeo.args([
            "--src-tls-verify=false",
            "--src-creds",
            &self.registry.credentials(),
        ]);
        said(skopeo.arg(self.image(name)).arg(to));
    }

    /// Asks about a repository or an image: `inspect`, `list-tags`, `delete`.
    fn ask(&self, verb: &str, arguments: &[&str], name: &str) -> Command {
        let mut skopeo = self.skopeo(verb);
        skopeo.args(["--tls-verify=false", "--creds", &self.registry.credentials()]);
        skopeo.args(arguments).arg(self.image(name));
        skopeo
    }

    fn archive(&self) -> String {
        format!("oci-archive:{}", busybox(self.home.path(), "skopeo").display())
    }
}

#[test]
fn an_oci_image_comes_out_with_the_digest_that_it_went_in_with() {
    let scene = Scene::new();
    let archive = scene.archive();
    scene.push(&[], &archive, "admin/busybox:1");
    let out = scene.home.path().join("out");
    scene.pull("admin/busybox:1", &format!("oci:{}:1", out.display()));
    let went_in = scene.home.path().join("in");
    said(
        scene
            .skopeo("copy")
            .arg(&archive)
            .arg(format!("oci:{}:1", went_in.display())),
    );
    let digest = |folder: &std::path::Path| manifest_digest(&fs::read(folder.join("index.json")).unwrap());
    assert_eq!(digest(&out), digest(&went_in));
    let told = said(&mut scene.ask("inspect", &["--format", "{{.Digest}}"], "admin/busybox:1"));
    assert_eq!(told.trim_end(), digest(&went_in));
}

#[test]
fn an_image_in_dockers_form_stays_in_it() {
    let scene = Scene::new();
    scene.push(&["--format", "v2s2"], &scene.archive(), "admin/busybox:docker");
    let raw = said(&mut scene.ask("inspect", &["--raw"], "admin/busybox:docker"));
    let manifest: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    let out = scene.home.path().join("out");
    scene.pull("admin/busybox:docker", &format!("dir:{}", out.display()));
    assert_eq!(fs::read_to_string(out.join("manifest.json")).unwrap(), raw);
}

#[test]
fn a_copy_within_the_registry_finds_its_layers_there() {
    let scene = Scene::new();
    scene.push(&[], &scene.archive(), "admin/busybox:1");
    let mut skopeo = scene.skopeo("copy");
    skopeo.args([
        "--src-tls-verify=false",
        "--src-creds",
        &scene.registry.credentials(),
    ]);
    skopeo.args([
        "--dest-tls-verify=false",
        "--dest-creds",
        &scene.registry.credentials(),
    ]);
    said(
        skopeo
            .arg(scene.image("admin/busybox:1"))
            .arg(scene.image("admin/copy:1")),
    );
    let digest = |name| said(&mut scene.ask("inspect", &["--format", "{{.Digest}}"], name));
    assert_eq!(digest("admin/busybox:1"), digest("admin/copy:1"));
}

#[test]
fn tags_are_listed_and_a_deleted_image_is_gone() {
    let scene = Scene::new();
    for tag in ["2", "10", "1"] {
        scene.push(&[], &scene.archive(), &format!("admin/busybox:{tag}"));
    }
    let tags: Value = serde_json::from_str(&said(&mut scene.ask("list-tags", &[], "admin/busybox"))).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["1", "10", "2"]));
    said(&mut scene.ask("delete", &[], "admin/busybox:1"));
    let told = refused(&mut scene.ask("inspect", &[], "admin/busybox:1"));
    assert!(told.contains("manifest unknown"), "{told}");
}

#[test]
fn a_wrong_password_and_no_password_are_refused() {
    let scene = Scene::new();
    scene.push(&[], &scene.archive(), "admin/busybox:1");
    let mut wrong = scene.skopeo("inspect");
    wrong
        .args(["--tls-verify=false", "--creds", "admin:wrong"])
        .arg(scene.image("admin/busybox:1"));
    let told = refused(&mut wrong);
    assert!(
        told.contains("unauthorized") || told.contains("authentication required"),
        "{told}"
    );
    let mut none = scene.skopeo("inspect");
    let told = refused(
        none.args(["--tls-verify=false", "--no-creds"])
            .arg(scene.image("admin/busybox:1")),
    );
    assert!(
        told.contains("unauthorized") || told.contains("authentication required"),
        "{told}"
    );
}

#[test]
fn blobs_that_are_in_a_bucket_come_from_there() {
    let bucket = Bucket::start();
    let scene = Scene::of(Registry::over(&bucket));
    scene.push(&[], &scene.archive(), "admin/busybox:1");
    assert_eq!(bucket.signed_reads(), 0);
    let out = scene.home.path().join("out");
    scene.pull("admin/busybox:1", &format!("dir:{}", out.display()));
    // A configuration and two layers.
    assert_eq!(bucket.signed_reads(), 3);
}

#[test]
fn a_folder_of_certificates_names_the_authority_to_trust() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::make(folder.path(), &["localhost"]);
    let scene = Scene::of(Registry::with(&certificate.settings()));
    let image = format!("docker://localhost:{}/admin/busybox:1", scene.registry.port());
    let trusted = scene.home.path().join("certs");
    fs::create_dir(&trusted).unwrap();
    fs::copy(&certificate.authority, trusted.join("ca.crt")).unwrap();
    let credentials = scene.registry.credentials();
    let mut stranger = scene.skopeo("copy");
    stranger.args(["--dest-creds", &credentials, &scene.archive(), &image]);
    let told = refused(&mut stranger);
    assert!(told.contains("x509"), "{told}");
    let mut push = scene.skopeo("copy");
    push.args(["--dest-creds", &credentials, "--dest-cert-dir"]);
    said(push.arg(&trusted).args([&scene.archive(), &image]));
    let mut pull = scene.skopeo("copy");
    pull.args(["--src-creds", &credentials, "--src-cert-dir"])
        .arg(&trusted);
    let out = scene.home.path().join("out");
    said(pull.arg(&image).arg(format!("dir:{}", out.display())));
    assert!(out.join("manifest.json").exists());
}
