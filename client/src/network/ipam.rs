//! Addresses: one file a lease, named by its address, made exclusively.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Bridge, Error, port::Published};

/// An address that a container has, with what hangs on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The id of the container.
    pub container: String,
    /// The boot in which it was claimed.
    pub boot_id: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// The length of the network's prefix, in bits.
    pub prefix_len: u8,
    /// The ports that lead to it.
    #[serde(default)]
    pub ports: Vec<Published>,
}

impl Lease {
    /// The name of the link's end on the host, at most 15 bytes.
    pub fn link(&self) -> String {
        format!("veth{}", self.container.get(..8).unwrap_or(&self.container))
    }

    /// The hardware address of the container's end: locally administered, from the address.
    pub fn mac(&self) -> [u8; 6] {
        hardware_address(self.address)
    }
}

/// The hardware address that goes with an address: `02:42` and its four bytes.
pub(super) fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// All leases, also those without a holder. A damaged file is removed: its address is nobody's.
pub(super) fn all(dir: &Path) -> Result<Vec<Lease>, Error> {
    let mut leases = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(leases),
        Err(source) => return Err(Error::io("reading", dir, source)),
    };
    for entry in entries {
        let path = entry.map_err(|source| Error::io("reading", dir, source))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_none_or(|name| name.parse::<Ipv4Addr>().is_err()) {
            continue;
        }
        let bytes = fs::read(&path).map_err(|source| Error::io("reading", &path, source))?;
        match serde_json::from_slice(&bytes) {
            Ok(lease) => leases.push(lease),
            Err(_damaged) => remove(&path)?,
        }
    }
    Ok(leases)
}

/// Claims the lowest free address of the /16 that `gateway` is the first of.
pub(super) fn claim(
    bridge: &Bridge<'_>,
    container: &str,
    gateway: Ipv4Addr,
    taken: &[Lease],
) -> Result<Lease, Error> {
    let network = u32::from(gateway) & 0xffff_0000;
    let free = (2..0xffff)
        .map(|host| Ipv4Addr::from(network | host))
        .find(|address| taken.iter().all(|lease| lease.address != *address));
    let lease = Lease {
        container: container.to_owned(),
        boot_id: bridge.boot_id.to_owned(),
        address: free.ok_or(Error::AddressesExhausted(Ipv4Addr::from(network)))?,
        gateway,
        prefix_len: 16,
        ports: Vec::new(),
    };
    let temporary = write_temporary(bridge.dir, &lease)?;
    let path = path(bridge.dir, lease.address);
    let linked = fs::hard_link(&temporary, &path).map_err(|source| Error::io("claiming", &path, source));
    remove(&temporary)?;
    linked.map(|()| lease)
}

/// Writes a claimed lease anew, with the ports that it got.
pub(super) fn record(dir: &Path, lease: &Lease) -> Result<(), Error> {
    let temporary = write_temporary(dir, lease)?;
    let path = path(dir, lease.address);
    fs::rename(&temporary, &path).map_err(|source| Error::io("writing", &path, source))
}

/// Gives an address back. One that is not leased is already given back.
pub(super) fn forget(dir: &Path, lease: &Lease) -> Result<(), Error> {
    remove(&path(dir, lease.address))
}

/// Leases matter to this boot only: they are not synced.
fn write_temporary(dir: &Path, lease: &Lease) -> Result<PathBuf, Error> {
    let temporary = dir.join(format!(".{}", lease.address));
    let bytes =
        serde_json::to_vec(lease).map_err(|source| Error::io("writing", &temporary, source.into()))?;
    fs::write(&temporary, bytes).map_err(|source| Error::io("writing", &temporary, source))?;
    Ok(temporary)
}

fn path(dir: &Path, address: Ipv4Addr) -> PathBuf {
    dir.join(address.to_string())
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", path, source)),
        _ => Ok(()),
    }
}
