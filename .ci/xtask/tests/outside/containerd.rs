//! containerd's own client, `ctr`, with its daemon.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::bucket::Bucket;
use crate::support::certificate::Certificate;
use crate::support::cgroup::Cgroup;
use crate::support::containerd;
use crate::support::images::busybox;
use crate::support::layout::{Layout, layer};
use crate::support::machine::{ADDRESS, Machine, NAME};
use crate::support::programs::{ours, output, refused, said};
use crate::support::registry::Registry;

/// A machine with containerd, and a registry in its network.
struct Scene {
    registry: Registry,
    machine: Machine,
    host: String,
}

impl Scene {
    fn new() -> Self {
        let machine = Machine::start();
        let registry = Registry::inside(&machine, "127.0.0.1", "");
        let host = registry.address().to_owned();
        Self::with_daemon(machine, registry, host)
    }

    fn with_daemon(machine: Machine, registry: Registry, host: String) -> Self {
        containerd::start(&machine);
        Self {
            registry,
            machine,
            host,
        }
    }

    fn ctr(&self) -> Command {
        containerd::ctr(&self.machine)
    }

    /// `ctr NOUN VERB` against the registry, with the administrator's password.
    fn ask(&self, noun: &str, verb: &str) -> Command {
        let mut ctr = self.ctr();
        ctr.args([noun, verb, "--plain-http", "--user", &self.registry.credentials()]);
        ctr
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.host)
    }

    /// Puts busybox among containerd's images, under this name.
    fn import(&self, name: &str) {
        let archive = busybox(self.machine.folder(), "containerd");
        let mut import = self.ctr();
        said(
            import
                .args(["images", "import", "--snapshotter=native"])
                .arg(archive),
        );
        said(self.ctr().args(["images", "tag", "busybox:1", name]));
    }

    fn digest(&self, name: &str) -> String {
        let listed = said(self.ctr().args(["images", "list", &format!("name=={name}")]));
        let line = listed.lines().nth(1).unwrap_or_else(|| panic!("{listed}"));
        line.split_whitespace().nth(2).unwrap().to_owned()
    }

    fn forget(&self, name: &str) {
        said(self.ctr().args(["images", "rm", "--sync", name, "busybox:1"]));
        assert_eq!(said(self.ctr().args(["content", "ls", "--quiet"])), "");
    }
}

#[test]
fn an_image_pushed_and_forgotten_is_pulled_back_the_same() {
    let scene = Scene::new();
    let name = scene.name("admin/busybox:1");
    scene.import(&name);
    let before = scene.digest(&name);
    said(scene.ask("images", "push").arg(&name));
    scene.forget(&name);
    said(scene.ask("images", "pull").args(["--snapshotter=native", &name]));
    assert_eq!(scene.digest(&name), before);
    let told = refused(
        scene
            .ctr()
            .args(["images", "pull", "--plain-http", "--user", "admin:no", &name]),
    );
    assert!(told.contains("401"), "{told}");
}

#[test]
fn content_of_every_platform_is_fetched_without_being_unpacked() {
    let scene = Scene::new();
    let name = scene.name("admin/app:1");
    let mut layout = Layout::new(&scene.machine.folder().join("layout"));
    let images = ["amd64", "arm64"]
        .map(|architecture| layout.image(architecture, &[layer("/hello", architecture.as_bytes())]));
    let index = layout.index(&images);
    let from = layout.name(index, "1");
    let mut skopeo = scene.machine.command("skopeo");
    said(
        skopeo
            .args(["--insecure-policy", "copy", "--all", "--dest-tls-verify=false"])
            .args(["--dest-creds", &scene.registry.credentials(), &from])
            .arg(format!("docker://{name}")),
    );
    said(scene.ask("content", "fetch").args(["--all-platforms", &name]));
    let fetched = said(scene.ctr().args(["content", "ls", "--quiet"]));
    // An index, and of two images each the manifest, the configuration and the layer.
    assert_eq!(fetched.lines().count(), 7, "{fetched}");
    said(
        scene
            .ask("images", "push")
            .args([&scene.name("admin/copy:1"), &name]),
    );
    let mut inspect = scene.machine.command("skopeo");
    inspect.args([
        "inspect",
        "--raw",
        "--tls-verify=false",
        "--creds",
        &scene.registry.credentials(),
    ]);
    let copied = said(inspect.arg(format!("docker://{}", scene.name("admin/copy:1"))));
    assert_eq!(
        crate::support::layout::digest(copied.as_bytes()),
        scene.digest(&name)
    );
}

