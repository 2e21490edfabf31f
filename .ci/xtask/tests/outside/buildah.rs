//! buildah builds, pushes and pulls, one platform or several.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::programs::{ours, output, refused, said};
use crate::support::registry::Registry;

/// A registry, and a folder that stands for a machine with buildah.
struct Scene {
    registry: Registry,
    machine: TempDir,
}

impl Scene {
    fn new() -> Self {
        let machine = tempfile::tempdir().unwrap();
        // Some of its commands want the file that they are told of.
        fs::write(machine.path().join("auth.json"), "{}").unwrap();
        Self {
            registry: Registry::start(),
            machine,
        }
    }

    fn buildah(&self) -> Command {
        let at = |name: &str| self.machine.path().join(name);
        let mut buildah = Command::new("buildah");
        buildah
            .env("HOME", self.machine.path())
            .env("REGISTRY_AUTH_FILE", at("auth.json"))
            .env_remove("DOCKER_CONFIG")
            .arg("--root")
            .arg(at("storage"))
            .arg("--runroot")
            .arg(at("run"))
            .arg("--storage-driver=vfs");
        buildah
    }

    fn login(&self) {
        let mut login = self.buildah();
        login.args(["login", "--tls-verify=false", "--username", "admin", "--password"]);
        let told = said(login.args([&self.registry.password(), self.registry.address()]));
        assert!(told.contains("Login Succeeded"), "{told}");
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.registry.address())
    }

    /// Builds an image that holds a file with this text.
    fn build(&self, text: &str, arguments: &[&str]) {
        let context = self.machine.path().join("context");
        fs::create_dir_all(&context).unwrap();
        fs::write(context.join("mark"), text).unwrap();
        fs::write(
            context.join("Containerfile"),
            "FROM scratch\nCOPY mark /mark\nLABEL mark=yes\nCMD [\"/mark\"]\n",
        )
        .unwrap();
        let mut bud = self.buildah();
        said(bud.args(["bud", "--quiet"]).args(arguments).arg(context));
    }

    fn id(&self, name: &str) -> String {
        said(
            self.buildah()
                .args(["inspect", "--type=image", "--format", "{{.FromImageID}}", name]),
        )
    }

    fn raw(&self, name: &str) -> Value {
        let mut skopeo = Command::new("skopeo");
        let raw = said(
            skopeo
                .env("HOME", self.machine.path())
                .args(["inspect", "--raw", "--tls-verify=false", "--creds"])
                .arg(self.registry.credentials())
                .arg(format!("docker://{}", self.name(name))),
        );
        serde_json::from_str(&raw).unwrap()
    }
}

#[test]
fn what_it_builds_and_pushes_it_pulls_back_the_same() {
    let scene = Scene::new();
    scene.login();
    let name = scene.name("admin/built:1");
    scene.build("built", &["--tag", &name]);
    let before = scene.id(&name);
    said(
        scene
            .buildah()
            .args(["push", "--quiet", "--tls-verify=false", &name]),
    );
    said(scene.buildah().args(["rmi", "--all"]));
    said(
        scene
            .buildah()
            .args(["pull", "--quiet", "--tls-verify=false", &name]),
    );
    assert_eq!(scene.id(&name), before);
    said(scene.buildah().args(["logout", scene.registry.address()]));
    said(scene.buildah().args(["rmi", "--all"]));
    let told = refused(
        scene
            .buildah()
            .args(["pull", "--quiet", "--tls-verify=false", &name]),
    );
    assert!(
        told.contains("unauthorized") || told.contains("authentication required"),
        "{told}"
    );
}

