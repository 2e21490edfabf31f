//! A blocking netlink socket: a batch of messages goes out in one call, each is acknowledged.

use std::io;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket as RawSocket, SocketAddr, protocols};

use super::Error;

/// `NLM_F_REQUEST`: every message to the kernel carries it.
pub(super) const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: the kernel answers, also on success.
pub(super) const ACK: u16 = 0x4;
/// `NLM_F_ROOT | NLM_F_MATCH`: answer with all of a table.
pub(super) const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`: fail when it exists.
pub(super) const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: make it when it does not exist.
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: put it behind the others.
pub(super) const APPEND: u16 = 0x800;

/// The length of `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Messages that go out together. Each has a line that says what it tries, for the error.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    doing: Vec<String>,
    last_acknowledged: u32,
}

impl Batch {
    /// Appends an rtnetlink message.
    pub(super) fn route(&mut self, message: RouteNetlinkMessage, flags: u16, doing: String) {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = REQUEST | flags;
        message.header.sequence_number = self.next(flags, doing);
        message.finalize();
        let start = self.bytes.len();
        self.bytes.resize(start + message.buffer_len(), 0);
        if let Some(space) = self.bytes.get_mut(start..) {
            message.serialize(space);
        }
        self.pad();
    }

    /// Appends a message of any family: `kind` and `payload` are its type and what follows the header.
    pub(super) fn raw(&mut self, kind: u16, flags: u16, payload: &[u8], doing: String) {
        let sequence = self.next(flags, doing);
        let length = u32::try_from(HEADER_LEN + payload.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(payload);
        self.pad();
    }

    fn next(&mut self, flags: u16, doing: String) -> u32 {
        self.doing.push(doing);
        let sequence = u32::try_from(self.doing.len()).unwrap_or(u32::MAX);
        if flags & (ACK | DUMP) != 0 {
            self.last_acknowledged = sequence;
        }
        sequence
    }

    fn pad(&mut self) {
        let aligned = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(aligned, 0);
    }
}

/// One netlink socket, bound to the network namespace that it was opened in for good.
pub(super) struct Socket {
    raw: RawSocket,
}

impl Socket {
    /// Opens a socket for links, addresses and routes.
    pub(super) fn route() -> Result<Self, Error> {
        Self::open(protocols::NETLINK_ROUTE)
    }

    /// Opens a socket for nftables.
    pub(super) fn netfilter() -> Result<Self, Error> {
        Self::open(protocols::NETLINK_NETFILTER)
    }

    fn open(protocol: isize) -> Result<Self, Error> {
        let raw =
            RawSocket::new(protocol).map_err(|source| Error::kernel("opening a netlink socket", source))?;
        Ok(Self { raw })
    }

    /// Sends the batch and waits for its acknowledgements. The first refusal is the error, whose
    /// source holds the kernel's number; what the kernel sent beside acknowledgements is returned.
    pub(super) fn transact(&mut self, batch: &Batch) -> Result<Vec<Reply>, Error> {
        self.raw
            .send_to(&batch.bytes, &SocketAddr::new(0, 0), 0)
            .map_err(|source| Error::kernel("sending to the kernel's network", source))?;
        let mut replies = Vec::new();
        let mut refusal = None;
        loop {
            let (bytes, _) = self
                .raw
                .recv_from_full()
                .map_err(|source| Error::kernel("reading from the kernel's network", source))?;
            let mut last = false;
            for reply in messages(&bytes) {
                last |= reply.ends(batch.last_acknowledged);
                match reply.error() {
                    Some(0) => {}
                    Some(number) => {
                        last |= reply.sequence == 0;
                        let doing = batch.doing_of(reply.sequence);
                        refusal.get_or_insert_with(|| {
                            Error::kernel(doing, io::Error::from_raw_os_error(number))
                        });
                    }
                    None => replies.push(reply),
                }
            }
            if last {
                return refusal.map_or(Ok(replies), Err);
            }
        }
    }
}

impl Batch {
    fn doing_of(&self, sequence: u32) -> &str {
        usize::try_from(sequence)
            .ok()
            .and_then(|at| self.doing.get(at.checked_sub(1)?))
            .map_or("changing the network", String::as_str)
    }
}

/// One message of the kernel's.
pub(super) struct Reply {
    kind: u16,
    sequence: u32,
    whole: Vec<u8>,
}

impl Reply {
    /// The kernel's error number, zero for an acknowledgement; `None` for any other message.
    fn error(&self) -> Option<i32> {
        let number = self.whole.get(HEADER_LEN..HEADER_LEN + 4)?;
        let number = i32::from_ne_bytes(number.try_into().ok()?);
        match self.kind {
            NLMSG_ERROR => Some(number.saturating_neg()),
            NLMSG_DONE => Some(0),
            _ => None,
        }
    }

    fn ends(&self, sequence: u32) -> bool {
        self.sequence == sequence && matches!(self.kind, NLMSG_ERROR | NLMSG_DONE)
    }

    /// The message as rtnetlink, if it is that.
    pub(super) fn as_route(&self) -> Option<RouteNetlinkMessage> {
        match NetlinkMessage::deserialize(&self.whole).ok()?.payload {
            NetlinkPayload::InnerMessage(message) => Some(message),
            _ => None,
        }
    }
}

/// Cuts a datagram into its messages; stops at the first that is damaged.
fn messages(mut bytes: &[u8]) -> Vec<Reply> {
    let mut found = Vec::new();
    while let Some((header, _)) = bytes.split_at_checked(HEADER_LEN) {
        let [l0, l1, l2, l3, k0, k1, _, _, s0, s1, s2, s3, ..] = *header else {
            break;
        };
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let Some(whole) = bytes.get(..length).filter(|_| length >= HEADER_LEN) else {
            break;
        };
        found.push(Reply {
            kind: u16::from_ne_bytes([k0, k1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            whole: whole.to_vec(),
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}
