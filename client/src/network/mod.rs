//! The network of a container: an address, a link to the bridge, address translation, published ports.
//!
//! [`Bridge::attach`] carries out one plan: claim an address and the ports, make sure that the bridge
//! stands, link the container's namespace to it, publish; what was done is undone when a later step
//! fails. [`Bridge::release`] is the way back: it goes on past errors and returns them all, what is missing
//! counts as already removed, and the bridge goes with its last container.
//!
//! All of it runs under one lock, so that the last one leaving and the next one coming never meet.
//! This module knows nothing of containers but an id and a process.

mod bridge;
mod forward;
mod ipam;
mod nat;
mod netlink;
mod port;

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

pub use forward::Forwarder;
pub use ipam::Lease;
pub use port::{Binding, PortError, PublishRequest, Published};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

/// What can go wrong with a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another container has the port.
    #[error("Bind for {0} failed: port is already allocated")]
    PortAllocated(String),
    /// Another program has the port.
    #[error("failed to bind host port for {0}: address already in use")]
    PortTaken(String),
    /// No port of the range that is handed out is free.
    #[error("all ports are allocated")]
    PortsExhausted,
    /// Every address of the bridge's network has a holder.
    #[error("no available IPv4 addresses on this network's address pools: bridge ({0}/16)")]
    AddressesExhausted(Ipv4Addr),
    /// Every network the bridge could have is another link's.
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among 172.17.0.0/16 to 172.31.0.0/16; free one of them"
    )]
    PoolsExhausted,
    /// The kernel refused.
    #[error("{doing}: {source}")]
    Kernel {
        /// What was tried.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    fn kernel(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Kernel {
            doing: doing.into(),
            source,
        }
    }

    fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// Says whether the kernel answered with this number.
    fn is_kernel(&self, number: rustix::io::Errno) -> bool {
        matches!(self, Self::Kernel { source, .. } if source.raw_os_error() == Some(number.raw_os_error()))
    }
}

/// The bridge network as seen from one store: where its leases are, and who is alive.
pub struct Bridge<'a> {
    /// The folder of the leases; on a file system that a reboot may empty.
    pub dir: &'a Path,
    /// Identifies this boot: a lease of another boot has no holder.
    pub boot_id: &'a str,
    /// Says whether the container of this id is still looked after.
    pub is_alive: &'a dyn Fn(&str) -> bool,
}

/// A claimed address with its published ports bound, before the container exists.
#[derive(Debug)]
pub struct Claim {
    /// What was claimed.
    pub lease: Lease,
    /// Hold the ports, and carry what comes over loopback and IPv6.
    pub forwarders: Vec<Forwarder>,
}

impl Bridge<'_> {
    /// Claims an address and binds the ports for `container`, and makes sure that the bridge stands.
    /// A crash after it leaves a lease without a holder, which the next claim takes back.
    ///
    /// # Errors
    /// [`Error::PortTaken`] and [`Error::PortAllocated`] for a port, [`Error::AddressesExhausted`];
    /// nothing is left claimed then.
    pub fn claim(&self, container: &str, requests: &[PublishRequest]) -> Result<Claim, Error> {
        let _lock = self.lock()?;
        let leases = self.live_leases()?;
        let subnet = bridge::ensure(&leases)?;
        let result = ipam::claim(self, container, subnet, &leases).and_then(|mut lease| {
            let published = forward::bind_all(requests, lease.address, &leases);
            let claimed = published.and_then(|(ports, forwarders)| {
                lease.ports = ports;
                ipam::record(self.dir, &lease)?;
                Ok(forwarders)
            });
            match claimed {
                Ok(forwarders) => Ok(Claim { lease, forwarders }),
                Err(error) => {
                    ipam::forget(self.dir, &lease)?;
                    Err(error)
                }
            }
        });
        if result.is_err() && leases.is_empty() {
            // Nobody else is on the bridge; the claim's own error is the one to tell.
            drop(bridge::remove());
        }
        result
    }

    /// Links the namespace `netns` to the bridge as `eth0` and publishes the claim's ports.
    ///
    /// # Errors
    /// Whatever the kernel refuses; the caller then [releases](Self::release) the lease.
    pub fn attach(&self, lease: &Lease, netns: &OwnedFd) -> Result<(), Error> {
        bridge::link(lease, netns.as_fd())?;
        nat::publish(lease)
    }

    /// Gives back all that [`claim`](Self::claim) and [`attach`](Self::attach) made. Goes on past errors and returns them.
    pub fn release(&self, lease: &Lease) -> Vec<Error> {
        match self.lock() {
            Ok(_lock) => self.release_locked(lease),
            Err(error) => vec![error],
        }
    }

    /// Gives back the lease of `container`, if it has one.
    pub fn release_container(&self, container: &str) -> Vec<Error> {
        if !self.dir.exists() {
            return Vec::new();
        }
        let found = self.lock().and_then(|lock| Ok((lock, ipam::all(self.dir)?)));
        match found {
            Ok((_lock, leases)) => leases
                .iter()
                .filter(|lease| lease.container == container)
                .flat_map(|lease| self.release_locked(lease))
                .collect(),
            Err(error) => vec![error],
        }
    }

    fn release_locked(&self, lease: &Lease) -> Vec<Error> {
        let mut errors = Vec::new();
        if lease.boot_id == self.boot_id {
            errors.extend(nat::unpublish(lease).err());
            errors.extend(bridge::unlink(lease).err());
        }
        errors.extend(ipam::forget(self.dir, lease).err());
        match ipam::all(self.dir) {
            Ok(left) if left.is_empty() => errors.extend(bridge::remove()),
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
        errors
    }

    /// The leases whose holder lives; the others are given back first.
    fn live_leases(&self) -> Result<Vec<Lease>, Error> {
        let (live, dead): (Vec<_>, Vec<_>) = ipam::all(self.dir)?
            .into_iter()
            .partition(|lease| lease.boot_id == self.boot_id && (self.is_alive)(&lease.container));
        for lease in &dead {
            if lease.boot_id == self.boot_id {
                // What is still in the way shows when it is made anew.
                drop(nat::unpublish(lease));
                drop(bridge::unlink(lease));
            }
            ipam::forget(self.dir, lease)?;
        }
        Ok(live)
    }

    /// Takes the lock that all changes of the bridge happen under; the kernel drops it with its holder.
    fn lock(&self) -> Result<OwnedFd, Error> {
        fs::create_dir_all(self.dir).map_err(|source| Error::io("creating", self.dir, source))?;
        let path = self.dir.join("lock");
        let lock = rustix::fs::open(
            &path,
            OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )
        .map_err(|source| Error::io("opening", &path, source.into()))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|source| Error::io("locking", &path, source.into()))?;
        Ok(lock)
    }
}

#[cfg(test)]
mod tests;
