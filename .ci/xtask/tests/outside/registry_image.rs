//! The registry's own image serves under the conditions that the chart sets: a user without rights,
//! no capability, a root that cannot be written, a volume and a secret.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::images::unpack;
use crate::support::programs::{ours, said};

/// The user that the image and the chart name.
const USER: u32 = 65_532;

/// A container of the registry's image, in a bundle of its own.
struct Container {
    bundle: TempDir,
    runtime: Child,
    address: String,
}

impl Container {
    fn start() -> Self {
        let bundle = tempfile::tempdir().unwrap();
        let archive = bundle.path().join("image.tar");
        xtask::image::registry_archive(&ours("wharf-registry"), &archive).unwrap();
        let config = unpack(&archive, &bundle.path().join("rootfs"));
        assert_eq!(config["config"]["User"], format!("{USER}:{USER}"));
        let data = bundle.path().join("data");
        fs::create_dir(&data).unwrap();
        chown(&data, Some(USER), Some(USER)).unwrap();
        let secret = bundle.path().join("secret");
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("password"), "a password of the chart\n").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o755)).unwrap();
        let spec = spec(&config, bundle.path()).to_string();
        fs::write(bundle.path().join("config.json"), spec).unwrap();
        let mut runtime = Command::new(ours("wharf-runtime"))
            .arg("--root")
            .arg(bundle.path().join("state"))
            .args(["run", "--bundle"])
            .arg(bundle.path())
            .arg("registry")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(runtime.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim_end()
            .strip_prefix("listening on ")
            .unwrap_or_default()
            .to_owned();
        assert!(!address.is_empty(), "the registry said {line:?}");
        Self {
            bundle,
            runtime,
            address,
        }
    }

    fn get(&self, path: &str, arguments: &[&str]) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(arguments);
        said(curl.arg(format!("http://{}{path}", self.address)))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut kill = Command::new(ours("wharf-runtime"));
        kill.arg("--root")
            .arg(self.bundle.path().join("state"))
            .args(["kill", "registry", "TERM"]);
        let asked = kill.status().unwrap();
        let status = self.runtime.wait().unwrap();
        assert!(
            std::thread::panicking() || (asked.success() && status.success()),
            "asked to stop ({asked}), the registry ended with {status}"
        );
    }
}

/// A bundle's `config.json` with the image's user and variables, and what the chart's pod adds.
fn spec(image: &Value, bundle: &Path) -> Value {
    let bind = |from: &str, to: &str, mode: &str| {
        let source = bundle.join(from);
        json!({ "destination": to, "type": "bind", "source": source, "options": ["bind", mode] })
    };
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": { "uid": USER, "gid": USER },
            "args": [
                image["config"]["Entrypoint"][0],
                "serve",
                "--listen=127.0.0.1:0",
                "--data-dir=/var/lib/wharf-registry",
                "--admin-password-file=/run/secrets/admin/password",
            ],
            "env": image["config"]["Env"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {},
        },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"] },
            bind("data", "/var/lib/wharf-registry", "rw"),
            bind("secret", "/run/secrets/admin", "ro"),
        ],
        // The host's network: the test asks on loopback.
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }] },
    })
}

#[test]
fn the_registrys_image_serves_on_a_root_that_cannot_be_written() {
    let container = Container::start();
    assert_eq!(container.get("/healthz", &[]), "200");
    assert_eq!(container.get("/readyz", &[]), "200");
    assert_eq!(container.get("/v2/", &[]), "401");
    assert_eq!(
        container.get("/v2/", &["-u", "admin:a password of the chart"]),
        "200"
    );
}
