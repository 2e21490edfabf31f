//! Killed at any point: the next command lists, runs and removes.

use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::machine::Machine;

/// Calls that make something last or appear; strace counts each kind on its own.
const CALLS: [&str; 6] = ["fsync", "rename", "symlink", "link", "unlink", "rmdir"];
const MOST: usize = 60;
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(5);

/// Runs a command under strace, which kills whoever makes the call of this number. Returns once that has
/// happened, or with none when the command came through; strace itself goes on for as long as something
/// of the command lives.
fn killed_at(machine: &Machine, call: &str, point: usize, arguments: &[&str]) -> Option<Child> {
    let inject = format!("inject={call}:signal=KILL:when={point}");
    let plain = machine.command(arguments);
    let log = machine.wharf.path("strace");
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-qq", "-e"])
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(inject)
        .arg("-o")
        .arg(&log);
    traced.arg(plain.get_program()).args(plain.get_args());
    traced
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for (key, value) in plain.get_envs() {
        match value {
            Some(value) => traced.env(key, value),
            None => traced.env_remove(key),
        };
    }
    let mut strace = traced.spawn().unwrap();
    loop {
        let ended = strace.try_wait().unwrap().is_some();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.contains("+++ killed by SIGKILL") {
            std::fs::remove_file(&log).unwrap();
            return Some(strace);
        }
        if ended {
            std::fs::remove_file(&log).unwrap();
            return None;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The store lists, runs and removes, and nothing of the dead is in the way.
fn survives(machine: &Machine, strace: Option<Child>, at: &str) {
    machine.ok(&["ps", "-a"]);
    let ids = machine.ok(&["ps", "-aq"]);
    for id in ids.lines() {
        machine.ok(&["rm", "-f", id]);
    }
    if let Some(mut strace) = strace {
        strace.wait().unwrap();
    }
    let said = machine.ok(&["run", "--rm", "--name", "victim", "busybox", "echo", "hi"]);
    assert_eq!(said, "hi\n", "{at}");
    assert_eq!(machine.ok(&["ps", "-aq"]), "", "{at}");
    assert_eq!(machine.shims(), Vec::<i32>::new(), "{at}");
}

fn every_point(machine: &Machine, prepare: &dyn Fn(), arguments: &[&str]) -> usize {
    let mut killed = 0;
    for call in CALLS {
        for point in 1.. {
            assert!(point < MOST, "{call} is called more than {MOST} times");
            prepare();
            let strace = killed_at(machine, call, point, arguments);
            let came = strace.is_some();
            survives(
                machine,
                strace,
                &format!("{arguments:?} killed at {call} {point}"),
            );
            if !came {
                break;
            }
            killed += 1;
        }
    }
    killed
}

#[test]
fn a_removal_killed_at_any_point_leaves_a_store_that_lists_runs_and_removes() {
    let machine = Machine::enter();
    let prepare = || {
        drop(machine.ok(&[
            "create",
            "--name",
            "victim",
            "--network",
            "none",
            "busybox",
            "true",
        ]))
    };
    let killed = every_point(&machine, &prepare, &["rm", "victim"]);
    assert!(killed >= 3, "only {killed} points were found");
}

fn is_alive(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

#[test]
fn a_killed_shim_s_container_ends_and_is_cleaned_up_by_the_next_command() {
    let machine = Machine::enter();
    machine.ok(&[
        "run", "-d", "--name", "orphan", "-p", "8080:80", "busybox", "sleep", "1000",
    ]);
    let pid: i32 = machine.inspect("orphan", "State.Pid").parse().unwrap();
    let shims = machine.shims();
    assert_eq!(shims.len(), 1);
    kill(Pid::from_raw(shims[0]), Signal::SIGKILL).unwrap();
    // Its command line is gone before its lock is.
    while is_alive(shims[0]) {
        std::thread::sleep(LOOK_AGAIN);
    }
    assert!(machine.ok(&["ps", "-a"]).contains("Exited (255)"));
    assert!(!is_alive(pid));
    machine.ok(&["run", "--rm", "-p", "8080:80", "busybox", "true"]);
    machine.ok(&["start", "orphan"]);
    machine.ok(&["rm", "-f", "orphan"]);
}

#[test]
fn a_damaged_container_is_listed_and_removed() {
    let machine = Machine::enter();
    let id = machine.ok(&["create", "--name", "hurt", "--network", "none", "busybox", "true"]);
    std::fs::write(
        machine
            .wharf
            .path("root/containers")
            .join(id.trim())
            .join("state.json"),
        "{",
    )
    .unwrap();
    assert!(machine.ok(&["ps", "-a"]).contains("Dead"));
    assert!(machine.fails(1, &["logs", "hurt"]).contains("is damaged"));
    machine.fails(125, &["run", "--name", "hurt", "busybox", "true"]);
    machine.ok(&["rm", "hurt"]);
    machine.ok(&[
        "run",
        "--rm",
        "--name",
        "hurt",
        "--network",
        "none",
        "busybox",
        "true",
    ]);
}
#[test]
fn a_run_killed_at_any_point_leaves_a_store_that_lists_runs_and_removes() {
    let machine = Machine::enter();
    let killed = every_point(&machine, &|| {}, &["run", "--name", "victim", "busybox", "true"]);
    assert!(killed >= 10, "only {killed} points were found");
}
