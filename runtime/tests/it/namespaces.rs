//! Namespaces, new and joined, and what belongs to one.

use serde_json::json;

use crate::support::Bundle;

const KINDS: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];

fn own(kind: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{kind}"))
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

fn list() -> String {
    KINDS
        .map(|kind| format!("readlink /proc/self/ns/{kind}; "))
        .concat()
}

#[test]
fn the_container_has_its_own_of_each() {
    let out = Bundle::shell(&list()).run().out();
    for kind in KINDS {
        assert!(out.contains(kind), "{kind} in {out}");
        assert!(!out.contains(&own(kind)), "{kind} is the host's: {out}");
    }
}

#[test]
fn what_is_not_named_is_shared_with_the_host() {
    let mut bundle = Bundle::shell(&list());
    bundle.config["linux"]["namespaces"] = json!([{"type": "mount"}]);
    bundle.config.as_object_mut().unwrap().remove("hostname");
    let out = bundle.run().out();
    for kind in KINDS.into_iter().filter(|kind| *kind != "mnt") {
        assert!(out.contains(&own(kind)), "{kind} in {out}");
    }
}

#[test]
fn a_namespace_is_joined_by_its_path() {
    let first = Bundle::sleeping();
    let id = first.start();
    let pid = first.pid(&id);
    let mut second = Bundle::shell(&format!("{}hostname; ps", list()));
    let joined = ["ipc", "net", "uts", "pid"];
    let names = ["ipc", "network", "uts", "pid"];
    let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "cgroup"})];
    for (kind, name) in joined.iter().zip(names) {
        namespaces.push(json!({"type": name, "path": format!("/proc/{pid}/ns/{kind}")}));
    }
    second.config["linux"]["namespaces"] = json!(namespaces);
    let theirs: Vec<String> = joined
        .iter()
        .map(|kind| {
            std::fs::read_link(format!("/proc/{pid}/ns/{kind}"))
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let out = second.run().out();
    for name in theirs {
        assert!(out.contains(&name), "{name} in {out}");
    }
    assert!(
        out.contains("sleep 1000"),
        "the first container's process is seen: {out}"
    );
}

#[test]
fn a_path_that_is_no_namespace_is_refused() {
    let mut bundle = Bundle::new();
    for (path, expected) in [
        ("/etc/passwd", "is no namespace"),
        ("/nowhere", "no such file or directory"),
    ] {
        bundle.config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "network", "path": path}]);
        bundle.config.as_object_mut().unwrap().remove("hostname");
        let refusal = bundle.run().refusal();
        assert!(
            refusal.contains("linux.namespaces[1].path: ") && refusal.contains(expected),
            "{refusal}"
        );
    }
}

fn with_user_namespace(line: &str) -> Bundle {
    let mut bundle = Bundle::shell(line);
    bundle.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    // The way to the root must be open to the mapped root.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bundle.path(), mode).unwrap();
    bundle
}

#[test]
fn a_user_namespace_maps_ids_and_has_devices() {
    let mut bundle = with_user_namespace("");
    let data = bundle.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(100_000), Some(100_000)).unwrap();
    bundle.config["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"destination": "/tmp", "source": data, "options": ["bind"]}));
    bundle.config["process"]["args"][2] = json!(
        "id; cat /proc/self/uid_map; echo x > /dev/null; stat -c %F /dev/zero; touch /tmp/x; grep files /proc/self/limits"
    );
    bundle.config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 199}]);
    let out = bundle.run().out();
    assert!(out.starts_with("uid=0(root) gid=0"), "{out}");
    assert!(out.contains("100000      65536"), "{out}");
    assert!(out.contains("character special file"), "{out}");
    let words: Vec<&str> = out.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(words[3..5], ["99", "199"]);
    let made = std::fs::metadata(data.join("x")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 100_000);
}

#[test]
fn exec_joins_a_user_namespace() {
    let mut bundle = with_user_namespace("");
    bundle.config["process"]["args"] = json!(["sleep", "1000"]);
    let id = bundle.start();
    let out = bundle
        .wharf(&["exec", &id, "sh", "-c", "id; readlink /proc/self/ns/user"])
        .out();
    let theirs = std::fs::read_link(format!("/proc/{}/ns/user", bundle.pid(&id))).unwrap();
    assert_eq!(out, format!("uid=0(root) gid=0\n{}\n", theirs.display()));
}

