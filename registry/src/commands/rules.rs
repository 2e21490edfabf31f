//! `grant`, `revoke`, `rules ls`.

use std::fmt::Write as _;

use super::{Error, print, say, with_database};
use crate::auth::{ANONYMOUS, EVERY_USER, Htpasswd, basic, made_up};
use crate::cli::{Grant, Revoke, RulesCommand};
use crate::config::Config;
use crate::metadata::{Accounts as _, Pattern, Programs as _, Rule};

pub(super) async fn grant(config: Config, grant: Grant) -> Result<(), Error> {
    let Grant {
        who,
        pattern,
        actions,
    } = grant;
    let special = [ANONYMOUS, EVERY_USER].contains(&who.as_str());
    let robot = made_up::robots_own_name(&who);
    if !special {
        basic::check_name(robot.unwrap_or(&who))?;
    }
    let rule = Rule {
        who: who.clone(),
        pattern: pattern.parse()?,
        actions: actions.parse()?,
    };
    with_database(&config, async |metadata| {
        let known = match robot {
            _ if special => true,
            Some(_) => metadata.robot(&who).await?.is_some(),
            None => metadata.user(&who).await?.is_some() || in_file(&config, &who)?,
        };
        if !known {
            say(&format!("warning: there is no {who} yet: the rule waits for one"));
        }
        Ok(metadata.grant(rule).await?)
    })
    .await
}

/// Returns whether the htpasswd file has the user.
fn in_file(config: &Config, name: &str) -> Result<bool, Error> {
    match &config.htpasswd {
        Some(path) => Ok(Htpasswd::open(path)?.holds(name)),
        None => Ok(false),
    }
}

pub(super) async fn revoke(config: Config, revoke: Revoke) -> Result<(), Error> {
    let Revoke { who, pattern } = revoke;
    let parsed: Pattern = pattern.parse()?;
    let removed = with_database(&config, async |metadata| {
        Ok(metadata.revoke(&who, &parsed).await?)
    })
    .await?;
    if removed {
        Ok(())
    } else {
        Err(Error::User(format!(
            "there is no rule of {who} for {pattern}: wharf-registry rules ls shows them"
        )))
    }
}

pub(super) async fn rules(config: Config, command: RulesCommand) -> Result<(), Error> {
    let RulesCommand::Ls = command;
    let rules = with_database(&config, async |metadata| Ok(metadata.rules().await?)).await?;
    let mut lines = String::new();
    for rule in rules {
        // Writing to a text does not fail.
        let _ = writeln!(lines, "{}\t{}\t{}", rule.who, rule.pattern, rule.actions);
    }
    print(&lines)
}
