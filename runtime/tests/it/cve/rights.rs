//! Rights that a container must not have without its bundle asking, and texts that must not be taken for more
//! than they are.

use std::fs;

use serde_json::json;

use crate::sandbox::Sandbox;

fn capability_lines(status: &str) -> Vec<(&str, &str)> {
    status
        .lines()
        .filter_map(|line| line.strip_prefix("Cap")?.split_once(":\t"))
        .collect()
}

#[test]
fn cve_2022_24769_the_inheritable_set_is_empty_unless_the_bundle_asks() {
    let mut sandbox = Sandbox::new();
    let answer = sandbox.script("grep ^Cap /proc/self/status").run().succeeded();
    let sets = capability_lines(&answer.stdout);
    // chown, dac_override, kill, setgid, setuid, sys_chroot
    assert_eq!(
        sets,
        [
            ("Inh", "0000000000000000"),
            ("Prm", "00000000000400e3"),
            ("Eff", "00000000000400e3"),
            ("Bnd", "00000000000400e3"),
            ("Amb", "0000000000000000"),
        ]
    );
    sandbox.start_sleeping();
    let answer = sandbox
        .exec(&["/bin/grep", "^CapInh", "/proc/self/status"])
        .succeeded();
    assert_eq!(answer.stdout, "CapInh:\t0000000000000000\n");
}

#[test]
fn cve_2022_36109_group_ids_are_those_of_the_bundle_the_primary_included() {
    let mut sandbox = Sandbox::new();
    sandbox.config["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [1001, 50]});
    let answer = sandbox
        .script("grep -E '^(Uid|Gid|Groups)' /proc/self/status")
        .run()
        .succeeded();
    let lines: Vec<&str> = answer.stdout.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "Uid:\t1000\t1000\t1000\t1000",
            "Gid:\t1001\t1001\t1001\t1001",
            "Groups:\t50 1001"
        ]
    );
}

#[test]
fn cve_2022_0811_a_parameter_that_smuggles_another_or_is_the_hosts_is_refused() {
    for key in [
        "kernel.shm_rmid_forced+1",
        "kernel.panic",
        "net.ipv4.ip_forward",
        "kernel/../net/x",
        "",
    ] {
        let mut sandbox = Sandbox::new();
        sandbox.config["linux"]["sysctl"] = json!({key: "1"});
        sandbox.run().refused("sysctl");
    }
    let mut sandbox = Sandbox::new();
    sandbox.config["linux"]["sysctl"] = json!({"kernel.shm_rmid_forced": "1"});
    let answer = sandbox
        .script("cat /proc/sys/kernel/shm_rmid_forced")
        .run()
        .succeeded();
    assert_eq!(answer.stdout, "1\n");
}

#[test]
fn cve_2024_3154_annotations_change_nothing() {
    let mut sandbox = Sandbox::new();
    let script =
        "cat /proc/self/cgroup /proc/self/mountinfo; grep -E '^(Cap|Seccomp|NoNew)' /proc/self/status";
    let plain = sandbox.script(script).run().succeeded().stdout;
    sandbox.config["annotations"] = json!({
        "org.systemd.property.ExecStartPre": "'/bin/touch /tmp/pwned'",
        "run.oci.seccomp.receiver": "/run/x",
        "run.oci.keep_original_groups": "1",
        "io.katacontainers.config": "x",
    });
    let annotated = sandbox.run().succeeded().stdout;
    let without_numbers = |text: &str| {
        text.split_whitespace()
            .filter(|word| !word.starts_with(|first: char| first.is_ascii_digit()))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(without_numbers(&plain), without_numbers(&annotated));
}

#[test]
fn cve_2021_43784_huge_texts_pass_whole_or_are_refused() {
    let mut sandbox = Sandbox::new();
    let long = "x".repeat(100_000);
    sandbox.config["process"]["env"] = json!(["PATH=/bin", format!("LONG={long}")]);
    sandbox.config["annotations"] = json!({"long": "y".repeat(1 << 20)});
    let answer = sandbox.script("echo ${#LONG}").run().succeeded();
    assert_eq!(answer.stdout, "100000\n");

    sandbox.config["hostname"] = long.clone().into();
    sandbox.run().refused("hostname");

    let mut sandbox = Sandbox::new();
    let namespaces: Vec<_> = (0..70_000)
        .map(|_| json!({"type": "network", "path": "/proc/self/ns/net"}))
        .collect();
    sandbox.config["linux"]["namespaces"] = json!(namespaces);
    sandbox.run().refused("linux.namespaces");
}

#[test]
fn a_program_in_the_image_is_never_run_by_the_runtime_before_the_user_is_switched() {
    let mut sandbox = Sandbox::new();
    sandbox.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    sandbox.config["process"]["capabilities"] = json!({});
    fs::set_permissions(
        sandbox.root().join("tmp"),
        std::os::unix::fs::PermissionsExt::from_mode(0o1777),
    )
    .unwrap();
    let answer = sandbox
        .script("id -u; touch /bin/x; touch /tmp/x && ls -n /tmp/x")
        .run();
    assert!(answer.stdout.starts_with("1000\n"), "{answer:?}");
    assert!(answer.stderr.contains("Permission denied"), "{answer:?}");
    assert!(answer.stdout.contains(" 1000     1000 "), "{answer:?}");
}
