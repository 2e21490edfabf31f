//! Clients that fetch parts of a blob: lazy pulls, and pulls that go on where they were cut.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::bucket::Bucket;
use crate::support::containerd;
use crate::support::layout::{Layout, digest, layer};
use crate::support::machine::Machine;
use crate::support::programs::{output, refused, said};
use crate::support::registry::Registry;
use crate::support::tap::{Tap, Way};

/// Bytes that no compressor makes smaller, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

/// Says whether a line of a request asks for several ranges.
fn several(line: &str) -> bool {
    line.starts_with("Range: bytes=") && line.contains(',')
}

/// Says whether a line of an answer tells that several ranges follow.
fn multipart(line: &str) -> bool {
    line.to_ascii_lowercase()
        .starts_with("content-type: multipart/byteranges")
}

/// A machine with buildah and podman, which pulls through a tap.
struct Scene {
    registry: Registry,
    tap: Tap,
    machine: Machine,
}

impl Scene {
    /// Files of an image, each incompressible, and how large each is.
    const FILES: u64 = 40;
    const FILE_BYTES: usize = 50_000;

    fn of(registry: Registry) -> Self {
        let scene = Self {
            tap: Tap::before(registry.address()),
            registry,
            machine: Machine::on_our_network(),
        };
        let at = |name: &str| scene.machine.folder().join(name);
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n[storage.options]\n\
             pull_options = {{ enable_partial_images = \"true\" }}\n",
            at("storage"),
            at("run")
        );
        fs::write(at("storage.conf"), storage).unwrap();
        let registries = format!(
            "[[registry]]\nlocation = \"{}\"\ninsecure = true\n",
            scene.tap.address()
        );
        fs::write(at("registries.conf"), registries).unwrap();
        scene
    }

    fn program(&self, name: &str) -> Command {
        let mut command = self.machine.command(name);
        command
            .env(
                "CONTAINERS_STORAGE_CONF",
                self.machine.folder().join("storage.conf"),
            )
            .env(
                "CONTAINERS_REGISTRIES_CONF",
                self.machine.folder().join("registries.conf"),
            );
        command
    }

    /// Pushes an image of 40 files in zstd:chunked, those in `changed` others than usual.
    fn push(&self, name: &str, changed: &[u64]) {
        let context = self.machine.folder().join("context");
        fs::create_dir_all(context.join("d")).unwrap();
        for file in 0..Self::FILES {
            let seed = if changed.contains(&file) {
                1000 + file
            } else {
                1 + file
            };
            fs::write(
                context.join(format!("d/{file:02}")),
                noise(seed, Self::FILE_BYTES),
            )
            .unwrap();
        }
        fs::write(context.join("Containerfile"), "FROM scratch\nCOPY d /d\n").unwrap();
        let (root, run) = (self.machine.folder().join("b"), self.machine.folder().join("br"));
        let buildah = || {
            let mut buildah = self.program("buildah");
            buildah
                .arg("--root")
                .arg(&root)
                .arg("--runroot")
                .arg(&run)
                .arg("--storage-driver=vfs");
            buildah
        };
        said(buildah().args(["bud", "--quiet", "--tag", "made"]).arg(&context));
        said(
            buildah()
                .args([
                    "push",
                    "--quiet",
                    "--tls-verify=false",
                    "--compression-format=zstd:chunked",
                ])
                .args(["--creds", &self.registry.credentials(), "made"])
                .arg(format!("docker://{}/{name}", self.registry.address())),
        );
    }

    /// Pulls with podman and returns what it logged.
    fn pull(&self, name: &str) -> String {
        let mut pull = self.program("podman");
        let name = format!("{}/{name}", self.tap.address());
        pull.args([
            "--log-level=debug",
            "pull",
            "--creds",
            &self.registry.credentials(),
            &name,
        ]);
        let output = output(&mut pull);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        told
    }
}

#[test]
fn podman_pulls_of_a_chunked_image_only_the_files_it_lacks_in_one_request() {
    let scene = Scene::of(Registry::start());
    scene.push("admin/app:1", &[]);
    scene.push("admin/app:2", &[3, 9, 15, 22, 30]);
    assert!(scene.pull("admin/app:1").contains("Retrieved partial blob"));
    let before = scene.tap.bytes(Way::Down);
    let requests = scene.tap.said().len();
    assert!(scene.pull("admin/app:2").contains("Retrieved partial blob"));
    let said_now = scene.tap.said();
    let ranges = said_now
        .iter()
        .skip(requests)
        .find(|line| several(line))
        .unwrap_or_else(|| panic!("no request for several ranges: {said_now:#?}"));
    // Neighbours are joined; five files far apart are not.
    assert!(ranges.matches(',').count() >= 4, "{ranges}");
    let heard = scene.tap.heard();
    assert!(heard.iter().any(|line| multipart(line)), "{heard:#?}");
    let moved = scene.tap.bytes(Way::Down) - before;
    let whole = Scene::FILES * Scene::FILE_BYTES as u64;
    assert!(moved < whole / 3, "{moved} of {whole} bytes");
}

/// A bucket answers one range at most.
#[test]
fn a_request_for_several_ranges_is_never_sent_to_the_bucket() {
    let bucket = Bucket::start();
    let scene = Scene::of(Registry::over(&bucket));
    scene.push("admin/app:1", &[]);
    scene.push("admin/app:2", &[3, 9, 15, 22, 30]);
    for name in ["admin/app:1", "admin/app:2"] {
        assert!(scene.pull(name).contains("Retrieved partial blob"));
    }
    let (said, heard) = (scene.tap.said(), scene.tap.heard());
    let sent_on = heard
        .iter()
        .filter(|line| line.starts_with("HTTP/1.1 307"))
        .count();
    assert_eq!(sent_on, bucket.signed_reads(), "{heard:#?}");
    assert!(sent_on > 0, "{heard:#?}");
    let asked = said.iter().filter(|line| several(line)).count();
    assert!(asked > 0, "{said:#?}");
    let answered = heard.iter().filter(|line| multipart(line)).count();
    assert_eq!(answered, asked, "{heard:#?}");
}

/// stargz's snapshotter, as its `fs/remote/resolver.go` asks: a probe of two bytes tells where all the rest is fetched,
/// `HEAD` how much that is, then come several ranges in one request.
#[test]
fn stargz_is_kept_here_by_its_probe_and_gets_its_ranges_in_parts() {
    let bucket = Bucket::start();
    let registry = Registry::over(&bucket);
    let home = tempfile::tempdir().unwrap();
    let mut layout = Layout::new(&home.path().join("layout"));
    let tar = layer("/noise", &noise(3, 300_000));
    let image = layout.image("amd64", &[tar]);
    let from = layout.name(image, "1");
    let skopeo = |verb: &str, flags: [&str; 2]| {
        let mut skopeo = Command::new("skopeo");
        skopeo.env("HOME", home.path()).env_remove("DOCKER_CONFIG");
        skopeo.args(["--insecure-policy", verb]).args(flags);
        skopeo.arg(registry.credentials());
        skopeo
    };
    let to = format!("docker://{}/admin/lazy:1", registry.address());
    said(skopeo("copy", ["--dest-tls-verify=false", "--dest-creds"]).args([&from, &to]));
    let raw = said(skopeo("inspect", ["--tls-verify=false", "--creds"]).args(["--raw", &to]));
    let manifest: Value = serde_json::from_str(&raw).unwrap();
    let named = manifest["layers"][0]["digest"].as_str().unwrap();
    let size = manifest["layers"][0]["size"].as_u64().unwrap();
    let ask = |more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--include",
            "--user",
            &registry.credentials(),
        ]);
        curl.args(["--header", "Accept-Encoding: identity"]).args(more);
        let url = format!("http://{}/v2/admin/lazy/blobs/{named}", registry.address());
        let answer = output(curl.arg(url)).stdout;
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(ask(&["--header", "Range: bytes=0-1"]).starts_with("HTTP/1.1 206"));
    let head = ask(&["--head"]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains(&format!("content-length: {}", size)), "{head}");
    let parts = ask(&["--header", "Range: bytes=0-511,100000-199999,250000-250099"]);
    assert!(parts.starts_with("HTTP/1.1 206"), "{parts}");
    assert!(parts.contains("content-type: multipart/byteranges"));
    for range in ["0-511", "100000-199999", "250000-250099"] {
        let told = format!("bytes {range}/{}", size);
        assert_eq!(parts.matches(&told).count(), 1, "{range}");
    }
    assert_eq!(bucket.signed_reads(), 0);
    assert!(ask(&[]).starts_with("HTTP/1.1 307"));
}