#[test]
fn a_time_namespace_has_its_offsets() {
    let mut bundle = Bundle::shell("cat /proc/uptime");
    bundle.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "time"}));
    bundle.config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
    let uptime = bundle.run().out();
    let seconds: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    assert!(seconds > 1e9, "{uptime}");
    let host = std::fs::read_to_string("/proc/uptime").unwrap();
    assert!(host.split_whitespace().next().unwrap().parse::<f64>().unwrap() < 1e9);
}

#[test]
fn sysctls_are_set_in_the_containers_namespaces_alone() {
    let key = "/proc/sys/net/ipv4/ip_default_ttl";
    let before = std::fs::read_to_string(key).unwrap();
    let mut bundle = Bundle::shell(&format!("cat {key} /proc/sys/kernel/shmmni"));
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ip_default_ttl": "77", "kernel.shmmni": "1234"});
    assert_eq!(bundle.run().out(), "77\n1234\n");
    assert_eq!(std::fs::read_to_string(key).unwrap(), before);
}

#[test]
fn sysctls_of_the_host_are_refused() {
    let mut bundle = Bundle::new();
    bundle.config["linux"]["sysctl"] = json!({"kernel.core_pattern": "|/bin/evil"});
    assert!(bundle.run().refusal().contains("would change the host"));
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ip_default_ttl": "77"});
    // Joined by path, but the host's.
    bundle.config["linux"]["namespaces"] =
        json!([{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/proc/self/ns/net"}]);
    assert!(
        bundle
            .run()
            .refusal()
            .contains("the namespace joined is the host's")
    );
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.no_such_key": "1"});
    bundle.config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "uts"}, {"type": "network"}]);
    let refusal = bundle.run().refusal();
    assert!(
        refusal.contains("no_such_key") && refusal.contains("no such file or directory"),
        "{refusal}"
    );
}

#[test]
fn host_and_domain_names_are_set() {
    let mut bundle = Bundle::shell("hostname; cat /proc/sys/kernel/domainname");
    bundle.config["hostname"] = json!("web-1");
    bundle.config["domainname"] = json!("example.org");
    assert_eq!(bundle.run().out(), "web-1\nexample.org\n");
}

#[test]
fn sysctls_are_set_from_a_user_namespace_too() {
    let mut bundle = with_user_namespace("cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shmmni");
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ip_default_ttl": "78", "kernel.shmmni": "1235"});
    assert_eq!(bundle.run().out(), "78\n1235\n");
}

#[test]
fn a_user_namespace_is_joined_and_the_others_are_made_in_it() {
    let mut first = with_user_namespace("");
    first.config["process"]["args"] = json!(["sleep", "1000"]);
    let id = first.start();
    let theirs = format!("/proc/{}/ns/user", first.pid(&id));
    let mut second = Bundle::shell(
        "id; readlink /proc/self/ns/user; hostname; ps | grep -c .; touch /dev/x && mount -t tmpfs x /tmp && echo owned",
    );
    std::fs::set_permissions(second.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    second.config["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    second.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "user", "path": theirs}));
    let name = std::fs::read_link(&theirs).unwrap();
    let out = second.run().out();
    assert!(
        out.starts_with(&format!("uid=0(root) gid=0\n{}\nwharf-test\n", name.display())),
        "{out}"
    );
    assert!(
        out.ends_with("owned\n"),
        "the new mount namespace belongs to the joined user namespace: {out}"
    );
}

#[test]
fn a_user_namespace_that_is_the_own_one_cannot_be_joined() {
    let mut bundle = Bundle::new();
    let own = json!({"type": "user", "path": "/proc/self/ns/user"});
    bundle.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(own);
    let refusal = bundle.run().refusal();
    assert!(
        refusal.contains("linux.namespaces[6].path: join \"/proc/self/ns/user\": invalid argument"),
        "{refusal}"
    );
}
