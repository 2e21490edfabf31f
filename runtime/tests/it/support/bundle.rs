//! A bundle of a static busybox, with a folder of containers of its own; nothing of it is left afterwards.

use std::{
    cell::RefCell,
    fs::File,
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wharf-runtime");

const APPLETS: [&str; 24] = [
    "sh", "true", "false", "cat", "id", "ls", "mount", "sleep", "env", "pwd", "stat", "touch", "mkdir",
    "hostname", "ps", "grep", "tty", "stty", "echo", "readlink", "umask", "dd", "kill", "mknod",
];

/// A bundle, and the containers made from it.
pub(crate) struct Bundle {
    folder: tempfile::TempDir,
    ids: RefCell<Vec<String>>,
    pub(crate) config: Value,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code, or 128 and the signal.
    pub(crate) code: i32,
    /// All of stdout.
    pub(crate) stdout: String,
    /// All of stderr.
    pub(crate) stderr: String,
}

impl Ran {
    /// The stdout of a command that must have gone well.
    pub(crate) fn out(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// The stderr of a command that must have failed, without the quoting of a text log.
    pub(crate) fn refusal(self) -> String {
        assert_ne!(self.code, 0, "{self:?}");
        self.stderr.replace("\\\"", "\"")
    }
}

impl Bundle {
    /// A bundle with the usual mounts and namespaces, whose program is `true`.
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests need root");
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("rootfs");
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev", "root"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nweb:x:7:8::/srv:/bin/sh\n",
        )
        .unwrap();
        let bundle = Self {
            folder,
            ids: RefCell::default(),
            config: config(),
        };
        bundle.save();
        bundle
    }

    /// A bundle whose program is a line for the shell.
    pub(crate) fn shell(line: &str) -> Self {
        let mut bundle = Self::new();
        bundle.config["process"]["args"] = json!(["sh", "-c", line]);
        bundle
    }

    /// A bundle whose program stays.
    pub(crate) fn sleeping() -> Self {
        let mut bundle = Self::new();
        bundle.config["process"]["args"] = json!(["sleep", "1000"]);
        bundle
    }

    /// The bundle's folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The root file system's folder.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// The folder of containers.
    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("containers")
    }

    /// Writes `config.json`.
    pub(crate) fn save(&self) {
        std::fs::write(self.path().join("config.json"), self.config.to_string()).unwrap();
    }

    /// An id that no other test has; cleaned up at the end.
    pub(crate) fn id(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "wharf-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        self.ids.borrow_mut().push(id.clone());
        id
    }

    /// A command of the runtime.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .arg("--root")
            .arg(self.store())
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the runtime. What it prints goes to files, which a container may keep open.
    pub(crate) fn wharf(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments), self.path())
    }

    /// Saves the config and runs it in the foreground.
    pub(crate) fn run(&self) -> Ran {
        self.save();
        self.wharf(&["run", &self.id()])
    }

    /// Saves the config and creates a container, which must go well; answers its id.
    pub(crate) fn create(&self) -> String {
        self.save();
        let id = self.id();
        self.wharf(&["create", &id]).out();
        id
    }

    /// Saves the config and starts a container; answers its id.
    pub(crate) fn start(&self) -> String {
        let id = self.create();
        self.wharf(&["start", &id]).out();
        id
    }

    /// What `state` says.
    pub(crate) fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.wharf(&["state", id]).out()).unwrap()
    }

    /// The status that `state` says.
    pub(crate) fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().unwrap().to_owned()
    }

    /// The id of the first process.
    pub(crate) fn pid(&self, id: &str) -> i32 {
        self.state(id)["pid"].as_i64().unwrap().try_into().unwrap()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for id in self.ids.borrow().iter() {
            let ended = self.wharf(&["delete", "--force", id]);
            assert!(std::thread::panicking() || ended.code == 0, "{ended:?}");
        }
        for id in self.ids.borrow().iter().filter(|_| !std::thread::panicking()) {
            let left: Vec<PathBuf> = cgroups_named(id);
            assert!(left.is_empty(), "cgroups are left: {left:?}");
        }
        if !std::thread::panicking() {
            let left = std::fs::read_dir(self.store()).map_or(0, Iterator::count);
            assert_eq!(left, 0, "containers are left in {}", self.store().display());
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(
                !mounts.contains(self.path().to_str().unwrap()),
                "mounts are left: {mounts}"
            );
        }
    }
}

/// Every cgroup folder of that name.
fn cgroups_named(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for path in entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
        {
            if path.ends_with(id) {
                found.push(path.clone());
            }
            folders.push(path);
        }
    }
    found
}

fn ran(mut command: Command, folder: &Path) -> Ran {
    let stem = folder.join(format!("out-{:?}", std::thread::current().id()));
    let (out, err) = (stem.with_extension("1"), stem.with_extension("2"));
    command
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap());
    let status = command.status().unwrap();
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap();
    let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    Ran {
        code,
        stdout: text(out),
        stderr: text(err),
    }
}

/// Waits until a process has ended.
pub(crate) fn wait_for_end(pid: i32) {
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        process::{Pid, PidfdFlags, pidfd_open},
    };
    let Ok(pidfd) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else {
        return;
    };
    let limit = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)).unwrap();
    assert_eq!(ended, 1, "process {pid} did not end");
}

fn config() -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_KILL",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_NET_BIND_SERVICE",
        "CAP_MKNOD",
    ];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": ["true"],
            "cwd": "/",
            "env": ["PATH=/bin", "TERM=xterm"],
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": "rootfs"},
        "hostname": "wharf-test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
            {
                "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "cgroup"},
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/nowhere"],
            "readonlyPaths": ["/proc/sys", "/proc/irq", "/proc/sysrq-trigger"],
        },
    })
}
