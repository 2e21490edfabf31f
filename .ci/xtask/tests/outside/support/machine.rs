//! A machine of a test's own, as far as a daemon can tell: its network, its mounts and its processes.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::programs::{output, tool};

/// The machine's second address, which no client takes for its own machine: docker and others trust whatever
/// answers on 127.0.0.0/8.
pub(crate) const ADDRESS: &str = "192.0.2.1";
/// The name of [`ADDRESS`] in the machine's `/etc/hosts`.
pub(crate) const NAME: &str = "registry.test";

/// Makes the namespaces a machine: the loopback, an `/etc` that can be written to, a `/run` of its own, nothing that
/// podman remembers of other days. The last line makes `cat` the first process: it ends when the test does, however
/// that ends, and takes all others with it.
const BOOT: &str = "set -e
if [ -n \"$OWN_NETWORK\" ]; then
  ip link set lo up
  ip address add $ADDRESS/32 dev lo
fi
mkdir etc work
mount -t overlay overlay -o lowerdir=/etc,upperdir=$PWD/etc,workdir=$PWD/work /etc
mount -t tmpfs tmpfs /run
if [ -d /var/lib/containers ]; then mount -t tmpfs tmpfs /var/lib/containers; fi
echo \"$ADDRESS $NAME\" >> /etc/hosts
echo up
exec cat";

/// Namespaces that last as long as the value.
pub(crate) struct Machine {
    /// `unshare`, whose child is the machine's first process.
    unshare: Child,
    first: u32,
    daemons: RefCell<Vec<Child>>,
    folder: TempDir,
}

impl Machine {
    /// Starts a machine with a network of its own.
    pub(crate) fn start() -> Self {
        Self::boot(&["--net"])
    }

    /// Starts a machine on the network that the test is on.
    pub(crate) fn on_our_network() -> Self {
        Self::boot(&[])
    }

    fn boot(network: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut unshare = tool("unshare")
            .args(network)
            .args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", BOOT])
            .env("OWN_NETWORK", network.concat())
            .env("ADDRESS", ADDRESS)
            .env("NAME", NAME)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "up\n", "the machine did not start");
        let id = unshare.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let first = children.trim().parse().unwrap();
        Self {
            unshare,
            first,
            daemons: RefCell::default(),
            folder,
        }
    }

    /// The folder of what the machine's programs keep, the same path on both sides.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A program on the machine.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        self.entered(&["--net", "--mount", "--pid"], program.as_ref())
    }

    /// A program of the test's own, at home everywhere but in the machine's network: it can be signalled.
    pub(crate) fn networked(&self, program: impl AsRef<Path>) -> Command {
        self.entered(&["--net"], program.as_ref())
    }

    fn entered(&self, namespaces: &[&str], program: &Path) -> Command {
        let mut command = tool("nsenter");
        command
            .args(["--target", &self.first.to_string()])
            .args(namespaces)
            .arg("--")
            .arg(program)
            .env("HOME", self.folder())
            .env("XDG_RUNTIME_DIR", self.folder())
            .env_remove("DOCKER_CONFIG")
            .env_remove("DOCKER_HOST");
        command
    }

    /// Starts a daemon on the machine, which ends with it, and waits until `answers` ends well.
    pub(crate) fn daemon(&self, daemon: &mut Command, answers: &mut Command) {
        let log = self.folder().join("daemon.log");
        let file = fs::File::create(&log).unwrap();
        daemon
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        let mut running = daemon.spawn().unwrap();
        let began = Instant::now();
        while !output(answers).status.success() {
            let ended = running.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < Duration::from_secs(100),
                "{daemon:?} does not answer ({ended:?}):\n{}",
                fs::read_to_string(&log).unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        self.daemons.borrow_mut().push(running);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.unshare.stdin.take());
        self.unshare.wait().unwrap();
        for daemon in self.daemons.get_mut() {
            daemon.wait().unwrap();
        }
    }
}
