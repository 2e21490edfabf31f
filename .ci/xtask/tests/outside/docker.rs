//! Docker's engine and command line, as Debian ships them (20.10).

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::bucket::Bucket;
use crate::support::certificate::Certificate;
use crate::support::cgroup::Cgroup;
use crate::support::images::busybox;
use crate::support::layout::{Layout, digest, layer};
use crate::support::machine::{ADDRESS, Machine, NAME};
use crate::support::programs::{ours, output, programs, refused, said, said_after};
use crate::support::registry::Registry;

/// Debian's own: another in front of it on PATH would be another test.
const DOCKER: &str = "/usr/bin/docker";

/// A machine with an engine, and a registry in its network.
struct Scene {
    registry: Registry,
    machine: Machine,
    /// Where the engine puts containers; gone after the machine, whose processes may be in it.
    cgroup: Cgroup,
    /// How the engine is told to name the registry.
    host: String,
}

impl Scene {
    /// The registry on the loopback, where the engine takes plain HTTP.
    fn new(settings: &str) -> Self {
        let machine = Machine::start();
        let registry = Registry::inside(&machine, "127.0.0.1", settings);
        let host = registry.address().to_owned();
        Self::with_engine(machine, registry, host)
    }

    fn with_engine(machine: Machine, registry: Registry, host: String) -> Self {
        let scene = Self {
            registry,
            machine,
            cgroup: Cgroup::named("docker"),
            host,
        };
        let at = |name: &str| scene.machine.folder().join(name);
        let mut engine = scene.machine.command("/usr/sbin/dockerd");
        for (flag, value) in [
            ("--data-root", at("engine")),
            ("--exec-root", at("exec")),
            ("--pidfile", at("engine.pid")),
        ] {
            engine.arg(flag).arg(value);
        }
        engine.args(["--host", &scene.socket()]).args([
            "--storage-driver=vfs",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ]);
        let runtime = programs().join("wharf-runtime");
        engine.args(["--cgroup-parent", &scene.cgroup.path(), "--add-runtime"]);
        engine.arg(format!("wharf={}", runtime.display()));
        let mut answers = scene.docker();
        scene.machine.daemon(&mut engine, answers.arg("version"));
        scene
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.machine.folder().join("docker.sock").display())
    }

    /// The command line of whoever keeps their logins in the folder `docker` of the machine.
    fn docker(&self) -> Command {
        let mut docker = self.machine.command(DOCKER);
        docker
            .env("DOCKER_CONFIG", self.machine.folder().join("docker"))
            .env("DOCKER_HOST", self.socket());
        docker
    }

    fn login(&self) {
        let mut login = self.docker();
        login.args(["login", "--username", "admin", "--password-stdin", &self.host]);
        let told = said_after(&mut login, &self.registry.password());
        assert!(told.contains("Login Succeeded"), "{told}");
    }

    /// What `docker login` keeps of the registry.
    fn kept(&self) -> Value {
        let file = fs::read(self.machine.folder().join("docker/config.json")).unwrap();
        let config: Value = serde_json::from_slice(&file).unwrap();
        config["auths"][&self.host].clone()
    }

    /// Writes a login with a password, as `docker login` keeps it where a registry gives no token.
    fn keep_password(&self) {
        let pair = said_after(Command::new("base64").arg("-w0"), &self.registry.credentials());
        let config = json!({ "auths": { &self.host: { "auth": pair } } });
        let folder = self.machine.folder().join("docker");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.host)
    }

    /// Loads busybox into the engine under this name.
    fn load(&self, name: &str) {
        let archive = busybox(self.machine.folder(), "docker");
        let mut skopeo = Command::new("skopeo");
        let form = self.machine.folder().join("docker.tar");
        if form.exists() {
            fs::remove_file(&form).unwrap();
        }
        said(
            skopeo
                .args(["--insecure-policy", "copy"])
                .arg(format!("oci-archive:{}", archive.display()))
                .arg(format!("docker-archive:{}:{name}", form.display())),
        );
        said(self.docker().arg("load").arg("--input").arg(form));
    }

    fn id(&self, name: &str) -> String {
        said(
            self.docker()
                .args(["image", "inspect", "--format", "{{.Id}}", name]),
        )
    }

    /// The names that `docker search` finds.
    fn found(&self, term: &str) -> String {
        let mut search = self.docker();
        said(search.args(["search", "--format", "{{.Name}}", &self.name(term)]))
    }

    /// The bytes of a manifest, as skopeo sees them.
    fn raw(&self, name: &str) -> String {
        let mut skopeo = self.machine.command("skopeo");
        said(
            skopeo
                .args(["inspect", "--raw", "--tls-verify=false", "--creds"])
                .arg(self.registry.credentials())
                .arg(format!("docker://{}", self.name(name))),
        )
    }

    /// Copies an image from a layout's folder into the registry.
    fn push_layout(&self, from: &str, name: &str) {
        let mut skopeo = self.machine.command("skopeo");
        said(
            skopeo
                .args(["--insecure-policy", "copy", "--all", "--dest-tls-verify=false"])
                .args(["--dest-creds", &self.registry.credentials(), from])
                .arg(format!("docker://{}", self.name(name))),
        );
    }
}

