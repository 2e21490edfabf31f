//! `process`: each field, as the program sees it.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::Bundle;

fn status(bundle: &Bundle, name: &str) -> String {
    let out = bundle.run().out();
    let line = out
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {out}"))
        .trim()
        .to_owned()
}

#[test]
fn cve_2022_36109_user_groups_and_supplementary_groups_are_the_bundles() {
    let mut bundle = Bundle::shell("id");
    bundle.config["process"]["user"] = json!({"uid": 7, "gid": 8, "additionalGids": [9, 10]});
    assert_eq!(bundle.run().out(), "uid=7(web) gid=8 groups=9,10\n");
    bundle.config["process"]["user"] = json!({"uid": 0, "gid": 0});
    assert_eq!(
        bundle.run().out(),
        "uid=0(root) gid=0\n",
        "the caller's groups are not inherited"
    );
}

#[test]
fn home_is_taken_from_passwd_unless_it_is_given() {
    let mut bundle = Bundle::shell("echo $HOME");
    assert_eq!(bundle.run().out(), "/root\n");
    bundle.config["process"]["user"] = json!({"uid": 7, "gid": 8});
    assert_eq!(bundle.run().out(), "/srv\n");
    bundle.config["process"]["env"] = json!(["PATH=/bin", "HOME=/given"]);
    assert_eq!(bundle.run().out(), "/given\n");
    std::fs::remove_file(bundle.rootfs().join("etc/passwd")).unwrap();
    bundle.config["process"]["env"] = json!(["PATH=/bin"]);
    assert_eq!(bundle.run().out(), "/\n");
}

#[test]
fn the_five_capability_sets_are_set() {
    let mut bundle = Bundle::shell("grep Cap /proc/self/status");
    bundle.config["process"]["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    });
    bundle.config["process"]["user"] = json!({"uid": 7, "gid": 8});
    let out = bundle.run().out();
    for (set, bits) in [
        ("CapInh", 0x20),
        ("CapPrm", 0x20),
        ("CapEff", 0x20),
        ("CapBnd", 0x421),
        ("CapAmb", 0x20),
    ] {
        assert!(out.contains(&format!("{set}:\t{bits:016x}")), "{set} in {out}");
    }
}

#[test]
fn cve_2022_24769_nothing_is_inheritable_that_was_not_asked_for() {
    let mut bundle = Bundle::shell("cat /proc/self/status");
    assert_eq!(status(&bundle, "CapInh"), "0000000000000000");
    bundle.config["process"]
        .as_object_mut()
        .unwrap()
        .remove("capabilities");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(&bundle, set), "0000000000000000", "{set}");
    }
}

#[test]
fn a_capability_that_the_kernel_lacks_is_a_warning() {
    let mut bundle = Bundle::shell("true");
    bundle.config["process"]["capabilities"] = json!({"bounding": ["CAP_FLY"]});
    let ran = bundle.run();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("process.capabilities.bounding: ") && ran.stderr.contains("CAP_FLY"),
        "{ran:?}"
    );
}

#[test]
fn no_new_privileges_is_set_or_not() {
    let mut bundle = Bundle::shell("cat /proc/self/status");
    assert_eq!(status(&bundle, "NoNewPrivs"), "0");
    bundle.config["process"]["noNewPrivileges"] = json!(true);
    assert_eq!(status(&bundle, "NoNewPrivs"), "1");
}

