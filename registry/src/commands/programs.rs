//! `robot add`, `robot rm`, `robot ls`, `key add`, `key rm`, `key ls`.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Error, print, say, with_database};
use crate::auth::{basic, made_up};
use crate::cli::{KeyCommand, RobotCommand};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::{self, Config};
use crate::metadata::{self, Allowance, ApiKey, NewRobot, Programs as _, Rule};
use crate::random::SystemRandom;

/// The shortest and the longest life that can be given, in seconds: one, and a hundred years.
const LIVES_S: (u64, u64) = (1, 36_500 * 86_400);

pub(super) async fn robot(config: Config, command: RobotCommand) -> Result<(), Error> {
    match command {
        RobotCommand::Add { name, scope, expires } => {
            add_robot(&config, &name, scope, expires.as_deref()).await
        }
        RobotCommand::Rm { name } => {
            let whole = whole_name(&name);
            let removed = with_database(&config, async |metadata| {
                Ok(metadata.remove_robot(&whole).await?)
            });
            if removed.await? {
                Ok(())
            } else {
                Err(Error::User(format!(
                    "there is no {whole}: wharf-registry robot ls shows them"
                )))
            }
        }
        RobotCommand::Ls => {
            let robots = with_database(&config, async |metadata| Ok(metadata.robots().await?)).await?;
            let mut lines = String::new();
            for robot in robots {
                // Writing to a text does not fail.
                let _ = writeln!(lines, "{}\t{}", robot.name, shown_end(robot.expires));
            }
            print(&lines)
        }
    }
}

/// Returns the name that a robot logs in with, whether it was given so or without its prefix.
fn whole_name(name: &str) -> String {
    made_up::robot_name(made_up::robots_own_name(name).unwrap_or(name))
}

async fn add_robot(
    config: &Config,
    name: &str,
    scope: Vec<Allowance>,
    expires: Option<&str>,
) -> Result<(), Error> {
    basic::check_name(made_up::robots_own_name(name).unwrap_or(name))?;
    let (whole, now) = (whole_name(name), SystemClock.now());
    let secret = made_up::robot_secret(&SystemRandom);
    let rules = scope.into_iter().map(|one| Rule {
        who: whole.clone(),
        pattern: one.pattern,
        actions: one.actions,
    });
    let robot = NewRobot {
        name: whole.clone(),
        secret_hash: made_up::hash(&secret),
        created_by: "wharf-registry robot add".to_owned(),
        expires: end(expires, now)?,
        rules: rules.collect(),
    };
    let new = with_database(config, async |metadata| {
        Ok(metadata.put_robot(robot, now).await?)
    })
    .await?;
    if !new {
        say(&format!("{whole} exists: its secret and its end are changed"));
    }
    say(&format!(
        "log in as {whole} with this secret, which is not shown again:"
    ));
    print(&format!("{secret}\n"))
}

pub(super) async fn key(config: Config, command: KeyCommand) -> Result<(), Error> {
    match command {
        KeyCommand::Add { user, scope, expires } => add_key(&config, user, scope, expires.as_deref()).await,
        KeyCommand::Rm { id } => {
            let removed = with_database(&config, async |metadata| Ok(metadata.remove_key(&id).await?));
            if removed.await? {
                Ok(())
            } else {
                Err(Error::User(format!(
                    "there is no key of the id {id}: wharf-registry key ls shows them"
                )))
            }
        }
        KeyCommand::Ls => {
            let keys = with_database(&config, async |metadata| Ok(metadata.keys().await?)).await?;
            let mut lines = String::new();
            for key in keys {
                let scope: Vec<String> = key.scope.iter().map(ToString::to_string).collect();
                let end = shown_end(key.expires);
                // Writing to a text does not fail.
                let _ = writeln!(lines, "{}\t{}\t{}\t{end}", key.id, key.user, scope.join(" "));
            }
            print(&lines)
        }
    }
}

async fn add_key(
    config: &Config,
    user: String,
    scope: Vec<Allowance>,
    expires: Option<&str>,
) -> Result<(), Error> {
    let (now, new) = (SystemClock.now(), made_up::api_key(&SystemRandom));
    let key = ApiKey {
        id: new.id,
        user: user.clone(),
        secret_hash: made_up::hash_bytes(&new.key).to_vec(),
        scope,
        created: now,
        expires: end(expires, now)?,
    };
    let added = with_database(config, async |metadata| match metadata.add_key(key).await {
        Err(metadata::Error::UserUnknown(name)) => Err(Error::User(format!(
            "the database has no user {name}: add one with wharf-registry user add (robots and users of an htpasswd \
             file have no keys)"
        ))),
        other => Ok(other?),
    });
    added.await?;
    say(&format!(
        "log in as {user} with this key, which is not shown again:"
    ));
    print(&format!("{}\n", new.key))
}

fn end(expires: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let Some(text) = expires else { return Ok(None) };
    let life: Duration = config::duration(text, LIVES_S.0, LIVES_S.1)
        .map_err(|fix| Error::User(format!("--expires {text:?}: {fix}")))?;
    Ok(Some(now.plus(life)))
}

fn shown_end(expires: Option<Timestamp>) -> String {
    let Some(end) = expires else {
        return "never expires".to_owned();
    };
    let word = if end <= SystemClock.now() {
        "expired"
    } else {
        "expires"
    };
    match jiff::Timestamp::from_millisecond(end.as_millis()) {
        Ok(time) => format!("{word} {time:.0}"),
        Err(_out_of_range) => word.to_owned(),
    }
}
