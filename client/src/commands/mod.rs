//! One file a command: parse, call, print. Logic worth a test is elsewhere.

pub mod images;
pub mod import;
pub mod info;
pub mod inspect;
pub mod load;
pub mod login;
pub mod logout;
pub mod pull;
pub mod push;
pub mod rmi;
pub mod save;
pub mod run;
pub mod search;
pub mod stop;
pub mod tag;
pub mod version;
mod wishes;