#[test]
fn one_object_is_fetched_by_its_digest() {
    let scene = Scene::new();
    let name = scene.name("admin/busybox:1");
    scene.import(&name);
    let digest = scene.digest(&name);
    said(scene.ask("images", "push").arg(&name));
    let manifest = said(scene.ctr().args(["content", "get", &digest]));
    let mut fetch = scene.ask("content", "fetch-object");
    let fetched = said(fetch.args([&name, &digest]));
    assert_eq!(fetched, manifest);
}

#[test]
fn a_host_folder_names_the_authority_of_a_registry_over_tls() {
    let machine = Machine::start();
    let certificate = Certificate::make(machine.folder(), &[NAME]);
    let registry = Registry::inside(&machine, ADDRESS, &certificate.settings());
    let host = format!("{NAME}:{}", registry.port());
    let scene = Scene::with_daemon(machine, registry, host);
    let name = scene.name("admin/busybox:1");
    scene.import(&name);
    let before = scene.digest(&name);
    let credentials = scene.registry.credentials();
    let told = refused(
        scene
            .ctr()
            .args(["images", "push", "--user", &credentials, &name]),
    );
    assert!(told.contains("x509"), "{told}");
    let hosts = scene.machine.folder().join("hosts");
    fs::create_dir_all(hosts.join(&scene.host)).unwrap();
    let told_of = format!(
        "server = \"https://{0}\"\n[host.\"https://{0}\"]\nca = {1:?}\n",
        scene.host, certificate.authority
    );
    fs::write(hosts.join(&scene.host).join("hosts.toml"), told_of).unwrap();
    let ask = |verb: &str| {
        let mut ctr = scene.ctr();
        ctr.args(["images", verb, "--user", &credentials, "--hosts-dir"])
            .arg(&hosts);
        ctr
    };
    said(ask("push").arg(&name));
    scene.forget(&name);
    said(ask("pull").args(["--snapshotter=native", &name]));
    assert_eq!(scene.digest(&name), before);
}

#[test]
fn content_that_is_in_a_bucket_comes_from_there() {
    let machine = Machine::start();
    let bucket = Bucket::inside(&machine);
    let registry = Registry::inside_over(&machine, &bucket);
    let host = registry.address().to_owned();
    let scene = Scene::with_daemon(machine, registry, host);
    let name = scene.name("admin/busybox:1");
    scene.import(&name);
    let before = scene.digest(&name);
    said(scene.ask("images", "push").arg(&name));
    scene.forget(&name);
    said(scene.ask("images", "pull").args(["--snapshotter=native", &name]));
    assert_eq!(scene.digest(&name), before);
    // A configuration and two layers.
    assert_eq!(bucket.signed_reads(), 3);
}

#[test]
fn a_task_runs_by_our_runtime_is_entered_paused_and_killed() {
    // Gone after the machine, whose processes may be in it.
    let cgroup = Cgroup::named("containerd");
    let scene = Scene::new();
    scene.import("busybox:own");
    let run = |flag: &str, id: &str, script: &str| {
        let mut run = scene.ctr();
        run.args([
            "run",
            flag,
            "--snapshotter=native",
            "--cgroup",
            &cgroup.path(),
            "--runc-binary",
        ])
        .arg(ours("wharf-runtime"))
        .arg("--runc-root")
        .arg(scene.machine.folder().join("containers"))
        .args(["busybox:own", id, "sh", "-c", script]);
        output(&mut run)
    };
    let ended = run("--rm", "one", "echo hello; exit 3");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "hello\n", "{ended:?}");
    assert_eq!(ended.status.code(), Some(3));
    let ended = run("--detach", "two", "cat /dev/zero >/dev/null");
    assert!(ended.status.success(), "{ended:?}");
    let task = |arguments: &[&str]| output(scene.ctr().arg("task").args(arguments));
    let ended = task(&["exec", "--exec-id=x", "two", "sh", "-c", "echo in; exit 4"]);
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "in\n", "{ended:?}");
    assert_eq!(ended.status.code(), Some(4));
    let state = |wanted: &str| {
        let listed = task(&["ls"]).stdout;
        String::from_utf8_lossy(&listed).contains(wanted)
    };
    assert!(task(&["pause", "two"]).status.success());
    assert!(state("PAUSED"));
    assert!(task(&["resume", "two"]).status.success());
    assert!(state("RUNNING"));
    assert!(task(&["kill", "--signal=KILL", "two"]).status.success());
    let began = Instant::now();
    while !state("STOPPED") && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = task(&["rm", "two"]);
    assert!(ended.status.success(), "{ended:?}");
    let warned = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(warned.contains("exit code 137"), "{warned}");
    assert_eq!(cgroup.folders(), Vec::<PathBuf>::new());
}