#[test]
fn an_image_pushed_and_removed_is_pulled_back_the_same() {
    let scene = Scene::new("");
    scene.login();
    let name = scene.name("admin/busybox:1");
    scene.load(&name);
    let before = scene.id(&name);
    let pushed = said(scene.docker().args(["push", &name]));
    let again = said(scene.docker().args(["push", &name]));
    assert!(again.contains("Layer already exists"), "{again}");
    said(scene.docker().args(["rmi", &name]));
    let pulled = said(scene.docker().args(["pull", &name]));
    assert_eq!(scene.id(&name), before);
    let digest = pulled
        .lines()
        .find_map(|line| line.strip_prefix("Digest: "))
        .unwrap();
    assert!(pushed.contains(digest), "{pushed}{pulled}");
    let by_digest = scene.name(&format!("admin/busybox@{digest}"));
    said(scene.docker().args(["pull", &by_digest]));
}

#[test]
fn a_layer_that_another_repository_has_is_mounted() {
    let scene = Scene::new("");
    scene.login();
    let (name, other) = (scene.name("admin/busybox:1"), scene.name("admin/other:1"));
    scene.load(&name);
    said(scene.docker().args(["push", &name]));
    said(scene.docker().args(["tag", &name, &other]));
    let told = said(scene.docker().args(["push", &other]));
    assert!(told.contains("Mounted from admin/busybox"), "{told}");
}

#[test]
fn a_login_is_kept_as_a_token_that_pushes_and_a_logout_forgets_it() {
    let scene = Scene::new("");
    let name = scene.name("admin/busybox:1");
    scene.load(&name);
    scene.login();
    let kept = scene.kept();
    assert!(
        kept["identitytoken"]
            .as_str()
            .is_some_and(|token| !token.is_empty()),
        "{kept}"
    );
    said(scene.docker().args(["push", &name]));
    said(scene.docker().args(["logout", &scene.host]));
    assert_eq!(scene.kept(), Value::Null);
    let told = refused(scene.docker().args(["push", &name]));
    assert!(
        told.contains("no basic auth credentials") || told.contains("denied"),
        "{told}"
    );
}

#[test]
fn a_robot_gets_no_refresh_token_so_docker_keeps_its_secret_and_works_all_the_same() {
    let scene = Scene::new("");
    let add = ["robot", "add", "ci", "--scope", "team/**:pull,push"];
    let told = scene.registry.command(&add, "");
    let secret = told.split_whitespace().last().unwrap();
    let mut login = scene.docker();
    login.args(["login", "--username", "robot/ci", "--password-stdin", &scene.host]);
    said_after(&mut login, secret);
    assert!(scene.kept()["auth"].is_string() && scene.kept()["identitytoken"].is_null());
    let name = scene.name("team/busybox:1");
    scene.load(&name);
    said(scene.docker().args(["push", &name]));
    said(scene.docker().args(["rmi", &name]));
    said(scene.docker().args(["pull", &name]));
    assert_eq!(scene.found("busy"), "team/busybox\n");
}

#[test]
fn a_wrong_password_and_a_missing_right_are_told_apart() {
    let scene = Scene::new("");
    scene
        .registry
        .add_user("ann", "battery staple", "ann/**", "pull,push");
    let mut wrong = scene.docker();
    wrong.args(["login", "--username", "ann", "--password", "wrong", &scene.host]);
    let told = refused(&mut wrong);
    assert!(told.contains("unauthorized"), "{told}");
    let mut login = scene.docker();
    said(login.args([
        "login",
        "--username",
        "ann",
        "--password",
        "battery staple",
        &scene.host,
    ]));
    let (own, others) = (scene.name("ann/app:1"), scene.name("admin/app:1"));
    scene.load(&own);
    said(scene.docker().args(["push", &own]));
    said(scene.docker().args(["tag", &own, &others]));
    let told = refused(scene.docker().args(["push", &others]));
    assert!(told.contains("denied"), "{told}");
}

