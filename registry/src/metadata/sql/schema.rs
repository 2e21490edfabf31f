//! The tables' versions: migrations forward, and what is refused.

use super::connections::Connections;
use crate::metadata::Error;
use crate::metadata::db::Db;
use crate::metadata::dialect::{Dialect, Durability};

/// The migrations, the first one's number being 1. One that has been released is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/0001_first.sql"),
    include_str!("../../../migrations/0002_absent_blobs.sql"),
];

/// Names the table that holds the version, and by that the databases that are ours.
const VERSION_TABLE: &str = "wharf_schema";

/// Brings the tables to the version that this program knows. Of several that start at once one does it.
///
/// # Errors
/// [`Error::Newer`] and [`Error::Corrupt`], with nothing changed.
pub(super) async fn bring_up_to_date(dialect: &Dialect, writers: &Connections) -> Result<(), Error> {
    let mut lent = writers.lend().await?;
    let result = migrate(dialect, lent.db()).await;
    match result {
        Ok(()) => {
            lent.give_back();
            Ok(())
        }
        // The connection is closed and what it had begun is undone.
        Err(Failure::Refused(error)) => Err(error),
        Err(Failure::Database(error)) => {
            Err(dialect.error("bringing the database's tables up to date", error))
        }
    }
}

enum Failure {
    Refused(Error),
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

async fn migrate(dialect: &Dialect, db: &mut Db) -> Result<(), Failure> {
    // Looked at without the lock, the tables of one who is just making them appear between two queries: nothing but
    // the usual case is judged by that.
    if dialect.has_table(db, VERSION_TABLE).await? && version(dialect, db).await? == known() {
        return Ok(());
    }
    // A large database takes its time, and so do those who wait for it.
    let patience = db.wait(None);
    let mut durability = Durability::Full;
    dialect.begin(db, Durability::Full, &mut durability).await?;
    dialect.lift_time_outs(db).await?;
    dialect.lock(db, VERSION_TABLE).await?;
    // Now nobody else can change it.
    let found = version(dialect, db).await?;
    if found == 0 {
        dialect
            .migrate(
                db,
                "CREATE TABLE wharf_schema (version BIGINT NOT NULL); INSERT INTO wharf_schema VALUES (0)",
            )
            .await?;
    }
    for (number, statements) in (1_i64..).zip(MIGRATIONS) {
        if number > found {
            tracing::info!(number, database = dialect.name(), "migrating the database");
            dialect.migrate(db, statements).await?;
        }
    }
    sqlx::query("UPDATE wharf_schema SET version = $1")
        .bind(known())
        .execute(&mut *db)
        .await?;
    sqlx::query("COMMIT").execute(&mut *db).await?;
    db.wait(patience);
    Ok(())
}

fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Returns the version of the tables, 0 in an empty database.
async fn version(dialect: &Dialect, db: &mut Db) -> Result<i64, Failure> {
    let corrupt = |detail: &str| {
        Failure::Refused(Error::Corrupt {
            database: dialect.name(),
            detail: detail.into(),
            way_out: dialect.way_out(),
        })
    };
    if !dialect.has_table(db, VERSION_TABLE).await? {
        return match dialect.has_tables(db).await? {
            true => Err(corrupt("it holds tables of another program")),
            false => Ok(0),
        };
    }
    let found: Option<i64> = sqlx::query_scalar("SELECT version FROM wharf_schema")
        .fetch_optional(&mut *db)
        .await?;
    match found {
        Some(found) if found > known() => Err(Failure::Refused(Error::Newer {
            database: dialect.name(),
            found,
            known: known(),
        })),
        Some(found) if found > 0 => Ok(found),
        _ => Err(corrupt("its version is missing")),
    }
}
