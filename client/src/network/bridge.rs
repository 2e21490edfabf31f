//! The bridge and the links to it, by rtnetlink.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage as Message,
    address::{AddressAttribute, AddressMessage, AddressScope},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use nix::sched::{CloneFlags, setns};
use rustix::{
    io::Errno,
    net::{AddressFamily as SocketFamily, SocketType, netdevice::name_to_index},
};

use super::{
    Error, Lease, ipam, nat,
    netlink::{ACK, Batch, CREATE, DUMP, EXCL, Socket},
};

/// The name of the bridge.
pub(super) const NAME: &str = "wharf0";
const PREFIX_LEN: u8 = 16;
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Makes sure that the bridge, its address, forwarding and the table of rules stand; returns its address.
/// The subnet is 172.17.0.0/16, or the next /16 that no other link has.
pub(super) fn ensure(leases: &[Lease]) -> Result<Ipv4Addr, Error> {
    let mut socket = Socket::route()?;
    let addresses = addresses(&mut socket)?;
    let existing = index_of(NAME)?;
    let own = addresses
        .iter()
        .find(|found| Some(found.index) == existing)
        .map(|found| found.address);
    let gateway = own.map_or_else(|| free_pool(&addresses), Ok)?;
    if existing.is_none() {
        let mut batch = Batch::default();
        let attributes = vec![LinkAttribute::Address(ipam::hardware_address(gateway).to_vec())];
        let link = new_link(NAME, InfoKind::Bridge, None, attributes);
        batch.route(link, CREATE | EXCL | ACK, format!("creating the bridge {NAME}"));
        socket.transact(&batch)?;
    }
    if own.is_none() {
        let index = index_of(NAME)?.ok_or_else(|| vanished(NAME))?;
        let mut batch = Batch::default();
        let doing = format!("giving {NAME} the address {gateway}/{PREFIX_LEN}");
        batch.route(new_address(index, gateway), CREATE | ACK, doing);
        socket.transact(&batch)?;
    }
    switch_forwarding_on()?;
    nat::ensure(gateway, existing.is_none(), leases)?;
    Ok(gateway)
}

/// Removes the bridge and the table. Goes on past errors; what is missing is already removed.
pub(super) fn remove() -> Vec<Error> {
    let links = Socket::route().and_then(|mut socket| delete_link(&mut socket, NAME));
    [nat::remove(), links]
        .into_iter()
        .filter_map(Result::err)
        .collect()
}

/// Makes the pair of links between the bridge and the namespace, where it is `eth0`, up, with the
/// lease's address and a default route.
pub(super) fn link(lease: &Lease, netns: BorrowedFd<'_>) -> Result<(), Error> {
    let bridge = index_of(NAME)?.ok_or_else(|| vanished(NAME))?;
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Address(lease.mac().to_vec()),
        LinkAttribute::NetNsFd(netns.as_raw_fd()),
    ];
    let name = lease.link();
    let data = Some(InfoData::Veth(InfoVeth::Peer(peer)));
    let pair = new_link(
        &name,
        InfoKind::Veth,
        data,
        vec![LinkAttribute::Controller(bridge)],
    );
    let mut batch = Batch::default();
    batch.route(pair, CREATE | EXCL | ACK, format!("linking {name} to {NAME}"));
    Socket::route()?.transact(&batch)?;

    let (mut socket, index) = inside(netns, || {
        // The network has no IPv6, so no address of that kind either; a kernel without IPv6 has no such file.
        drop(fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1"));
        let index = index_of("eth0")?.ok_or_else(|| vanished("eth0"))?;
        Ok((Socket::route()?, index))
    })?;
    let mut batch = Batch::default();
    let mut up = LinkMessage::default();
    up.header.index = index;
    up.header.flags = LinkFlags::Up;
    up.header.change_mask = LinkFlags::Up;
    batch.route(Message::SetLink(up), ACK, "bringing eth0 up".to_owned());
    let doing = format!("giving eth0 the address {}", lease.address);
    batch.route(new_address(index, lease.address), CREATE | EXCL | ACK, doing);
    let doing = format!("routing through {}", lease.gateway);
    batch.route(default_route(index, lease.gateway), CREATE | EXCL | ACK, doing);
    socket.transact(&batch).map(drop)
}

/// Removes the lease's link; its other end goes with it.
pub(super) fn unlink(lease: &Lease) -> Result<(), Error> {
    delete_link(&mut Socket::route()?, &lease.link())
}

struct Address {
    index: u32,
    address: Ipv4Addr,
    prefix_len: u8,
}

