//! A bucket of an S3 server, moto's, that says who reads from it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::machine::Machine;
use super::programs::{said, tool};

/// A server with one bucket, ended when it is dropped.
pub(crate) struct Bucket {
    server: Child,
    endpoint: String,
    folder: TempDir,
}

impl Bucket {
    /// Starts the server in the network that the test is on.
    pub(crate) fn start() -> Self {
        Self::run(tool("setpriv"), tool("curl"))
    }

    /// Starts the server in a machine's network.
    pub(crate) fn inside(machine: &Machine) -> Self {
        Self::run(machine.networked("setpriv"), machine.networked("curl"))
    }

    fn run(mut setpriv: Command, mut curl: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        // It ends with the test however that ends.
        let server = setpriv
            .args(["--pdeathsig", "KILL", "moto_server", "-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut bucket = Self {
            server,
            endpoint: String::new(),
            folder,
        };
        bucket.endpoint = bucket.told_endpoint();
        said(
            curl.args(["--silent", "--show-error", "--fail", "--request", "PUT"])
                .arg(format!("{}/wharf", bucket.endpoint)),
        );
        bucket
    }

    fn told_endpoint(&mut self) -> String {
        let began = Instant::now();
        loop {
            let log = self.log();
            let running = log.lines().find_map(|line| line.split_once("Running on "));
            if let Some((_, endpoint)) = running {
                return endpoint.trim().to_owned();
            }
            let ended = self.server.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < Duration::from_secs(100),
                "moto_server does not start ({ended:?}), `cargo x test` installs it:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The registry's settings: its blobs in this bucket, and whoever pulls is sent there.
    pub(crate) fn settings(&self) -> String {
        "storage = \"s3://wharf\"\nredirects = \"**\"\n".to_owned()
    }

    /// What the registry's environment says of the bucket.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 5] {
        [
            ("AWS_ENDPOINT", &self.endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "access"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ]
    }

    /// How many reads by signed addresses the server has answered.
    pub(crate) fn signed_reads(&self) -> usize {
        // Before the word may stand a colour.
        let signed = |line: &&str| line.contains("GET /wharf/") && line.contains("X-Amz-Signature");
        self.log().lines().filter(signed).count()
    }

    fn log(&self) -> String {
        read(&self.folder.path().join("log"))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

/// A file that another program is writing: its last letter may be cut.
fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned()
}
