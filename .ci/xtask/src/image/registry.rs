//! The registry's own image: the program, the libraries it is linked with, nothing to log in to.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::json;

use super::{Image, LayerBuilder, Owner};
use crate::process;

/// The user that the registry runs as; the chart names the same number.
const USER: Owner = Owner(65_532);
/// The folder that a volume is mounted on.
const DATA: &str = "/var/lib/wharf-registry";
/// Where Debian's package `ca-certificates` keeps the roots that S3 and PostgreSQL are checked by.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Two layers: what changes with the system, and what changes with each build.
pub(super) fn image(program: &Path) -> Result<Image> {
    let mut own = LayerBuilder::default();
    own.copy(program, "/usr/bin/wharf-registry", 0o755)?;
    Ok(Image {
        layers: vec![system(program)?.finish()?, own.finish()?],
        config: json!({
            "User": format!("{0}:{0}", USER.0),
            "Env": ["PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
            "Entrypoint": ["/usr/bin/wharf-registry"],
            "Cmd": ["serve", "--listen", "0.0.0.0:5000", "--data-dir", DATA],
            "ExposedPorts": { "5000/tcp": {} },
            "Volumes": { DATA: {} },
            "WorkingDir": "/",
            "Labels": {
                "org.opencontainers.image.title": "wharf-registry",
                "org.opencontainers.image.description": "A self-hosted OCI registry",
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            },
        }),
    })
}

fn system(program: &Path) -> Result<LayerBuilder> {
    let mut layer = LayerBuilder::default();
    let users = format!(
        "root:x:0:0:root:/:/bin/false\nwharf:x:{0}:{0}::{DATA}:/bin/false\n",
        USER.0
    );
    layer.file("/etc/passwd", 0o644, users.as_bytes())?;
    layer.file(
        "/etc/group",
        0o644,
        format!("root:x:0:\nwharf:x:{}:\n", USER.0).as_bytes(),
    )?;
    layer.file(
        "/etc/nsswitch.conf",
        0o644,
        b"passwd: files\ngroup: files\nhosts: files dns\n",
    )?;
    layer.copy(Path::new(ROOTS), ROOTS, 0o644)?;
    layer.folder("/tmp", 0o1777, Owner::ROOT)?;
    layer.folder(DATA, 0o700, USER)?;
    let listed = process::output(Command::new("ldd").arg(program))?;
    for library in libraries(&listed) {
        layer.copy(Path::new(library), library, 0o755)?;
    }
    Ok(layer)
}

/// The files that `ldd` names, the loader included; a static program has none.
fn libraries(listed: &str) -> Vec<&str> {
    let mut files: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .collect();
    files.sort_unstable();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_and_the_loader_are_read_from_ldd() {
        let listed = "\
\tlinux-vdso.so.1 (0x00007ffd)
\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f)
";
        assert_eq!(
            libraries(listed),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib/x86_64-linux-gnu/libm.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert_eq!(libraries("\tstatically linked\n"), [""; 0]);
    }

    #[test]
    fn it_runs_as_a_user_without_rights() {
        let image = image(Path::new("/bin/true")).unwrap();
        assert_eq!(image.config["User"], "65532:65532");
        assert_eq!(image.layers.len(), 2);
    }
}
