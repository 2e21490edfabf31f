//! The same bundle through runc and through us: what the program sees must be the same, but for what is listed.

use std::process::Command;

use serde_json::json;

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
