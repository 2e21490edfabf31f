//! Address translation: one nftables table with its maps and rules made once; a container adds and
//! removes elements.
//!
//! ```text
//! table ip wharf {
//!     map published     { type ipv4_addr . inet_service : ipv4_addr . inet_service; }
//!     map published_any { type inet_service : ipv4_addr . inet_service; }
//!     prerouting   to an address of ours, TCP: look up both maps, translate the destination
//!     output       the same for what this machine sends, loopback excepted (the shim carries that)
//!     postrouting  from the bridge's network to elsewhere, or back into it translated: masquerade
//!     forward      into the bridge from elsewhere: only what is known or published
//! }
//! ```

mod expression;

use std::net::{IpAddr, Ipv4Addr};

use rustix::io::Errno;

use self::expression::{Attributes, Rule};
use super::{
    Error, Lease,
    bridge::NAME as BRIDGE,
    netlink::{ACK, APPEND, Batch, CREATE, Socket},
    port::Published,
};

const TABLE: &str = "wharf";
/// Host address and port → container address and port.
const PUBLISHED: &str = "published";
/// Port on any host address → container address and port.
const PUBLISHED_ANY: &str = "published_any";

/// `NFNL_SUBSYS_NFTABLES` in the upper half of a message's type.
const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;
const IPV4: u8 = 2;

/// Makes the table if it is missing, or anew when the bridge is, with the elements of the leases that live.
pub(super) fn ensure(gateway: Ipv4Addr, anew: bool, leases: &[Lease]) -> Result<(), Error> {
    let exists = exists()?;
    if exists && !anew {
        return Ok(());
    }
    let mut transaction = Transaction::begin();
    if exists {
        transaction.add(DELETE_TABLE, 0, table_name(), "removing the old table");
    }
    transaction.add(NEW_TABLE, CREATE, table_name(), "making the table wharf");
    maps(&mut transaction);
    chains(&mut transaction, gateway);
    for lease in leases {
        elements(&mut transaction, NEW_ELEMENT, CREATE, lease);
    }
    transaction.commit()
}

/// Removes the table; a missing one is already removed.
pub(super) fn remove() -> Result<(), Error> {
    let mut transaction = Transaction::begin();
    transaction.add(DELETE_TABLE, 0, table_name(), "removing the table wharf");
    already_gone(transaction.commit())
}

/// Makes the lease's ports lead to its address.
pub(super) fn publish(lease: &Lease) -> Result<(), Error> {
    let mut transaction = Transaction::begin();
    elements(&mut transaction, NEW_ELEMENT, CREATE, lease);
    transaction.commit()
}

/// Takes the lease's ports away, one by one: some may be gone already.
pub(super) fn unpublish(lease: &Lease) -> Result<(), Error> {
    let mut result = Ok(());
    for element in lease.ports.iter().filter_map(element) {
        let mut transaction = Transaction::begin();
        transaction.add(DELETE_ELEMENT, 0, element.of(lease), "closing a published port");
        result = result.and(already_gone(transaction.commit()));
    }
    result
}

