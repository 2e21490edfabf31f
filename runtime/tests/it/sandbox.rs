//! A bundle around busybox, and the runtime to run it with. What a test leaves goes when it is dropped.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_wharf-runtime");
const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 14] = [
    "sh", "cat", "ls", "grep", "readlink", "sleep", "id", "mkdir", "rm", "touch", "mount", "ln", "test",
    "true",
];
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// One container, made or not.
pub(crate) struct Sandbox {
    folder: TempDir,
    /// The program that runs it, a copy of the one under test.
    pub(crate) program: PathBuf,
    /// Its id.
    pub(crate) id: String,
    /// Its `config.json`.
    pub(crate) config: Value,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    /// A root with busybox, and a configuration that runs `true` in namespaces of its own.
    pub(crate) fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make containers as root"
        );
        let folder = tempfile::Builder::new()
            .prefix("wharf-runtime-test-")
            .tempdir()
            .unwrap();
        let id = format!(
            "test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let root = folder.path().join("rootfs");
        for inner in ["bin", "proc", "dev", "sys", "tmp"] {
            fs::create_dir_all(root.join(inner)).unwrap();
        }
        copy_program(BUSYBOX, &root.join("bin/busybox"));
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let program = folder.path().join("wharf-runtime");
        copy_program(PROGRAM, &program);
        let config = config(&id);
        Self {
            folder,
            program,
            id,
            config,
        }
    }

    /// The folder of everything, outside the root.
    pub(crate) fn outside(&self) -> &Path {
        self.folder.path()
    }

    /// The container's root as the host sees it.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("rootfs")
    }

    /// Copies the shared libraries of a program of the host into the root, if it has any.
    pub(crate) fn bring_libraries(&self, program: &Path) {
        let listed = Command::new("ldd").arg(program).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            let to = self.root().join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            copy_program(library, &to);
        }
    }

    /// Sets what the container runs.
    pub(crate) fn script(&mut self, script: &str) -> &mut Self {
        self.config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        self
    }

    /// The runtime with these arguments, its own folder of containers before them.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(self.folder.path().join("state"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Writes the configuration and gives the command that runs it.
    pub(crate) fn run_command(&self) -> Command {
        fs::write(self.folder.path().join("config.json"), self.config.to_string()).unwrap();
        let bundle = self.folder.path().to_str().unwrap();
        self.command(&["run", "--bundle", bundle, &self.id])
    }

    /// Runs the container to its end.
    pub(crate) fn run(&self) -> Answer {
        Answer::of(&self.run_command().output().unwrap())
    }

    /// Starts the container and leaves it running; its output goes nowhere.
    pub(crate) fn start(&self) {
        fs::write(self.folder.path().join("config.json"), self.config.to_string()).unwrap();
        let bundle = self.folder.path().to_str().unwrap();
        let log = self.folder.path().join("log");
        let status = self
            .command(&[
                "--log",
                log.to_str().unwrap(),
                "run",
                "--detach",
                "--bundle",
                bundle,
                &self.id,
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(
            status.success(),
            "{}",
            fs::read_to_string(log).unwrap_or_default()
        );
    }

    /// Starts the container with a program that does nothing.
    pub(crate) fn start_sleeping(&mut self) {
        self.script("sleep 1000").start();
    }

    /// The container's first process, as the host numbers it.
    pub(crate) fn pid(&self) -> u32 {
        let answer = Answer::of(&self.command(&["state", &self.id]).output().unwrap());
        let state: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
        u32::try_from(state["pid"].as_u64().unwrap()).unwrap()
    }

    /// Runs a command in the running container.
    pub(crate) fn exec(&self, arguments: &[&str]) -> Answer {
        let mut all = vec!["exec"];
        all.push(&self.id);
        all.extend(arguments);
        Answer::of(&self.command(&all).output().unwrap())
    }

    /// Waits for a file in the root that is not empty, and reads it.
    pub(crate) fn await_file(&self, name: &str) -> String {
        let path = self.root().join(name);
        let mut text = String::new();
        wait_for(name, || {
            text = fs::read_to_string(&path).unwrap_or_default();
            text.ends_with('\n')
        });
        text
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let deleted = self.command(&["delete", "--force", &self.id]).output();
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let parent = format!("wharf-test-{}", self.id);
        for hierarchy in hierarchies
            .map(|entry| entry.path())
            .chain([PathBuf::from("/sys/fs/cgroup")])
        {
            // In most of them there is none; one that is not empty is told below.
            let _ = fs::remove_dir(hierarchy.join(&parent));
            let left = hierarchy.join(&parent);
            if left.exists() && !std::thread::panicking() {
                panic!("{} is left, delete said {deleted:?}", left.display());
            }
        }
    }
}

impl Answer {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts that it went well.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Asserts that it was refused with a message that holds `text`.
    pub(crate) fn refused(self, text: &str) -> Self {
        assert_ne!(self.code, Some(0), "{self:?}");
        assert!(self.stderr.contains(text), "no {text:?} in {self:?}");
        self
    }
}

/// Copies a program. Another process does it: a descriptor that writes to the copy, inherited by whatever a test
/// beside this one starts at that moment, would make it too busy to be run.
pub(crate) fn copy_program(from: &str, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "{from}");
}

/// Waits until `condition` holds.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn config(id: &str) -> Value {
    let capabilities = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_KILL",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_SYS_CHROOT"
    ]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        ],
        "linux": {
            "cgroupsPath": format!("/wharf-test-{id}/c"),
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "cgroup"}],
        },
    })
}
