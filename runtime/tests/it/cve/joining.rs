//! CVE-2016-9962: the container's first process looks into one that joins, while that one still holds what is the
//! host's.

use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::sandbox::Sandbox;

/// Waits for a process that has been stopped after it joined this user namespace, which has 65,536 ids, and tries
/// to look into it.
const WATCH: &str = r#"
    while true; do
        for process in /proc/[0-9]*; do
            grep -q '^State:.*stop' $process/status || continue
            grep -q ' 65536$' $process/uid_map || continue
            if ls $process/fd/ >/tmp/descriptors 2>&1 && cat $process/environ >/dev/null 2>&1
            then echo seen; else echo hidden; fi > /tmp/outcome
            exit
        done
    done
"#;

/// Runs a command whose processes stop at their first call of `call`.
fn stopped_at(call: &str, log: &std::path::Path, command: &Command) -> Child {
    let mut strace = Command::new("strace");
    strace
        .args(["--follow-forks", "--output"])
        .arg(log)
        .args(["--trace", call]);
    strace.args(["--inject", &format!("{call}:signal=SIGSTOP:when=1")]);
    strace.arg(command.get_program()).args(command.get_args());
    strace
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A container in a user namespace, whose root may trace whatever is in there.
fn watching() -> Sandbox {
    let mut sandbox = Sandbox::new();
    let all = json!([
        "CAP_SYS_PTRACE",
        "CAP_SYS_ADMIN",
        "CAP_DAC_OVERRIDE",
        "CAP_SYS_CHROOT",
        "CAP_SETUID",
        "CAP_SETGID"
    ]);
    sandbox.config["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    // Ids stay what they are: a process that changes them is hidden by the kernel anyway.
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    sandbox.config["linux"]["uidMappings"] = map.clone();
    sandbox.config["linux"]["gidMappings"] = map;
    sandbox.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "user"}));
    sandbox.script(WATCH).start();
    sandbox
}

fn outcome(sandbox: &Sandbox, mut stopped: Child) -> String {
    let outcome = sandbox.await_file("tmp/outcome");
    stopped.kill().unwrap();
    stopped.wait().unwrap();
    outcome
}

#[test]
fn cve_2016_9962_nothing_of_a_joining_process_can_be_seen_before_its_program_runs() {
    let sandbox = watching();
    // Its way into the working directory, with all namespaces joined.
    let join = sandbox.command(&["exec", &sandbox.id, "/bin/true"]);
    let stopped = stopped_at("chdir", &sandbox.outside().join("trace"), &join);
    assert_eq!(outcome(&sandbox, stopped), "hidden\n");
}

#[test]
fn cve_2016_9962_the_attack_looks_into_a_process_that_joins_without_care() {
    let sandbox = watching();
    let mut enter = Command::new("nsenter");
    enter.args([
        "--user",
        "--mount",
        "--pid",
        "--target",
        &sandbox.pid().to_string(),
        "--",
        "/bin/true",
    ]);
    // Inside all namespaces, it becomes their root and then the program.
    let stopped = stopped_at("setuid", &sandbox.outside().join("trace"), &enter);
    assert_eq!(outcome(&sandbox, stopped), "seen\n");
}
