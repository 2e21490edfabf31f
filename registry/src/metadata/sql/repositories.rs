//! Repositories: their rows, the catalog, descriptions and stars.

use std::sync::Arc;

use futures_util::FutureExt as _;
use wharf_protocol::name::RepositoryName;

use super::row::{just_after, without_nul};
use super::transaction::{Failure, Transaction};
use super::{Database, SqlMetadata};
use crate::clock::Timestamp;
use crate::metadata::dialect::Durability;
use crate::metadata::{
    Answer, Description, DescriptionSource, Error, Page, Repositories, SearchPage, SearchQuery, Visible,
};

/// Comes after every name.
pub(super) const END: &str = "~";

/// How many names are read at once at least, so that a caller who may see few of many does not cost a query for each.
const LEAST_BATCH: i64 = 200;

impl Transaction {
    /// Finds a repository's row and holds it until the transaction ends.
    pub(super) async fn known_repository(&mut self, name: &RepositoryName) -> Result<Option<i64>, Failure> {
        let sql = self.sql("SELECT id FROM repositories WHERE name = $1 {for update}");
        Ok(sqlx::query_scalar(sql)
            .bind(name.as_str())
            .fetch_optional(self.db())
            .await?)
    }

    /// Finds or makes a repository's row and holds it until the transaction ends.
    pub(super) async fn repository(&mut self, name: &RepositoryName, now: Timestamp) -> Result<i64, Failure> {
        if let Some(id) = self.known_repository(name).await? {
            return Ok(id);
        }
        let made: Option<i64> = sqlx::query_scalar(
            "INSERT INTO repositories (name, created_ms) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING id",
        )
        .bind(name.as_str())
        .bind(now.as_millis())
        .fetch_optional(self.db())
        .await?;
        match made {
            Some(id) => Ok(id),
            // Another transaction made it meanwhile.
            None => self.known_repository(name).await?.ok_or(Failure::Again),
        }
    }

    /// Sets a description unless the one that is there comes from further up.
    pub(super) async fn describe(&mut self, repository: i64, new: &Description) -> Result<bool, Failure> {
        let (source, text) = match new.text.as_str() {
            "" => (None, None),
            text => (Some(source_number(new.source)), Some(without_nul(text))),
        };
        let set = sqlx::query(
            "UPDATE repositories SET description_source = $1, description = $2
             WHERE id = $3 AND (description_source IS NULL OR description_source >= $4)",
        )
        .bind(source)
        .bind(text)
        .bind(repository)
        .bind(source_number(new.source))
        .execute(self.db())
        .await?;
        Ok(set.rows_affected() > 0)
    }
}

fn source_number(source: DescriptionSource) -> i64 {
    match source {
        DescriptionSource::Page => 0,
        DescriptionSource::Annotation => 1,
        DescriptionSource::Label => 2,
        DescriptionSource::Readme => 3,
    }
}

fn source_of(number: i64) -> DescriptionSource {
    match number {
        0 => DescriptionSource::Page,
        1 => DescriptionSource::Annotation,
        2 => DescriptionSource::Label,
        _ => DescriptionSource::Readme,
    }
}

impl Database {
    /// Returns the first names of a range of repositories that hold a manifest.
    async fn names(&self, from: &str, to: &str, limit: i64) -> Result<Vec<String>, Error> {
        let mut reader = self.readers.lend().await?;
        let names = sqlx::query_scalar(
            "SELECT r.name FROM repositories r WHERE r.name >= $1 AND r.name < $2 AND EXISTS
             (SELECT 1 FROM manifests m WHERE m.repository_id = r.id AND m.deleted_ms IS NULL)
             ORDER BY r.name LIMIT $3",
        )
        .bind(from)
        .bind(to)
        .bind(limit)
        .fetch_all(reader.db())
        .await;
        reader.done("listing repositories", names)
    }

