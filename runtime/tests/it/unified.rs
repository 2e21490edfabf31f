//! A machine with cgroup v2 alone, as a mount namespace shows one.

use std::process::Command;

use serde_json::json;

use crate::support::Bundle;

/// Runs lines where v2 is all there is; `$W` is the runtime.
fn on_v2(bundle: &Bundle, lines: &str) -> String {
    bundle.save();
    let script = format!(
        "set -e\numount -R /sys/fs/cgroup\nmount -t cgroup2 none /sys/fs/cgroup\nW='{} --root {}'\n{lines}",
        env!("CARGO_BIN_EXE_wharf-runtime"),
        bundle.store().display()
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .current_dir(bundle.path());
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_cgroup_mount_is_one_file_system_with_the_container_in_its_root() {
    let mut bundle =
        Bundle::shell("grep cgroup /proc/self/mountinfo; cat /proc/self/cgroup /sys/fs/cgroup/cgroup.procs");
    bundle.config["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "ro"]}),
    );
    let id = bundle.id();
    let out = on_v2(&bundle, &format!("$W run {id}"));
    assert!(
        out.contains("/ /sys/fs/cgroup ro,nosuid,relatime - cgroup2 cgroup"),
        "{out}"
    );
    assert!(out.contains("0::/\n1\n"), "{out}");
}

#[test]
fn devices_are_ruled_by_a_program_and_changed_without_a_gap() {
    let mut bundle = Bundle::sleeping();
    bundle.config["linux"]["devices"] =
        json!([{"path": "/dev/loops", "type": "c", "major": 10, "minor": 237}]);
    let id = bundle.id();
    let open = "sh -c 'echo x > /dev/null && (exec 3</dev/loops) 2>/dev/null && echo open || echo denied'";
    let lines = format!(
        "$W create {id} >/dev/null 2>&1; $W start {id}; $W exec {id} {open}
         echo '{{\"devices\":[{{\"allow\":true,\"access\":\"rwm\"}}]}}' | $W update -r - {id}; $W exec {id} {open}
         echo '{{\"devices\":[{{\"allow\":false,\"access\":\"rwm\"}}]}}' | $W update -r - {id}; $W exec {id} {open}
         $W delete --force {id}"
    );
    assert_eq!(on_v2(&bundle, &lines), "denied\nopen\ndenied\n");
}

#[test]
fn a_container_is_paused_resumed_and_ended() {
    let bundle = Bundle::sleeping();
    let id = bundle.id();
    let lines = format!(
        "$W create {id} >/dev/null 2>&1; $W start {id}; $W pause {id}; $W state {id} | grep status; $W resume {id}
         $W exec {id} cat /proc/self/cgroup | tail -n 1; $W pause {id}; $W delete --force {id}; $W list -q"
    );
    assert_eq!(on_v2(&bundle, &lines), "  \"status\": \"paused\",\n0::/\n");
}

#[test]
fn a_missing_controller_is_named() {
    let mut bundle = Bundle::new();
    bundle.config["linux"]["resources"] = json!({"unified": {"../x": "1"}});
    let id = bundle.id();
    let out = on_v2(&bundle, &format!("$W run {id} 2>&1 || true"));
    assert!(
        out.contains("linux.resources.unified") && out.contains("is no file of a cgroup"),
        "{out}"
    );
    bundle.config["linux"]["resources"] = json!({"unified": {"nosuch.max": "1"}});
    let out = on_v2(&bundle, &format!("$W run {id} 2>&1 || true"));
    assert!(
        out.contains("nosuch.max") && out.contains("no such file or directory"),
        "{out}"
    );
}
