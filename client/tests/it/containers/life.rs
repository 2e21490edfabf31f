//! From made to removed.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::machine::{Machine, output};

#[test]
fn streams_and_exit_codes_are_the_program_s() {
    let machine = Machine::enter();
    let ran = machine.run(&[
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 3",
    ]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(3), "out\n", "err\n")
    );
    let killed = machine.run(&[
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "trap - TERM; kill -TERM $$; sleep 9 & wait",
    ]);
    assert!(matches!(killed.code, Some(0 | 143)), "{killed:?}");
    assert!(
        machine
            .fails(127, &["run", "--rm", "busybox", "nosuch"])
            .contains("executable file not found in $PATH")
    );
    assert!(
        machine
            .fails(126, &["run", "--rm", "busybox", "/etc"])
            .contains("permission denied")
    );
}

#[test]
fn a_name_is_taken_until_its_container_is_removed() {
    let machine = Machine::enter();
    machine.ok(&["run", "--name", "one", "--network", "none", "busybox", "true"]);
    let refusal = machine.fails(125, &["run", "--name", "one", "busybox", "true"]);
    assert!(
        refusal.contains("Conflict. The container name \"/one\" is already in use by container \""),
        "{refusal}"
    );
    assert_eq!(machine.ok(&["rm", "one"]), "one\n");
    machine.ok(&[
        "run",
        "--rm",
        "--name",
        "one",
        "--network",
        "none",
        "busybox",
        "true",
    ]);
    assert_eq!(machine.ok(&["ps", "-aq"]), "");
}

#[test]
fn users_are_those_of_the_image_and_never_root_instead() {
    let machine = Machine::enter();
    let id = |user: &str| machine.ok(&["run", "--rm", "--network", "none", "-u", user, "busybox", "id"]);
    assert_eq!(
        id("nobody"),
        "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n"
    );
    assert_eq!(id("1000:50"), "uid=1000 gid=50 groups=50\n");
    for (user, says) in [
        ("nosuchuser", "unable to find user nosuchuser"),
        ("root:nosuchgroup", "unable to find group nosuchgroup"),
        ("4294967296", "uids and gids must be in range"),
    ] {
        assert!(
            machine
                .fails(125, &["run", "--rm", "-u", user, "busybox", "id"])
                .contains(says)
        );
    }
    machine.ok(&[
        "run",
        "--name",
        "bare",
        "--network",
        "none",
        "busybox",
        "rm",
        "/etc/passwd",
        "/etc/group",
    ]);
    assert!(
        machine
            .ok(&[
                "run",
                "--rm",
                "--network",
                "none",
                "busybox",
                "cat",
                "/etc/passwd"
            ])
            .contains("nobody")
    );
}

#[test]
fn an_image_without_passwd_runs_by_number_and_knows_no_name() {
    let machine = Machine::enter();
    let root = machine.wharf.path("bare");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let (root, archive) = (
        root.display().to_string(),
        machine.wharf.path("bare.tar").display().to_string(),
    );
    output("tar", &["-C", &root, "-cf", &archive, "."]);
    machine.ok(&["import", &archive, "bare:latest"]);
    let run = ["run", "--rm", "--network", "none"];
    let id = ["bare", "/bin/busybox", "id"];
    assert_eq!(machine.ok(&[&run[..], &id].concat()), "uid=0 gid=0 groups=0\n");
    assert_eq!(
        machine.ok(&[&run[..], &["-u", "7:8"], &id].concat()),
        "uid=7 gid=8 groups=8\n"
    );
    let refused = machine.fails(125, &[&run[..], &["-u", "nobody"], &id].concat());
    assert!(refused.contains("unable to find user nobody"), "{refused}");
}

