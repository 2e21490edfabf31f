//! The chart, as a real helm renders it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::programs::{root, said, tool};

/// The chart's folder.
pub(crate) fn chart() -> PathBuf {
    root().join("helm")
}

/// The version before this one, as `helm package` made it.
pub(crate) fn previous() -> PathBuf {
    chart().join("tests/previous/wharf-registry-0.1.0.tgz")
}

/// The YAML files of a folder of the chart's tests, in order.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(chart().join("tests").join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    files
}

/// A helm that leaves nothing in the home of who runs it.
pub(crate) fn helm() -> (Command, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let mut helm = tool("helm");
    helm.env("HOME", home.path())
        .env_remove("KUBECONFIG")
        .env_remove("XDG_CACHE_HOME");
    helm.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
    (helm, home)
}

/// `helm template`, of the release `images` in the namespace `images`.
pub(crate) fn template(chart: &Path, arguments: &[&str]) -> (Command, tempfile::TempDir) {
    let (mut helm, home) = helm();
    helm.args(["template", "images"])
        .arg(chart)
        .args(["--namespace", "images"])
        .args(arguments);
    (helm, home)
}

/// What a chart comes to with a file of values.
pub(crate) fn rendered(chart: &Path, values: &Path) -> String {
    let (mut helm, _home) = template(chart, &["--values", values.to_str().unwrap()]);
    said(&mut helm)
}

/// The objects of a rendered chart by kind and name.
pub(crate) fn objects(chart: &Path, values: &Path) -> BTreeMap<(String, String), Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rendered.yaml");
    fs::write(&file, rendered(chart, values)).unwrap();
    let Value::Array(objects) = yaml(&file) else {
        panic!("no objects");
    };
    let named = |object: Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        ((text(&object["kind"]), text(&object["metadata"]["name"])), object)
    };
    objects.into_iter().map(named).collect()
}

/// The documents of a YAML file.
pub(crate) fn yaml(file: &Path) -> Value {
    let read = "import json, sys, yaml\n\
                json.dump([d for d in yaml.safe_load_all(open(sys.argv[1])) if d], sys.stdout)";
    let documents = said(tool("python3").args(["-c", read]).arg(file));
    serde_json::from_str(&documents).unwrap()
}