#[test]
fn a_search_finds_what_the_caller_may_pull_by_password_by_token_and_without_a_login() {
    let scene = Scene::new("");
    scene.login();
    for image in ["admin/busybox:1", "public/busybox:1"] {
        scene.load(&scene.name(image));
        said(scene.docker().args(["push", &scene.name(image)]));
    }
    let both = "admin/busybox\npublic/busybox\n";
    assert!(scene.kept()["identitytoken"].is_string());
    assert_eq!(scene.found("busy"), both, "by a refresh token");
    scene.keep_password();
    assert_eq!(scene.found("busy"), both, "by a password");
    said(scene.docker().args(["logout", &scene.host]));
    let told = refused(scene.docker().args(["search", &scene.name("busy")]));
    assert!(told.contains("401"), "{told}");
}

#[test]
fn where_everyone_may_pull_a_search_and_a_pull_need_no_login() {
    let scene = Scene::new("anonymous = \"pull\"");
    scene.login();
    let name = scene.name("public/busybox:1");
    scene.load(&name);
    said(scene.docker().args(["push", &name]));
    said(scene.docker().args(["logout", &scene.host]));
    said(scene.docker().args(["rmi", &name]));
    assert_eq!(scene.found("busy"), "public/busybox\n");
    said(scene.docker().args(["pull", &name]));
    assert!(!output(scene.docker().args(["push", &name])).status.success());
}

#[test]
fn docker_manifest_makes_an_index_that_others_read() {
    let scene = Scene::new("");
    scene.login();
    let (one, two) = (scene.name("admin/app:amd64"), scene.name("admin/app:arm64"));
    let list = scene.name("admin/app:1");
    let mut layout = Layout::new(&scene.machine.folder().join("layout"));
    for (architecture, name) in [("amd64", "admin/app:amd64"), ("arm64", "admin/app:arm64")] {
        let image = layout.image(architecture, &[layer("/hello", architecture.as_bytes())]);
        // Docker's command line makes lists of Docker's manifests alone.
        let from = layout.name(image, architecture);
        let mut skopeo = scene.machine.command("skopeo");
        said(
            skopeo
                .args(["--insecure-policy", "copy", "--format", "v2s2"])
                .args([
                    "--dest-tls-verify=false",
                    "--dest-creds",
                    &scene.registry.credentials(),
                ])
                .arg(from)
                .arg(format!("docker://{}", scene.name(name))),
        );
    }
    let manifest = |arguments: &[&str]| {
        let mut docker = scene.docker();
        said(docker.arg("manifest").args(arguments))
    };
    manifest(&["create", "--insecure", &list, &one, &two]);
    manifest(&["annotate", &list, &two, "--arch", "arm64", "--variant", "v8"]);
    let pushed = manifest(&["push", "--insecure", &list]);
    let told: Value = serde_json::from_str(&manifest(&["inspect", "--insecure", &list])).unwrap();
    assert_eq!(
        told["mediaType"],
        "application/vnd.docker.distribution.manifest.list.v2+json"
    );
    assert_eq!(told["manifests"][1]["platform"]["variant"], "v8", "{told}");
    let seen = scene.raw(&format!("admin/app@{}", pushed.trim()));
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap(), told);
}

#[test]
fn of_an_index_the_engine_pulls_the_platform_that_is_asked_for() {
    let scene = Scene::new("");
    scene.login();
    let mut layout = Layout::new(&scene.machine.folder().join("layout"));
    let images = ["amd64", "arm64", "s390x"]
        .map(|architecture| layout.image(architecture, &[layer("/hello", architecture.as_bytes())]));
    let index = layout.index(&images);
    let from = layout.name(index, "1");
    scene.push_layout(&from, "admin/app:1");
    let pushed = digest(scene.raw("admin/app:1").as_bytes());
    let name = scene.name("admin/app:1");
    for architecture in ["arm64", "amd64"] {
        let mut pull = scene.docker();
        let told = said(pull.args(["pull", "--platform", &format!("linux/{architecture}"), &name]));
        assert!(told.contains(&format!("Digest: {pushed}")), "{told}");
        let mut inspect = scene.docker();
        let got = said(inspect.args(["image", "inspect", "--format", "{{.Architecture}}", &name]));
        assert_eq!(got.trim_end(), architecture);
    }
    let mut absent = scene.docker();
    let told = refused(absent.args(["pull", "--platform", "linux/riscv64", &name]));
    assert!(told.contains("no matching manifest for linux/riscv64"), "{told}");
}

