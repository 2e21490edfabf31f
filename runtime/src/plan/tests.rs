use std::path::Path;

use super::*;

const BUNDLE: &str = r#"{
  "ociVersion": "1.0.2",
  "root": {"path": "rootfs"},
  "process": {"args": ["true"], "cwd": "/"},
  "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
  "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "uts"}]}
}"#;

fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut value: serde_json::Value = serde_json::from_str(BUNDLE).unwrap();
    change(&mut value);
    let text = value.to_string();
    let spec: Spec<'_> = serde_json::from_str(&text).unwrap();
    match plan(&spec, "x".parse().unwrap(), Path::new("/b")) {
        Ok(_) => "planned".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_plain_bundle_is_planned() {
    assert_eq!(refusal(|_| {}), "planned");
    assert_eq!(refusal(|spec| spec["unknown"] = 1.into()), "planned");
    assert_eq!(
        refusal(|spec| spec["mounts"] = serde_json::Value::Null),
        "planned"
    );
}

#[test]
fn what_is_not_built_is_refused_by_its_path() {
    for (path, value) in [
        ("/linux/netDevices", r#"{"eth0":{}}"#),
        ("/linux/intelRdt", "{}"),
        ("/linux/memoryPolicy", "{}"),
        ("/linux/mountLabel", "\"x\""),
        ("/process/apparmorProfile", "\"x\""),
        ("/process/selinuxLabel", "\"x\""),
        ("/process/scheduler", "{}"),
        ("/process/ioPriority", "{}"),
        ("/process/execCPUAffinity", "{}"),
    ] {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let text =
            refusal(|spec| spec.pointer_mut(parent).unwrap()[name] = serde_json::from_str(value).unwrap());
        let field = path.trim_start_matches('/').replace('/', ".");
        assert_eq!(text, format!("{field}: not supported yet"));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "flat table")]
fn what_is_wrong_is_refused_by_its_path() {
    let with = |path: &'static str, value: serde_json::Value| {
        refusal(move |spec| {
            let (parent, name) = path.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[name] = value;
        })
    };
    let json = serde_json::from_str::<serde_json::Value>;
    for (path, value, start) in [
        ("/ociVersion", "\"2.0.0\"", "ociVersion: "),
        ("/process/cwd", "\"rel\"", "process.cwd: \"rel\""),
        ("/process/args", "[]", "process.args: is empty"),
        ("/process/env", r#"["A=1","B"]"#, "process.env[1]: \"B\""),
        ("/process/user", r#"{"uid":4294967295}"#, "process.user: "),
        (
            "/process/rlimits",
            r#"[{"type":"RLIMIT_X","soft":1,"hard":1}]"#,
            "process.rlimits[0].type: ",
        ),
        (
            "/process/rlimits",
            r#"[{"type":"RLIMIT_CPU","soft":2,"hard":1}]"#,
            "process.rlimits[0]: the soft",
        ),
        (
            "/process/rlimits",
            r#"[{"type":"RLIMIT_CPU","soft":1,"hard":1},{"type":"RLIMIT_CPU","soft":1,"hard":1}]"#,
            "process.rlimits[1].type: \"RLIMIT_CPU\" is named twice",
        ),
        ("/process/oomScoreAdj", "1001", "process.oomScoreAdj: "),
        (
            "/linux/namespaces",
            r#"[{"type":"mount"},{"type":"mount"}]"#,
            "linux.namespaces[1].type: ",
        ),
        (
            "/linux/namespaces",
            r#"[{"type":"mount","path":"x"}]"#,
            "linux.namespaces[0].path: ",
        ),
        (
            "/linux/namespaces",
            r#"[{"type":"moon"}]"#,
            "linux.namespaces[0].type: unknown",
        ),
        ("/linux/namespaces", "[]", "mounts: need a mount namespace"),
        ("/linux/maskedPaths", r#"["proc"]"#, "linux.maskedPaths[0]: "),
        ("/linux/rootfsPropagation", "\"up\"", "linux.rootfsPropagation: "),
        (
            "/linux/devices",
            r#"[{"type":"x","path":"/dev/x"}]"#,
            "linux.devices[0].type: ",
        ),
        (
            "/linux/devices",
            r#"[{"type":"c","path":"/dev/x","major":-1}]"#,
            "linux.devices[0].major: ",
        ),
        (
            "/mounts",
            r#"[{"destination":"/x","type":"bind"}]"#,
            "mounts[0].source: ",
        ),
        (
            "/mounts",
            r#"[{"destination":"","type":"tmpfs"}]"#,
            "mounts[0].destination: ",
        ),
        ("/mounts", r#"[{"destination":"/x"}]"#, "mounts[0].type: "),
        (
            "/mounts",
            r#"[{"destination":"/x/..","type":"tmpfs"}]"#,
            "mounts[0].destination: is the root",
        ),
        (
            "/mounts",
            r#"[{"destination":"/proc/sys/kernel","type":"tmpfs"}]"#,
            "mounts[0].destination: ",
        ),
        (
            "/mounts",
            r#"[{"destination":"/x/../proc","type":"tmpfs"}]"#,
            "mounts[0].type: ",
        ),
        (
            "/hostname",
            r#""a very very very very very very very very very very very very very long name""#,
            "hostname: ",
        ),
        (
            "/hooks",
            r#"{"poststop":[{"path":"x"}]}"#,
            "hooks.poststop[0].path: ",
        ),
    ] {
        let text = with(path, json(value).unwrap());
        assert!(text.starts_with(start), "{path} = {value}: {text}");
    }
}

#[test]
fn a_path_is_cleaned_by_its_text() {
    for (path, clean) in [
        ("/", "."),
        ("/a/./b/", "a/b"),
        ("/../a", "a"),
        ("a/../../b", "b"),
        ("//x", "x"),
    ] {
        assert_eq!(mounts::inside("", path).unwrap().to_str().unwrap(), clean);
    }
}

proptest::proptest! {
    #[test]
    fn no_path_of_a_bundle_leads_above_the_root(path in "[./a-c\u{e9}]{0,40}") {
        if let Ok(clean) = mounts::inside("", &path) {
            let clean = clean.into_string().unwrap();
            let plain = clean.split('/').all(|part| part != ".." && !part.is_empty());
            proptest::prop_assert!(plain && (clean == "." || clean.split('/').all(|part| part != ".")));
        }
    }

    #[test]
    fn a_config_changed_anywhere_is_planned_or_refused(at in 0..400_usize, byte in proptest::num::u8::ANY) {
        let mut text = BUNDLE.replace('\n', "").into_bytes();
        let at = at % text.len();
        text[at] = byte;
        if let Ok(text) = String::from_utf8(text)
            && let Ok(spec) = serde_json::from_str::<Spec<'_>>(&text)
        {
            let _ = plan(&spec, "x".parse().unwrap(), Path::new("/b"));
        }
    }
}
