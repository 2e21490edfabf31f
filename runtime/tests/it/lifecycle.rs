//! A container's life, and the commands that see it.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{Bundle, wait_for_end};

#[test]
fn a_container_is_created_started_killed_and_deleted() {
    let mut bundle = Bundle::sleeping();
    bundle.config["annotations"] = json!({"org.example.key": "value"});
    bundle.save();
    let id = bundle.id();
    bundle
        .wharf(&["create", "--bundle", ".", "--pid-file", "pid", &id])
        .out();
    let state = bundle.state(&id);
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], bundle.path().to_str().unwrap());
    assert_eq!(state["annotations"]["org.example.key"], "value");
    let pid = std::fs::read_to_string(bundle.path().join("pid")).unwrap();
    assert_eq!(state["pid"].to_string(), pid, "digits alone, without a newline");
    bundle.wharf(&["start", &id]).out();
    assert_eq!(bundle.status(&id), "running");
    bundle.wharf(&["kill", &id, "KILL"]).out();
    wait_for_end(pid.parse().unwrap());
    let state = bundle.state(&id);
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &json!(0)));
    bundle.wharf(&["delete", &id]).out();
    assert!(bundle.wharf(&["state", &id]).refusal().contains("does not exist"));
}

#[test]
fn the_store_is_closed_to_others() {
    let bundle = Bundle::sleeping();
    let id = bundle.create();
    for folder in [bundle.store(), bundle.store().join(&id)] {
        assert_eq!(
            std::fs::metadata(folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
}

#[test]
fn run_answers_the_programs_exit_code_or_its_signal() {
    assert_eq!(Bundle::shell("exit 7").run().code, 7);
    assert_eq!(Bundle::shell("exit 0").run().code, 0);
    // A first process of a pid namespace takes no signal without a handler from inside; its child does.
    assert_eq!(Bundle::shell("sh -c 'kill -9 $$'; exit $?").run().code, 137);
    let bundle = Bundle::sleeping();
    bundle.save();
    let id = bundle.id();
    let mut running = bundle
        .command(&["run", "--pid-file", "pid", &id])
        .spawn()
        .unwrap();
    let pid = bundle.path().join("pid");
    while !pid.exists() {
        std::thread::yield_now();
    }
    bundle.wharf(&["kill", &id, "9"]).out();
    assert_eq!(running.wait().unwrap().code(), Some(137));
    assert!(
        bundle.wharf(&["state", &id]).refusal().contains("does not exist"),
        "run deletes what it ran"
    );
}

#[test]
fn run_detached_and_kept_leaves_the_container() {
    let bundle = Bundle::sleeping();
    bundle.save();
    let id = bundle.id();
    bundle.wharf(&["run", "--detach", &id]).out();
    assert_eq!(bundle.status(&id), "running");
    let kept = Bundle::new();
    kept.save();
    let id = kept.id();
    kept.wharf(&["run", "--keep", &id]).out();
    assert_eq!(kept.status(&id), "stopped");
}

#[test]
fn delete_is_refused_for_a_running_container_and_forced_always_goes_well() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    assert!(
        bundle
            .wharf(&["delete", &id])
            .refusal()
            .contains("not stopped: running")
    );
    assert_eq!(bundle.status(&id), "running");
    bundle.wharf(&["delete", "--force", &id]).out();
    bundle.wharf(&["delete", "--force", &id]).out();
    assert!(
        bundle
            .wharf(&["delete", &id])
            .refusal()
            .contains("does not exist")
    );
}

#[test]
fn what_needs_another_state_is_refused() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    assert!(
        bundle
            .wharf(&["start", &id])
            .refusal()
            .contains("already running")
    );
    assert!(bundle.wharf(&["resume", &id]).refusal().contains("not paused"));
    let pid = bundle.pid(&id);
    bundle.wharf(&["kill", &id, "SIGKILL"]).out();
    wait_for_end(pid);
    assert!(bundle.wharf(&["start", &id]).refusal().contains("stopped"));
    assert!(
        bundle
            .wharf(&["kill", &id])
            .refusal()
            .contains("container not running")
    );
    assert!(
        bundle
            .wharf(&["exec", &id, "true"])
            .refusal()
            .contains("container not running")
    );
    assert!(
        bundle
            .wharf(&["pause", &id])
            .refusal()
            .contains("container not running")
    );
    bundle.wharf(&["kill", "--all", &id, "9"]).out();
}

#[test]
fn a_missing_container_is_named_by_every_command() {
    let bundle = Bundle::new();
    for line in [
        &["state", "nobody"][..],
        &["start", "nobody"],
        &["kill", "nobody"],
        &["delete", "nobody"],
        &["exec", "nobody", "true"],
        &["pause", "nobody"],
        &["ps", "nobody"],
    ] {
        assert!(
            bundle
                .wharf(line)
                .refusal()
                .contains("container \"nobody\" does not exist"),
            "{line:?}"
        );
    }
}

#[test]
fn a_taken_id_is_refused_and_the_first_container_lives_on() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    assert!(
        bundle
            .wharf(&["create", &id])
            .refusal()
            .contains("already exists")
    );
    assert_eq!(bundle.status(&id), "running");
}

