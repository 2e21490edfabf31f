//! skopeo with many images and many tags, and with images as few tools make them.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::images::busybox;
use crate::support::layout::{IMAGE, Layout, digest, layer};
use crate::support::programs::{refused, said, tool};
use crate::support::registry::Registry;
use crate::support::tap::Tap;

/// A registry, and a folder that stands for skopeo's home.
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

    fn skopeo(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut skopeo = Command::new("skopeo");
        skopeo.env("HOME", self.home.path()).env_remove("DOCKER_CONFIG");
        skopeo.args(["--insecure-policy", verb]).args(arguments);
        skopeo
    }

    fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.registry.address())
    }

    fn push(&self, arguments: &[&str], from: &str, name: &str) {
        let mut copy = self.skopeo("copy", &["--dest-tls-verify=false", "--dest-creds"]);
        copy.arg(self.registry.credentials()).args(arguments);
        said(copy.args([from, &self.image(name)]));
    }

    fn pull(&self, arguments: &[&str], name: &str, to: &str) {
        let mut copy = self.skopeo("copy", &["--src-tls-verify=false", "--src-creds"]);
        copy.arg(self.registry.credentials()).args(arguments);
        said(copy.args([&self.image(name), to]));
    }

    fn ask(&self, verb: &str, arguments: &[&str], name: &str) -> Command {
        let mut ask = self.skopeo(verb, &["--tls-verify=false", "--creds"]);
        ask.arg(self.registry.credentials())
            .args(arguments)
            .arg(self.image(name));
        ask
    }

    fn raw(&self, name: &str) -> String {
        said(&mut self.ask("inspect", &["--raw"], name))
    }

    fn layout(&self) -> Layout {
        Layout::new(&self.home.path().join("layout"))
    }

    /// `curl` against the registry, as the administrator.
    fn curl(&self, arguments: &[&str], path: &str) -> String {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--fail",
            "--user",
            &self.registry.credentials(),
        ]);
        said(
            curl.args(arguments)
                .arg(format!("http://{}{path}", self.registry.address())),
        )
    }
}

#[test]
fn an_index_is_copied_with_all_its_images_and_keeps_its_digests() {
    let scene = Scene::new();
    let mut layout = scene.layout();
    let images = ["amd64", "arm64", "s390x"]
        .map(|architecture| layout.image(architecture, &[layer("/hello", architecture.as_bytes())]));
    let from = layout.name(layout.index(&images), "1");
    scene.push(&["--all"], &from, "admin/app:1");
    let index = scene.raw("admin/app:1");
    let listed: Value = serde_json::from_str(&index).unwrap();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 3);
    let mut copy = scene.skopeo("copy", &["--all", "--preserve-digests"]);
    let credentials = scene.registry.credentials();
    copy.args(["--src-tls-verify=false", "--src-creds", &credentials]);
    copy.args(["--dest-tls-verify=false", "--dest-creds", &credentials]);
    said(copy.args([scene.image("admin/app:1"), scene.image("other/app:2")]));
    assert_eq!(scene.raw("other/app:2"), index);
    for manifest in listed["manifests"].as_array().unwrap() {
        let named = manifest["digest"].as_str().unwrap();
        assert_eq!(digest(scene.raw(&format!("other/app@{named}")).as_bytes()), named);
    }
    let out = scene.home.path().join("out");
    scene.pull(
        &["--override-arch", "s390x"],
        "admin/app:1",
        &format!("dir:{}", out.display()),
    );
    let manifest = fs::read(out.join("manifest.json")).unwrap();
    assert_eq!(
        digest(&manifest),
        listed["manifests"][2]["digest"].as_str().unwrap()
    );
}

