//! The words of nftables: attributes and the expressions that a rule is made of, as the kernel reads them.
//!
//! Numbers are those of the kernel's `nf_tables.h`; integers in attributes are big-endian.

/// The verdict or general register that expressions hand their value on in.
const REGISTER: u32 = 1;
/// The register behind the first four words of [`REGISTER`]: where the second part of a concatenation
/// of an address and a port is.
const SECOND: u32 = 9;
const NESTED: u16 = 0x8000;

/// A list of attributes under construction.
#[derive(Default, Clone)]
pub(super) struct Attributes {
    bytes: Vec<u8>,
}

impl Attributes {
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(super) fn nested(self, kind: u16, inner: Self) -> Self {
        self.bytes(kind | NESTED, &inner.bytes)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// What a rule does, step by step.
#[derive(Default)]
pub(super) struct Rule {
    expressions: Attributes,
}

impl Rule {
    pub(super) fn into_attributes(self) -> Attributes {
        self.expressions
    }

    fn step(mut self, name: &str, data: Attributes) -> Self {
        let expression = Attributes::default().text(1, name).nested(2, data);
        self.expressions = self.expressions.nested(1, expression);
        self
    }

    fn compare(self, operation: u32, value: &[u8]) -> Self {
        let data = Attributes::default().bytes(1, value);
        let compare = Attributes::default()
            .number(1, REGISTER)
            .number(2, operation)
            .nested(3, data);
        self.step("cmp", compare)
    }

    fn equal(self, value: &[u8]) -> Self {
        self.compare(0, value)
    }

    fn unequal(self, value: &[u8]) -> Self {
        self.compare(1, value)
    }

    fn meta(self, key: u32) -> Self {
        self.step("meta", Attributes::default().number(1, REGISTER).number(2, key))
    }

    fn payload(self, register: u32, base: u32, offset: u32, length: u32) -> Self {
        let payload = Attributes::default()
            .number(1, register)
            .number(2, base)
            .number(3, offset)
            .number(4, length);
        self.step("payload", payload)
    }

    /// Goes on when the packet is for an address of this machine.
    pub(super) fn for_local_address(self) -> Self {
        const RESULT_TYPE: u32 = 3;
        const DESTINATION: u32 = 2;
        const LOCAL: u32 = 2;
        let fib = Attributes::default()
            .number(1, REGISTER)
            .number(2, RESULT_TYPE)
            .number(3, DESTINATION);
        self.step("fib", fib).equal(&LOCAL.to_ne_bytes())
    }

    /// Goes on when the packet is not for 127.0.0.0/8.
    pub(super) fn not_for_loopback(self) -> Self {
        self.payload(REGISTER, 1, 16, 1).unequal(&[127])
    }

    /// Goes on when the packet is TCP.
    pub(super) fn tcp(self) -> Self {
        self.meta(16).equal(&[6])
    }

    /// Goes on when the source is in the /16 that starts so.
    pub(super) fn with_source_prefix(self, prefix: [u8; 2]) -> Self {
        self.payload(REGISTER, 1, 12, 2).equal(&prefix)
    }

    /// Goes on when the packet leaves through the link.
    pub(super) fn out_through(self, link: &str) -> Self {
        self.meta(7).equal(&link_name(link))
    }

    /// Goes on when the packet leaves through another link.
    pub(super) fn not_out_through(self, link: &str) -> Self {
        self.meta(7).unequal(&link_name(link))
    }

    /// Goes on when the packet came through the link.
    pub(super) fn in_through(self, link: &str) -> Self {
        self.meta(6).equal(&link_name(link))
    }

    fn connection_has(self, key: u32, bits: u32) -> Self {
        let bits = Attributes::default().bytes(1, &bits.to_ne_bytes());
        let zero = Attributes::default().bytes(1, &0u32.to_ne_bytes());
        let mask = Attributes::default()
            .number(1, REGISTER)
            .number(2, REGISTER)
            .number(3, 4)
            .nested(4, bits)
            .nested(5, zero);
        self.step("ct", Attributes::default().number(1, REGISTER).number(2, key))
            .step("bitwise", mask)
            .unequal(&0u32.to_ne_bytes())
    }

    /// Goes on when the packet's destination was translated.
    pub(super) fn destination_translated(self) -> Self {
        self.connection_has(2, 0x20)
    }

    /// Goes on when the packet belongs, or relates, to a known connection.
    pub(super) fn established_or_related(self) -> Self {
        self.connection_has(0, 0b110)
    }

    /// Goes on with the translation that the map has for destination address and port.
    pub(super) fn look_up_address_and_port(self, map: &str) -> Self {
        self.payload(REGISTER, 1, 16, 4)
            .payload(SECOND, 2, 2, 2)
            .look_up(map)
    }

    /// Goes on with the translation that the map has for the destination port.
    pub(super) fn look_up_port(self, map: &str) -> Self {
        self.payload(REGISTER, 2, 2, 2).look_up(map)
    }

    fn look_up(self, map: &str) -> Self {
        let lookup = Attributes::default()
            .text(1, map)
            .number(2, REGISTER)
            .number(3, REGISTER);
        self.step("lookup", lookup)
    }

    /// Ends with the destination that was looked up.
    pub(super) fn translate_destination(self) -> Self {
        const DESTINATION: u32 = 1;
        const IPV4: u32 = 2;
        let nat = Attributes::default()
            .number(1, DESTINATION)
            .number(2, IPV4)
            .number(3, REGISTER)
            .number(5, SECOND);
        self.step("nat", nat)
    }

    /// Ends with the address of the outgoing link as source.
    pub(super) fn masquerade(self) -> Self {
        self.step("masq", Attributes::default())
    }

    fn verdict(self, code: u32) -> Self {
        let verdict = Attributes::default().nested(2, Attributes::default().number(1, code));
        let immediate = Attributes::default().number(1, 0).nested(2, verdict);
        self.step("immediate", immediate)
    }

    /// Ends: the packet passes this chain.
    pub(super) fn accept(self) -> Self {
        self.verdict(1)
    }

    /// Ends: the packet is gone.
    pub(super) fn drop(self) -> Self {
        self.verdict(0)
    }
}

/// A link's name as registers hold it: 16 bytes, filled with zeros.
fn link_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}