#[test]
fn containerd_goes_on_where_its_download_was_cut() {
    let registry = Registry::start();
    let tap = Tap::before(registry.address());
    let machine = Machine::on_our_network();
    let at = |name: &str| machine.folder().join(name);
    let mut layout = Layout::new(&at("layout"));
    let tar = layer("/noise", &noise(7, 8 << 20));
    let image = layout.image("amd64", &[tar]);
    let from = layout.name(image, "1");
    let mut skopeo = machine.command("skopeo");
    said(
        skopeo
            .args([
                "--insecure-policy",
                "copy",
                "--dest-tls-verify=false",
                "--dest-creds",
            ])
            .args([&registry.credentials(), &from])
            .arg(format!("docker://{}/admin/big:1", registry.address())),
    );
    containerd::start(&machine);
    tap.cut(Way::Down, 4 << 20);
    let name = format!("{}/admin/big:1", tap.address());
    let mut fetch = containerd::ctr(&machine);
    fetch.args([
        "content",
        "fetch",
        "--plain-http",
        "--user",
        &registry.credentials(),
        &name,
    ]);
    said(&mut fetch);
    assert!(tap.was_cut());
    let asked = tap.said();
    assert!(
        asked.iter().any(|line| line.starts_with("Range: bytes=")
            && line.ends_with('-')
            && line != "Range: bytes=0-"),
        "{asked:#?}"
    );
}

