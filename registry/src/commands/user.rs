//! `user add`, `user rm`, `user ls`.

use std::fmt::Write as _;

use super::{Error, password, print, say, with_database};
use crate::auth::basic;
use crate::cli::UserCommand;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::metadata::{self, Accounts as _, Actions, NewUser, Rule, SqlMetadata};

pub(super) async fn user(config: Config, command: UserCommand) -> Result<(), Error> {
    match command {
        UserCommand::Add {
            name,
            password_stdin,
            admin,
        } => {
            basic::check_name(&name)?;
            let password = if password_stdin {
                password::from_stdin()?
            } else {
                password::from_terminal(&name)?
            };
            let hash = basic::hash(&password)?;
            with_database(&config, async |metadata| {
                add(metadata, new_user(&name, hash, admin)?).await
            })
            .await
        }
        UserCommand::Rm { name } => {
            let removed =
                with_database(&config, async |metadata| Ok(metadata.remove_user(&name).await?)).await?;
            if removed {
                Ok(())
            } else {
                Err(Error::User(format!("there is no user {name}")))
            }
        }
        UserCommand::Ls => {
            let users = with_database(&config, async |metadata| Ok(metadata.users().await?)).await?;
            let mut lines = String::new();
            for user in users {
                // Writing to a text does not fail.
                let _ = writeln!(lines, "{}{}", user.name, if user.admin { "\tadmin" } else { "" });
            }
            print(&lines)
        }
    }
}

/// A user who may do everything in the repositories of their own name, and nothing else.
pub(super) fn new_user(name: &str, password_hash: String, admin: bool) -> Result<NewUser, Error> {
    let own = Rule {
        who: name.to_owned(),
        pattern: format!("{name}/**").parse()?,
        actions: Actions::ALL,
    };
    Ok(NewUser {
        name: name.to_owned(),
        password_hash,
        admin,
        rules: vec![own],
    })
}

/// Adds a user, or gives one that exists the password.
async fn add(metadata: &SqlMetadata, user: NewUser) -> Result<(), Error> {
    let NewUser {
        name,
        password_hash,
        admin,
        ..
    } = user.clone();
    match metadata.add_user(user, SystemClock.now()).await {
        Ok(()) => Ok(()),
        Err(metadata::Error::UserExists(_)) => {
            let known = metadata.user(&name).await?;
            if admin && !known.is_some_and(|known| known.admin) {
                return Err(Error::User(format!(
                    "the user {name} exists and is no admin: remove it first with: wharf-registry user rm {name}"
                )));
            }
            metadata.set_password(&name, &password_hash).await?;
            say(&format!("the user {name} exists: the password is changed"));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
