//! Jobs.

use futures_util::FutureExt as _;

use super::SqlMetadata;
use super::row::unsigned;
use super::transaction::{Failure, Transaction};
use crate::clock::Timestamp;
use crate::metadata::dialect::Durability;
use crate::metadata::{Answer, Job, Jobs};

impl Jobs for SqlMetadata {
    fn add_job<'a>(&'a self, kind: &'a str, payload: &'a str, due: Timestamp) -> Answer<'a, ()> {
        let (kind, payload) = (kind.to_owned(), payload.to_owned());
        self.database
            .write("adding a job", Durability::Full, move |transaction| {
                let (kind, payload) = (kind.clone(), payload.clone());
                Box::pin(async move {
                    sqlx::query("INSERT INTO jobs (kind, payload, due_ms) VALUES ($1, $2, $3)")
                        .bind(kind)
                        .bind(payload)
                        .bind(due.as_millis())
                        .execute(transaction.db())
                        .await?;
                    Ok(())
                })
            })
            .boxed()
    }

    fn take_job<'a>(
        &'a self,
        kind: &'a str,
        worker: &'a str,
        now: Timestamp,
        hold: Timestamp,
    ) -> Answer<'a, Option<Job>> {
        let (kind, worker) = (kind.to_owned(), worker.to_owned());
        self.database
            .write("taking on a job", Durability::Relaxed, move |transaction| {
                let (kind, worker) = (kind.clone(), worker.clone());
                Box::pin(async move { take_job(transaction, &kind, &worker, (now, hold)).await })
            })
            .boxed()
    }

    fn finish_job<'a>(&'a self, id: i64, worker: &'a str, again: Option<Timestamp>) -> Answer<'a, bool> {
        let worker = worker.to_owned();
        self.database
            .write("finishing a job", Durability::Full, move |transaction| {
                let worker = worker.clone();
                Box::pin(async move { finish_job(transaction, id, &worker, again).await })
            })
            .boxed()
    }
}

async fn take_job(
    transaction: &mut Transaction,
    kind: &str,
    worker: &str,
    (now, hold): (Timestamp, Timestamp),
) -> Result<Option<Job>, Failure> {
    let sql = transaction.sql(
        "SELECT id, payload, attempts FROM jobs
         WHERE kind = $1 AND due_ms <= $2 AND (held_until_ms IS NULL OR held_until_ms <= $2)
         ORDER BY due_ms, id LIMIT 1 {skip locked}",
    );
    let due: Option<(i64, String, i64)> = sqlx::query_as(sql)
        .bind(kind)
        .bind(now.as_millis())
        .fetch_optional(transaction.db())
        .await?;
    let Some((id, payload, attempts)) = due else {
        return Ok(None);
    };
    let attempts = attempts.saturating_add(1);
    sqlx::query("UPDATE jobs SET worker = $1, held_until_ms = $2, attempts = $3 WHERE id = $4")
        .bind(worker)
        .bind(hold.as_millis())
        .bind(attempts)
        .bind(id)
        .execute(transaction.db())
        .await?;
    let attempts = unsigned("jobs.attempts", attempts)?;
    Ok(Some(Job {
        id,
        kind: kind.to_owned(),
        payload,
        attempts,
    }))
}

async fn finish_job(
    transaction: &mut Transaction,
    id: i64,
    worker: &str,
    again: Option<Timestamp>,
) -> Result<bool, Failure> {
    let change = match again {
        None => sqlx::query("DELETE FROM jobs WHERE id = $1 AND worker = $2")
            .bind(id)
            .bind(worker),
        Some(due) => sqlx::query(
            "UPDATE jobs SET worker = NULL, held_until_ms = NULL, attempts = 0, due_ms = $3
             WHERE id = $1 AND worker = $2",
        )
        .bind(id)
        .bind(worker)
        .bind(due.as_millis()),
    };
    Ok(change.execute(transaction.db()).await?.rows_affected() > 0)
}
