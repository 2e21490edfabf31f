//! Programs that join a container.

use serde_json::json;

use crate::support::{Bundle, wait_for_end};

#[test]
fn exec_answers_the_programs_output_and_code() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    assert_eq!(bundle.wharf(&["exec", &id, "hostname"]).out(), "wharf-test\n");
    assert_eq!(bundle.wharf(&["exec", &id, "sh", "-c", "exit 9"]).code, 9);
    let ran = bundle.wharf(&["exec", &id, "nosuch"]);
    assert_eq!(ran.code, 255);
    assert!(
        ran.stderr.contains("executable file not found in $PATH"),
        "{ran:?}"
    );
}

#[test]
fn exec_is_in_all_of_the_containers_namespaces_and_cgroups() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    let pid = bundle.pid(&id);
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "uts", "user"];
    let line = kinds
        .map(|kind| format!("readlink /proc/self/ns/{kind}; "))
        .concat();
    let out = bundle.wharf(&["exec", &id, "sh", "-c", &line]).out();
    let theirs = kinds.map(|kind| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap());
    let theirs: String = theirs
        .iter()
        .map(|name| format!("{}\n", name.display()))
        .collect();
    assert_eq!(out, theirs);
    let out = bundle.wharf(&["exec", &id, "cat", "/proc/self/cgroup"]).out();
    assert!(out.lines().all(|line| line.ends_with(":/")), "{out}");
}

#[test]
fn options_change_user_environment_folder_and_rights() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    let out = bundle
        .wharf(&[
            "exec",
            "-u",
            "7:8",
            "-g",
            "9",
            "-e",
            "A=1",
            "--cwd",
            "/tmp",
            &id,
            "sh",
            "-c",
            "id; echo $A $HOME; pwd",
        ])
        .out();
    assert_eq!(out, "uid=7(web) gid=8 groups=9\n1 /srv\n/tmp\n");
    let out = bundle
        .wharf(&[
            "exec",
            "--cap",
            "CAP_SYS_NICE",
            "--no-new-privs",
            &id,
            "cat",
            "/proc/self/status",
        ])
        .out();
    assert!(
        out.contains("CapEff:\t00000000088004e1") && out.contains("NoNewPrivs:\t1"),
        "{out}"
    );
    let out = bundle.wharf(&["exec", &id, "cat", "/proc/self/status"]).out();
    assert!(
        out.contains("CapEff:\t00000000080004e1") && out.contains("CapBnd:\t00000000080004e1"),
        "{out}"
    );
}

#[test]
fn a_process_file_is_the_whole_process() {
    let mut bundle = Bundle::sleeping();
    bundle.config["process"]["env"] = json!(["PATH=/bin", "ONLY=first"]);
    let id = bundle.start();
    let process = json!({
        "args": ["sh", "-c", "id; echo $ONLY-$TWO; pwd; umask; grep CapEff /proc/self/status"],
        "cwd": "/etc",
        "env": ["PATH=/bin", "TWO=second"],
        "user": {"uid": 5, "gid": 6, "umask": 0o77},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
    });
    std::fs::write(bundle.path().join("process.json"), process.to_string()).unwrap();
    let out = bundle.wharf(&["exec", "--process", "process.json", &id]).out();
    assert_eq!(
        out,
        "uid=5 gid=6\n-second\n/etc\n0077\nCapEff:\t0000000000000000\n"
    );
    std::fs::write(bundle.path().join("process.json"), "{").unwrap();
    assert!(
        bundle
            .wharf(&["exec", "--process", "process.json", &id])
            .refusal()
            .contains("--process")
    );
    assert!(
        bundle
            .wharf(&["exec", &id])
            .refusal()
            .contains("a program is missing")
    );
}

#[test]
fn a_detached_exec_writes_its_pid_and_goes_on() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    bundle
        .wharf(&["exec", "--detach", "--pid-file", "pid", &id, "sleep", "1000"])
        .out();
    let pid: i32 = std::fs::read_to_string(bundle.path().join("pid"))
        .unwrap()
        .parse()
        .unwrap();
    let pids: Vec<i32> = serde_json::from_str(&bundle.wharf(&["ps", "--format", "json", &id]).out()).unwrap();
    assert!(pids.contains(&pid), "{pid} in {pids:?}");
    bundle.wharf(&["kill", &id, "KILL"]).out();
    wait_for_end(pid);
}

#[test]
fn exec_reaches_a_container_that_was_not_started() {
    let bundle = Bundle::sleeping();
    let id = bundle.create();
    assert_eq!(bundle.wharf(&["exec", &id, "echo", "early"]).out(), "early\n");
    assert_eq!(bundle.status(&id), "created");
}

#[test]
fn the_containers_filter_holds_for_exec_too() {
    let mut bundle = Bundle::sleeping();
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    });
    let id = bundle.start();
    assert!(
        bundle
            .wharf(&["exec", &id, "mkdir", "/tmp/x"])
            .refusal()
            .contains("Operation not supported")
    );
}

#[test]
fn exec_sees_no_descriptor_of_the_runtime() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    assert_eq!(
        bundle.wharf(&["exec", &id, "ls", "/proc/self/fd"]).out(),
        "0\n1\n2\n3\n"
    );
}

#[test]
fn exec_stays_inside_the_root_of_a_container_without_a_mount_namespace() {
    let mut bundle = Bundle::sleeping();
    bundle.config["linux"] = json!({"namespaces": [{"type": "pid"}]});
    bundle.config["mounts"] = json!([]);
    bundle.config.as_object_mut().unwrap().remove("hostname");
    let id = bundle.start();
    assert_eq!(
        bundle.wharf(&["exec", &id, "ls", "/"]).out(),
        "bin\ndev\netc\nproc\nroot\nsys\ntmp\n"
    );
}

#[test]
fn exec_stays_inside_a_root_that_was_moved() {
    let bundle = Bundle::sleeping();
    bundle.save();
    let id = bundle.id();
    bundle.wharf(&["create", "--no-pivot", &id]).out();
    bundle.wharf(&["start", &id]).out();
    assert_eq!(
        bundle.wharf(&["exec", &id, "ls", "/"]).out(),
        "bin\ndev\netc\nproc\nroot\nsys\ntmp\n"
    );
}
