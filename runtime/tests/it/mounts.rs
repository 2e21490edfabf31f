//! The root and what is mounted in it.

use std::os::unix::fs::{FileTypeExt, symlink};

use serde_json::{Value, json};

use crate::support::Bundle;

fn add(bundle: &mut Bundle, mount: Value) {
    bundle.config["mounts"].as_array_mut().unwrap().push(mount);
}

/// The options of a mount, from the inside.
fn options(bundle: &Bundle, destination: &str) -> String {
    let out = bundle.run().out();
    let line = out
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(destination));
    let line = line.unwrap_or_else(|| panic!("no {destination} in {out}"));
    let fields: Vec<&str> = line.split(' ').collect();
    format!("{} {}", fields[5], fields[6])
}

#[test]
fn bind_mounts_carry_their_options() {
    let mut bundle = Bundle::shell("cat /proc/self/mountinfo; cat /data/file >&2");
    let source = bundle.path().join("data");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "bound").unwrap();
    add(
        &mut bundle,
        json!({"destination": "/data", "source": "data", "options": ["bind", "ro", "nosuid", "noexec"]}),
    );
    assert_eq!(
        bundle.run().stderr,
        "bound",
        "a relative source counts from the bundle"
    );
    let options = options(&bundle, "/data");
    for option in ["ro", "nosuid", "noexec"] {
        assert!(
            options.split([' ', ',']).any(|found| found == option),
            "{option} in {options}"
        );
    }
}

#[test]
fn recursive_options_reach_the_mounts_below() {
    let mut bundle = Bundle::shell("touch /outer/inner/x 2>&1; touch /outer/y 2>&1; true");
    let inner = json!({"destination": "/outer/inner", "type": "tmpfs", "source": "tmpfs"});
    std::fs::create_dir(bundle.rootfs().join("outer")).unwrap();
    add(&mut bundle, inner);
    let copy = bundle.rootfs().join("outer");
    add(
        &mut bundle,
        json!({"destination": "/outer", "source": copy, "options": ["rbind", "rro"]}),
    );
    let out = bundle.run().out();
    assert_eq!(out.matches("Read-only file system").count(), 2, "{out}");
}

#[test]
fn a_file_is_bound_on_a_file_that_is_made() {
    let mut bundle = Bundle::shell("cat /etc/deep/resolv.conf");
    std::fs::write(bundle.path().join("resolv.conf"), "nameserver 127.0.0.11\n").unwrap();
    add(
        &mut bundle,
        json!({"destination": "/etc/deep/resolv.conf", "source": "resolv.conf", "options": ["bind"]}),
    );
    assert_eq!(bundle.run().out(), "nameserver 127.0.0.11\n");
}

#[test]
fn tmpfs_has_its_size_and_copies_up_what_was_there() {
    let mut bundle =
        Bundle::shell("cat /etc/passwd; readlink /etc/link; touch /etc/new; cat /proc/self/mountinfo >&2");
    symlink("passwd", bundle.rootfs().join("etc/link")).unwrap();
    add(
        &mut bundle,
        json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "tmpcopyup"]}),
    );
    let ran = bundle.run();
    assert!(ran.stderr.contains("size=64k"), "{ran:?}");
    let out = ran.out();
    assert!(out.contains("root:x:0:0") && out.ends_with("passwd\n"), "{out}");
    assert!(!bundle.rootfs().join("etc/new").exists());
}

#[test]
fn mounts_are_made_in_their_order_and_the_later_covers() {
    let mut bundle = Bundle::shell("ls /data");
    for name in ["one", "two"] {
        std::fs::create_dir(bundle.path().join(name)).unwrap();
        std::fs::write(bundle.path().join(name).join(name), "").unwrap();
        add(
            &mut bundle,
            json!({"destination": "/data", "source": name, "options": ["bind"]}),
        );
    }
    assert_eq!(bundle.run().out(), "two\n");
}

