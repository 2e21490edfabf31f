//! CVE-2024-21626: a descriptor of the host reaches the container, or its working directory leads back out.

use std::{fs, os::fd::AsRawFd, process::Command};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::sandbox::{Answer, Sandbox};

/// A folder of the host with a secret, open and inheritable, as a caller's careless descriptor is.
fn leak(sandbox: &Sandbox) -> fs::File {
    fs::write(sandbox.outside().join("secret"), "the host's\n").unwrap();
    let folder = fs::File::open(sandbox.outside()).unwrap();
    fcntl_setfd(&folder, FdFlags::empty()).unwrap();
    folder
}

#[test]
fn cve_2024_21626_descriptors_of_the_caller_stay_outside() {
    let mut sandbox = Sandbox::new();
    let folder = leak(&sandbox);
    let read = format!(
        "cat /proc/self/fd/{}/secret; ls /proc/self/fd",
        folder.as_raw_fd()
    );

    let mut naive = Command::new("unshare");
    naive
        .args(["--mount", "--pid", "--fork", "chroot"])
        .arg(sandbox.root())
        .args(["/bin/sh", "-c"]);
    let naive = Answer::of(
        &naive
            .arg(format!("mount -t proc proc /proc; {read}"))
            .output()
            .unwrap(),
    );
    assert!(
        naive.stdout.contains("the host's"),
        "the attack itself fails: {naive:?}"
    );

    let answer = sandbox.script(&read).run();
    assert!(!answer.stdout.contains("the host's"), "{answer:?}");
    // The fourth is the one that `ls` reads.
    assert_eq!(answer.stdout, "0\n1\n2\n3\n", "{answer:?}");
}

#[test]
fn cve_2024_21626_a_working_directory_by_descriptor_never_leads_out() {
    let mut sandbox = Sandbox::new();
    let _folder = leak(&sandbox);
    sandbox.script("cat secret; cat ../secret; cat ../../secret");
    let refused = (3..48).filter(|number| {
        sandbox.config["process"]["cwd"] = format!("/proc/self/fd/{number}").into();
        let answer = sandbox.run();
        assert!(
            !answer.stdout.contains("the host's"),
            "descriptor {number}: {answer:?}"
        );
        answer.stderr.contains("process.cwd")
    });
    // No descriptor is left that such a path could name.
    assert_eq!(refused.count(), 45);
}

#[test]
fn cve_2024_21626_a_process_that_joins_never_starts_outside() {
    let mut sandbox = Sandbox::new();
    let _folder = leak(&sandbox);
    sandbox.script("sleep 1000").start();
    for number in 3..24 {
        let cwd = format!("/proc/self/fd/{number}");
        let mut command = sandbox.command(&["exec", "--cwd", &cwd, &sandbox.id, "/bin/sh", "-c"]);
        let answer = Answer::of(&command.arg("cat secret ../secret ../../secret").output().unwrap());
        assert!(
            !answer.stdout.contains("the host's"),
            "descriptor {number}: {answer:?}"
        );
        answer.refused("cwd");
    }
}
