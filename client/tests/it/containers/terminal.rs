//! A user at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::machine::Machine;

/// A terminal, and a command that has it as its own.
struct Terminal {
    master: File,
    slave: File,
    child: Child,
    seen: String,
}

impl Terminal {
    fn of(machine: &Machine, arguments: &[&str]) -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        tcsetwinsize(
            &slave,
            Winsize {
                ws_row: 33,
                ws_col: 77,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )
        .unwrap();
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        let child = machine
            .command(arguments)
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        Self {
            master: File::from(master),
            slave,
            child,
            seen: String::new(),
        }
    }

    fn type_in(&mut self, text: &[u8]) {
        self.master.write_all(text).unwrap();
    }

    /// Reads until this text has come, and forgets what came before it.
    fn expect(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.seen.contains(text) {
            let length = self.master.read(&mut buffer).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let (_, after) = self.seen.split_once(text).unwrap();
        self.seen = after.to_owned();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    }
}

#[test]
fn a_shell_has_a_terminal_of_the_user_s_size_and_gives_it_back() {
    let machine = Machine::enter();
    let mut terminal = Terminal::of(
        &machine,
        &["run", "-it", "--rm", "--network", "none", "busybox", "sh"],
    );
    terminal.expect("/ # ");
    assert!(terminal.is_raw());
    terminal.type_in(b"stty size\r");
    terminal.expect("33 77");
    let size = Winsize {
        ws_row: 40,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal.master, size).unwrap();
    let client = nix::unistd::Pid::from_raw(terminal.child.id().try_into().unwrap());
    nix::sys::signal::kill(client, nix::sys::signal::Signal::SIGWINCH).unwrap();
    terminal.type_in(b"until stty size | grep '40 100'; do sleep 0.1; done\r");
    terminal.expect("\n40 100");
    terminal.type_in(b"sh -c 'echo go; sleep 1000'\r");
    terminal.expect("\r\ngo");
    terminal.type_in(b"\x03");
    terminal.expect("/ # ");
    terminal.type_in(b"exit 5\r");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(5));
    assert!(!terminal.is_raw());
}

#[test]
fn control_p_control_q_leaves_and_attach_comes_back() {
    let machine = Machine::enter();
    let mut terminal = Terminal::of(
        &machine,
        &[
            "run",
            "-it",
            "--name",
            "kept",
            "--network",
            "none",
            "busybox",
            "sh",
        ],
    );
    terminal.expect("/ # ");
    terminal.type_in(b"X=left\r");
    terminal.expect("/ # ");
    terminal.type_in(b"\x10\x11");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
    assert!(!terminal.is_raw());
    assert_eq!(machine.inspect("kept", "State.Running"), "true");
    let mut terminal = Terminal::of(&machine, &["attach", "kept"]);
    terminal.type_in(b"echo $X-again\r");
    terminal.expect("left-again");
    terminal.type_in(b"exit\r");
    terminal.child.wait().unwrap();
    let mut terminal = Terminal::of(&machine, &["start", "-a", "-i", "kept"]);
    terminal.expect("/ # ");
    let mut second = Terminal::of(&machine, &["exec", "-it", "kept", "sh"]);
    second.expect("/ # ");
    second.type_in(b"tty; exit 4\r");
    second.expect("/dev/pts/");
    assert_eq!(second.child.wait().unwrap().code(), Some(4));
    terminal.type_in(b"exit 3\r");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_terminal_that_is_none_is_refused() {
    let machine = Machine::enter();
    assert_eq!(
        machine.fails(1, &["run", "-it", "--rm", "busybox", "sh"]),
        "the input device is not a TTY\n"
    );
}
