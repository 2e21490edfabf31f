//! A real helm keeps its charts in the registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::certificate::Certificate;
use crate::support::programs::{refused, root, said, tool};
use crate::support::registry::Registry;

/// A folder that stands for a machine with helm.
struct Scene {
    home: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn helm(&self, arguments: &[&str]) -> Command {
        let mut helm = tool("helm");
        helm.env("HOME", self.home.path())
            .env_remove("KUBECONFIG")
            .env_remove("DOCKER_CONFIG")
            .args(arguments);
        for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            helm.env(name, self.at(name));
        }
        helm
    }

    /// Packs our own chart.
    fn package(&self) -> PathBuf {
        let mut package = self.helm(&["package"]);
        said(
            package
                .arg(root().join("helm"))
                .arg("--destination")
                .arg(self.home.path()),
        );
        self.at(&packed())
    }

    /// Pulls the chart into a folder and returns its file.
    fn pull(&self, transport: &[&str], chart: &str, folder: &str) -> PathBuf {
        fs::create_dir(self.at(folder)).unwrap();
        let mut pull = self.helm(&["pull", chart, "--version", &version()]);
        said(pull.args(transport).arg("--destination").arg(self.at(folder)));
        self.at(folder).join(packed())
    }
}

fn packed() -> String {
    format!("wharf-registry-{}.tgz", version())
}

/// The chart's own version, which is not the program's.
fn version() -> String {
    let chart = fs::read_to_string(root().join("helm/Chart.yaml")).unwrap();
    let version = chart.lines().find_map(|line| line.strip_prefix("version: "));
    version.unwrap().to_owned()
}

fn same(one: &Path, other: &Path) {
    assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap());
}

#[test]
fn helm_pushes_the_chart_and_pulls_the_same_bytes() {
    let registry = Registry::start();
    let scene = Scene::new();
    let (address, password) = (registry.address(), registry.password());
    said(&mut scene.helm(&[
        "registry",
        "login",
        "--plain-http",
        "-u",
        "admin",
        "-p",
        &password,
        address,
    ]));
    let packed = scene.package();
    let mut push = scene.helm(&["push", "--plain-http"]);
    said(push.arg(&packed).arg(format!("oci://{address}/admin")));
    let chart = format!("oci://{address}/admin/wharf-registry");
    same(&scene.pull(&["--plain-http"], &chart, "out"), &packed);
    said(&mut scene.helm(&["registry", "logout", address]));
    let told = refused(&mut scene.helm(&["pull", "--plain-http", &chart]));
    assert!(told.contains("401") || told.contains("unauthorized"), "{told}");
}

#[test]
fn over_tls_helm_trusts_the_authority_it_is_told_of_and_pulls_without_a_login_where_all_may() {
    let scene = Scene::new();
    let certificate = Certificate::make(scene.home.path(), &["localhost"]);
    let registry = Registry::with(&format!("anonymous = \"pull\"\n{}", certificate.settings()));
    let address = format!("localhost:{}", registry.port());
    let authority = certificate.authority.to_str().unwrap();
    let password = registry.password();
    let login = ["registry", "login", "-u", "admin", "-p", &password, &address];
    let told = refused(&mut scene.helm(&login));
    assert!(told.contains("x509"), "{told}");
    said(scene.helm(&login).args(["--ca-file", authority]));
    let packed = scene.package();
    let mut push = scene.helm(&["push", "--ca-file", authority]);
    said(push.arg(&packed).arg(format!("oci://{address}/public")));
    said(&mut scene.helm(&["registry", "logout", &address]));
    let chart = format!("oci://{address}/public/wharf-registry");
    same(&scene.pull(&["--ca-file", authority], &chart, "out"), &packed);
}
