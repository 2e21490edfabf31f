//! Whole registries: replicas of the real program over stores that they share, and a plain proxy before them.
//!
//! ```text
//! client ─► Proxy ─► Replica 0 ─► Door 0 ─┐
//!             │  └─► Replica 1 ─► Door 1 ─┼─► Bucket (S3 over a folder)
//!             └────► Replica 2 ─► Door 2 ─┘
//!                        └────────────────────► PostgreSQL
//! ```
//!
//! The proxy passes each connection to the next replica in turn, and a [`Caller`] makes one for each
//! request: so consecutive requests of one client reach different replicas. Both the proxy and the doors know what is
//! in flight, and a door can be made to answer with errors, slowly, or never.
//!
//! What this module must not know: how a replica does what it promises. It starts, asks, kills and looks behind.

pub mod bucket;
pub mod client;
pub mod door;
mod in_flight;
pub mod program;
pub mod proxy;
mod replica;

use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use wharf_registry::config::DatabaseUrl;

use self::bucket::Bucket;
use self::client::{Caller, Login};
use self::proxy::Proxy;
pub use self::replica::{Ended, Replica};
use crate::backends::postgres;

/// The password of `admin`, and of every user that a test adds.
pub const PASSWORD: &str = "correct horse battery staple";

/// Replicas behind a proxy.
pub struct Fleet {
    /// The replicas, in the proxy's order.
    pub replicas: Vec<Replica>,
    /// Passes requests on to them in turn.
    pub proxy: Proxy,
    /// Where their bytes are.
    pub bucket: Bucket,
    plan: Plan,
    folder: TempDir,
}

/// How replicas are made.
pub struct Plan {
    program: PathBuf,
    database: String,
    settings: String,
    gives_password: bool,
    /// Whether rows are in PostgreSQL, or in a SQLite file of the one replica's.
    shares_rows: bool,
    /// Whether bytes are in the bucket, or in a folder of the one replica's.
    shares_bytes: bool,
}

impl Plan {
    /// Replicas of the program beside this test, over a fresh database.
    pub async fn new() -> Self {
        Self::of(program::registry()).await
    }

    /// Replicas of another program.
    pub async fn of(program: PathBuf) -> Self {
        let DatabaseUrl::Postgres(database) = postgres::start_empty().await else {
            panic!("PostgreSQL's URL is one");
        };
        Self {
            program,
            database,
            settings: String::new(),
            gives_password: true,
            shares_rows: true,
            shares_bytes: true,
        }
    }

    /// Keeps the rows in a SQLite file: for one replica.
    #[must_use]
    pub fn with_sqlite(mut self) -> Self {
        self.shares_rows = false;
        self
    }

    /// Keeps the bytes in a folder: for one replica.
    #[must_use]
    pub fn on_disk(mut self) -> Self {
        self.shares_bytes = false;
        self
    }

    /// Adds lines to the settings' file (TOML).
    #[must_use]
    pub fn settings(mut self, lines: &str) -> Self {
        self.settings.push_str(lines);
        self
    }

    /// Lets the first start make up the password of `admin`.
    #[must_use]
    pub fn without_password(mut self) -> Self {
        self.gives_password = false;
        self
    }

    /// Starts so many replicas, all at the same moment.
    pub async fn start(self, count: usize) -> Fleet {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        std::fs::write(folder.path().join("config.toml"), &self.settings).unwrap();
        let mut fleet = Fleet {
            replicas: Vec::new(),
            proxy: Proxy::start().await,
            bucket: Bucket::start(),
            plan: self,
            folder,
        };
        for _ in 0..count {
            fleet.add().await;
        }
        // All are begun before any is waited for.
        for replica in &mut fleet.replicas {
            replica.begin();
        }
        for index in 0..count {
            fleet.wait_for(index).await;
        }
        fleet
    }
}

impl Fleet {
    /// Starts three replicas.
    pub async fn three() -> Self {
        Plan::new().await.start(3).await
    }

    /// Makes another replica, which does not run yet, and returns its number.
    pub async fn add(&mut self) -> usize {
        let index = self.replicas.len();
        let door = self.bucket.door().await;
        let mut command = std::process::Command::new(&self.plan.program);
        command
            .arg("--config")
            .arg(self.folder.path().join("config.toml"))
            .arg("--data-dir")
            .arg(self.folder.path().join(format!("replica-{index}")));
        if self.plan.shares_rows {
            command.arg("--database").arg(self.role(index).await);
        }
        if self.plan.shares_bytes {
            command.arg("--storage").arg(door.url());
        }
        let password = self.folder.path().join("password");
        let password = self.plan.gives_password.then_some(password);
        let log = self.folder.path().join(format!("log-{index}"));
        self.replicas
            .push(Replica::new(command, password.as_deref(), log, door));
        self.proxy.add();
        index
    }

    /// Starts a replica and lets the proxy use it.
    pub async fn start(&mut self, index: usize) {
        self.replicas[index].begin();
        self.wait_for(index).await;
    }

    async fn wait_for(&mut self, index: usize) {
        let address = self.replicas[index].wait_until_it_listens().await;
        self.proxy.put_in(index, address);
    }

    /// Kills a replica in the middle of whatever it does.
    pub fn kill(&mut self, index: usize) {
        self.proxy.take_out(index);
        self.replicas[index].kill();
    }

    /// Calls through the proxy.
    pub fn caller(&self, login: Login) -> Caller {
        Caller::new(self.proxy.address(), login)
    }

    /// Calls through the proxy, as `admin`.
    pub fn admin(&self) -> Caller {
        self.caller(Login::password("admin"))
    }

    /// Calls one replica, as `admin`.
    pub fn admin_at(&self, index: usize) -> Caller {
        self.at(index, Login::password("admin"))
    }

    /// Calls one replica.
    pub fn at(&self, index: usize, login: Login) -> Caller {
        Caller::new(self.replicas[index].address(), login)
    }

    /// Returns the folder that holds what a replica keeps for itself.
    pub fn data_dir(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("replica-{index}"))
    }

    /// Returns a file for the test's own use.
    pub fn path(&self, name: &str) -> PathBuf {
        Path::join(self.folder.path(), name)
    }

    /// Looks into the database past the replicas.
    pub async fn rows(&self) -> PgConnection {
        PgConnection::connect(&self.plan.database).await.unwrap()
    }

    /// Makes a role for a replica, so that PostgreSQL tells its connections from the others', and returns the URL.
    async fn role(&self, index: usize) -> String {
        let (scheme, rest) = self.plan.database.split_once("postgres@").unwrap();
        let database = rest.split(['/', '?']).nth(1).unwrap();
        let role = format!("{database}_{index}");
        let mut rows = self.rows().await;
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE ROLE {role} SUPERUSER LOGIN")))
            .execute(&mut rows)
            .await
            .unwrap();
        format!("{scheme}{role}@{rest}")
    }

    /// Returns what a replica has under way in the database: the last statement of each open transaction.
    pub async fn statements(&self, rows: &mut PgConnection, index: usize) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT query FROM pg_stat_activity WHERE state <> 'idle' AND usename = current_database() || '_' || $1",
        )
        .bind(index.to_string())
        .fetch_all(rows)
        .await
        .unwrap()
    }
}
