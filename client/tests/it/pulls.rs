//! Pulls of every form of image, by platform, through a mirror, interrupted.

use std::collections::BTreeMap;

use serde_json::json;
use wharf_protocol::media_type;

use crate::support::image::{Image, digest, noise, of_layers, tar};
use crate::support::registry::{Answer, Registry, Request, hold};
use crate::support::wharf::{Wharf, ran};

#[test]
fn an_index_gives_the_image_of_this_machine_and_names_what_it_has_for_another() {
    let image = of_layers(&[tar(&[("a", b"hello")])]);
    let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [
        {"mediaType": media_type::OCI_MANIFEST, "digest": digest(b"other"), "size": 5,
            "platform": {"os": "linux", "architecture": "s390x"}},
        {"mediaType": media_type::OCI_MANIFEST, "digest": digest(&image.manifest), "size": image.manifest.len(),
            "platform": {"os": "linux", "architecture": wharf::ARCHITECTURE}},
    ]})
    .to_string();
    let (served, top) = (image, index.clone());
    let registry = Registry::start(move |request: &Request| {
        if request.target.ends_with("/manifests/latest") {
            return Answer::new(200, top.clone()).header("Content-Type", media_type::OCI_INDEX);
        }
        hold(&[("none", served.clone())], request)
    });
    let (wharf, name) = (Wharf::new(), format!("{}/app", registry.host));
    let pulled = wharf.ok(&["pull", &name]);
    assert!(
        pulled.contains(&format!("Digest: {}", digest(index.as_bytes()))),
        "{pulled}"
    );
    let error = wharf.fails(&["pull", "--platform", "linux/riscv64", &name]);
    assert!(
        error.contains("no matching manifest for linux/riscv64"),
        "{error}"
    );
    assert!(error.contains("linux/s390x"), "{error}");
}

#[test]
fn docker_types_and_zstd_and_plain_layers_are_pulled() {
    let plain = tar(&[("plain", b"hello")]);
    let zstd = zstd::encode_all(&tar(&[("zstd", b"there")])[..], 3).unwrap();
    let config = json!({"architecture": wharf::ARCHITECTURE, "os": "linux", "rootfs": {"type": "layers",
        "diff_ids": [digest(&plain), digest(&tar(&[("zstd", b"there")]))]}})
    .to_string()
    .into_bytes();
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::DOCKER_MANIFEST,
    "config": {"mediaType": media_type::DOCKER_CONFIG, "digest": digest(&config), "size": config.len()},
    "layers": [
        {"mediaType": media_type::DOCKER_LAYER, "digest": digest(&plain), "size": plain.len()},
        {"mediaType": media_type::OCI_LAYER_ZSTD, "digest": digest(&zstd), "size": zstd.len()},
    ]})
    .to_string()
    .into_bytes();
    let layers = vec![digest(&plain), digest(&zstd)];
    let blobs = BTreeMap::from([
        (digest(&plain), plain),
        (digest(&zstd), zstd),
        (digest(&config), config),
    ]);
    let image = Image {
        blobs,
        manifest,
        layers,
    };
    let registry = Registry::start(move |request: &Request| {
        let mut answer = hold(&[("latest", image.clone())], request);
        for (name, value) in &mut answer.headers {
            if name == "Content-Type" {
                *value = media_type::DOCKER_MANIFEST.to_owned();
            }
        }
        answer
    });
    let wharf = Wharf::new();
    let name = format!("{}/app", registry.host);
    wharf.ok(&["pull", &name]);
    let upper = wharf.ok(&["inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", &name]);
    assert_eq!(std::fs::read(format!("{}/zstd", upper.trim())).unwrap(), b"there");
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_for_what_it_lacks() {
    let image = of_layers(&[tar(&[("a", b"hello")])]);
    let mirror = Registry::holding(vec![("latest", image.clone())]);
    let registry = Registry::holding(vec![("latest", image.clone()), ("rare", image)]);
    let wharf = Wharf::new();
    std::fs::create_dir_all(wharf.path("config/wharf")).unwrap();
    let config = format!(
        "[registry.\"{}\"]\nmirrors = [\"{}\"]\n",
        registry.host, mirror.host
    );
    std::fs::write(wharf.path("config/wharf/config.toml"), config).unwrap();
    wharf.ok(&["pull", &format!("{}/app", registry.host)]);
    assert!(registry.asked().is_empty());
    let rare = wharf.run(&["pull", &format!("{}/app:rare", registry.host)]);
    assert_eq!(rare.code, Some(0), "{}", rare.stderr);
    assert!(
        rare.stderr
            .contains(&format!("The mirror {} cannot serve", mirror.host)),
        "{}",
        rare.stderr
    );
}

#[test]
fn an_interrupted_pull_keeps_what_arrived() {
    let image = of_layers(&[tar(&[("a", &noise(9, 500_000))])]);
    let served = image.clone();
    let registry = Registry::start(move |request: &Request| {
        let mut answer = hold(&[("latest", served.clone())], request);
        if request.target.contains(&served.layers[0]) {
            (answer.cut_after, answer.stuck) = (Some(200_000), true);
        }
        answer
    });
    let wharf = Wharf::new();
    let mut command = wharf.command(&["pull", &format!("{}/app", registry.host)]);
    let pull = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let arriving = wharf.path("root/ingest").join(image.layers[0].replace(':', "-"));
    while std::fs::metadata(&arriving).map_or(0, |file| file.len()) < 200_000 {
        std::thread::yield_now();
    }
    let pid = nix::unistd::Pid::from_raw(pull.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let ran = ran(pull.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let honest = Registry::holding(vec![("latest", image.clone())]);
    wharf.ok(&["pull", &format!("{}/app", honest.host)]);
    let asked = honest.asked();
    let layer = asked
        .iter()
        .find(|request| request.target.contains(&image.layers[0]))
        .unwrap();
    assert_eq!(layer.header("range"), Some("bytes=200000-"));
    // The folder that it was unpacked into is gone too.
    assert!(
        !wharf.kept().iter().any(|kept| kept.starts_with("snapshots")),
        "{:?}",
        wharf.kept()
    );
}