fn already_gone(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_kernel(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn exists() -> Result<bool, Error> {
    let mut batch = Batch::default();
    let message = message(IPV4, 0, table_name());
    batch.raw(GET_TABLE, ACK, &message, "looking for the table wharf".to_owned());
    match Socket::netfilter()?.transact(&batch) {
        Ok(_) => Ok(true),
        Err(error) if error.is_kernel(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the kernel carries out whole or not at all.
struct Transaction {
    batch: Batch,
    /// The message that is acknowledged is the last, so it is added when the next one comes.
    last: Option<(u16, u16, Vec<u8>, &'static str)>,
}

impl Transaction {
    fn begin() -> Self {
        let mut batch = Batch::default();
        let begin = message(0, 10, Attributes::default());
        batch.raw(
            BATCH_BEGIN,
            0,
            &begin,
            "beginning a change of the rules".to_owned(),
        );
        Self { batch, last: None }
    }

    fn add(&mut self, kind: u16, flags: u16, attributes: Attributes, doing: &'static str) {
        self.flush(0);
        self.last = Some((kind, flags, message(IPV4, 0, attributes), doing));
    }

    fn flush(&mut self, more: u16) {
        if let Some((kind, flags, bytes, doing)) = self.last.take() {
            self.batch.raw(kind, flags | more, &bytes, doing.to_owned());
        }
    }

    fn commit(mut self) -> Result<(), Error> {
        if self.last.is_none() {
            return Ok(());
        }
        self.flush(ACK);
        let end = message(0, 10, Attributes::default());
        self.batch
            .raw(BATCH_END, 0, &end, "ending a change of the rules".to_owned());
        Socket::netfilter()?.transact(&self.batch).map(drop)
    }
}

/// `struct nfgenmsg` and what follows it.
fn message(family: u8, resource: u16, attributes: Attributes) -> Vec<u8> {
    let [high, low] = resource.to_be_bytes();
    let mut bytes = vec![family, 0, high, low];
    bytes.extend(attributes.into_bytes());
    bytes
}

fn table_name() -> Attributes {
    Attributes::default().text(1, TABLE)
}

fn maps(transaction: &mut Transaction) {
    const MAP: u32 = 8;
    const ADDRESS: u32 = 7;
    const PORT: u32 = 13;
    const ADDRESS_AND_PORT: u32 = ADDRESS << 6 | PORT;
    for (id, name, key, key_length) in [(1, PUBLISHED, ADDRESS_AND_PORT, 8), (2, PUBLISHED_ANY, PORT, 2)] {
        let map = table_name()
            .text(2, name)
            .number(3, MAP)
            .number(4, key)
            .number(5, key_length)
            .number(6, ADDRESS_AND_PORT)
            .number(7, 8)
            .number(10, id);
        transaction.add(NEW_SET, CREATE, map, "making a map of published ports");
    }
}

fn chains(transaction: &mut Transaction, gateway: Ipv4Addr) {
    let [a, b, ..] = gateway.octets();
    let any = |rule: Rule| rule.look_up_port(PUBLISHED_ANY).translate_destination();
    let one = |rule: Rule| rule.look_up_address_and_port(PUBLISHED).translate_destination();
    let local = || Rule::default().for_local_address().tcp();
    let outgoing = || Rule::default().not_for_loopback().for_local_address().tcp();
    let from_bridge = || Rule::default().with_source_prefix([a, b]);
    let chains = [
        ("prerouting", "nat", 0, -100, vec![one(local()), any(local())]),
        ("output", "nat", 3, -100, vec![one(outgoing()), any(outgoing())]),
        (
            "postrouting",
            "nat",
            4,
            100,
            vec![
                from_bridge().not_out_through(BRIDGE).masquerade(),
                from_bridge()
                    .out_through(BRIDGE)
                    .destination_translated()
                    .masquerade(),
            ],
        ),
        (
            "forward",
            "filter",
            2,
            0,
            vec![
                Rule::default().not_out_through(BRIDGE).accept(),
                Rule::default().in_through(BRIDGE).accept(),
                Rule::default().established_or_related().accept(),
                Rule::default().destination_translated().accept(),
                Rule::default().drop(),
            ],
        ),
    ];
    for (name, kind, hook, priority, rules) in chains {
        let hook = Attributes::default()
            .number(1, hook)
            .bytes(2, &i32::to_be_bytes(priority));
        let chain = table_name().text(3, name).nested(4, hook).text(7, kind);
        transaction.add(NEW_CHAIN, CREATE, chain, "making a chain");
        for rule in rules {
            let rule = table_name().text(2, name).nested(4, rule.into_attributes());
            transaction.add(NEW_RULE, CREATE | APPEND, rule, "making a rule");
        }
    }
}

fn elements(transaction: &mut Transaction, kind: u16, flags: u16, lease: &Lease) {
    for element in lease.ports.iter().filter_map(element) {
        transaction.add(kind, flags, element.of(lease), "publishing a port");
    }
}

/// Where a published port stands in the maps.
struct Element {
    map: &'static str,
    key: Vec<u8>,
    container_port: u16,
}

/// The element of a port; none for IPv6 and loopback, which the shim carries.
fn element(port: &Published) -> Option<Element> {
    let IpAddr::V4(address) = port.host.ip() else {
        return None;
    };
    if address.is_loopback() {
        return None;
    }
    let host_port = port.host.port().to_be_bytes();
    let (map, key) = if address.is_unspecified() {
        (PUBLISHED_ANY, host_port.to_vec())
    } else {
        (PUBLISHED, address_and_port(address, host_port))
    };
    Some(Element {
        map,
        key,
        container_port: port.container_port,
    })
}

impl Element {
    fn of(&self, lease: &Lease) -> Attributes {
        let value = address_and_port(lease.address, self.container_port.to_be_bytes());
        let data = |bytes: &[u8]| Attributes::default().bytes(1, bytes);
        let element = Attributes::default()
            .nested(1, data(&self.key))
            .nested(2, data(&value));
        table_name()
            .text(2, self.map)
            .nested(3, Attributes::default().nested(1, element))
    }
}

/// A concatenation: each part is filled to four bytes.
fn address_and_port(address: Ipv4Addr, [high, low]: [u8; 2]) -> Vec<u8> {
    let mut bytes = address.octets().to_vec();
    bytes.extend([high, low, 0, 0]);
    bytes
}
