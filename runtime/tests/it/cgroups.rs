//! Cgroups: the folders, the limits, the devices.

use std::path::PathBuf;

use serde_json::json;

use crate::support::Bundle;

/// The container's folders, by what `/proc/PID/cgroup` says of its first process.
fn folder(bundle: &Bundle, id: &str, controller: &str) -> PathBuf {
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid(id))).unwrap();
    let found = text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|name| name == controller)
            .then(|| path.to_owned())
    });
    match found {
        Some(path) => PathBuf::from(format!("/sys/fs/cgroup/{controller}{path}")),
        None => {
            let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
            PathBuf::from(format!("/sys/fs/cgroup{path}"))
        }
    }
}

fn is_v2() -> bool {
    PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn value(bundle: &Bundle, id: &str, controller: &str, v1: &str, v2: &str) -> String {
    let file = folder(bundle, id, controller).join(if is_v2() { v2 } else { v1 });
    std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        .trim()
        .to_owned()
}

#[test]
fn limits_of_memory_processor_and_tasks_are_written() {
    let mut bundle = Bundle::sleeping();
    bundle.config["linux"]["resources"] = json!({
        "memory": {"limit": 64 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"},
        "pids": {"limit": 33},
    });
    let id = bundle.start();
    assert_eq!(
        value(&bundle, &id, "memory", "memory.limit_in_bytes", "memory.max"),
        "67108864"
    );
    assert_eq!(
        value(&bundle, &id, "memory", "memory.soft_limit_in_bytes", "memory.low"),
        "33554432"
    );
    assert_eq!(value(&bundle, &id, "pids", "pids.max", "pids.max"), "33");
    assert_eq!(value(&bundle, &id, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    if is_v2() {
        assert_eq!(value(&bundle, &id, "cpu", "", "cpu.max"), "50000 100000");
        assert_eq!(value(&bundle, &id, "cpu", "", "cpu.weight"), "20");
    } else {
        assert_eq!(value(&bundle, &id, "cpu", "cpu.shares", ""), "512");
        assert_eq!(value(&bundle, &id, "cpu", "cpu.cfs_quota_us", ""), "50000");
    }
}

#[test]
fn update_changes_limits_from_a_file_and_from_stdin() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    std::fs::write(bundle.path().join("limits.json"), r#"{"pids":{"limit":44}}"#).unwrap();
    bundle.wharf(&["update", "--resources=limits.json", &id]).out();
    assert_eq!(value(&bundle, &id, "pids", "pids.max", "pids.max"), "44");
    let mut update = bundle.command(&["update", "--resources", "-", &id]);
    update.stdin(std::fs::File::open(bundle.path().join("limits.json")).unwrap());
    assert!(update.status().unwrap().success());
    std::fs::write(bundle.path().join("limits.json"), "garbage").unwrap();
    assert!(
        bundle
            .wharf(&["update", "--resources=limits.json", &id])
            .refusal()
            .contains("--resources")
    );
}

#[test]
fn update_changes_single_limits() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    bundle
        .wharf(&[
            "update",
            "--memory",
            "64M",
            "--pids-limit",
            "45",
            "--cpuset-cpus",
            "0",
            &id,
        ])
        .out();
    assert_eq!(
        value(&bundle, &id, "memory", "memory.limit_in_bytes", "memory.max"),
        "67108864"
    );
    assert_eq!(value(&bundle, &id, "pids", "pids.max", "pids.max"), "45");
    assert_eq!(value(&bundle, &id, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    bundle
        .wharf(&["update", "--memory", "128M", "--memory-swap", "256M", &id])
        .out();
    bundle
        .wharf(&["update", "--memory", "512M", "--memory-swap=1G", &id])
        .out();
    assert_eq!(
        value(&bundle, &id, "memory", "memory.limit_in_bytes", "memory.max"),
        "536870912"
    );
    assert!(
        bundle
            .wharf(&["update", "--memory", "much", &id])
            .refusal()
            .contains("--memory: \"much\"")
    );
    assert!(
        bundle
            .wharf(&["update", &id])
            .refusal()
            .contains("no limit is named")
    );
}

#[test]
fn the_limit_of_tasks_holds() {
    let mut bundle = Bundle::shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done 2>&1; true");
    bundle.config["linux"]["resources"] = json!({"pids": {"limit": 4}});
    let ran = bundle.run();
    assert!(
        ran.stdout.contains("fork") || ran.stderr.contains("fork"),
        "{ran:?}"
    );
}

#[test]
fn a_cgroups_path_is_honoured_and_removed_with_the_container() {
    let mut bundle = Bundle::sleeping();
    let name = bundle.id();
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/{name}"));
    let id = bundle.start();
    let folder = folder(&bundle, &id, "pids");
    assert!(folder.ends_with(&name), "{}", folder.display());
    bundle.wharf(&["delete", "--force", &id]).out();
    assert!(!folder.exists());
    bundle.config["linux"]["cgroupsPath"] = json!("/../../etc");
    assert!(bundle.run().refusal().contains("linux.cgroupsPath: "));
}

#[test]
fn folders_that_the_container_made_are_removed_too() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    let folder = folder(&bundle, &id, "pids");
    std::fs::create_dir_all(folder.join("inner/most")).unwrap();
    bundle.wharf(&["delete", "--force", &id]).out();
    assert!(!folder.exists());
}

#[test]
fn a_controller_that_the_machine_lacks_is_named() {
    let mut bundle = Bundle::new();
    bundle.config["linux"]["resources"] = json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]});
    let refusal = bundle.run().refusal();
    assert!(refusal.contains("hugetlb"), "{refusal}");
    bundle.config["linux"]["resources"] = json!({"hugepageLimits": [{"pageSize": "../x", "limit": 0}]});
    assert!(bundle.run().refusal().contains("no page size"));
    bundle.config["linux"]["resources"] = json!({"rdma": {"mlx5": {"hcaHandles": 2}}});
    assert!(
        bundle
            .run()
            .refusal()
            .contains("linux.resources.rdma: this machine has no rdma controller")
    );
    bundle.config["linux"]["resources"] = json!({"memory": {"limit": -5}});
    let refusal = bundle.run().refusal();
    assert!(
        refusal.contains("linux.resources.memory.limit: memory controller: write"),
        "{refusal}"
    );
}

#[test]
fn devices_are_denied_unless_allowed() {
    let probe = "mknod /tmp/d c 1 11 && echo made; cat /tmp/d >/dev/null 2>&1 && echo read; echo x > /dev/null && echo null";
    let mut bundle = Bundle::shell(probe);
    assert_eq!(bundle.run().stdout, "made\nnull\n");
    std::fs::remove_file(bundle.rootfs().join("tmp/d")).unwrap();
    bundle.config["process"]["args"][2] =
        json!("mknod /tmp/d c 1 5; dd if=/tmp/d of=/dev/null bs=1 count=1 2>/dev/null && echo read");
    assert_eq!(bundle.run().out(), "read\n", "zero is one of the defaults");
    std::fs::remove_file(bundle.rootfs().join("tmp/d")).unwrap();
    // The loop control device.
    bundle.config["process"]["args"][2] =
        json!("mknod /tmp/d c 10 237; (exec 3</tmp/d) 2>/dev/null && echo opened");
    bundle.config["linux"]["resources"] = json!({"devices": [{"allow": false}, {"allow": true, "type": "c", "major": 10, "minor": 237, "access": "rw"}]});
    let ran = bundle.run();
    if PathBuf::from("/dev/loop-control").exists() {
        assert_eq!(ran.stdout, "opened\n");
    }
    bundle.config["linux"]["resources"] = json!({"devices": [{"allow": true, "type": "x"}]});
    assert!(
        bundle
            .run()
            .refusal()
            .contains("linux.resources.devices[0].type: ")
    );
}

#[test]
fn the_cgroup_mount_shows_the_containers_own_read_only() {
    let mut bundle = Bundle::shell(
        "cat /proc/self/cgroup; cat /sys/fs/cgroup/*/tasks /sys/fs/cgroup/cgroup.procs 2>/dev/null | grep -c 1; mkdir /sys/fs/cgroup/x; mkdir /sys/fs/cgroup/pids/x",
    );
    bundle.config["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]}),
    );
    let ran = bundle.run();
    for line in ran.stdout.lines().filter(|line| line.contains(':')) {
        assert!(
            line.ends_with(":/"),
            "an own cgroup namespace shows roots: {line}"
        );
    }
    assert!(
        ran.stderr.matches("Read-only file system").count() >= 1,
        "{ran:?}"
    );
}

#[test]
fn without_a_cgroup_namespace_the_mount_is_the_containers_folder() {
    let mut bundle = Bundle::shell("cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null");
    bundle.config["linux"]["resources"] = json!({"pids": {"limit": 55}});
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "cgroup");
    bundle.config["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}),
    );
    assert_eq!(bundle.run().stdout, "55\n");
}

#[test]
fn every_process_ends_with_the_container_even_without_a_pid_namespace() {
    let mut bundle = Bundle::shell("sleep 1000 & echo $! > /tmp/pid; exec sleep 1000");
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "pid");
    let id = bundle.start();
    let file = bundle.rootfs().join("tmp/pid");
    let pid: i32 = loop {
        match std::fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
        {
            Some(pid) => break pid,
            None => std::thread::yield_now(),
        }
    };
    bundle.wharf(&["delete", "--force", &id]).out();
    crate::support::wait_for_end(pid);
}

#[test]
fn a_cgroup_that_is_anothers_is_left_alone() {
    let mut bundle = Bundle::sleeping();
    let name = bundle.id();
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/{name}"));
    let first = bundle.start();
    let refusal = bundle.run().refusal();
    assert!(
        refusal.contains("linux.cgroupsPath: ") && refusal.contains("holds processes"),
        "{refusal}"
    );
    assert_eq!(bundle.status(&first), "running");
    bundle.wharf(&["pause", &first]).out();
    assert!(bundle.run().refusal().contains("is there already and frozen"));
}
