//! `grant`, `revoke`, `rules ls`.

use std::fmt::Write as _;

use super::{Error, print, say, with_database};
use crate::auth::{ANONYMOUS, EVERY_USER, basic};
use crate::cli::{Grant, Revoke, RulesCommand};
use crate::config::Config;
use crate::metadata::{Accounts as _, Pattern, Rule};

pub(super) async fn grant(config: Config, grant: Grant) -> Result<(), Error> {
    let Grant {
        who,
        pattern,
        actions,
    } = grant;
    let special = [ANONYMOUS, EVERY_USER].contains(&who.as_str());
    if !special {
        basic::check_name(&who)?;
    }
    let rule = Rule {
        who: who.clone(),
        pattern: pattern.parse()?,
        actions: actions.parse()?,
    };
    with_database(&config, async |metadata| {
        if !special && metadata.user(&who).await?.is_none() {
            say(&format!(
                "warning: there is no user {who} yet: the rule waits for one"
            ));
        }
        Ok(metadata.grant(rule).await?)
    })
    .await
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
