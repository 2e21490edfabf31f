//! Clients from the Python index: `oras` for artifacts, `dxf` for blobs and names.

use std::fs;

use serde_json::{Value, json};

use crate::support::certificate::Certificate;
use crate::support::programs::{root, said, tool};
use crate::support::registry::Registry;

#[test]
fn oras_pushes_files_attaches_to_them_and_pulls_them_back() {
    let registry = Registry::start();
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    for (name, text) in [
        ("note.txt", "a note"),
        ("folder/leaf", "a leaf"),
        ("sbom.json", "{}"),
    ] {
        fs::write(at(name), text).unwrap();
    }
    let mut script = tool("python3");
    let told = said(
        script
            .env("HOME", home.path())
            .env_remove("DOCKER_CONFIG")
            .current_dir(home.path())
            .arg(root().join(".ci/xtask/tests/outside/artifacts.py"))
            .args([registry.address(), &registry.password()])
            .arg(at("out")),
    );
    let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(told["subject"], told["digest"]);
    assert_eq!(told["told_subject"], told["digest"]);
    assert_eq!(told["referrers"]["manifests"][0]["digest"], told["attached"]);
    assert_eq!(told["referrers"]["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(told["annotations"], json!({ "made.by": "a test" }));
    assert_eq!(told["tags"], json!(["1", "pieces", "sbom"]));
    assert_eq!(told["tags_left"], json!(["1", "sbom"]));
    for (name, text) in [
        ("note.txt", "a note"),
        ("folder/leaf", "a leaf"),
        ("pieces/note.txt", "a note"),
    ] {
        assert_eq!(fs::read_to_string(at("out").join(name)).unwrap(), text, "{name}");
    }
}

#[test]
fn dxf_moves_blobs_and_names_them_over_tls() {
    let home = tempfile::tempdir().unwrap();
    let certificate = Certificate::make(home.path(), &["localhost"]);
    let registry = Registry::with(&certificate.settings());
    let dxf = |verb: &str, repository: &str, arguments: &[&str]| {
        let mut dxf = tool("dxf");
        dxf.env("HOME", home.path())
            .env("DXF_HOST", format!("localhost:{}", registry.port()))
            .env("DXF_USERNAME", "admin")
            .env("DXF_PASSWORD", registry.password())
            .env("DXF_TLSVERIFY", &certificate.authority)
            .arg(verb);
        if !repository.is_empty() {
            dxf.arg(repository);
        }
        said(dxf.args(arguments))
    };
    let file = home.path().join("file");
    fs::write(&file, "one blob").unwrap();
    let file = file.to_str().unwrap();
    let digest = dxf("push-blob", "admin/one", &[file]);
    let digest = digest.trim_end();
    assert_eq!(dxf("pull-blob", "admin/one", &[digest]), "one blob");
    assert_eq!(dxf("blob-size", "admin/one", &[digest]).trim_end(), "8");
    dxf("mount-blob", "admin/two", &["admin/one", digest]);
    for name in ["b", "a"] {
        dxf("set-alias", "admin/one", &[name, digest]);
    }
    dxf("set-alias", "admin/two", &["x", digest]);
    assert_eq!(dxf("list-aliases", "admin/one", &[]), "a\nb\n");
    assert_eq!(dxf("list-repos", "", &[]), "admin/one\nadmin/two\n");
    assert_eq!(dxf("get-alias", "admin/two", &["x"]).trim_end(), digest);
    dxf("del-alias", "admin/two", &["x"]);
    assert_eq!(dxf("list-aliases", "admin/two", &[]), "");
}
