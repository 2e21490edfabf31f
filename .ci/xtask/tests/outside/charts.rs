//! A real helm keeps its charts in the registry.

use std::fs;
use std::process::Command;

use crate::support::programs::{root, said, tool};
use crate::support::registry::Registry;

#[test]
fn helm_pushes_the_chart_and_pulls_the_same_bytes() {
    let registry = Registry::start();
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let helm = || -> Command {
        let mut helm = tool("helm");
        helm.env("HOME", home.path())
            .env_remove("KUBECONFIG")
            .env_remove("DOCKER_CONFIG");
        for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            helm.env(name, at(name));
        }
        helm
    };
    let address = registry.address();
    said(helm().args([
        "registry",
        "login",
        "--plain-http",
        "-u",
        "admin",
        "-p",
        &registry.password(),
        address,
    ]));
    said(
        helm()
            .arg("package")
            .arg(root().join("helm"))
            .arg("--destination")
            .arg(home.path()),
    );
    let packed = format!("wharf-registry-{}.tgz", env!("CARGO_PKG_VERSION"));
    said(
        helm()
            .args(["push", "--plain-http"])
            .arg(at(&packed))
            .arg(format!("oci://{address}/admin")),
    );
    let chart = format!("oci://{address}/admin/wharf-registry");
    fs::create_dir(at("out")).unwrap();
    let mut pull = helm();
    said(
        pull.args([
            "pull",
            "--plain-http",
            &chart,
            "--version",
            env!("CARGO_PKG_VERSION"),
            "-d",
        ])
        .arg(at("out")),
    );
    assert_eq!(
        fs::read(at("out").join(&packed)).unwrap(),
        fs::read(at(&packed)).unwrap()
    );
}
