//! The default network.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};

use crate::support::machine::{Machine, output};

const SERVER: &str = "while :; do echo page | nc -l -p 80; done";

/// What a server says, once it listens.
fn page(address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    for _ in 0..200 {
        if let Ok(mut stream) = TcpStream::connect(address) {
            let mut text = String::new();
            let _ = stream.write_all(b"\n");
            if stream.read_to_string(&mut text).is_ok() && !text.is_empty() {
                return text;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("nothing answers at {address}");
}

#[test]
fn a_published_port_answers_on_every_address_and_is_free_at_once_again() {
    let machine = Machine::enter();
    for _ in 0..2 {
        machine.ok(&[
            "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", SERVER,
        ]);
        for address in ["127.0.0.1:8080", "[::1]:8080", "172.17.0.1:8080", "172.17.0.2:80"] {
            assert_eq!(page(address), "page\n", "{address}");
        }
        assert_eq!(
            machine.ok(&["port", "web"]),
            "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"
        );
        assert!(
            machine
                .ok(&["ps"])
                .contains("0.0.0.0:8080->80/tcp, [::]:8080->80/tcp")
        );
        assert_eq!(machine.inspect("web", "NetworkSettings.IPAddress"), "172.17.0.2");
        machine.ok(&["rm", "-f", "web"]);
    }
}

#[test]
fn a_taken_port_fails_with_125_and_leaves_nothing() {
    let machine = Machine::enter();
    let taken = TcpListener::bind("0.0.0.0:8080").unwrap();
    let refusal = machine.fails(125, &["run", "--rm", "-p", "8080:80", "busybox", "true"]);
    assert!(refusal.contains("address already in use"), "{refusal}");
    drop(taken);
    machine.ok(&[
        "run", "-d", "--name", "holder", "-p", "8080:80", "busybox", "sleep", "1000",
    ]);
    let refusal = machine.fails(
        125,
        &["run", "--name", "second", "-p", "8080:80", "busybox", "true"],
    );
    assert!(
        refusal.contains("Bind for 0.0.0.0:8080 failed: port is already allocated"),
        "{refusal}"
    );
    assert_eq!(machine.inspect("second", "State.Status"), "created");
    assert_eq!(
        machine
            .ok(&[
                "run", "-d", "--name", "random", "-p", "80", "busybox", "sleep", "1000"
            ])
            .len(),
        65
    );
    assert!(
        machine
            .ok(&["port", "random", "80"])
            .starts_with("0.0.0.0:32768\n")
    );
}

#[test]
fn containers_reach_each_other_and_the_world_behind_the_bridge_s_address() {
    let machine = Machine::enter();
    // The world is a namespace that knows no way back to the containers' network.
    let world = Command::new("unshare")
        .args(["-n", "sleep", "1000"])
        .spawn()
        .unwrap();
    let world = Ended(world);
    let pid = world.0.id().to_string();
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net"));
    while namespace(&pid).unwrap() == namespace("thread-self").unwrap() {
        std::thread::yield_now();
    }
    output(
        "ip",
        &[
            "link", "add", "world", "type", "veth", "peer", "name", "out", "netns", &pid,
        ],
    );
    output("ip", &["addr", "add", "10.9.0.1/24", "dev", "world"]);
    output("ip", &["link", "set", "world", "up"]);
    let inside = "ip addr add 10.9.0.2/24 dev out; ip link set out up";
    output("nsenter", &["-t", &pid, "-n", "sh", "-c", inside]);
    assert!(
        machine
            .ok(&["run", "--rm", "busybox", "ping", "-c", "1", "-W", "5", "10.9.0.2"])
            .contains("1 packets received")
    );
    machine.ok(&[
        "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", SERVER,
    ]);
    for address in ["172.17.0.2 80", "172.17.0.1 8080"] {
        let command = format!("while ! nc {address} </dev/null | grep page; do sleep 0.1; done");
        assert_eq!(
            machine.ok(&["run", "--rm", "busybox", "sh", "-c", &command]),
            "page\n",
            "{address}"
        );
    }
    let hosts = machine.ok(&[
        "run",
        "--rm",
        "-h",
        "box",
        "--add-host",
        "db:10.9.0.2",
        "busybox",
        "cat",
        "/etc/hosts",
    ]);
    assert!(hosts.ends_with("10.9.0.2\tdb\n172.17.0.3\tbox\n"), "{hosts}");
    output("ip", &["link", "del", "world"]);
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn none_has_loopback_alone_and_host_has_the_host_s() {
    let machine = Machine::enter();
    let links =
        |network: &str| machine.ok(&["run", "--rm", "--network", network, "busybox", "ip", "-o", "addr"]);
    assert!(links("none").starts_with("1: lo    inet 127.0.0.1/8") && !links("none").contains("eth0"));
    output(
        "ip",
        &["link", "add", "own", "type", "veth", "peer", "name", "other"],
    );
    output("ip", &["addr", "add", "10.1.2.3/24", "dev", "own"]);
    assert!(links("host").contains("10.1.2.3/24"));
    output("ip", &["link", "del", "own"]);
}