fn addresses(socket: &mut Socket) -> Result<Vec<Address>, Error> {
    let mut request = AddressMessage::default();
    request.header.family = AddressFamily::Inet;
    let mut batch = Batch::default();
    batch.route(
        Message::GetAddress(request),
        DUMP,
        "reading the addresses".to_owned(),
    );
    let replies = socket.transact(&batch)?;
    Ok(replies
        .iter()
        .filter_map(|reply| match reply.as_route()? {
            Message::NewAddress(found) => Some(found),
            _ => None,
        })
        .filter_map(|found| {
            let local = found.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            })?;
            Some(Address {
                index: found.header.index,
                address: local,
                prefix_len: found.header.prefix_len,
            })
        })
        .collect())
}

/// The first address of the first /16 from 172.17 to 172.31 that overlaps no address's network.
fn free_pool(addresses: &[Address]) -> Result<Ipv4Addr, Error> {
    (17..=31)
        .map(|second| Ipv4Addr::new(172, second, 0, 1))
        .find(|gateway| {
            addresses.iter().all(|found| {
                let common = u32::from(found.prefix_len.min(PREFIX_LEN));
                let mask = u32::MAX.checked_shl(32 - common).unwrap_or(0);
                u32::from(found.address) & mask != u32::from(*gateway) & mask
            })
        })
        .ok_or(Error::PoolsExhausted)
}

fn new_link(name: &str, kind: InfoKind, data: Option<InfoData>, more: Vec<LinkAttribute>) -> Message {
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    let mut info = vec![LinkInfo::Kind(kind)];
    info.extend(data.map(LinkInfo::Data));
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(info),
    ];
    link.attributes.extend(more);
    Message::NewLink(link)
}

fn new_address(index: u32, address: Ipv4Addr) -> Message {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = PREFIX_LEN;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    let broadcast = Ipv4Addr::from(u32::from(address) | 0xffff);
    message.attributes = vec![
        AddressAttribute::Local(address.into()),
        AddressAttribute::Address(address.into()),
        AddressAttribute::Broadcast(broadcast),
    ];
    Message::NewAddress(message)
}

fn default_route(index: u32, gateway: Ipv4Addr) -> Message {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.protocol = RouteProtocol::Boot;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Unicast;
    route.attributes = vec![
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)),
        RouteAttribute::Oif(index),
    ];
    Message::NewRoute(route)
}

fn delete_link(socket: &mut Socket, name: &str) -> Result<(), Error> {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    let mut batch = Batch::default();
    batch.route(Message::DelLink(link), ACK, format!("removing the link {name}"));
    match socket.transact(&batch) {
        Err(error) if error.is_kernel(Errno::NODEV) => Ok(()),
        other => other.map(drop),
    }
}

/// The index of a link of the namespace that this thread is in.
fn index_of(name: &str) -> Result<Option<u32>, Error> {
    let socket = rustix::net::socket(SocketFamily::INET, SocketType::DGRAM, None)
        .map_err(|source| Error::kernel("opening a socket", source.into()))?;
    match name_to_index(socket, name) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::NODEV) => Ok(None),
        Err(source) => Err(Error::kernel(format!("looking {name} up"), source.into())),
    }
}

fn vanished(name: &str) -> Error {
    Error::kernel(
        format!("looking {name} up"),
        io::Error::from(io::ErrorKind::NotFound),
    )
}

/// Runs `work` with this thread in the namespace, and comes back.
fn inside<T>(netns: BorrowedFd<'_>, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let entering = |source: nix::Error| Error::kernel("entering the network namespace", source.into());
    let own = fs::File::open("/proc/thread-self/ns/net")
        .map_err(|source| Error::kernel("opening this thread's network namespace", source))?;
    setns(netns, CloneFlags::CLONE_NEWNET).map_err(entering)?;
    let result = work();
    setns(own, CloneFlags::CLONE_NEWNET).map_err(entering)?;
    result
}

/// The kernel forwards between links only when told to; it stays on, since others may have come to rely on it.
fn switch_forwarding_on() -> Result<(), Error> {
    let path = std::path::Path::new(IP_FORWARD);
    let on = fs::read(path).map_err(|source| Error::io("reading", path, source))?;
    if on.first() == Some(&b'1') {
        return Ok(());
    }
    fs::write(path, "1").map_err(|source| Error::io("switching forwarding on in", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link_with(address: [u8; 4], prefix_len: u8) -> Address {
        Address {
            index: 1,
            address: address.into(),
            prefix_len,
        }
    }

    #[test]
    fn the_first_pool_is_172_17() {
        let taken = [link_with([127, 0, 0, 1], 8), link_with([10, 0, 0, 4], 24)];
        assert_eq!(free_pool(&taken).unwrap(), Ipv4Addr::new(172, 17, 0, 1));
    }

    #[test]
    fn a_pool_that_another_link_overlaps_is_passed_over() {
        let taken = [link_with([172, 17, 0, 1], 16), link_with([172, 18, 9, 1], 24)];
        assert_eq!(free_pool(&taken).unwrap(), Ipv4Addr::new(172, 19, 0, 1));
        assert!(matches!(
            free_pool(&[link_with([172, 16, 0, 1], 12)]),
            Err(Error::PoolsExhausted)
        ));
    }
}