#[test]
fn an_overlay_is_mounted_with_many_layers() {
    let mut bundle = Bundle::shell("ls /merged | wc -l; touch /merged/new");
    symlink("busybox", bundle.rootfs().join("bin/wc")).unwrap();
    let layers: Vec<String> = (0..12)
        .map(|index| format!("{}/layer{index}", bundle.path().display()))
        .collect();
    for (index, layer) in layers.iter().enumerate() {
        std::fs::create_dir(layer).unwrap();
        std::fs::write(format!("{layer}/file{index}"), "").unwrap();
    }
    for name in ["upper", "work"] {
        std::fs::create_dir(bundle.path().join(name)).unwrap();
    }
    let options = [
        format!("lowerdir={}", layers.join(":")),
        format!("upperdir={}/upper", bundle.path().display()),
        format!("workdir={}/work", bundle.path().display()),
    ];
    assert!(
        options[0].len() > 255,
        "longer than the kernel takes in one value"
    );
    add(
        &mut bundle,
        json!({"destination": "/merged", "type": "overlay", "source": "overlay", "options": options}),
    );
    assert_eq!(bundle.run().out(), "12\n");
    assert!(bundle.path().join("upper/new").exists());
}

#[test]
fn masked_paths_read_as_nothing_and_read_only_ones_cannot_be_written() {
    let mut bundle = Bundle::shell(
        "cat /proc/keys /proc/timer_list; ls /sys/firmware /masked; echo 1 > /proc/sys/kernel/hostname; cat /masked/x",
    );
    std::fs::create_dir(bundle.rootfs().join("masked")).unwrap();
    std::fs::write(bundle.rootfs().join("masked/x"), "secret").unwrap();
    bundle.config["linux"]["maskedPaths"]
        .as_array_mut()
        .unwrap()
        .push(json!("/masked"));
    let ran = bundle.run();
    assert_eq!(ran.stdout, "/masked:\n\n/sys/firmware:\n", "{ran:?}");
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    assert!(ran.stderr.contains("/masked/x': No such file"), "{ran:?}");
}