#[test]
fn signals_of_the_client_reach_the_program() {
    let machine = Machine::enter();
    let script = "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let mut client = machine
        .command(&["run", "--rm", "--network", "none", "busybox", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    kill(Pid::from_raw(client.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    output.read_to_string(&mut line).unwrap();
    assert_eq!(
        (line.as_str(), client.wait().unwrap().code()),
        ("ready\ngot\n", Some(9))
    );
}

#[test]
fn stop_asks_first_and_kills_what_does_not_listen() {
    let machine = Machine::enter();
    let run = |name: &str, script: &str| {
        let id = machine.ok(&[
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            name,
            "busybox",
            "sh",
            "-c",
            script,
        ]);
        assert_eq!(id.len(), 65);
    };
    run(
        "polite",
        "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done",
    );
    run("deaf", "trap '' TERM; echo ready; while :; do sleep 0.1; done");
    for name in ["polite", "deaf"] {
        let mut logs = machine
            .command(&["logs", "-f", name])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(logs.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        assert_eq!(machine.ok(&["stop", "-t", "1", name]), format!("{name}\n"));
        logs.wait().unwrap();
    }
    assert_eq!(machine.inspect("polite", "State.ExitCode"), "7");
    assert_eq!(machine.inspect("deaf", "State.ExitCode"), "137");
    assert_eq!(machine.ok(&["stop", "polite"]), "polite\n");
    assert!(machine.fails(1, &["kill", "polite"]).contains("is not running"));
}

#[test]
fn input_is_passed_on_and_its_end_too() {
    let machine = Machine::enter();
    let mut client = machine.command(&["run", "-i", "--rm", "--network", "none", "busybox", "wc", "-c"]);
    let mut client = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut client.stdin.take().unwrap(), &vec![b'x'; 3_000_000]).unwrap();
    let output = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "3000000\n");
}

#[test]
fn a_flood_of_output_arrives_whole_and_the_log_keeps_the_last_of_it() {
    let machine = Machine::enter();
    let script = "seq 1 60000";
    let output = machine.ok(&[
        "run",
        "--name",
        "flood",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(output.lines().count(), 60_000);
    assert_eq!(machine.ok(&["logs", "--tail", "2", "flood"]), "59999\n60000\n");
    assert_eq!(machine.ok(&["logs", "flood"]), output);
}

#[test]
fn another_program_joins_a_running_container() {
    let machine = Machine::enter();
    machine.ok(&[
        "run",
        "-d",
        "--name",
        "long",
        "--network",
        "none",
        "-e",
        "A=1",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert_eq!(
        machine.ok(&[
            "exec",
            "-e",
            "B=2",
            "-w",
            "/tmp",
            "long",
            "sh",
            "-c",
            "echo $A$B; pwd"
        ]),
        "12\n/tmp\n"
    );
    machine.fails(7, &["exec", "long", "sh", "-c", "exit 7"]);
    machine.fails(126, &["exec", "long", "nosuchprogram"]);
    machine.fails(126, &["exec", "-u", "nosuchuser", "long", "true"]);
    let status = machine.ok(&[
        "exec",
        "-u",
        "nobody",
        "long",
        "grep",
        "-E",
        "^(CapEff|Seccomp|Uid)",
        "/proc/self/status",
    ]);
    assert!(
        status.contains("65534")
            && status.contains("CapEff:\t0000000000000000")
            && status.contains("Seccomp:\t2"),
        "{status}"
    );
    machine.ok(&["exec", "-d", "long", "touch", "/tmp/there"]);
    machine.ok(&[
        "exec",
        "long",
        "sh",
        "-c",
        "while [ ! -e /tmp/there ]; do sleep 0.05; done",
    ]);
    machine.ok(&["rm", "-f", "long"]);
    assert!(
        machine
            .fails(1, &["exec", "long", "true"])
            .contains("No such container: long")
    );
}

#[test]
fn a_container_starts_again_with_what_it_wrote() {
    let machine = Machine::enter();
    let id = machine.ok(&[
        "create",
        "--name",
        "again",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo x >>/log; wc -l </log",
    ]);
    assert_eq!(machine.inspect("again", "State.Status"), "created");
    assert_eq!(machine.ok(&["start", "-a", "again"]), "1\n");
    assert_eq!(machine.ok(&["start", "-a", id.trim()]), "2\n");
    assert_eq!(machine.ok(&["wait", "again"]), "0\n");
    assert!(machine.ok(&["ps", "-a"]).contains("Exited (0)"));
}

#[test]
fn binds_limits_and_the_read_only_root_hold() {
    let machine = Machine::enter();
    let folder = machine.wharf.path("shared");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "host\n").unwrap();
    let bind = format!("{}:/data", folder.display());
    let script = "cat /data/file; echo guest >/data/made";
    assert_eq!(
        machine.ok(&[
            "run",
            "--rm",
            "-v",
            &bind,
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            script
        ]),
        "host\n"
    );
    assert_eq!(std::fs::read_to_string(folder.join("made")).unwrap(), "guest\n");
    let bind = format!("{bind}:ro");
    machine.fails(
        1,
        &[
            "run",
            "--rm",
            "-v",
            &bind,
            "--network",
            "none",
            "busybox",
            "touch",
            "/data/x",
        ],
    );
    machine.fails(
        1,
        &[
            "run",
            "--rm",
            "--read-only",
            "--network",
            "none",
            "busybox",
            "touch",
            "/x",
        ],
    );
    let pids = machine.run(&[
        "run",
        "--rm",
        "--pids-limit",
        "1",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "sleep 0; true",
    ]);
    assert_ne!(pids.code, Some(0), "{pids:?}");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let machine = Machine::enter();
    for (flags, says) in [
        (&["-v", "data:/x"][..], "named volumes are not supported yet"),
        (&["-p", "53:53/udp"], "publishing udp ports is not supported yet"),
        (&["--privileged"], "not supported"),
        (&["--network", "nosuch"], "network nosuch not found"),
    ] {
        let arguments = [&["run", "--rm"], flags, &["busybox", "true"]].concat();
        assert!(machine.fails(125, &arguments).contains(says), "{flags:?}");
    }
}

#[test]
fn cve_2020_15257_the_monitor_s_socket_is_a_file_in_a_private_folder() {
    use std::os::unix::fs::MetadataExt;
    let machine = Machine::enter();
    machine.ok(&[
        "run",
        "-d",
        "--name",
        "long",
        "--network",
        "host",
        "busybox",
        "sleep",
        "1000",
    ]);
    // An abstract name begins with @ there; whoever shares the network could connect to it.
    let sockets = machine.ok(&["exec", "long", "cat", "/proc/net/unix"]);
    assert!(!sockets.contains(" @"), "{sockets}");
    assert!(sockets.contains("shim.sock"), "{sockets}");
    let mode = std::fs::metadata(machine.wharf.path("run")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700);
}
