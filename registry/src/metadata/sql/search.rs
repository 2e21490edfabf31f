//! Finding repositories by a word.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Database;
use super::repositories::END;
use super::row::{just_after, unsigned, without_nul};
use crate::metadata::{Error, SearchHit, SearchPage, SearchQuery};

/// How many repositories are read at once.
const BATCH: i64 = 500;
/// How many hits are kept in order at most.
const KEPT: usize = 10_000;
/// A longer text is cut: no name is as long, and SQLite has a limit on what it matches.
const LONGEST_TEXT: usize = 255;

/// A repository's name, description and stars.
type Row = (String, Option<String>, i64);

/// What orders hits: how the name matches, then the stars, then the name. The least comes first.
type Order = (u8, Reverse<u64>, String);

impl Database {
    /// Reads all that match in the ranges that hold what is visible, and keeps the best of them.
    pub(super) async fn search(&self, query: &SearchQuery) -> Result<SearchPage, Error> {
        let text: String = without_nul(&query.text)
            .to_ascii_lowercase()
            .chars()
            .take(LONGEST_TEXT)
            .collect();
        let matching = format!("%{}%", escaped(&text));
        let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let kept = offset.saturating_add(limit).min(KEPT);
        let mut best: BinaryHeap<(Order, String)> = BinaryHeap::new();
        let mut total = 0_u64;
        for (start, end) in query.visible.ranges() {
            let end = end.as_deref().unwrap_or(END);
            let mut from = start;
            while from.as_str() < end {
                let rows = self.matching(&matching, &from, end).await?;
                from = match rows.last() {
                    Some((last, _, _)) if i64::try_from(rows.len()).unwrap_or(i64::MAX) == BATCH => {
                        just_after(last)
                    }
                    _ => END.to_owned(),
                };
                for (name, description, stars) in rows {
                    if !query.visible.includes(&name) {
                        continue;
                    }
                    total = total.saturating_add(1);
                    let stars =
                        unsigned("repositories.stars", stars).map_err(|damaged| self.damaged(damaged))?;
                    best.push((
                        (rank(&name, &text), Reverse(stars), name),
                        description.unwrap_or_default(),
                    ));
                    if best.len() > kept {
                        best.pop();
                    }
                }
            }
        }
        let hits = best
            .into_sorted_vec()
            .into_iter()
            .skip(offset)
            .map(|((_, Reverse(stars), name), description)| SearchHit {
                name,
                description,
                stars,
            })
            .collect();
        Ok(SearchPage { total, hits })
    }

    async fn matching(&self, matching: &str, from: &str, to: &str) -> Result<Vec<Row>, Error> {
        let mut reader = self.readers.lend().await?;
        let rows = sqlx::query_as(
            "SELECT r.name, r.description, r.stars FROM repositories r
             WHERE r.name >= $1 AND r.name < $2
             AND (r.name LIKE $3 ESCAPE '^' OR lower(r.description) LIKE $3 ESCAPE '^')
             AND EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = r.id AND m.deleted_ms IS NULL)
             ORDER BY r.name LIMIT $4",
        )
        .bind(from)
        .bind(to)
        .bind(matching)
        .bind(BATCH)
        .fetch_all(reader.db())
        .await;
        reader.done("searching repositories", rows)
    }
}

fn rank(name: &str, text: &str) -> u8 {
    match name.strip_prefix(text) {
        Some("") => 0,
        Some(_) => 1,
        None => 2,
    }
}

/// Returns the text with what LIKE would take for more than a character made plain.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '_' | '^') {
            escaped.push('^');
        }
        escaped.push(character);
    }
    escaped
}
