//! How long `wharf run --rm --network none` of `true` takes, and the same on the default network, `exec`,
//! `stop` and `rm`, beside podman.
//!
//! `cargo bench -p wharf --bench run [-- --rounds N]`, as root, with `wharf-runtime` beside `wharf`, in
//! `WHARF_RUNTIME`, or on PATH. The contestants take turns in a network and a mount namespace of their own;
//! podman has its best settings: overlay, no events, no limits, runc.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

/// A namespace's clean-up runs behind the program that had it; the next one must not pay for it.
const PAUSE: Duration = Duration::from_millis(20);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = at.map_or(30, |at| arguments[at + 1].parse().unwrap());
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    // runc 1.1 does not run beside a half-used second hierarchy.
    let _ = unmount("/sys/fs/cgroup/unified", UnmountFlags::DETACH);
    succeed(Command::new("ip").args(["link", "set", "lo", "up"]));
    let folder = tempfile::tempdir().unwrap();
    let mut contestants = vec![Contestant::wharf(folder.path())];
    if on_path("podman") {
        contestants.push(Contestant::podman(folder.path()));
    } else {
        println!("absent: podman");
    }
    let archive = busybox(folder.path());
    for contestant in &contestants {
        succeed(contestant.command(&["import", archive.to_str().unwrap(), "busybox:latest"]));
    }
    println!("{rounds} rounds; milliseconds: minimum, median");
    let none = ["run", "--rm", "--network", "none", "busybox", "true"];
    table("run --rm --network none", rounds, &contestants, &|contestant| {
        timed(contestant, &[&none])
    });
    let bridge = ["run", "--rm", "busybox", "true"];
    table("run --rm", rounds, &contestants, &|contestant| {
        timed(contestant, &[&bridge])
    });
    let long = [
        "run",
        "-d",
        "--name",
        "long",
        "--network",
        "none",
        "busybox",
        "sleep",
        "1000",
    ];
    for contestant in &contestants {
        succeed(contestant.command(&long));
    }
    table("exec", rounds, &contestants, &|contestant| {
        timed(contestant, &[&["exec", "long", "true"]])
    });
    for contestant in &contestants {
        succeed(contestant.command(&["rm", "-f", "long"]));
    }
    let script = [
        "run",
        "-d",
        "--name",
        "polite",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "trap exit TERM; while :; do sleep 0.01; done",
    ];
    table("stop, rm", rounds.min(10), &contestants, &|contestant| {
        succeed(contestant.command(&script));
        timed(contestant, &[&["stop", "polite"], &["rm", "polite"]])
    });
}

struct Contestant {
    name: &'static str,
    program: PathBuf,
    global: Vec<String>,
    env: Vec<(&'static str, PathBuf)>,
}

impl Contestant {
    fn wharf(folder: &Path) -> Self {
        Self {
            name: "wharf",
            program: env!("CARGO_BIN_EXE_wharf").into(),
            global: Vec::new(),
            env: vec![
                ("WHARF_ROOT", folder.join("wharf")),
                ("WHARF_RUN", folder.join("wharf-run")),
            ],
        }
    }

    fn podman(folder: &Path) -> Self {
        let settings = folder.join("containers.conf");
        std::fs::write(&settings, "[containers]\ndefault_ulimits = []\npids_limit = 0\n").unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let mut global = vec![
            "--root".to_owned(),
            path("podman"),
            "--runroot".to_owned(),
            path("podman-run"),
        ];
        let flags = [
            "--storage-driver=overlay",
            "--events-backend=none",
            "--cgroup-manager=cgroupfs",
            "--runtime=runc",
        ];
        global.extend(flags.map(str::to_owned));
        Self {
            name: "podman",
            program: "podman".into(),
            global,
            env: vec![("CONTAINERS_CONF", settings)],
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.global)
            .args(arguments)
            .envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }
}

fn table(
    what: &str,
    rounds: usize,
    contestants: &[Contestant],
    once: &dyn Fn(&Contestant) -> Option<Duration>,
) {
    let mut times: Vec<Vec<Duration>> = contestants.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (contestant, times) in contestants.iter().zip(&mut times) {
            times.extend(once(contestant));
            std::thread::sleep(PAUSE);
        }
    }
    let mut base = None;
    for (contestant, times) in contestants.iter().zip(&mut times) {
        times.sort();
        let Some(median) = times.get(times.len() / 2).copied() else {
            println!("{what:<26} {:<8} fails here", contestant.name);
            continue;
        };
        let ours = *base.get_or_insert(median);
        let ratio = ours.as_secs_f64() / median.as_secs_f64();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "{what:<26} {:<8} {:8.1} {:8.1}   wharf is {ratio:.2} of it",
            contestant.name,
            ms(times[0]),
            ms(median)
        );
    }
}

/// How long the commands take; none when one fails.
fn timed(contestant: &Contestant, commands: &[&[&str]]) -> Option<Duration> {
    let start = Instant::now();
    for arguments in commands {
        let status = contestant
            .command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if !status.success() {
            return None;
        }
    }
    Some(start.elapsed())
}

fn succeed(command: impl std::borrow::BorrowMut<Command>) {
    let mut command = command;
    let output = std::borrow::BorrowMut::borrow_mut(&mut command).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn on_path(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join(program).exists())
}

/// An archive of a root with busybox in it.
fn busybox(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in ["sh", "true", "sleep"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    let archive = folder.join("busybox.tar");
    succeed(
        Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&archive)
            .arg("."),
    );
    archive
}
