//! SIGKILL at each system call that makes something durable or lets it exist: the store survives each.

use crate::support::image::{noise, of_layers, tar};
use crate::support::registry::Registry;
use crate::support::wharf::{Wharf, ran};

/// The calls at which a pull may be killed; strace counts each kind on its own.
const CALLS: [&str; 6] = ["fsync", "syncfs", "rename", "renameat2", "linkat", "unlink"];

/// More than any pull makes of one kind: the last one must go through.
const MOST: usize = 100;

#[test]
fn a_pull_killed_at_any_point_leaves_a_store_that_lists_pulls_and_removes() {
    let image = of_layers(&[tar(&[("a", &noise(7, 50_000))]), tar(&[("b", b"hello")])]);
    let registry = Registry::holding(vec![("latest", image)]);
    let name = format!("{}/app", registry.host);
    let mut killed = 0;
    for call in CALLS {
        for point in 1.. {
            assert!(point < MOST, "{call} is called more than {MOST} times");
            let wharf = Wharf::new();
            if !killed_at(&wharf, call, point, &name) {
                break;
            }
            killed += 1;
            survives(&wharf, &name);
        }
    }
    assert!(killed >= 10, "only {killed} points were found");
}

/// Pulls, killed at the call of this number; returns whether it came that far.
fn killed_at(wharf: &Wharf, call: &str, point: usize, name: &str) -> bool {
    let mut command = wharf.program("strace");
    command
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("inject={call}:signal=KILL:when={point}"))
        .args([env!("CARGO_BIN_EXE_wharf"), "pull", "-q", name]);
    let ran = ran(command.output().unwrap());
    match ran.code {
        Some(0) => false,
        // strace ends as its child did: by the signal, or with the code that stands for it.
        None | Some(137) => true,
        other => panic!("{call} {point}: {other:?} {}", ran.stderr),
    }
}

fn survives(wharf: &Wharf, name: &str) {
    let listed = wharf.ok(&["images", "-q"]);
    assert!(listed.lines().count() <= 1, "{listed}");
    wharf.ok(&["pull", "-q", name]);
    assert_eq!(wharf.ok(&["images", "-q"]).lines().count(), 1);
    wharf.ok(&["inspect", name]);
    wharf.ok(&["rmi", name]);
    assert_eq!(wharf.kept(), Vec::<String>::new());
}
