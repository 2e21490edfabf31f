//! The bundles that everybody runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const PROFILE: &str = include_str!("../default-profile.json");

/// Two bundles on one root, and the folders that go when this is dropped.
pub(crate) struct Bundles {
    folder: TempDir,
    states: TempDir,
    cgroup: String,
}

impl Bundles {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("wharf-bench-").tempdir().unwrap();
        let root = folder.path().join("rootfs");
        for inner in ["proc", "dev", "sys", "bin"] {
            fs::create_dir_all(root.join(inner)).unwrap();
        }
        let busybox = "/bin/busybox";
        fs::copy(busybox, root.join("bin/true")).unwrap_or_else(|error| panic!("{busybox}: {error}"));
        let cgroup = format!("wharf-bench-{}", std::process::id());
        let states = tempfile::Builder::new()
            .prefix("wharf-bench-")
            .tempdir_in("/dev/shm")
            .unwrap();
        let bundles = Self {
            folder,
            states,
            cgroup,
        };
        for filtered in [false, true] {
            let bundle = bundles.path(filtered);
            fs::create_dir(&bundle).unwrap();
            let config = config(&root, filtered, &bundles.cgroup);
            fs::write(bundle.join("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
        }
        bundles
    }

    /// The bundle with or without the seccomp profile.
    pub(crate) fn path(&self, filtered: bool) -> PathBuf {
        self.folder
            .path()
            .join(if filtered { "filtered" } else { "open" })
    }

    /// The root file system.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("rootfs")
    }

    /// A folder for a runtime's state: in memory, as /run is.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.states.path().join(name)
    }
}

impl Drop for Bundles {
    fn drop(&mut self) {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        for hierarchy in hierarchies
            .map(|entry| entry.path())
            .chain([PathBuf::from("/sys/fs/cgroup")])
        {
            // In most of them there is none.
            let _ = fs::remove_dir(hierarchy.join(&self.cgroup));
        }
    }
}

fn config(root: &Path, filtered: bool, cgroup: &str) -> Value {
    let capabilities = json!([
        "CAP_AUDIT_WRITE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ]);
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": root},
        "hostname": "bench",
        "mounts": mounts(),
        "linux": {
            "cgroupsPath": format!("/{cgroup}/true"),
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "cgroup"},
                {"type": "network"},
            ],
            "seccomp": null,
            "maskedPaths": [
                "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    if filtered {
        *config.pointer_mut("/linux").unwrap().get_mut("seccomp").unwrap() =
            serde_json::from_str(PROFILE).unwrap();
    }
    config
}

fn mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["ro", "nosuid", "noexec", "nodev"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]},
    ])
}
