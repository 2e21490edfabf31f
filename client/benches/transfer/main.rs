//! How long an image takes from a registry to files and back: `wharf pull` and `push` beside podman and skopeo,
//! with CPU seconds and peak memory.
//!
//! `cargo bench -p wharf [-- --rounds N] [-- --megabytes N]`, as root. The contestants take turns, each on an
//! empty store; the registry is docker-registry, started anew and empty for each push. What is absent is named.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark"
)]

mod image;
mod measure;
mod registry;

use std::path::Path;
use std::process::Command;

use measure::Figures;
use registry::Registry;

fn main() {
    if measure::is_child() {
        return measure::child();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, usual: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(usual, |at| arguments[at + 1].parse().unwrap())
    };
    let (rounds, megabytes) = (number("--rounds", 5), number("--megabytes", 1000));
    let absent: Vec<&str> = ["docker-registry", "podman", "skopeo"]
        .into_iter()
        .filter(|program| !on_path(program))
        .collect();
    if !absent.is_empty() {
        println!("absent: {}", absent.join(", "));
    }
    if absent.contains(&"docker-registry") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    image::write(&layout, megabytes);
    println!("one layer of {megabytes} MB and 3 small ones, gzip; {rounds} rounds; seconds");
    pulls(folder.path(), &layout, rounds, &absent);
    pushes(folder.path(), &layout, rounds, &absent);
}

fn on_path(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join(program).exists())
}

fn wharf(store: &Path) -> Command {
    let mut command = measure::measured(env!("CARGO_BIN_EXE_wharf"));
    command
        .env("WHARF_ROOT", store.join("root"))
        .env("WHARF_RUN", store.join("run"))
        .env("DOCKER_CONFIG", store.join("docker"));
    command
}

fn podman(store: &Path) -> Command {
    let mut command = measure::measured("podman");
    command
        .arg("--root")
        .arg(store.join("root"))
        .arg("--runroot")
        .arg(store.join("run"));
    command.args(["--storage-driver", "overlay", "--events-backend", "none"]);
    command
}

/// Puts the image into an empty registry.
fn fill(registry: &Registry, layout: &Path) {
    let store = tempfile::tempdir().unwrap();
    let archive = store.path().join("archive.tar");
    let status = Command::new("tar")
        .arg("-C")
        .arg(layout)
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .status()
        .unwrap();
    assert!(status.success());
    let name = registry.name("app");
    let file = archive.to_str().unwrap();
    for arguments in [
        vec!["load", "-q", "-i", file],
        vec!["tag", image::NAME, &name],
        vec!["push", "-q", &name],
    ] {
        measure::run(wharf(store.path()).args(arguments));
    }
}

fn pulls(folder: &Path, layout: &Path, rounds: usize, absent: &[&str]) {
    let registry = Registry::start(&folder.join("pulls"));
    fill(&registry, layout);
    let name = registry.name("app");
    let (mut ours, mut again, mut podmans, mut skopeos) = (
        Figures::default(),
        Figures::default(),
        Figures::default(),
        Figures::default(),
    );
    for _ in 0..rounds {
        let store = tempfile::tempdir_in(folder).unwrap();
        ours.add(measure::run(wharf(store.path()).args(["pull", "-q", &name])));
        again.add(measure::run(wharf(store.path()).args(["pull", "-q", &name])));
        if !absent.contains(&"podman") {
            let store = tempfile::tempdir_in(folder).unwrap();
            podmans.add(measure::run(podman(store.path()).args([
                "pull",
                "-q",
                "--tls-verify=false",
                &name,
            ])));
            measure::run(podman(store.path()).args(["rmi", "-f", &name]));
            // Podman mounts its store's folder on itself.
            drop(
                Command::new("umount")
                    .arg(store.path().join("root/overlay"))
                    .output(),
            );
        }
        if !absent.contains(&"skopeo") {
            let target = format!("dir:{}", store.path().join("dir").display());
            let source = format!("docker://{name}");
            let mut copy = measure::measured("skopeo");
            skopeos.add(measure::run(copy.args([
                "copy",
                "-q",
                "--src-tls-verify=false",
                &source,
                &target,
            ])));
        }
    }
    measure::header("pull");
    ours.print("wharf pull", None);
    podmans.print("podman pull", Some(&ours));
    skopeos.print("skopeo copy (no unpacking)", Some(&ours));
    again.print("wharf pull, all present", None);
}

fn pushes(folder: &Path, layout: &Path, rounds: usize, absent: &[&str]) {
    let (mut ours, mut again, mut skopeos) = (Figures::default(), Figures::default(), Figures::default());
    let store = tempfile::tempdir_in(folder).unwrap();
    let registry = Registry::start(&folder.join("source"));
    fill(&registry, layout);
    let source = registry.name("app");
    measure::run(wharf(store.path()).args(["pull", "-q", &source]));
    for round in 0..rounds {
        let registry = Registry::start(&folder.join(format!("push-{round}")));
        let name = registry.name("app");
        measure::run(wharf(store.path()).args(["tag", &source, &name]));
        ours.add(measure::run(wharf(store.path()).args(["push", "-q", &name])));
        again.add(measure::run(wharf(store.path()).args(["push", "-q", &name])));
        drop(registry);
        if !absent.contains(&"skopeo") {
            let registry = Registry::start(&folder.join(format!("copy-{round}")));
            let from = format!("oci:{}:{}", layout.display(), image::NAME);
            let to = format!("docker://{}", registry.name("app"));
            let mut copy = measure::measured("skopeo");
            skopeos.add(measure::run(copy.args([
                "copy",
                "-q",
                "--dest-tls-verify=false",
                &from,
                &to,
            ])));
        }
    }
    measure::header("push");
    ours.print("wharf push", None);
    skopeos.print("skopeo copy", Some(&ours));
    again.print("wharf push, all present", None);
}
