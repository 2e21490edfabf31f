//! Other people's programs as callers.

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::support::Bundle;

/// podman, with a store of its own, that runs the bundle's root by the runtime.
struct Podman<'a> {
    bundle: &'a Bundle,
    parent: String,
}

impl Podman<'_> {
    fn run(&self, line: &str) -> Output {
        let folder = self.bundle.path().display();
        let settings = "[containers]\ndefault_ulimits=[]\npids_limit=0\n[engine]\nevents_logger=\"none\"\n";
        std::fs::write(self.bundle.path().join("containers.conf"), settings).unwrap();
        let runtime = env!("CARGO_BIN_EXE_wharf-runtime");
        // podman takes a machine with both kinds of hierarchies for one with v2 alone, unless it sees no v2.
        let script = format!(
            "umount /sys/fs/cgroup/unified 2>/dev/null
             P='podman --root {folder}/podman --runroot {folder}/podman-run --storage-driver vfs --runtime {runtime}
                --cgroup-manager cgroupfs'
             R=\"$P run --rm --network none --cgroup-parent {}\"
             {line}",
            self.parent
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        command
            .env("CONTAINERS_CONF", self.bundle.path().join("containers.conf"))
            .env("HOME", self.bundle.path());
        command
            .stdin(std::process::Stdio::null())
            .output()
            .expect("podman is installed")
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        let folders = hierarchies
            .map(|entry| entry.path())
            .chain(["/sys/fs/cgroup".into()]);
        for folder in folders {
            let parent = folder.join(self.parent.trim_start_matches('/'));
            // conmon's own goes first. What podman did not make needs no removal.
            for path in [parent.join("conmon"), parent] {
                let last = Instant::now() + Duration::from_secs(5);
                // conmon ends a moment after its container.
                while path.exists() && std::fs::remove_dir(&path).is_err() && Instant::now() < last {
                    std::thread::yield_now();
                }
            }
        }
    }
}

#[test]
fn podman_runs_execs_and_tells_missing_programs_apart() {
    let bundle = Bundle::new();
    let podman = Podman {
        bundle: &bundle,
        parent: format!("/{}-podman", bundle.id()),
    };
    let rootfs = bundle.rootfs().display().to_string();
    let output = podman.run(&format!(
        "$R --rootfs {rootfs} sh -c 'id; grep Seccomp: /proc/self/status; exit 3'; echo code $?
         $R --rootfs {rootfs} nosuch; echo code $?
         $R --rootfs {rootfs} /etc/passwd; echo code $?
         $R --detach --name one --rootfs {rootfs} sleep 1000 >/dev/null; echo code $?
         $P exec one sh -c 'hostname >/dev/null; exit 4'; echo code $?
         $P exec one nosuch; echo code $?
         $P pause one >/dev/null && $P unpause one >/dev/null; echo code $?
         $P rm --force --time 0 one >/dev/null; echo code $?"
    ));
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = "uid=0(root) gid=0\nSeccomp:\t2\ncode 3\ncode 127\ncode 126\ncode 0\ncode 4\ncode 127\ncode 0\ncode 0\n";
    assert_eq!(text, expected, "{}", String::from_utf8_lossy(&output.stderr));
}
