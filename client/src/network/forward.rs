//! Published ports, held open by the shim: another program that wants one is told that it is taken,
//! and what the kernel's translation does not see (loopback, IPv6) is carried by hand.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, sockopt};

use super::{
    Error, Lease,
    port::{PublishRequest, Published},
};

/// Where handing out of ports begins, and where it ends: the kernel's own default range.
const RANDOM_PORTS: std::ops::RangeInclusive<u16> = 32768..=60999;
/// Connections carried at once for one port; more wait in the backlog.
const CONNECTIONS: usize = 512;
const BACKLOG: i32 = 128;
const STACK_BYTES: usize = 64 * 1024;
const BUFFER_BYTES: usize = 32 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Holds one published port.
#[derive(Debug)]
pub struct Forwarder {
    listener: TcpListener,
    target: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl AsFd for Forwarder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Forwarder {
    /// Takes the connection that waits, if there is one, and carries it on threads of its own.
    pub fn accept(&self) {
        let Ok((client, _)) = self.listener.accept() else {
            return;
        };
        if self.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (target, connections) = (self.target, Arc::clone(&self.connections));
        let carried = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            // A connection that breaks concerns its two ends alone, and they see it.
            drop(carry(&client, target));
            connections.fetch_sub(1, Ordering::Relaxed);
        });
        if carried.is_err() {
            self.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Carries both directions until both have ended.
fn carry(client: &TcpStream, target: SocketAddr) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let server = TcpStream::connect_timeout(&target, CONNECT_TIMEOUT)?;
    thread::scope(|scope| {
        let upwards = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || copy(client, &server))?;
        copy(&server, client);
        drop(upwards.join());
        Ok(())
    })
}

/// Carries one direction, and passes its end on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let written = buffer.get(..length).map(|bytes| to.write_all(bytes));
        if !matches!(written, Some(Ok(()))) {
            // The reader is gone, so the sender need not go on.
            drop(from.shutdown(Shutdown::Read));
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}

/// Binds every request, in the order of the container's ports.
pub(super) fn bind_all(
    requests: &[PublishRequest],
    container: Ipv4Addr,
    leases: &[Lease],
) -> Result<(Vec<Published>, Vec<Forwarder>), Error> {
    let mut requests = requests.to_vec();
    requests.sort_by_key(|request| request.container_port);
    let (mut ports, mut forwarders) = (Vec::new(), Vec::new());
    for request in &requests {
        let addresses = request.addresses();
        let listeners = match request.host_port {
            Some(port) => {
                bind_port(&addresses, port).map_err(|busy| explain(&busy, request, container, leases))?
            }
            None => RANDOM_PORTS
                .filter(|port| !is_leased(leases, *port))
                .find_map(|port| bind_port(&addresses, port).ok())
                .ok_or(Error::PortsExhausted)?,
        };
        for (host, listener) in listeners {
            let container_port = request.container_port;
            ports.push(Published { host, container_port });
            forwarders.push(Forwarder {
                listener,
                target: SocketAddr::new(container.into(), container_port),
                connections: Arc::default(),
            });
        }
    }
    Ok((ports, forwarders))
}

fn is_leased(leases: &[Lease], port: u16) -> bool {
    let mut ports = leases.iter().flat_map(|lease| &lease.ports);
    ports.any(|published| published.host.port() == port)
}

struct Busy {
    address: SocketAddr,
    source: rustix::io::Errno,
}

/// Binds a port on all addresses or on none. An IPv6 address beside an IPv4 one is left out where the machine has no IPv6.
fn bind_port(addresses: &[IpAddr], port: u16) -> Result<Vec<(SocketAddr, TcpListener)>, Busy> {
    let mut bound = Vec::new();
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match bind_one(address) {
            Ok(listener) => bound.push((address, listener)),
            Err(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL) if !bound.is_empty() => {}
            Err(source) => return Err(Busy { address, source }),
        }
    }
    Ok(bound)
}

fn bind_one(address: SocketAddr) -> Result<TcpListener, rustix::io::Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A port whose last connections still linger is free.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn explain(busy: &Busy, request: &PublishRequest, container: Ipv4Addr, leases: &[Lease]) -> Error {
    let address = busy.address;
    if busy.source != rustix::io::Errno::ADDRINUSE {
        let doing = format!("failed to bind host port for {address}");
        return Error::kernel(doing, busy.source.into());
    }
    if is_leased(leases, address.port()) {
        return Error::PortAllocated(address.to_string());
    }
    Error::PortTaken(format!("{address}:{container}:{}/tcp", request.container_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_and_one_is_found_where_none_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut request = PublishRequest {
            container_port: 80,
            host_ip: Some(Ipv4Addr::LOCALHOST.into()),
            host_port: Some(taken.local_addr().unwrap().port()),
        };
        let target = Ipv4Addr::new(172, 17, 0, 2);
        let error = bind_all(std::slice::from_ref(&request), target, &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with(":172.17.0.2:80/tcp: address already in use"),
            "{error}"
        );
        request.host_port = None;
        let (ports, _held) = bind_all(&[request], target, &[]).unwrap();
        assert!(ports.iter().all(|port| RANDOM_PORTS.contains(&port.host.port())));
    }

    #[test]
    fn a_connection_is_carried_both_ways_and_its_end_too() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let forwarder = Forwarder {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            target: server.local_addr().unwrap(),
            connections: Arc::default(),
        };
        let mut client = TcpStream::connect(forwarder.listener.local_addr().unwrap()).unwrap();
        forwarder.accept();
        let (mut served, _) = server.accept().unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        served.read_to_string(&mut text).unwrap();
        served.write_all(b"answer").unwrap();
        drop(served);
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "questionanswer");
    }
}
