//! The same bundle through runc and through us: what the program sees must be the same, but for what is listed.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::Bundle;

/// The program's output under runc.
fn through_runc(bundle: &Bundle) -> String {
    bundle.save();
    let root = bundle.path().join("runc");
    let id = format!("wharf-peer-{}", std::process::id());
    let output = Command::new("runc")
        .arg("--root")
        .arg(&root)
        .args(["run", &id])
        .current_dir(bundle.path())
        .stdin(std::process::Stdio::null())
        .output()
        .expect("runc is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn bundle(line: &str) -> Bundle {
    let mut bundle = Bundle::shell(line);
    bundle.config["process"]["user"] = json!({"uid": 7, "gid": 8, "additionalGids": [9]});
    bundle.config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]);
    bundle.config["process"]["oomScoreAdj"] = json!(100);
    bundle.config["process"]["noNewPrivileges"] = json!(true);
    bundle
}

#[test]
fn status_limits_environment_and_devices_are_as_runc_sets_them() {
    let line = "grep -E '^(Umask|Uid|Gid|Groups|SigBlk|Cap|NoNew|Seccomp)' /proc/self/status; cat /proc/self/limits \
                /proc/self/oom_score_adj; env; pwd; ls -ln /dev | grep -v total; hostname";
    let bundle = bundle(line);
    let without_times = |text: &str| -> Vec<String> {
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let words = |line: &str| -> String {
            let words: Vec<&str> = line.split_whitespace().collect();
            let month = words.iter().position(|word| months.contains(word));
            let kept = words
                .iter()
                .enumerate()
                .filter(|(at, _)| month.is_none_or(|m| *at < m || *at > m + 2));
            kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
        };
        text.lines().map(words).collect()
    };
    let (ours, theirs) = (bundle.run().out(), through_runc(&bundle));
    assert_eq!(without_times(&ours), without_times(&theirs));
}

#[test]
fn mounts_are_as_runc_makes_them() {
    let mut bundle = bundle("cat /proc/self/mountinfo");
    // Files are masked with the host's null device here, with the container's there; no path to it is trusted.
    bundle.config["linux"]["maskedPaths"] = json!(["/sys/firmware"]);
    bundle.config["root"]["readonly"] = json!(true);
    // Ids, device numbers and peer groups differ from run to run.
    let essence = |text: &str| -> Vec<String> {
        let kept = |line: &str| {
            let words: Vec<&str> = line.split(' ').skip(3).collect();
            let words = words
                .into_iter()
                .filter(|word| !word.starts_with("master:") && !word.starts_with("shared:"));
            words.collect::<Vec<_>>().join(" ")
        };
        text.lines().map(kept).collect()
    };
    let (ours, theirs) = (bundle.run().out(), through_runc(&bundle));
    assert_eq!(essence(&ours), essence(&theirs));
}

#[test]
fn cgroups_exit_codes_and_signals_are_as_runc_gives_them() {
    for (line, code) in [
        ("cat /proc/self/cgroup; exit 7", 7),
        ("cat /proc/self/cgroup; sh -c 'kill -9 $$'; exit $?", 137),
    ] {
        let mut bundle = bundle(line);
        let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
        if !namespaces.iter().any(|namespace| namespace["type"] == "cgroup") {
            namespaces.push(json!({"type": "cgroup"}));
        }
        let ours = bundle.run();
        bundle.save();
        let theirs = Command::new("runc")
            .arg("--root")
            .arg(bundle.path().join("runc"))
            .args(["run", &format!("wharf-peer-{}-{code}", std::process::id())])
            .current_dir(bundle.path())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("runc is installed");
        assert_eq!(theirs.status.code(), Some(code), "{theirs:?}");
        assert_eq!(ours.code, code);
        // A process of its own group sees itself at the top of each hierarchy.
        let theirs = String::from_utf8(theirs.stdout).unwrap();
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&ours.stdout), sorted(&theirs));
    }
}

#[test]
fn the_state_is_as_runc_tells_it() {
    let bundle = Bundle::sleeping();
    let id = bundle.create();
    let ours = bundle.state(&id);
    assert_eq!(bundle.wharf(&["delete", "--force", &id]).code, 0);

    let runc = |arguments: &[&str]| {
        let output = Command::new("runc")
            .arg("--root")
            .arg(bundle.path().join("runc"))
            .args(arguments)
            .current_dir(bundle.path())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("runc is installed");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let pid_file = bundle.path().join("runc.pid");
    let mut create = Command::new("runc");
    create.arg("--root").arg(bundle.path().join("runc"));
    create
        .args(["create", "--pid-file"])
        .arg(&pid_file)
        .arg(&id)
        .current_dir(bundle.path());
    // Its first process keeps what it inherits.
    let null = std::process::Stdio::null;
    assert!(
        create
            .stdin(null())
            .stdout(null())
            .stderr(null())
            .status()
            .unwrap()
            .success()
    );
    let theirs: Value = serde_json::from_slice(&runc(&["state", &id])).unwrap();
    runc(&["delete", "--force", &id]);

    // A process has its number, a container its time; the specification's version is each program's own. The
    // owner, which runc tells in `list`, it leaves empty here.
    let essence = |state: &Value| {
        let mut state = state.as_object().unwrap().clone();
        for key in ["pid", "created", "ociVersion", "owner"] {
            assert!(state.remove(key).is_some(), "{key} is missing");
        }
        state
    };
    assert_eq!(essence(&ours), essence(&theirs));
}
