//! Hooks: when they run, what they read, what their failure does.

use serde_json::{Value, json};

use crate::support::Bundle;

/// A hook that appends its kind to a log and keeps its stdin.
fn noting(bundle: &Bundle, kind: &str) -> Value {
    let folder = bundle.path().display();
    let line = format!("echo {kind} >> {folder}/order; cat > {folder}/{kind}");
    json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}])
}

#[test]
fn hooks_run_in_their_order_with_the_state_on_stdin() {
    let mut bundle = Bundle::shell("cat /started");
    let mut hooks =
        json!({"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo inside > /started"]}]});
    let outside = [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ];
    for kind in outside {
        hooks[kind] = noting(&bundle, kind);
    }
    bundle.config["hooks"] = hooks;
    assert_eq!(bundle.run().out(), "inside\n");
    let order = std::fs::read_to_string(bundle.path().join("order")).unwrap();
    assert_eq!(order.lines().collect::<Vec<_>>(), outside);
    for (kind, status) in outside
        .iter()
        .zip(["creating", "creating", "creating", "running", "stopped"])
    {
        let text = std::fs::read_to_string(bundle.path().join(kind)).unwrap();
        let state: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(state["status"], status, "{kind}");
        let pid = state["pid"].as_i64().unwrap();
        // In the container its process is seen as the first, outside by the host's number, and then no more.
        assert!(
            matches!((*kind, pid), ("createContainer", 1) | ("poststop", 0)) || pid > 1,
            "{kind}: {pid}"
        );
        assert_eq!(state["bundle"], bundle.path().to_str().unwrap(), "{kind}");
    }
}

#[test]
fn runtime_hooks_see_the_process_and_its_namespaces() {
    let mut bundle = Bundle::new();
    let folder = bundle.path().display().to_string();
    let line = format!(
        "pid=$(grep -o '\"pid\":[0-9]*' | grep -o '[0-9]*'); readlink /proc/$pid/ns/net > {folder}/net"
    );
    bundle.config["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/bin:/usr/bin"]}]});
    bundle.run().out();
    let theirs = std::fs::read_to_string(bundle.path().join("net")).unwrap();
    assert!(
        theirs.starts_with("net:[")
            && theirs.trim() != std::fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy()
    );
}

#[test]
fn a_failed_hook_before_the_start_fails_the_creation_by_name() {
    let mut bundle = Bundle::new();
    for (kind, hook, expected) in [
        (
            "prestart",
            json!({"path": "/bin/false"}),
            "hooks.prestart[0]: run \"/bin/false\": exit status 1",
        ),
        (
            "createRuntime",
            json!({"path": "/nowhere"}),
            "hooks.createRuntime[0]: run \"/nowhere\": no such file or directory",
        ),
        (
            "createContainer",
            json!({"path": "/nowhere"}),
            "hooks.createContainer[0]: run \"/nowhere\": no such file or directory",
        ),
        (
            "startContainer",
            json!({"path": "/nowhere"}),
            "hooks.startContainer[0]: run \"/nowhere\": no such file or directory",
        ),
        (
            "createRuntime",
            json!({"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}),
            "hooks.createRuntime[0]: run \"/bin/sleep\": killed after 1s",
        ),
    ] {
        bundle.config["hooks"] = json!({kind: [hook]});
        let refusal = bundle.run().refusal().replace('\\', "");
        assert!(refusal.contains(expected), "{expected}: {refusal}");
    }
}

#[test]
fn a_start_container_hook_that_fails_is_told_by_start() {
    let mut bundle = Bundle::new();
    bundle.config["hooks"] = json!({"startContainer": [{"path": "/bin/false"}]});
    let id = bundle.create();
    let refusal = bundle.wharf(&["start", &id]).refusal();
    assert!(refusal.contains("hooks.startContainer[0]"), "{refusal}");
    assert_eq!(bundle.status(&id), "stopped");
}

#[test]
fn a_failed_hook_after_the_start_is_a_warning() {
    let mut bundle = Bundle::shell("exit 3");
    bundle.config["hooks"] =
        json!({"poststart": [{"path": "/bin/false"}], "poststop": [{"path": "/bin/false"}]});
    let ran = bundle.run();
    assert_eq!(ran.code, 3);
    assert!(
        ran.stderr.contains("level=warning") && ran.stderr.contains("hooks.poststop[0]"),
        "{ran:?}"
    );
}
