//! Each test has a network namespace of its own: a thread may leave the others'.

use std::{collections::HashSet, process::Command, sync::Mutex};

use nix::sched::{CloneFlags, unshare};

use super::*;

/// Opens a fresh network namespace, the container's.
fn namespace() -> OwnedFd {
    let opened = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        fs::File::open("/proc/thread-self/ns/net").unwrap()
    });
    opened.join().unwrap().into()
}

/// Runs a test in a namespace of its own, with a folder for leases.
fn isolated(test: impl FnOnce(&Path) + Send + 'static) {
    let run = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let dir = tempfile::tempdir().unwrap();
        test(dir.path());
        assert_eq!(output("ip", &["-br", "link", "show", "type", "bridge"]), "");
        assert_eq!(output("ip", &["-br", "link", "show", "type", "veth"]), "");
        assert_eq!(output("nft", &["list", "ruleset"]), "");
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["lock"]);
    });
    if let Err(panic) = run.join() {
        std::panic::resume_unwind(panic);
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn any_port(container_port: u16) -> PublishRequest {
    PublishRequest {
        container_port,
        host_ip: None,
        host_port: None,
    }
}

fn id(first: char) -> String {
    first.to_string().repeat(64)
}

#[test]
fn the_table_is_what_its_documentation_says() {
    isolated(|dir| {
        let bridge = Bridge {
            dir,
            boot_id: "boot",
            is_alive: &|_| true,
        };
        let netns = namespace();
        let claim = bridge.claim(&id('a'), &[any_port(80)]).unwrap();
        bridge.attach(&claim.lease, &netns).unwrap();
        insta::assert_snapshot!(output("nft", &["list", "table", "ip", "wharf"]));
        assert_eq!(
            fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
            "1\n"
        );
        assert!(bridge.release(&claim.lease).is_empty());
    });
}

#[test]
fn addresses_and_ports_are_the_lowest_free_ones_and_come_back() {
    isolated(|dir| {
        let bridge = Bridge {
            dir,
            boot_id: "boot",
            is_alive: &|_| true,
        };
        let first = bridge.claim(&id('a'), &[any_port(80), any_port(443)]).unwrap();
        let second = bridge.claim(&id('b'), &[any_port(80)]).unwrap();
        assert_eq!(first.lease.address, Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(second.lease.address, Ipv4Addr::new(172, 17, 0, 3));
        let ports: HashSet<u16> = first.lease.ports.iter().map(|port| port.host.port()).collect();
        assert_eq!(ports, HashSet::from([32768, 32769]));
        assert!(second.lease.ports.iter().all(|port| port.host.port() == 32770));
        assert!(bridge.release(&first.lease).is_empty());
        let third = bridge.claim(&id('c'), &[]).unwrap();
        assert_eq!(third.lease.address, first.lease.address);
        assert!(bridge.release(&third.lease).is_empty());
        assert!(bridge.release(&second.lease).is_empty());
    });
}

#[test]
fn a_claim_that_fails_leaves_nothing() {
    isolated(|dir| {
        let bridge = Bridge {
            dir,
            boot_id: "boot",
            is_alive: &|_| true,
        };
        let taken = std::net::TcpListener::bind("0.0.0.0:8080").unwrap();
        let request = PublishRequest {
            container_port: 80,
            host_ip: None,
            host_port: Some(8080),
        };
        let error = bridge
            .claim(&id('a'), std::slice::from_ref(&request))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use"
        );
        drop(taken);
        let holder = bridge.claim(&id('a'), std::slice::from_ref(&request)).unwrap();
        let error = bridge.claim(&id('b'), &[request]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Bind for 0.0.0.0:8080 failed: port is already allocated"
        );
        assert!(bridge.release(&holder.lease).is_empty());
    });
}

#[test]
fn what_a_dead_holder_left_is_taken_back_by_the_next_claim() {
    isolated(|dir| {
        let dead = Mutex::new(HashSet::new());
        let is_alive = |container: &str| !dead.lock().unwrap().contains(container);
        let bridge = Bridge {
            dir,
            boot_id: "boot",
            is_alive: &is_alive,
        };
        let netns = namespace();
        let first = bridge.claim(&id('a'), &[any_port(80)]).unwrap();
        bridge.attach(&first.lease, &netns).unwrap();
        drop(first.forwarders);
        dead.lock().unwrap().insert(id('a'));
        let second = bridge.claim(&id('b'), &[any_port(80)]).unwrap();
        assert_eq!(
            (second.lease.address, &second.lease.ports),
            (first.lease.address, &first.lease.ports)
        );
        assert_eq!(output("ip", &["-br", "link", "show", "type", "veth"]), "");
        let other_netns = namespace();
        bridge.attach(&second.lease, &other_netns).unwrap();
        assert!(bridge.release_container(&id('b')).is_empty());
    });
}

#[test]
fn a_lease_of_another_boot_and_a_damaged_one_have_no_holder() {
    isolated(|dir| {
        let before = Bridge {
            dir,
            boot_id: "before",
            is_alive: &|_| true,
        };
        let old = before.claim(&id('a'), &[]).unwrap();
        fs::write(dir.join("172.17.0.3"), "{").unwrap();
        drop(bridge::remove());
        let after = Bridge {
            dir,
            boot_id: "after",
            is_alive: &|_| true,
        };
        let new = after.claim(&id('b'), &[]).unwrap();
        assert_eq!(new.lease.address, old.lease.address);
        assert!(after.release(&new.lease).is_empty());
    });
}

#[test]
fn rules_that_somebody_flushed_come_back_with_all_elements() {
    isolated(|dir| {
        let bridge = Bridge {
            dir,
            boot_id: "boot",
            is_alive: &|_| true,
        };
        let netns = namespace();
        let first = bridge.claim(&id('a'), &[any_port(80)]).unwrap();
        bridge.attach(&first.lease, &netns).unwrap();
        output("nft", &["flush", "ruleset"]);
        let second = bridge.claim(&id('b'), &[]).unwrap();
        let elements = output("nft", &["list", "map", "ip", "wharf", "published_any"]);
        assert!(elements.contains("32768 : 172.17.0.2 . 80"), "{elements}");
        assert!(bridge.release(&first.lease).is_empty());
        assert!(bridge.release(&second.lease).is_empty());
        assert!(
            bridge.release(&second.lease).is_empty(),
            "what is missing is already released"
        );
    });
}