#[test]
fn a_program_that_is_missing_fails_create_and_leaves_nothing() {
    let mut bundle = Bundle::new();
    bundle.config["process"]["args"] = json!(["nosuch"]);
    bundle.save();
    let id = bundle.id();
    let refusal = bundle.wharf(&["create", &id]).refusal();
    assert!(
        refusal.contains("exec: \"nosuch\": executable file not found in $PATH"),
        "{refusal}"
    );
    assert!(bundle.wharf(&["state", &id]).refusal().contains("does not exist"));
    bundle.wharf(&["delete", "--force", &id]).out();
}

#[test]
fn a_creation_that_was_killed_is_taken_over_or_deleted() {
    let bundle = Bundle::sleeping();
    bundle.save();
    for with_gate in [false, true] {
        let id = bundle.id();
        let folder = bundle.store().join(&id);
        std::fs::create_dir_all(&folder).unwrap();
        if with_gate {
            std::fs::write(folder.join("gate"), "").unwrap();
        }
        assert!(bundle.wharf(&["state", &id]).refusal().contains("does not exist"));
        bundle.wharf(&["create", &id]).out();
        assert_eq!(bundle.status(&id), "created");
    }
    let id = bundle.id();
    std::fs::create_dir_all(bundle.store().join(&id)).unwrap();
    bundle.wharf(&["delete", "--force", &id]).out();
    assert!(!bundle.store().join(&id).exists());
}

#[test]
fn an_orphaned_gate_holds_nobody() {
    let bundle = Bundle::sleeping();
    let id = bundle.create();
    let pid = bundle.pid(&id);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    wait_for_end(pid);
    assert!(bundle.wharf(&["start", &id]).refusal().contains("stopped"));
}

#[test]
fn another_process_of_the_same_number_is_not_the_container() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    let path = bundle.store().join(&id).join("process");
    let text = std::fs::read_to_string(&path).unwrap();
    let (pid, start_time) = text.trim_end().split_once(' ').unwrap();
    let later = start_time.parse::<u64>().unwrap() + 1;
    std::fs::write(&path, format!("{pid} {later}\n")).unwrap();
    assert_eq!(bundle.status(&id), "stopped");
    assert!(
        bundle
            .wharf(&["kill", &id, "9"])
            .refusal()
            .contains("container not running")
    );
    std::fs::write(&path, text).unwrap();
    assert_eq!(bundle.status(&id), "running");
}

#[test]
fn a_paused_container_resumes_and_can_be_deleted_while_paused() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    bundle.wharf(&["pause", &id]).out();
    assert_eq!(bundle.status(&id), "paused");
    assert!(bundle.wharf(&["exec", &id, "true"]).refusal().contains("paused"));
    bundle.wharf(&["resume", &id]).out();
    assert_eq!(bundle.status(&id), "running");
    bundle.wharf(&["pause", &id]).out();
    bundle.wharf(&["delete", "--force", &id]).out();
}

#[test]
fn a_killed_container_that_is_paused_ends() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    let pid = bundle.pid(&id);
    bundle.wharf(&["pause", &id]).out();
    bundle.wharf(&["kill", &id, "KILL"]).out();
    wait_for_end(pid);
    assert_eq!(bundle.status(&id), "stopped");
}

#[test]
fn list_and_ps_show_what_is_there() {
    let bundle = Bundle::sleeping();
    let (one, two) = (bundle.start(), bundle.create());
    let listed: Value = serde_json::from_str(&bundle.wharf(&["list", "--format", "json"]).out()).unwrap();
    let statuses: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|container| &container["status"])
        .collect();
    assert_eq!(statuses, ["running", "created"]);
    assert_eq!(bundle.wharf(&["list", "-q"]).out(), format!("{one}\n{two}\n"));
    let table = bundle.wharf(&["list"]).out();
    assert!(table.starts_with("ID "), "{table}");
    let pids: Vec<i32> =
        serde_json::from_str(&bundle.wharf(&["ps", "--format", "json", &one]).out()).unwrap();
    assert_eq!(pids, [bundle.pid(&one)]);
    assert!(bundle.wharf(&["ps", &one]).out().contains("sleep 1000"));
}

