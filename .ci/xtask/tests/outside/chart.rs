//! The chart, rendered and linted by a real helm and checked against Kubernetes' own schemas.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::programs::{refused, root, said, tool};

/// Kubernetes versions whose schemas the chart satisfies: the oldest and the newest.
const VERSIONS: [&str; 2] = ["1.25", "1.37"];

fn chart() -> PathBuf {
    root().join("helm")
}

/// The value files, each with a golden rendering of the same name.
fn value_files() -> Vec<PathBuf> {
    let folder = chart().join("tests/values");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    files
}

/// A helm that leaves nothing in the home of who runs it.
fn helm() -> (Command, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let mut helm = tool("helm");
    helm.env("HOME", home.path())
        .env_remove("KUBECONFIG")
        .env_remove("XDG_CACHE_HOME");
    helm.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
    (helm, home)
}

fn template(arguments: &[&str]) -> (Command, tempfile::TempDir) {
    let (mut helm, home) = helm();
    helm.args(["template", "images"])
        .arg(chart())
        .args(["--namespace", "images"])
        .args(arguments);
    (helm, home)
}

fn rendered(values: &std::path::Path) -> String {
    let (mut helm, _home) = template(&["--values", values.to_str().unwrap()]);
    said(&mut helm)
}

#[test]
fn helm_finds_nothing_to_lint() {
    for values in value_files() {
        let (mut helm, _home) = helm();
        said(
            helm.args(["lint", "--strict", "--values"])
                .arg(values)
                .arg(chart()),
        );
    }
}

#[test]
fn each_value_file_renders_as_its_golden_file_says() {
    for values in value_files() {
        let golden = chart().join("tests/golden").join(values.file_name().unwrap());
        let now = rendered(&values);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &now).unwrap();
        }
        let before = fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            now == before,
            "{} has changed: look at it with UPDATE_GOLDEN=1 and git diff",
            golden.display()
        );
    }
}

#[test]
fn what_is_rendered_satisfies_kubernetes_schemas() {
    let folder = tempfile::tempdir().unwrap();
    for values in value_files() {
        let file = folder.path().join(values.file_name().unwrap());
        fs::write(&file, rendered(&values)).unwrap();
        for version in VERSIONS {
            said(
                tool("kubernetes-validate")
                    .args(["--strict", "-k", version])
                    .arg(&file),
            );
        }
    }
}

#[test]
fn wrong_values_are_refused_by_name() {
    let secret = "admin.existingSecret=a";
    let wrong: [(&[&str], &str); 6] = [
        (&[], "admin.existingSecret must name a secret"),
        (&["--set", "replicas=3"], "replicas"),
        (&["--set", "ingress.enabled=true"], "host"),
        (&["--set", "image.digest=sha256:short"], "digest"),
        (&["--set", "service.port=0"], "port"),
        (
            &["--set", "persistence.accessModes={ReadOnlyMany}"],
            "accessModes",
        ),
    ];
    for (arguments, named) in wrong {
        let with_secret: &[&str] = if arguments.is_empty() {
            &[]
        } else {
            &["--set", secret]
        };
        let (mut helm, _home) = template(&[with_secret, arguments].concat());
        let told = refused(&mut helm);
        assert!(told.contains(named), "{arguments:?}: {told}");
    }
}

#[test]
fn the_pod_can_do_nothing_but_serve() {
    let pod = rendered(&chart().join("tests/values/default.yaml"));
    for line in [
        "enableServiceLinks: false",
        "automountServiceAccountToken: false",
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "drop: [ALL]",
        "path: /healthz",
        "path: /readyz",
    ] {
        assert!(pod.contains(line), "{line}");
    }
}

#[test]
fn the_chart_names_the_image_that_cargo_x_image_writes() {
    let pod = rendered(&chart().join("tests/values/default.yaml"));
    assert!(
        pod.contains(&format!("image: \"{}\"", xtask::image::REGISTRY_NAME)),
        "{pod}"
    );
}
