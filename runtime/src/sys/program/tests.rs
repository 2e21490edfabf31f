use std::thread;

use super::*;
use crate::{seccomp::compile, spec::LinuxSeccomp};

/// What the client gives its containers; a test there keeps it so.
const PROFILE: &str = include_str!("../../../benches/default-profile.json");

fn call(number: libc::c_long, arguments: [u64; 3]) -> Result<libc::c_long, Errno> {
    let [one, two, three] = arguments;
    // SAFETY: the calls below are given numbers alone, or addresses that no memory is at.
    answer(unsafe { libc::syscall(number, one, two, three) })
}

/// Puts this thread alone under the filter.
fn confine(profile: &str) {
    let profile: LinuxSeccomp<'_> = serde_json::from_str(profile).unwrap();
    let program = compile(&profile).unwrap();
    rustix::thread::set_no_new_privs(true).unwrap();
    assert_eq!(install_seccomp(&program.instructions, program.flags), Ok(0));
}

#[test]
fn the_kernel_takes_the_clients_profile_and_answers_by_it() {
    let confined = thread::spawn(|| {
        confine(PROFILE);
        let (stream, family) = (1, |family: libc::c_int| u64::try_from(family).unwrap());
        let above = 1 << 32;
        for (what, number, arguments, expected) in [
            (
                "a Unix socket",
                libc::SYS_socket,
                [family(libc::AF_UNIX), stream, 77],
                Errno::PROTONOSUPPORT,
            ),
            (
                "AF_ALG",
                libc::SYS_socket,
                [family(libc::AF_ALG), 5, 0],
                Errno::PERM,
            ),
            (
                "AF_ALG in disguise",
                libc::SYS_socket,
                [family(libc::AF_ALG) | above, 5, 0],
                Errno::PERM,
            ),
            (
                "AF_VSOCK",
                libc::SYS_socket,
                [family(libc::AF_VSOCK), stream, 0],
                Errno::PERM,
            ),
            (
                "AF_VSOCK in disguise",
                libc::SYS_socket,
                [family(libc::AF_VSOCK) | above, stream, 0],
                Errno::PERM,
            ),
            (
                "another personality",
                libc::SYS_personality,
                [0x40000, 0, 0],
                Errno::PERM,
            ),
            (
                "a namespace by clone",
                libc::SYS_clone,
                [0x1000_0000, 0, 0],
                Errno::PERM,
            ),
            (
                "a namespace by unshare",
                libc::SYS_unshare,
                [0x1000_0000, 0, 0],
                Errno::PERM,
            ),
            ("clone3", libc::SYS_clone3, [0, 0, 0], Errno::NOSYS),
            ("a mount", libc::SYS_mount, [0, 0, 0], Errno::PERM),
            ("keys", libc::SYS_keyctl, [0, 0, 0], Errno::PERM),
            ("io_uring", libc::SYS_io_uring_setup, [1, 0, 0], Errno::PERM),
            ("bpf", libc::SYS_bpf, [0, 0, 0], Errno::PERM),
            ("a call of the future", 5000, [0, 0, 0], Errno::NOSYS),
            ("mseal, unaligned", 462, [1, 1, 0], Errno::INVAL),
        ] {
            assert_eq!(call(number, arguments), Err(expected), "{what}");
        }
        assert_eq!(call(libc::SYS_personality, [0xffff_ffff, 0, 0]), Ok(0));
    });
    confined.join().unwrap();
}

#[test]
fn conditions_of_64_bits_hold_on_the_kernel() {
    let confined = thread::spawn(|| {
        confine(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":["fchdir"],"action":"SCMP_ACT_ERRNO","errnoRet":100,
                 "args":[{"index":0,"value":4294967296,"op":"SCMP_CMP_GE"}]},
                {"names":["fchdir"],"action":"SCMP_ACT_ERRNO","errnoRet":101,
                 "args":[{"index":0,"value":240,"valueTwo":16,"op":"SCMP_CMP_MASKED_EQ"}]},
                {"names":["fchdir"],"action":"SCMP_ACT_ERRNO","errnoRet":102,
                 "args":[{"index":0,"value":3000,"op":"SCMP_CMP_EQ"},{"index":1,"value":7,"op":"SCMP_CMP_NE"}]}]}"#,
        );
        let errno = |number| Err(Errno::from_raw_os_error(number));
        assert_eq!(call(libc::SYS_fchdir, [1 << 32, 0, 0]), errno(100));
        assert_eq!(call(libc::SYS_fchdir, [u64::MAX, 0, 0]), errno(100));
        assert_eq!(call(libc::SYS_fchdir, [2064 + 15, 0, 0]), errno(101));
        assert_eq!(call(libc::SYS_fchdir, [3000, 8, 0]), errno(102));
        assert_eq!(call(libc::SYS_fchdir, [3000, 7, 0]), Err(Errno::BADF));
    });
    confined.join().unwrap();
}