#[test]
fn cve_2019_19921_links_at_proc_sys_and_dev_are_refused() {
    for (name, target) in [("proc", "tmp"), ("sys", "/tmp"), ("dev", "../../../../tmp")] {
        let bundle = Bundle::new();
        std::fs::remove_dir(bundle.rootfs().join(name)).unwrap();
        symlink(target, bundle.rootfs().join(name)).unwrap();
        let refusal = bundle.run().refusal();
        assert!(refusal.contains(".destination: open "), "{refusal}");
        assert!(refusal.contains("too many levels of symbolic links"), "{refusal}");
        assert_eq!(std::fs::read_dir(bundle.rootfs().join("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn cve_2019_16884_nothing_but_harmless_files_of_proc_is_covered() {
    let mut bundle = Bundle::new();
    for destination in ["/proc/self/attr", "/proc/sys/kernel", "/x/../proc/1", "/proc"] {
        bundle.config["mounts"] =
            json!([{"destination": destination, "source": "/tmp", "options": ["bind"]}]);
        let refusal = bundle.run().refusal();
        assert!(refusal.contains("mounts[0]"), "{destination}: {refusal}");
    }
    bundle.config["mounts"] = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/proc/cpuinfo", "source": "/etc/hostname", "options": ["bind"]},
    ]);
    assert_eq!(bundle.run().code, 0);
}

#[test]
fn cve_2021_30465_a_destination_through_a_link_stays_inside() {
    let mut bundle = Bundle::shell("ls /target /abs; ls -d /outside");
    symlink("../../../../../../../target", bundle.rootfs().join("up")).unwrap();
    symlink("/abs", bundle.rootfs().join("absolute")).unwrap();
    std::fs::create_dir(bundle.path().join("data")).unwrap();
    std::fs::write(bundle.path().join("data/file"), "").unwrap();
    add(
        &mut bundle,
        json!({"destination": "/up", "source": "data", "options": ["bind"]}),
    );
    add(
        &mut bundle,
        json!({"destination": "/absolute/deep", "source": "data", "options": ["bind"]}),
    );
    let ran = bundle.run();
    assert_eq!(ran.stdout, "/abs:\ndeep\n\n/target:\nfile\n", "{ran:?}");
    assert!(!std::path::Path::new("/target").exists() && !std::path::Path::new("/abs").exists());
}

#[test]
fn a_loop_of_links_ends() {
    let mut bundle = Bundle::new();
    symlink("b", bundle.rootfs().join("a")).unwrap();
    symlink("a", bundle.rootfs().join("b")).unwrap();
    add(
        &mut bundle,
        json!({"destination": "/a/x", "type": "tmpfs", "source": "tmpfs"}),
    );
    assert!(
        bundle
            .run()
            .refusal()
            .contains("too many levels of symbolic links")
    );
}

#[test]
fn default_devices_links_and_the_bundles_own_are_there() {
    let mut bundle = Bundle::shell(
        "ls /dev; stat -c '%F %t:%T %a %u' /dev/null /dev/fuse /dev/deep/fifo; readlink /dev/fd; readlink /dev/ptmx; echo x >/dev/null",
    );
    bundle.config["linux"]["devices"] = json!([
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7},
        {"path": "/dev/deep/fifo", "type": "p", "fileMode": 0o600},
    ]);
    let out = bundle.run().out();
    for name in [
        "full", "null", "random", "tty", "urandom", "zero", "stdin", "stdout", "stderr", "pts", "shm",
    ] {
        assert!(out.lines().any(|line| line == name), "{name} in {out}");
    }
    assert!(out.contains("character special file 1:3 666 0\n"), "{out}");
    assert!(out.contains("character special file a:e5 640 7\n"), "{out}");
    assert!(out.contains("fifo 0:0 600 0\n"), "{out}");
    assert!(out.contains("/proc/self/fd\npts/ptmx\n"), "{out}");
}

#[test]
fn a_wrong_node_in_the_images_dev_is_refused() {
    let mut bundle = Bundle::new();
    bundle.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    std::fs::write(bundle.rootfs().join("dev/null"), "not a device").unwrap();
    let refusal = bundle.run().refusal();
    assert!(
        refusal.contains("make the device") && refusal.contains("/dev/null"),
        "{refusal}"
    );
    assert!(
        !std::fs::metadata(bundle.rootfs().join("dev/null"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
}

#[test]
fn the_root_is_read_only_if_asked() {
    let mut bundle = Bundle::shell("touch /x");
    bundle.config["root"]["readonly"] = json!(true);
    assert!(bundle.run().refusal().contains("Read-only file system"));
    bundle.config["root"]["readonly"] = json!(false);
    assert_eq!(bundle.run().code, 0);
}

#[test]
fn the_hosts_mounts_are_not_seen_and_none_is_made_there() {
    let bundle = Bundle::shell("cat /proc/self/mountinfo");
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let out = bundle.run().out();
    assert!(
        out.lines().next().unwrap().split(' ').nth(4) == Some("/"),
        "{out}"
    );
    assert!(!out.contains("/sys/fs/cgroup"), "{out}");
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}

#[test]
fn no_pivot_changes_the_root_too() {
    let bundle = Bundle::shell("ls /; cat /proc/1/comm");
    bundle.save();
    let out = bundle.wharf(&["run", "--no-pivot", &bundle.id()]).out();
    assert!(out.starts_with("bin\n"), "{out}");
}

#[test]
fn propagation_is_as_asked() {
    let mut bundle = Bundle::shell("cat /proc/self/mountinfo");
    std::fs::create_dir(bundle.path().join("data")).unwrap();
    add(
        &mut bundle,
        json!({"destination": "/s", "type": "tmpfs", "source": "tmpfs", "options": ["shared"]}),
    );
    add(
        &mut bundle,
        json!({"destination": "/u", "type": "tmpfs", "source": "tmpfs", "options": ["unbindable"]}),
    );
    assert!(options(&bundle, "/s").contains("shared:"));
    assert!(options(&bundle, "/u").contains("unbindable"));
    for word in [
        "private",
        "rprivate",
        "slave",
        "rslave",
        "shared",
        "rshared",
        "unbindable",
    ] {
        bundle.config["linux"]["rootfsPropagation"] = json!(word);
        let ran = bundle.run();
        assert_eq!(ran.code, 0, "{word}: {ran:?}");
    }
}

#[test]
fn a_mount_that_fails_names_its_field() {
    let mut bundle = Bundle::new();
    for (mount, expected) in [
        (
            json!({"destination": "/x", "source": "/nowhere", "options": ["bind"]}),
            "mounts[0].source: open \"/nowhere\"",
        ),
        (
            json!({"destination": "/x", "type": "nofs"}),
            "mounts[0].type: make a nofs",
        ),
        (
            json!({"destination": "/x", "type": "tmpfs", "options": ["size=x"]}),
            "mounts[0].options: configure a tmpfs",
        ),
        (
            json!({"destination": "/x", "source": "/tmp", "options": ["bind", "size=1"]}),
            "mounts[0].options: \"size\"",
        ),
        (
            json!({"destination": "/x", "type": "tmpfs", "options": ["idmap"]}),
            "mounts[0].options: \"idmap\"",
        ),
    ] {
        bundle.config["mounts"] = json!([mount]);
        let refusal = bundle.run().refusal().replace('\\', "");
        assert!(refusal.contains(expected), "{expected}: {refusal}");
    }
}
