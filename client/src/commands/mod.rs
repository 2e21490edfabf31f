//! One file a command: parse, call, print. Logic worth a test is elsewhere.

pub mod version;