#[test]
fn a_push_that_was_cut_shows_nothing_and_is_repeated_without_what_arrived() {
    let registry = Registry::start();
    let tap = Tap::before(registry.address());
    let home = tempfile::tempdir().unwrap();
    let mut layout = Layout::new(&home.path().join("layout"));
    let tars = [
        layer("/small", &noise(1, 100_000)),
        layer("/big", &noise(2, 16 << 20)),
    ];
    let image = layout.image("amd64", &tars);
    let from = layout.name(image, "1");
    let skopeo = |verb: &str| {
        let mut skopeo = Command::new("skopeo");
        skopeo.env("HOME", home.path()).env_remove("DOCKER_CONFIG");
        skopeo.args(["--insecure-policy", verb]);
        skopeo
    };
    let push = |to: &str| {
        let mut copy = skopeo("copy");
        copy.args([
            "--dest-tls-verify=false",
            "--dest-creds",
            &registry.credentials(),
            &from,
        ]);
        copy.arg(format!("docker://{to}/admin/cut:1"));
        copy
    };
    tap.cut(Way::Up, 8 << 20);
    refused(&mut push(&tap.address()));
    assert!(tap.was_cut());
    let inspect = || {
        let mut inspect = skopeo("inspect");
        inspect.args(["--raw", "--tls-verify=false", "--creds", &registry.credentials()]);
        inspect.arg(format!("docker://{}/admin/cut:1", registry.address()));
        inspect
    };
    let told = refused(&mut inspect());
    assert!(told.contains("unknown"), "{told}");
    said(&mut push(&tap.address()));
    let manifest: Value = serde_json::from_str(&said(&mut inspect())).unwrap();
    let sizes: u64 = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["size"].as_u64().unwrap())
        .sum();
    assert!(
        tap.bytes(Way::Up) < 2 * sizes,
        "{} of {sizes}",
        tap.bytes(Way::Up)
    );
    let out = home.path().join("out");
    let mut pull = skopeo("copy");
    pull.args(["--src-tls-verify=false", "--src-creds", &registry.credentials()]);
    said(
        pull.arg(format!("docker://{}/admin/cut:1", registry.address()))
            .arg(format!("dir:{}", out.display())),
    );
    for layer in manifest["layers"].as_array().unwrap() {
        let named = layer["digest"].as_str().unwrap();
        let bytes = fs::read(out.join(named.strip_prefix("sha256:").unwrap())).unwrap();
        assert_eq!(digest(&bytes), named);
    }
}