    /// Reads the ranges that hold what is visible, batch by batch, until there is enough.
    async fn catalog(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<String>, Error> {
        let least = after.map(just_after).unwrap_or_default();
        let enough = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
        let batch = i64::from(limit).saturating_add(1).max(LEAST_BATCH);
        let mut items = Vec::new();
        for (start, end) in visible.ranges() {
            let end = end.as_deref().unwrap_or(END);
            let mut from = start.max(least.clone());
            while items.len() < enough && from.as_str() < end {
                let names = self.names(&from, end, batch).await?;
                from = match names.last() {
                    Some(last) if names.len() == usize::try_from(batch).unwrap_or(usize::MAX) => {
                        just_after(last)
                    }
                    _ => END.to_owned(),
                };
                items.extend(names.into_iter().filter(|name| visible.includes(name)));
            }
        }
        let more = items.len() >= enough;
        items.truncate(enough.saturating_sub(1));
        Ok(Page { items, more })
    }
}

impl Repositories for SqlMetadata {
    fn catalog<'a>(
        &'a self,
        visible: &'a Visible,
        after: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, Page<String>> {
        self.database.catalog(visible, after, limit).boxed()
    }

    fn search<'a>(&'a self, query: &'a SearchQuery) -> Answer<'a, SearchPage> {
        self.database.search(query).boxed()
    }

    fn description<'a>(&'a self, repository: &'a RepositoryName) -> Answer<'a, Option<Description>> {
        async move {
            let mut reader = self.database.readers.lend().await?;
            let row: Result<Option<(i64, String)>, _> = sqlx::query_as(
                "SELECT description_source, description FROM repositories
                 WHERE name = $1 AND description_source IS NOT NULL",
            )
            .bind(repository.as_str())
            .fetch_optional(reader.db())
            .await;
            let row = reader.done("reading a description", row)?;
            Ok(row.map(|(source, text)| Description {
                source: source_of(source),
                text,
            }))
        }
        .boxed()
    }

    fn describe<'a>(&'a self, repository: &'a RepositoryName, description: Description) -> Answer<'a, bool> {
        let (repository, description) = (repository.clone(), Arc::new(description));
        self.database
            .write("describing a repository", Durability::Full, move |transaction| {
                let (repository, description) = (repository.clone(), Arc::clone(&description));
                Box::pin(async move {
                    let id = transaction.known_repository(&repository).await?;
                    let id = id.ok_or(Error::RepositoryUnknown)?;
                    transaction.describe(id, &description).await
                })
            })
            .boxed()
    }

    fn star<'a>(
        &'a self,
        repository: &'a RepositoryName,
        user: &'a str,
        starred: bool,
        now: Timestamp,
    ) -> Answer<'a, ()> {
        let (repository, user) = (repository.clone(), user.to_owned());
        self.database
            .write("starring a repository", Durability::Full, move |transaction| {
                let (repository, user) = (repository.clone(), user.clone());
                Box::pin(async move { star(transaction, &repository, &user, starred, now).await })
            })
            .boxed()
    }
}

async fn star(
    transaction: &mut Transaction,
    repository: &RepositoryName,
    user: &str,
    starred: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let id = transaction.known_repository(repository).await?;
    let id = id.ok_or(Error::RepositoryUnknown)?;
    let account = transaction.known_user(user).await?;
    let account = account.ok_or_else(|| Error::UserUnknown(user.to_owned()))?;
    let change = if starred {
        sqlx::query("INSERT INTO stars (repository_id, user_id, starred_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(id)
            .bind(account)
            .bind(now.as_millis())
    } else {
        sqlx::query("DELETE FROM stars WHERE repository_id = $1 AND user_id = $2")
            .bind(id)
            .bind(account)
    };
    change.execute(transaction.db()).await?;
    count_stars(transaction, id).await
}

/// Counts a repository's stars anew.
pub(super) async fn count_stars(transaction: &mut Transaction, repository: i64) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE repositories SET stars = (SELECT count(*) FROM stars WHERE repository_id = $1) WHERE id = $1",
    )
    .bind(repository)
    .execute(transaction.db())
    .await?;
    Ok(())
}
