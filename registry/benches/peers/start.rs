//! How soon a server answers after its start, and what it holds while it has nothing to do.

use std::path::Path;
use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};

use super::ROUNDS;
use super::servers::{DockerRegistry, Server, Wharf};
use super::table::median;

/// How many blobs ours knows of; the peer starts on an empty folder.
const ROWS: u32 = 1_000_000;

/// Start to the first answer, and memory with nothing to do.
pub(crate) fn first_answer_and_idle_memory(folder: &Path) {
    let mut rows = [
        ("wharf-registry", Vec::new(), Vec::new()),
        ("wharf-registry, 1,000,000 blobs", Vec::new(), Vec::new()),
        ("docker-registry", Vec::new(), Vec::new()),
    ];
    let mut note = |index: usize, server: &Server| {
        rows[index].1.push(server.started_after.as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(300));
        rows[index].2.push(server.resident_mib());
    };
    // The first start makes the database; those that follow are what is measured.
    let (empty, full) = (folder.join("start-wharf"), folder.join("start-wharf-full"));
    drop(Wharf::start(&empty));
    drop(Wharf::start(&full));
    fill(&full.join("data/registry.db"));
    for _ in 0..ROUNDS {
        note(0, &Wharf::start(&empty).server);
        note(1, &Wharf::start(&full).server);
        if let Some(docker) = DockerRegistry::start(&folder.join("start-docker")) {
            note(2, &docker.server);
        }
    }
    println!("\nstart to the first answer, ms; resident memory idle, MiB (medians of {ROUNDS})");
    for (name, start, memory) in rows.iter().filter(|row| !row.1.is_empty()) {
        println!("{name:<34}{:>10.1}{:>10.1}", median(start), median(memory));
    }
}

/// Adds blobs that were pushed just now to the database.
fn fill(database: &Path) {
    let insert = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO blobs (digest, object_key, size_bytes, created_ms, lease_until_ms)
         SELECT 'sha256:' || printf('%064x', i), 'bench-' || i, 1, 4000000000000, 4000000000000 FROM n"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let url = format!("sqlite:{}", database.display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    });
}
