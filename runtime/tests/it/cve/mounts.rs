//! Mounts that an image's symbolic links lead elsewhere, and paths that are to be hidden.

use std::{fs, os::unix::fs::symlink, process::Command};

use serde_json::json;

use crate::sandbox::{Answer, Sandbox};

#[test]
fn cve_2019_19921_a_symbolic_link_in_the_place_of_proc_is_refused() {
    for name in ["proc", "dev", "sys"] {
        let mut sandbox = Sandbox::new();
        let place = sandbox.root().join(name);
        fs::remove_dir(&place).unwrap();
        fs::create_dir(sandbox.root().join("tmp/elsewhere")).unwrap();
        symlink("tmp/elsewhere", &place).unwrap();

        let naive = Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg(format!(
                "mount -t tmpfs naive {0} && grep naive /proc/self/mountinfo",
                place.display()
            ))
            .output();
        let naive = Answer::of(&naive.unwrap());
        assert!(
            naive.stdout.contains("rootfs/tmp/elsewhere "),
            "the attack itself fails: {naive:?}"
        );

        let destination = format!("/{name}");
        let mount = match name {
            "proc" => json!({"destination": destination, "type": "proc", "source": "proc"}),
            "dev" => json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}),
            _ => json!({"destination": destination, "type": "sysfs", "source": "sysfs", "options": ["ro"]}),
        };
        sandbox.config["mounts"] = json!([mount]);
        sandbox.run().refused(&destination);
    }
}

#[test]
fn cve_2021_30465_a_mount_through_a_link_that_climbs_lands_inside_the_root() {
    let mut sandbox = Sandbox::new();
    let outside = sandbox.outside().join("target");
    fs::create_dir(&outside).unwrap();
    let climbing = format!("../../../../../../../../..{}", outside.display());
    symlink(&climbing, sandbox.root().join("link")).unwrap();

    let naive = Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg(format!(
            "mount -t tmpfs naive {}/link/ && grep naive /proc/self/mountinfo",
            sandbox.root().display()
        ))
        .output();
    let naive = Answer::of(&naive.unwrap());
    assert!(
        naive.stdout.contains(&format!(" {} ", outside.display())),
        "the attack itself fails: {naive:?}"
    );

    let mounts = sandbox.config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/link", "type": "tmpfs", "source": "ours"}));
    let answer = sandbox.script("grep ' ours ' /proc/self/mountinfo").run();
    if answer.code == Some(0) {
        // As seen from inside, where the root is "/": the folder of that name there.
        assert!(
            answer.stdout.contains(&format!(" {} ", outside.display())),
            "{answer:?}"
        );
        assert!(sandbox.root().join(outside.strip_prefix("/").unwrap()).is_dir());
    } else {
        answer.refused("/link");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// The class of CVE-2023-27561 and CVE-2023-28642: the link appears in a volume.
#[test]
fn cve_2023_28642_masked_paths_hold_where_the_image_has_a_link() {
    let mut sandbox = Sandbox::new();
    fs::create_dir(sandbox.root().join("real")).unwrap();
    fs::write(sandbox.root().join("real/secret"), "secret").unwrap();
    symlink("real", sandbox.root().join("linked")).unwrap();
    sandbox.config["linux"]["maskedPaths"] = json!(["/linked/secret", "/proc/timer_list", "/proc/acpi"]);
    let answer = sandbox
        .script("cat /real/secret /proc/timer_list; ls /proc/acpi")
        .run();
    assert_eq!(answer.stdout, "", "{answer:?}");
}

#[test]
fn cve_2025_31133_the_mask_is_the_hosts_null_device_whatever_the_image_holds() {
    let mut sandbox = Sandbox::new();
    // What the image shows as its null device must not come to lie where the mask should.
    let mounts = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "bind", "source": sandbox.root().join("fake"), "options": ["rbind"]},
    ]);
    sandbox.config["mounts"] = mounts;
    fs::create_dir(sandbox.root().join("fake")).unwrap();
    symlink("/proc/self/status", sandbox.root().join("fake/null")).unwrap();
    sandbox.config["linux"]["maskedPaths"] = json!(["/proc/timer_list"]);
    let answer = sandbox
        .script("cat /proc/timer_list; ls -l /proc/timer_list")
        .run();
    if answer.code == Some(0) {
        assert!(!answer.stdout.contains("State:"), "{answer:?}");
        assert!(answer.stdout.contains("1,   3"), "{answer:?}");
    } else {
        answer.refused("/dev");
    }
}

#[test]
fn ghsa_3q8j_pf29_vwv8_read_only_paths_are_read_only_where_the_image_has_a_link() {
    let mut sandbox = Sandbox::new();
    fs::create_dir(sandbox.root().join("real")).unwrap();
    symlink("real", sandbox.root().join("linked")).unwrap();
    sandbox.config["linux"]["readonlyPaths"] = json!(["/linked", "/proc/sys"]);
    let answer = sandbox
        .script("touch /real/file; touch /linked/file; echo 1 > /proc/sys/kernel/panic; test -e /real/file")
        .run();
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert_eq!(
        answer.stderr.matches("Read-only file system").count(),
        3,
        "{answer:?}"
    );
}

#[test]
fn cve_2022_0492_cgroups_are_read_only_unless_asked_and_begin_at_the_containers_own() {
    let mut sandbox = Sandbox::new();
    let mounts = sandbox.config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}));
    mounts.push(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["ro", "nosuid", "noexec", "nodev"]}),
    );
    let answer = sandbox
        .script(
            "for file in $(ls -d /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/cgroup.procs); do \
               if echo 0 > $file; then echo wrote $file; fi; done; cat /proc/self/cgroup",
        )
        .run()
        .succeeded();
    assert!(!answer.stdout.contains("wrote"), "{answer:?}");
    for line in answer.stdout.lines() {
        assert!(line.ends_with(":/"), "a path of the host's shows: {line}");
    }
}
