//! Work that one replica does for all.

use super::Answer;
use crate::clock::Timestamp;

/// Work that a replica has taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: i64,
    /// What is to be done.
    pub kind: String,
    /// With what.
    pub payload: String,
    /// How often it has been taken on, this time included.
    pub attempts: u32,
}

/// Jobs. Each is taken on by one replica at a time, and again by another if that one does not finish it in time.
pub trait Jobs {
    /// Adds a job to be done at `due` or later.
    fn add_job<'a>(&'a self, kind: &'a str, payload: &'a str, due: Timestamp) -> Answer<'a, ()>;

    /// Takes on the job of this kind that has been due for longest, until `hold`. `worker` is a word that no other
    /// worker uses.
    fn take_job<'a>(
        &'a self,
        kind: &'a str,
        worker: &'a str,
        now: Timestamp,
        hold: Timestamp,
    ) -> Answer<'a, Option<Job>>;

    /// Removes a finished job, or puts it off until `again`; returns whether the worker still held it. If not, nothing
    /// is changed.
    fn finish_job<'a>(&'a self, id: i64, worker: &'a str, again: Option<Timestamp>) -> Answer<'a, bool>;
}