#[test]
fn a_sync_brings_every_tag_to_a_folder_and_back() {
    let scene = Scene::new();
    let archive = format!("oci-archive:{}", busybox(scene.home.path(), "sync").display());
    for tag in ["1", "2", "three"] {
        scene.push(&[], &archive, &format!("admin/busybox:{tag}"));
    }
    let folder = scene.home.path().join("mirror");
    fs::create_dir(&folder).unwrap();
    let credentials = scene.registry.credentials();
    let mut out = scene.skopeo("sync", &["--src=docker", "--dest=dir", "--src-tls-verify=false"]);
    out.args(["--src-creds", &credentials]);
    said(
        out.arg(format!("{}/admin/busybox", scene.registry.address()))
            .arg(&folder),
    );
    let mut back = scene.skopeo("sync", &["--src=dir", "--dest=docker", "--dest-tls-verify=false"]);
    back.args(["--dest-creds", &credentials]);
    said(
        back.arg(&folder)
            .arg(format!("{}/mirror", scene.registry.address())),
    );
    for tag in ["1", "2", "three"] {
        assert_eq!(
            scene.raw(&format!("mirror/busybox:{tag}")),
            scene.raw(&format!("admin/busybox:{tag}"))
        );
    }
}

#[test]
fn more_than_a_thousand_tags_are_listed_whole_and_page_by_page() {
    let scene = Scene::with("[limits]\nmanifest_tags = 1000\npage_entries = 100");
    let archive = format!("oci-archive:{}", busybox(scene.home.path(), "tags").display());
    scene.push(&[], &archive, "admin/busybox:first");
    let manifest = scene.home.path().join("manifest");
    fs::write(&manifest, scene.raw("admin/busybox:first")).unwrap();
    let named = digest(&fs::read(&manifest).unwrap());
    let tags: Vec<String> = (0..1200).map(|number| format!("t{number:04}")).collect();
    let body = format!("@{}", manifest.display());
    for some in tags.chunks(600) {
        let query = format!("tag={}", some.join("&tag="));
        let image = format!("Content-Type: {IMAGE}");
        let put = ["--request", "PUT", "--header", &image, "--data-binary", &body];
        scene.curl(&put, &format!("/v2/admin/busybox/manifests/{named}?{query}"));
    }
    let listed = said(&mut scene.ask("list-tags", &[], "admin/busybox"));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let expected: Vec<&str> = std::iter::once("first")
        .chain(tags.iter().map(String::as_str))
        .collect();
    assert_eq!(listed["Tags"], json!(expected));
    // oras asks for a number of tags and follows each page's `Link` to the next.
    let tap = Tap::before(scene.registry.address());
    let script = "import sys; from oras.client import OrasClient
client = OrasClient(hostname=sys.argv[1], insecure=True, auth_backend='basic')
client.login(username='admin', password=sys.argv[2], hostname=sys.argv[1])
print(' '.join(client.get_tags(sys.argv[1] + '/admin/busybox', 1201)))";
    let mut oras = tool("python3");
    oras.env("HOME", scene.home.path()).env_remove("DOCKER_CONFIG");
    let paged = said(oras.args(["-c", script, &tap.address(), &scene.registry.password()]));
    assert_eq!(paged.split_whitespace().collect::<Vec<_>>(), expected);
    let pages = tap.said();
    let pages = pages
        .iter()
        .filter(|line| line.starts_with("GET /v2/admin/busybox/tags/list?"));
    assert!(pages.count() >= 13, "a page holds a hundred at most");
}

#[test]
fn an_image_deleted_by_one_tag_is_gone_by_all() {
    let scene = Scene::new();
    let archive = format!("oci-archive:{}", busybox(scene.home.path(), "delete").display());
    for name in ["admin/busybox:1", "admin/busybox:2"] {
        scene.push(&[], &archive, name);
    }
    // skopeo asks for the tag's digest and deletes by that.
    said(&mut scene.ask("delete", &[], "admin/busybox:1"));
    let told = refused(&mut scene.ask("inspect", &[], "admin/busybox:2"));
    assert!(told.contains("manifest unknown"), "{told}");
}