#[test]
fn a_signal_that_the_program_handles_reaches_it() {
    let bundle =
        Bundle::shell("trap 'exit 42' TERM; echo ready > /tmp/ready; while :; do sleep 1000 & wait; done");
    bundle.save();
    let id = bundle.id();
    let mut running = bundle.command(&["run", &id]).spawn().unwrap();
    while !bundle.rootfs().join("tmp/ready").exists() {
        std::thread::yield_now();
    }
    // A signal to `run` itself is handed on.
    let run = rustix::process::Pid::from_raw(running.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(run, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(42));
}

#[test]
fn version_and_features_say_what_callers_read() {
    let bundle = Bundle::new();
    let version = bundle.wharf(&["--version"]).out();
    assert!(version.starts_with("runc version "), "{version}");
    assert!(version.contains(&format!("wharf-runtime version {}", env!("CARGO_PKG_VERSION"))));
    let features: Value = serde_json::from_str(&bundle.wharf(&["features"]).out()).unwrap();
    assert_eq!(features["linux"]["cgroup"]["systemd"], false);
    let actions = features["linux"]["seccomp"]["actions"].as_array().unwrap();
    assert!(actions.contains(&json!("SCMP_ACT_ERRNO")) && !actions.contains(&json!("SCMP_ACT_NOTIFY")));
    assert!(
        features["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .contains(&json!("time"))
    );
}

#[test]
fn the_example_spec_runs() {
    let bundle = Bundle::new();
    std::fs::remove_file(bundle.path().join("config.json")).unwrap();
    bundle.wharf(&["spec"]).out();
    assert!(
        bundle.wharf(&["spec"]).refusal().contains("file exists"),
        "a config that is there stays"
    );
    let mut bundle = bundle;
    let text = std::fs::read_to_string(bundle.path().join("config.json")).unwrap();
    bundle.config = serde_json::from_str(&text).unwrap();
    bundle.config["process"]["terminal"] = json!(false);
    bundle.config["process"]["args"] = json!(["/bin/hostname"]);
    assert_eq!(bundle.run().out(), "wharf\n");
}

#[test]
fn errors_go_to_the_log_as_json_and_to_stderr() {
    let bundle = Bundle::new();
    let ran = bundle.wharf(&["--log", "log.json", "--log-format=json", "state", "nobody"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stderr, "container \"nobody\" does not exist\n");
    let log = std::fs::read_to_string(bundle.path().join("log.json")).unwrap();
    let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    assert_eq!(line["msg"], "container \"nobody\" does not exist");
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_creation_that_is_killed_takes_its_process_with_it_and_blocks_nobody() {
    let mut bundle = Bundle::sleeping();
    // The hook holds the creation at a point where the process exists; inside or outside of it.
    for kind in ["createRuntime", "createContainer"] {
        let hook = bundle.path().join(kind);
        let line = format!("echo $$ > {}; exec sleep 20", hook.display());
        bundle.config["hooks"] = json!({kind: [{"path": "/bin/sh", "args": ["sh", "-c", line]}]});
        bundle.save();
        let id = bundle.id();
        let mut create = bundle.command(&["create", &id]).spawn().unwrap();
        let file = bundle.store().join(&id).join("process");
        let pid: i32 = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            match text.split_once(' ') {
                Some((pid, rest)) if rest.ends_with('\n') => break pid.parse().unwrap(),
                _ => std::thread::yield_now(),
            }
        };
        let hook = loop {
            match std::fs::read_to_string(&hook)
                .unwrap_or_default()
                .trim()
                .parse::<i32>()
            {
                Ok(pid) => break pid,
                Err(_) => std::thread::yield_now(),
            }
        };
        create.kill().unwrap();
        create.wait().unwrap();
        wait_for_end(pid);
        assert_eq!(bundle.status(&id), "stopped", "{kind}");
        bundle.wharf(&["delete", &id]).out();
        // The other kind's hook is in the container's namespace and went with it.
        if kind == "createRuntime" {
            let hook = rustix::process::Pid::from_raw(hook).unwrap();
            rustix::process::kill_process(hook, rustix::process::Signal::KILL).unwrap();
        }
    }
}

#[test]
fn any_number_of_looks_at_a_stopped_waiter_end() {
    let bundle = Bundle::sleeping();
    let id = bundle.create();
    bundle.wharf(&["kill", &id, "STOP"]).out();
    for _ in 0..40 {
        assert_eq!(bundle.status(&id), "created");
    }
    bundle.wharf(&["kill", &id, "CONT"]).out();
    bundle.wharf(&["start", &id]).out();
    assert_eq!(bundle.status(&id), "running");
}
