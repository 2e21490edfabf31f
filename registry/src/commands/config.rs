//! `config check`.

use std::fmt::Write as _;

use super::{Error, print};
use crate::auth::{Htpasswd, Issuers};
use crate::cli::{ConfigCommand, Places};
use crate::config::Config;

/// Verifies the settings and prints what they come to, each with where it was set.
pub(super) fn config(places: &Places, command: ConfigCommand) -> Result<(), Error> {
    let ConfigCommand::Check(flags) = command;
    let config = super::load(places, &flags)?;
    if let Some(path) = &config.htpasswd {
        Htpasswd::open(path)?;
    }
    Issuers::open(&config.issuers)?;
    print(&shown(&config))
}

fn shown(config: &Config) -> String {
    let mut lines = String::new();
    for (key, value, source) in &config.shown {
        // Writing to a text does not fail.
        let _ = writeln!(lines, "{key} = {value:?}  # {source}");
    }
    lines
}
