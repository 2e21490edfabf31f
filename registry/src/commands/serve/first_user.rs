//! The first start: somebody must be able to log in.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::basic;
use crate::clock::Clock;
use crate::commands::{Error, user};
use crate::config::Config;
use crate::metadata::Metadata;
use crate::random::Random;

/// The first user's name.
const ADMIN: &str = "admin";
/// The file in the data folder that a made-up password is written to.
const PASSWORD_FILE: &str = "admin-password";

/// Makes the user `admin` on an empty database.
///
/// The password is the one that the settings name a file of, else a random one, written to a file before the user
/// exists and given its name afterwards: a crash in between leaves no user whose password nobody has.
pub(super) async fn add(
    config: &Config,
    metadata: &dyn Metadata,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<(), Error> {
    if !metadata.users().await?.is_empty() {
        return Ok(());
    }
    if let Some(path) = &config.admin_password_file {
        let hash = basic::hash(&read(path)?)?;
        metadata
            .add_first_user(user::new_user(ADMIN, hash, true)?, clock.now())
            .await?;
        return Ok(());
    }
    let password = URL_SAFE_NO_PAD.encode(random.number().to_le_bytes());
    let path = config.data_dir.join(PASSWORD_FILE);
    let staged = config.data_dir.join(format!("{PASSWORD_FILE}.new"));
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io {
            setting: "data_dir",
            doing,
            path,
            source,
            fix: "make the folder writable",
        }
    };
    write(&staged, &password).map_err(failed("writing", &staged))?;
    let hash = basic::hash(&password)?;
    if metadata
        .add_first_user(user::new_user(ADMIN, hash, true)?, clock.now())
        .await?
    {
        let renamed = std::fs::rename(&staged, &path).and_then(|()| File::open(&config.data_dir)?.sync_all());
        renamed.map_err(failed("writing", &path))?;
        tracing::info!("the user admin was made; the password is in {}", path.display());
    } else {
        // Another replica was first, and has written its own.
        std::fs::remove_file(&staged).map_err(failed("removing", &staged))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
        setting: "admin_password_file",
        doing: "reading",
        path: path.to_owned(),
        source,
        fix: "give a file that holds the password on its first line",
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn write(path: &Path, password: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{password}")?;
    file.sync_all()
}
