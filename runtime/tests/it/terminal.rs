//! Terminals: the console socket and what the program sees.

use std::{
    io::{IoSliceMut, Read},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;

use crate::support::Bundle;

/// Takes the descriptor that comes over a console socket.
fn master(listener: &UnixListener) -> OwnedFd {
    let (socket, _) = listener.accept().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    recvmsg(
        &socket,
        &mut [IoSliceMut::new(&mut name)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .unwrap();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            return descriptors.next().unwrap();
        }
    }
    panic!("no descriptor came");
}

/// All that the terminal shows until its last holder ends.
fn shown(master: OwnedFd) -> String {
    let mut file = std::fs::File::from(master);
    let mut text = Vec::new();
    let mut bytes = [0; 4096];
    // A terminal without a holder answers an error, not an end.
    while let Ok(length @ 1..) = file.read(&mut bytes) {
        text.extend_from_slice(&bytes[..length]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_terminal_is_the_console_with_its_size() {
    let mut bundle = Bundle::shell(
        "tty; stty size; stat -c %F /dev/console; echo to the tty > /dev/tty; echo to the console > /dev/console",
    );
    bundle.config["process"]["terminal"] = json!(true);
    bundle.config["process"]["consoleSize"] = json!({"height": 31, "width": 91});
    bundle.save();
    let listener = UnixListener::bind(bundle.path().join("console")).unwrap();
    let id = bundle.id();
    bundle
        .wharf(&["create", "--console-socket", "console", &id])
        .out();
    let master = master(&listener);
    bundle.wharf(&["start", &id]).out();
    let expected = "/dev/pts/0\r\n31 91\r\ncharacter special file\r\nto the tty\r\nto the console\r\n";
    assert_eq!(shown(master), expected);
}

#[test]
fn exec_gets_a_terminal_of_the_containers_own() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    // Longer than the address of a socket may be.
    let folder = bundle.path().join("a-folder-with-a-long-name".repeat(6));
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, bundle.path().join("short")).unwrap();
    let listener = UnixListener::bind(bundle.path().join("short/console")).unwrap();
    let socket = folder.join("console");
    let socket = socket.to_str().unwrap();
    bundle
        .wharf(&[
            "exec",
            "--tty",
            "--console-socket",
            socket,
            "--detach",
            &id,
            "sh",
            "-c",
            "tty; id",
        ])
        .out();
    assert_eq!(shown(master(&listener)), "/dev/pts/0\r\nuid=0(root) gid=0\r\n");
}

#[test]
fn a_terminal_and_a_console_socket_need_each_other() {
    let mut bundle = Bundle::new();
    bundle.save();
    let id = bundle.id();
    let _listener = UnixListener::bind(bundle.path().join("console")).unwrap();
    assert!(
        bundle
            .wharf(&["create", "--console-socket", "console", &id])
            .refusal()
            .contains("needs process.terminal")
    );
    bundle.config["process"]["terminal"] = json!(true);
    bundle.save();
    assert!(
        bundle
            .wharf(&["create", &id])
            .refusal()
            .contains("process.terminal: needs --console-socket")
    );
    let refusal = bundle
        .wharf(&["create", "--console-socket", "nowhere", &id])
        .refusal();
    assert!(
        refusal.contains("--console-socket: connect to nowhere: no such file or directory"),
        "{refusal}"
    );
}

#[test]
fn cve_2025_52565_a_link_at_dev_console_is_not_followed() {
    let mut bundle = Bundle::new();
    // Without a tmpfs on /dev the image's own folder is used, and the image may have put a link there.
    bundle.config["mounts"] = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
    ]);
    std::fs::create_dir(bundle.rootfs().join("dev/pts")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", bundle.rootfs().join("dev/console")).unwrap();
    bundle.config["process"]["terminal"] = json!(true);
    bundle.save();
    let _listener = UnixListener::bind(bundle.path().join("console")).unwrap();
    let refusal = bundle
        .wharf(&["create", "--console-socket", "console", &bundle.id()])
        .refusal();
    assert!(
        refusal.contains("process.terminal: ") && refusal.contains("too many levels of symbolic links"),
        "{refusal}"
    );
}

/// Runs a command with both ends of its streams on a terminal of the test's own.
fn on_a_terminal(mut command: std::process::Command) -> (OwnedFd, std::process::Child) {
    use rustix::{
        pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
        termios::{Winsize, tcsetwinsize},
    };
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    tcsetwinsize(
        &master,
        Winsize {
            ws_row: 33,
            ws_col: 77,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )
    .unwrap();
    command
        .stdin(slave.try_clone().unwrap())
        .stdout(slave.try_clone().unwrap())
        .stderr(slave);
    (master, command.spawn().unwrap())
}

#[test]
fn run_in_the_foreground_joins_the_callers_terminal() {
    let mut bundle = Bundle::shell("tty; stty size; read line; echo read $line; exit 5");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.save();
    let (master, mut run) = on_a_terminal(bundle.command(&["run", &bundle.id()]));
    rustix::io::write(&master, b"words\r").unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(5));
    let text = shown(master);
    // The echo of what was typed comes first, between or last, as the two sides get to it.
    let said: Vec<&str> = text.lines().filter(|line| *line != "words").collect();
    assert_eq!(said, ["/dev/pts/0", "33 77", "read words"], "{text:?}");
}

#[test]
fn exec_in_the_foreground_joins_the_callers_terminal() {
    let bundle = Bundle::sleeping();
    let id = bundle.start();
    let (master, mut exec) = on_a_terminal(bundle.command(&["exec", "-t", &id, "sh", "-c", "tty; exit 6"]));
    assert_eq!(exec.wait().unwrap().code(), Some(6));
    assert_eq!(shown(master), "/dev/pts/0\r\n");
}
