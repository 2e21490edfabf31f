//! Images of real programs, as OCI archives.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xtask::image::{Image, LayerBuilder, write_archive};

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