#[test]
fn a_build_starts_from_an_image_of_the_registry() {
    let scene = Scene::new();
    scene.login();
    let base = scene.name("admin/base:1");
    scene.build("base", &["--tag", &base]);
    said(
        scene
            .buildah()
            .args(["push", "--quiet", "--tls-verify=false", &base]),
    );
    said(scene.buildah().args(["rmi", "--all"]));
    let file = scene.machine.path().join("Containerfile");
    fs::write(&file, format!("FROM {base}\nLABEL child=yes\n")).unwrap();
    let mut bud = scene.buildah();
    bud.args(["bud", "--quiet", "--tls-verify=false", "--tag", "child", "--file"]);
    said(bud.arg(&file).arg(scene.machine.path().join("context")));
    let mut inspect = scene.buildah();
    inspect.args([
        "inspect",
        "--type=image",
        "--format",
        "{{.OCIv1.Config.Labels.mark}} {{.OCIv1.Config.Labels.child}}",
        "child",
    ]);
    assert_eq!(said(&mut inspect).trim_end(), "yes yes");
}

#[test]
fn a_manifest_list_is_pushed_with_all_its_images_and_read_back() {
    let scene = Scene::new();
    scene.login();
    let list = scene.name("admin/list:1");
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        scene.build(architecture, &["--platform", &platform, "--manifest", &list]);
    }
    let mut push = scene.buildah();
    said(push.args([
        "manifest",
        "push",
        "--all",
        "--tls-verify=false",
        &list,
        &format!("docker://{list}"),
    ]));
    let index = scene.raw("admin/list:1");
    let listed: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|manifest| manifest["platform"]["architecture"].as_str().unwrap())
        .collect();
    assert_eq!(listed, ["amd64", "arm64"]);
    said(scene.buildah().args(["manifest", "rm", &list]));
    said(scene.buildah().args(["rmi", "--all", "--force"]));
    let mut pull = scene.buildah();
    said(pull.args(["pull", "--quiet", "--tls-verify=false", "--arch", "arm64", &list]));
    let mut inspect = scene.buildah();
    inspect.args([
        "inspect",
        "--type=image",
        "--format",
        "{{.OCIv1.Architecture}}",
        &list,
    ]);
    assert_eq!(said(&mut inspect).trim_end(), "arm64");
}

#[test]
fn layers_in_zstd_stay_in_it() {
    let scene = Scene::new();
    scene.login();
    let name = scene.name("admin/zstd:1");
    scene.build(&"packed ".repeat(10_000), &["--tag", &name]);
    let before = scene.id(&name);
    let mut push = scene.buildah();
    said(push.args([
        "push",
        "--quiet",
        "--tls-verify=false",
        "--compression-format=zstd",
        &name,
    ]));
    let manifest = scene.raw("admin/zstd:1");
    assert_eq!(
        manifest["layers"][0]["mediaType"],
        "application/vnd.oci.image.layer.v1.tar+zstd"
    );
    said(scene.buildah().args(["rmi", "--all"]));
    said(
        scene
            .buildah()
            .args(["pull", "--quiet", "--tls-verify=false", &name]),
    );
    assert_eq!(scene.id(&name), before);
}

#[test]
fn the_lines_of_a_build_run_by_our_runtime() {
    let scene = Scene::new();
    let context = scene.machine.path().join("context");
    fs::create_dir(&context).unwrap();
    fs::copy("/bin/busybox", context.join("busybox")).unwrap();
    let lines = "FROM scratch\nCOPY busybox /bin/sh\nRUN echo $((6 * 7)) > /answer\n";
    fs::write(context.join("Containerfile"), lines).unwrap();
    let by_ours = |verb: &str| {
        let mut buildah = scene.buildah();
        buildah
            .args([verb, "--isolation=oci", "--network=none", "--runtime"])
            .arg(ours("wharf-runtime"));
        buildah
    };
    said(by_ours("bud").args(["--quiet", "--tag", "made"]).arg(&context));
    let container = said(scene.buildah().args(["from", "made"]));
    let ended = output(by_ours("run").args([
        container.trim_end(),
        "sh",
        "-c",
        "read x </answer; echo $x; exit 7",
    ]));
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "42\n", "{ended:?}");
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
}
