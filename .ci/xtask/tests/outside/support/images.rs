//! Images of real programs, as OCI archives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use xtask::image::{Image, LayerBuilder, write_archive};

use super::programs::said;

/// Packs busybox with links for a few applets, under the name `busybox:1`, and returns the
/// archive's path. The text in `mark` becomes a file, so that an image can be told from others.
pub(crate) fn busybox(folder: &Path, mark: &str) -> PathBuf {
    let mut system = LayerBuilder::default();
    system
        .copy(Path::new("/bin/busybox"), "/bin/busybox", 0o755)
        .unwrap();
    for applet in ["sh", "echo", "ls", "cat"] {
        system.link(&format!("/bin/{applet}"), "busybox").unwrap();
    }
    let mut own = LayerBuilder::default();
    own.file("/etc/mark", 0o644, mark.as_bytes()).unwrap();
    let image = Image {
        layers: vec![system.finish().unwrap(), own.finish().unwrap()],
        config: json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }),
    };
    let archive = folder.join("busybox.tar");
    write_archive(&archive, "busybox:1", &image).unwrap();
    archive
}

/// The digest of the one manifest that the `index.json` in a layout's folder names.
pub(crate) fn manifest_digest(index: &[u8]) -> String {
    let index: Value = serde_json::from_slice(index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

/// Unpacks an OCI archive's layers into a root and returns the image's configuration.
pub(crate) fn unpack(archive: &Path, root: &Path) -> Value {
    let layout = tempfile::tempdir().unwrap();
    said(
        Command::new("tar")
            .arg("-xf")
            .arg(archive)
            .arg("-C")
            .arg(layout.path()),
    );
    let blob = |digest: &str| layout.path().join("blobs").join(digest.replace(':', "/"));
    let document =
        |digest: &str| -> Value { serde_json::from_slice(&fs::read(blob(digest)).unwrap()).unwrap() };
    let index = fs::read(layout.path().join("index.json")).unwrap();
    let manifest = document(&manifest_digest(&index));
    fs::create_dir(root).unwrap();
    // The mount points that a pod adds lie below the root, which is read-only by then.
    for folder in ["proc", "run/secrets/admin"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for layer in manifest["layers"].as_array().unwrap() {
        let layer = blob(layer["digest"].as_str().unwrap());
        said(
            Command::new("tar")
                .args(["--numeric-owner", "-xzf"])
                .arg(layer)
                .arg("-C")
                .arg(root),
        );
    }
    document(manifest["config"]["digest"].as_str().unwrap())
}
