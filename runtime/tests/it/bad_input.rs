//! What is wrong is named, and nothing is left of it.

use serde_json::json;

use crate::support::Bundle;

#[test]
fn hostile_ids_are_refused_and_make_no_folder() {
    let bundle = Bundle::new();
    let long = "x".repeat(256);
    for id in [
        "", ".", "..", "../x", "a/b", ".hidden", "a b", "a\nb", "é", "x;y", &long,
    ] {
        for command in ["create", "state", "start", "kill", "delete"] {
            assert!(
                bundle
                    .wharf(&[command, "--", id])
                    .refusal()
                    .contains("invalid container id"),
                "{command} {id:?}"
            );
        }
    }
    assert!(!bundle.store().exists());
    assert!(!bundle.path().join("x").exists());
}

#[test]
fn a_bundle_that_is_none_is_named() {
    let bundle = Bundle::new();
    let refusal = bundle.wharf(&["create", "--bundle", "/nowhere", "x"]).refusal();
    assert!(
        refusal.contains("--bundle: open /nowhere: no such file or directory"),
        "{refusal}"
    );
    std::fs::remove_file(bundle.path().join("config.json")).unwrap();
    let refusal = bundle.wharf(&["create", "x"]).refusal();
    assert!(
        refusal.contains("config.json: no such file or directory"),
        "{refusal}"
    );
    for text in [
        "",
        "garbage",
        "[]",
        "{\"ociVersion\":1}",
        "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":1}}",
    ] {
        std::fs::write(bundle.path().join("config.json"), text).unwrap();
        let refusal = bundle.wharf(&["create", "x"]).refusal();
        assert!(refusal.contains("config.json: "), "{text}: {refusal}");
    }
    std::fs::write(bundle.path().join("config.json"), [0xFF, 0xFE]).unwrap();
    assert!(bundle.wharf(&["create", "x"]).refusal().contains("is not UTF-8"));
    std::fs::write(bundle.path().join("config.json"), " ".repeat((16 << 20) + 1)).unwrap();
    assert!(
        bundle
            .wharf(&["create", "x"])
            .refusal()
            .contains("file too large")
    );
    assert!(bundle.wharf(&["list", "-q"]).out().is_empty());
}

#[test]
fn a_root_that_is_missing_or_no_folder_is_named() {
    let mut bundle = Bundle::new();
    for (path, expected) in [
        ("nowhere", "no such file or directory"),
        ("config.json", "not a directory"),
    ] {
        bundle.config["root"]["path"] = json!(path);
        let refusal = bundle.run().refusal();
        assert!(
            refusal.contains("root.path: mount ") && refusal.contains(expected),
            "{refusal}"
        );
    }
}

#[test]
fn huge_strings_do_no_harm() {
    let mut bundle = Bundle::new();
    let huge = "y".repeat(1 << 20);
    for pointer in [
        "/hostname",
        "/process/cwd",
        "/mounts/0/destination",
        "/linux/maskedPaths/0",
        "/root/path",
    ] {
        let kept = bundle.config.clone();
        let value = if pointer == "/hostname" {
            huge.clone()
        } else {
            format!("/{huge}")
        };
        *bundle.config.pointer_mut(pointer).unwrap() = json!(value);
        assert_eq!(bundle.run().code, 1, "{pointer}");
        bundle.config = kept;
    }
    bundle.config["annotations"] = json!({"x": huge});
    assert_eq!(bundle.run().code, 0);
}

#[test]
fn a_log_or_a_pid_file_that_cannot_be_written_is_named() {
    let bundle = Bundle::sleeping();
    bundle.save();
    assert!(
        bundle
            .wharf(&["--log", "/nowhere/log", "list"])
            .refusal()
            .contains("--log: open /nowhere/log")
    );
    let id = bundle.id();
    let refusal = bundle
        .wharf(&["create", "--pid-file", "/nowhere/pid", &id])
        .refusal();
    assert!(refusal.contains("--pid-file: write /nowhere/pid"), "{refusal}");
    assert!(
        bundle.wharf(&["state", &id]).refusal().contains("does not exist"),
        "nothing is left of it"
    );
}

#[test]
fn a_state_that_is_damaged_is_named_and_can_be_deleted_by_force() {
    let bundle = Bundle::new();
    let id = bundle.id();
    let folder = bundle.store().join(&id);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("state.json"), "{\"format\":").unwrap();
    assert!(
        bundle
            .wharf(&["state", &id])
            .refusal()
            .contains(&format!("the state of {id}: "))
    );
    assert_eq!(bundle.wharf(&["list"]).code, 0);
    bundle.wharf(&["delete", "--force", &id]).out();
    assert!(!folder.exists());
}

#[test]
fn commands_that_are_not_built_are_refused_by_name() {
    let bundle = Bundle::new();
    for command in ["checkpoint", "restore", "events"] {
        let refusal = bundle.wharf(&[command, "--help"]).refusal();
        assert!(
            refusal.contains(&format!("{command}: this command is not supported yet")),
            "{refusal}"
        );
    }
    assert!(
        bundle
            .wharf(&["--systemd-cgroup", "create", "x"])
            .refusal()
            .contains("--systemd-cgroup")
    );
}