#[test]
fn where_deletes_are_off_skopeo_is_told_so_and_the_image_stays() {
    let scene = Scene::with("deletes = false");
    let archive = format!("oci-archive:{}", busybox(scene.home.path(), "delete").display());
    scene.push(&[], &archive, "admin/busybox:1");
    let told = refused(&mut scene.ask("delete", &[], "admin/busybox:1"));
    assert!(told.contains("405") || told.contains("unsupported"), "{told}");
    scene.raw("admin/busybox:1");
}

#[test]
fn a_layer_that_may_not_be_handed_on_stays_where_its_address_says() {
    let scene = Scene::new();
    let mut layout = scene.layout();
    let own = layer("/own", b"own");
    let foreign = layer("/foreign", b"of another");
    let kept = layout.blob("application/vnd.oci.image.layer.v1.tar", &own);
    let elsewhere = json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest": digest(&foreign),
        "size": foreign.len(),
        "urls": ["http://127.0.0.1:1/foreign"],
    });
    let image = layout.image_of(
        "amd64",
        &[kept, elsewhere.clone()],
        &[digest(&own), digest(&foreign)],
    );
    let from = layout.name(image, "1");
    scene.push(&["--preserve-digests"], &from, "admin/foreign:1");
    let manifest: Value = serde_json::from_str(&scene.raw("admin/foreign:1")).unwrap();
    assert_eq!(manifest["layers"][1], elsewhere);
}

#[test]
fn signatures_by_their_tag_are_copied_listed_and_go_with_what_they_sign() {
    let scene = Scene::new();
    let archive = format!("oci-archive:{}", busybox(scene.home.path(), "signed").display());
    scene.push(&[], &archive, "admin/signed:1");
    let signed = digest(scene.raw("admin/signed:1").as_bytes());
    let mut layout = scene.layout();
    let payload = layout.blob(
        "application/vnd.dev.cosign.simplesigning.v1+json",
        b"{\"critical\":{}}",
    );
    let signature = layout.image_of("", &[payload], &[digest(b"{\"critical\":{}}")]);
    let from = layout.name(signature, "sig");
    let tag = format!("{}.sig", signed.replace(':', "-"));
    scene.push(&["--preserve-digests"], &from, &format!("admin/signed:{tag}"));
    let listed: Value =
        serde_json::from_str(&said(&mut scene.ask("list-tags", &[], "admin/signed"))).unwrap();
    assert_eq!(listed["Tags"], json!(["1", tag]));
    said(&mut scene.ask("delete", &[], "admin/signed:1"));
    let told = refused(&mut scene.ask("inspect", &["--raw"], &format!("admin/signed:{tag}")));
    assert!(told.contains("unknown"), "{told}");
}

#[test]
fn a_layer_of_a_hundred_megabytes_goes_in_and_comes_out() {
    let scene = Scene::new();
    let mut layout = scene.layout();
    let tar = layer("/zeros", &vec![0; 110 << 20]);
    let diff_id = digest(&tar);
    // Stored, not compressed: as many bytes go over the wire, and skopeo leaves them as they are.
    let mut stored = GzEncoder::new(Vec::new(), Compression::none());
    stored.write_all(&tar).unwrap();
    let gzip = stored.finish().unwrap();
    let big = layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", &gzip);
    let image = layout.image_of("amd64", std::slice::from_ref(&big), &[diff_id]);
    let from = layout.name(image, "1");
    scene.push(&[], &from, "admin/big:1");
    let out = scene.home.path().join("out");
    scene.pull(&[], "admin/big:1", &format!("dir:{}", out.display()));
    let named = big["digest"].as_str().unwrap();
    let got = fs::read(out.join(named.strip_prefix("sha256:").unwrap())).unwrap();
    assert_eq!(got.len() as u64, big["size"].as_u64().unwrap());
    assert_eq!(digest(&got), named);
}
