//! A machine of one's own: a network and a mount namespace, a store with busybox in it; what a test
//! leaves there is a failure.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};

use super::programs;
use super::wharf::{Ran, Wharf, ran};

/// The thread that made it is in the machine, and all that it starts.
pub(crate) struct Machine {
    pub(crate) wharf: Wharf,
}

impl Machine {
    /// Puts this thread into a machine of its own, with the image `busybox`.
    pub(crate) fn enter() -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        output("ip", &["link", "set", "lo", "up"]);
        let machine = Self { wharf: Wharf::new() };
        machine.ok(&["import", "-c", "CMD [\"sh\"]", busybox(), "busybox:latest"]);
        machine
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.wharf.command(arguments);
        command.env("WHARF_RUNTIME", programs::runtime());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed; returns its stdout.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(
            ran.code,
            Some(0),
            "wharf {arguments:?}: {}{}",
            ran.stdout,
            ran.stderr
        );
        ran.stdout
    }

    /// Runs a command that must exit with this code; returns its stderr.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(
            ran.code,
            Some(code),
            "wharf {arguments:?}: {}{}",
            ran.stdout,
            ran.stderr
        );
        ran.stderr
    }

    /// One value of `inspect`.
    pub(crate) fn inspect(&self, container: &str, key: &str) -> String {
        let format = format!("{{{{.{key}}}}}");
        self.ok(&["inspect", "-f", &format, container]).trim().to_owned()
    }

    /// The process ids of shims that look after this machine's containers.
    pub(crate) fn shims(&self) -> Vec<i32> {
        let root = self.wharf.path("root").display().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        ids.filter(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("__shim") && line.contains(&root)
        })
        .collect()
    }

    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in [
            "root/containers",
            "root/names",
            "root/snapshots",
            "run/containers",
            "run/runtime",
        ] {
            let entries = std::fs::read_dir(self.wharf.path(folder));
            let names = entries
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name());
            left.extend(names.map(|name| format!("{folder}/{}", name.display())));
        }
        left.extend(self.shims().iter().map(|pid| format!("shim {pid}")));
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let own = self.wharf.path("").display().to_string();
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&own))
                .map(str::to_owned),
        );
        for kind in ["bridge", "veth"] {
            left.extend(
                output("ip", &["-br", "link", "show", "type", kind])
                    .lines()
                    .map(str::to_owned),
            );
        }
        left.extend(output("nft", &["list", "ruleset"]).lines().map(str::to_owned));
        left
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let removed = self.run(&["ps", "-aq", "--no-trunc"]);
        let ids: Vec<&str> = removed.stdout.lines().collect();
        if !ids.is_empty() {
            self.run(&[&["rm", "-f"], ids.as_slice()].concat());
        }
        let mut left = self.left();
        for id in &ids {
            let groups = output("find", &["/sys/fs/cgroup", "-name", &format!("wharf-{id}")]);
            left.extend(groups.lines().map(str::to_owned));
        }
        if !std::thread::panicking() {
            assert_eq!(left, Vec::<String>::new(), "is left behind");
        }
    }
}

/// Runs another program that must succeed; returns its stdout.
pub(crate) fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// An archive of a root with busybox in it, made once.
fn busybox() -> &'static str {
    static MADE: OnceLock<(tempfile::TempDir, String)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        make_root(&folder.path().join("root"));
        let archive = folder.path().join("busybox.tar").display().to_string();
        let root = folder.path().join("root").display().to_string();
        output(
            "tar",
            &["-C", &root, "--owner=0", "--group=0", "-cf", &archive, "."],
        );
        (folder, archive)
    });
    path
}

fn make_root(root: &Path) {
    for folder in ["bin", "etc", "tmp", "root"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in output("/bin/busybox", &["--list"])
        .lines()
        .filter(|applet| *applet != "busybox")
    {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    )
    .unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n").unwrap();
}