#[test]
fn limits_umask_and_the_oom_score_are_set() {
    let mut bundle = Bundle::shell("cat /proc/self/limits /proc/self/oom_score_adj; umask");
    bundle.config["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]);
    bundle.config["process"]["oomScoreAdj"] = json!(300);
    bundle.config["process"]["user"] = json!({"uid": 0, "gid": 0, "umask": 0o27});
    let out = bundle.run().out();
    let limit = |name: &str| {
        let line = out.lines().find(|line| line.starts_with(name)).unwrap();
        line.trim_start_matches(name)
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join("/")
    };
    assert_eq!(limit("Max open files"), "100/200");
    assert_eq!(limit("Max core file size"), "0/0");
    assert!(out.ends_with("300\n0027\n"), "{out}");
}

#[test]
fn a_limit_above_the_hard_one_tells_the_kernels_error() {
    let mut bundle = Bundle::new();
    bundle.config["process"]["rlimits"] =
        json!([{"type": "RLIMIT_NOFILE", "soft": 1u64 << 40, "hard": 1u64 << 40}]);
    let refusal = bundle.run().refusal();
    assert!(
        refusal.contains("process.rlimits[0]: set RLIMIT_NOFILE"),
        "{refusal}"
    );
    assert!(
        refusal
            .trim_end()
            .trim_end_matches('"')
            .ends_with("operation not permitted"),
        "{refusal}"
    );
}

#[test]
fn the_working_directory_is_entered_and_made_if_missing() {
    let mut bundle = Bundle::shell("pwd");
    bundle.config["process"]["cwd"] = json!("/srv/deep/er");
    assert_eq!(bundle.run().out(), "/srv/deep/er\n");
    std::fs::write(bundle.rootfs().join("file"), "").unwrap();
    bundle.config["process"]["cwd"] = json!("/file");
    let refusal = bundle.run().refusal();
    assert!(
        refusal.contains("process.cwd: enter ") && refusal.contains("not a directory"),
        "{refusal}"
    );
}

#[test]
fn a_directory_that_only_root_or_only_the_user_may_enter_is_entered() {
    let mut bundle = Bundle::shell("pwd");
    bundle.config["process"]["user"] = json!({"uid": 7, "gid": 8});
    for (name, owner) in [("root", 0), ("users", 7)] {
        let path = bundle.rootfs().join("tmp").join(name);
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        bundle.config["process"]["cwd"] = json!(format!("/tmp/{name}"));
        assert_eq!(bundle.run().code, 0, "{name}");
    }
}

#[test]
fn programs_that_cannot_run_are_told_apart() {
    let mut bundle = Bundle::new();
    std::fs::write(bundle.rootfs().join("bin/garbage"), "\u{7f}nonsense").unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bundle.rootfs().join("bin/garbage"), executable).unwrap();
    for (program, expected) in [
        ("nosuch", "executable file not found in $PATH"),
        ("/bin/nosuch", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/etc", "permission denied"),
        ("passwd", "executable file not found in $PATH"),
        ("/bin/garbage", "exec format error"),
    ] {
        bundle.config["process"]["args"] = json!([program]);
        let ran = bundle.run();
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.stderr.trim_end().trim_end_matches('"').ends_with(expected),
            "{program}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains("process.args: exec: "), "{}", ran.stderr);
    }
}

#[test]
fn no_descriptor_leads_out_of_the_container() {
    let file = std::fs::File::open("/etc/passwd").unwrap();
    // Left open for the runtime, as a careless caller does.
    let leaked = rustix::io::fcntl_dupfd_cloexec(&file, 20).unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let out = Bundle::shell("ls /proc/self/fd").run().out();
    // The last is ls's own.
    assert_eq!(out, "0\n1\n2\n3\n");
}

#[test]
fn preserved_descriptors_reach_the_program_and_missing_ones_are_refused() {
    let bundle = Bundle::shell("cat <&3");
    bundle.save();
    std::fs::write(bundle.path().join("note"), "handed on").unwrap();
    let id = bundle.id();
    let line = format!(
        "exec {} --root {} run --preserve-fds 1 {id} 3<note",
        env!("CARGO_BIN_EXE_wharf-runtime"),
        bundle.store().display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &line])
        .current_dir(bundle.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "handed on", "{output:?}");
    let refusal = bundle
        .wharf(&["run", "--preserve-fds", "900", &bundle.id()])
        .refusal();
    assert!(refusal.contains("--preserve-fds: descriptor"), "{refusal}");
}

#[test]
fn a_seccomp_filter_holds_with_and_without_no_new_privileges() {
    let mut bundle =
        Bundle::shell("mkdir /tmp/x; grep Seccomp: /proc/self/status; grep CapEff /proc/self/status");
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    });
    for no_new_privileges in [true, false] {
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        let ran = bundle.run();
        assert!(ran.stderr.contains("Operation not supported"), "{ran:?}");
        assert!(ran.stdout.contains("Seccomp:\t2"), "{ran:?}");
        assert!(
            ran.stdout.contains("CapEff:\t00000000080004e1"),
            "nothing is kept from the install: {ran:?}"
        );
    }
}

#[test]
fn notify_is_refused_by_name() {
    let mut bundle = Bundle::new();
    bundle.config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_NOTIFY"});
    assert!(bundle.run().refusal().contains("linux.seccomp: SCMP_ACT_NOTIFY"));
}

#[test]
fn the_personality_is_set() {
    let mut bundle = Bundle::shell("cat /proc/self/personality");
    bundle.config["linux"]["personality"] = json!({"domain": "LINUX32"});
    assert_eq!(bundle.run().out(), "00000008\n");
}

#[test]
fn signals_have_their_defaults_and_none_is_blocked() {
    let mut bundle = Bundle::new();
    // No shell, which sets its own.
    bundle.config["process"]["args"] = json!(["cat", "/proc/self/status"]);
    assert_eq!(status(&bundle, "SigIgn"), "0000000000000000");
    assert_eq!(status(&bundle, "SigBlk"), "0000000000000000");
}

#[test]
fn the_standard_streams_belong_to_the_user() {
    let mut bundle = Bundle::shell("echo through >/dev/stdout");
    bundle.config["process"]["user"] = json!({"uid": 7, "gid": 8});
    bundle.save();
    let output = bundle.command(&["run", &bundle.id()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through\n", "{output:?}");
}

#[test]
fn an_environment_that_is_too_long_is_the_kernels_error() {
    let mut bundle = Bundle::new();
    bundle.config["process"]["env"] = json!(["PATH=/bin", format!("X={}", "x".repeat(4 << 20))]);
    let refusal = bundle.run().refusal();
    assert!(refusal.contains("argument list too long"), "{refusal}");
}

#[test]
fn sockets_of_a_service_manager_are_handed_on() {
    let bundle = Bundle::shell("echo $LISTEN_FDS $LISTEN_PID; cat <&3");
    bundle.save();
    std::fs::write(bundle.path().join("note"), "a socket's stand-in").unwrap();
    let line = format!(
        "exec {} --root {} run {} 3<note",
        env!("CARGO_BIN_EXE_wharf-runtime"),
        bundle.store().display(),
        bundle.id()
    );
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", &line])
        .current_dir(bundle.path())
        .env("LISTEN_FDS", "1");
    assert_eq!(
        String::from_utf8_lossy(&shell.output().unwrap().stdout),
        "1 1\na socket's stand-in"
    );
    let mut wrong = bundle.command(&["run", &bundle.id()]);
    let wrong = wrong.env("LISTEN_FDS", "-1").output().unwrap();
    assert!(
        String::from_utf8_lossy(&wrong.stderr).contains("LISTEN_FDS"),
        "{wrong:?}"
    );
}
