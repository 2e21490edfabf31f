//! containerd on a machine of the test's own.

use std::fs;
use std::process::Command;

use super::machine::Machine;

/// Starts containerd, which ends with the machine, and waits until it answers.
pub(crate) fn start(machine: &Machine) {
    let at = |name: &str| machine.folder().join(name);
    let settings = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = {:?}\n",
        at("root"),
        at("state"),
        at("containerd.sock")
    );
    fs::write(at("containerd.toml"), settings).unwrap();
    let mut containerd = machine.command("containerd");
    containerd.arg("--config").arg(at("containerd.toml"));
    machine.daemon(&mut containerd, ctr(machine).arg("version"));
}

/// The command line of the machine's containerd.
pub(crate) fn ctr(machine: &Machine) -> Command {
    let mut ctr = machine.command("ctr");
    ctr.arg("--address").arg(machine.folder().join("containerd.sock"));
    ctr
}