#[test]
fn a_registry_whose_authority_certs_d_names_is_trusted_and_no_other() {
    let machine = Machine::start();
    let certificate = Certificate::make(machine.folder(), &[NAME]);
    let registry = Registry::inside(&machine, ADDRESS, &certificate.settings());
    let host = format!("{NAME}:{}", registry.port());
    let scene = Scene::with_engine(machine, registry, host);
    let mut stranger = scene.docker();
    stranger.args(["login", "--username", "admin", "--password"]);
    let told = refused(stranger.args([&scene.registry.password(), &scene.host]));
    assert!(told.contains("x509"), "{told}");
    trust(&scene.machine, &scene.host, &certificate.authority);
    scene.login();
    let name = scene.name("admin/busybox:1");
    scene.load(&name);
    said(scene.docker().args(["push", &name]));
    said(scene.docker().args(["rmi", &name]));
    said(scene.docker().args(["pull", &name]));
}

#[test]
fn layers_that_are_in_a_bucket_come_from_there() {
    let machine = Machine::start();
    let bucket = Bucket::inside(&machine);
    let registry = Registry::inside_over(&machine, &bucket);
    let host = registry.address().to_owned();
    let scene = Scene::with_engine(machine, registry, host);
    scene.login();
    let name = scene.name("admin/busybox:1");
    scene.load(&name);
    let before = scene.id(&name);
    said(scene.docker().args(["push", &name]));
    said(scene.docker().args(["rmi", &name]));
    said(scene.docker().args(["pull", &name]));
    assert_eq!(scene.id(&name), before);
    // A configuration and two layers.
    assert_eq!(bucket.signed_reads(), 3);
}

#[test]
fn the_engine_runs_its_containers_by_our_runtime() {
    ours("wharf-runtime");
    let scene = Scene::new("");
    scene.load("busybox:1");
    let run = |arguments: &[&str]| {
        let mut run = scene.docker();
        run.args(["run", "--runtime=wharf", "--network=none"])
            .args(arguments);
        output(&mut run)
    };
    let ended = run(&["--rm", "busybox:1", "sh", "-c", "echo hello; exit 3"]);
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "hello\n", "{ended:?}");
    assert_eq!(ended.status.code(), Some(3));
    let ended = run(&["--rm", "busybox:1", "nosuch"]);
    assert_eq!(ended.status.code(), Some(127), "{ended:?}");
    let ended = run(&[
        "--detach",
        "--name=one",
        "--memory=64m",
        "busybox:1",
        "sh",
        "-c",
        "cat /dev/zero >/dev/null",
    ]);
    assert!(ended.status.success(), "{ended:?}");
    let ended = output(
        scene
            .docker()
            .args(["exec", "one", "sh", "-c", "echo in; exit 4"]),
    );
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "in\n", "{ended:?}");
    assert_eq!(ended.status.code(), Some(4));
    assert!(
        !scene.cgroup.folders().is_empty(),
        "it runs outside the engine's cgroup"
    );
    said(scene.docker().args(["pause", "one"]));
    let mut state = scene.docker();
    let told = said(state.args([
        "inspect",
        "--format",
        "{{.State.Status}} {{.HostConfig.Runtime}}",
        "one",
    ]));
    assert_eq!(told, "paused wharf\n");
    said(scene.docker().args(["unpause", "one"]));
    said(scene.docker().args(["rm", "--force", "one"]));
}

/// Tells the engine of an authority, in the machine's own `/etc`.
fn trust(machine: &Machine, host: &str, authority: &Path) {
    let folder = format!("/etc/docker/certs.d/{host}");
    said(machine.command("mkdir").args(["-p", &folder]));
    said(
        machine
            .command("cp")
            .arg(authority)
            .arg(format!("{folder}/ca.crt")),
    );
}
