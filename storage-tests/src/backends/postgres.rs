//! Rows in PostgreSQL: in a server that the test process's tests share, or in one of a test's own, which it may end.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use wharf_registry::config::DatabaseUrl;

use super::rows::RowsUnderTest;

/// Starts a server in a folder of its own, says where, and carries out a command a line until its standard input ends:
/// that happens when the test process does, however it does. Then it ends the server and removes the folder.
///
/// The server sorts as people do (ICU), so that whatever forgets to ask for the order of bytes fails. Nothing is
/// flushed: what these tests show is not durability, and what PostgreSQL has written survives its own crash.
const SCRIPT: &str = r#"
set -eu
trap '' INT TERM HUP
folder=$(mktemp -d "${TMPDIR:-/tmp}/wharf-postgres.XXXXXX")
trap 'rm -rf "$folder"' EXIT
"$1/initdb" -D "$folder/data" -U postgres --auth=trust --no-sync --encoding=UTF8 --locale=C.UTF-8 \
    --locale-provider=icu --icu-locale=en >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
cat >>"$folder/data/postgresql.conf" <<END
fsync = off
full_page_writes = off
listen_addresses = ''
unix_socket_directories = '$folder'
max_connections = 500
shared_buffers = 32MB
END
"$1/pg_ctl" -D "$folder/data" -l "$folder/log" -w start >&2 || { cat "$folder/log" >&2; exit 1; }
echo "$folder"
while read -r command database; do
    case $command in
        create) "$1/createdb" -h "$folder" -U postgres "$database" ;;
        crash) "$1/pg_ctl" -D "$folder/data" -m immediate -w stop >&2 ;;
        start) "$1/pg_ctl" -D "$folder/data" -l "$folder/log" -w start >&2 ;;
    esac
    echo done
done
"$1/pg_ctl" -D "$folder/data" -m immediate -w stop >&2 || true
"#;

/// A server. The script that runs it ends with this process.
#[derive(Debug)]
pub struct Server {
    socket_folder: String,
    child: Child,
    script: Mutex<Option<(ChildStdin, BufReader<std::process::ChildStdout>)>>,
}

/// Makes a fresh database in this process's server.
pub async fn start() -> RowsUnderTest {
    RowsUnderTest::open(start_empty().await, true, None).await
}

/// Makes a database without any table.
pub async fn start_empty() -> DatabaseUrl {
    tokio::task::spawn_blocking(fresh_database).await.unwrap()
}

fn fresh_database() -> DatabaseUrl {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start).fresh_database()
}

impl Server {
    /// Starts a server.
    pub fn start() -> Self {
        let programs = programs();
        let mut command = if rustix::process::geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        let mut child = command
            .args(["-c", SCRIPT, "sh"])
            .arg(&programs)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut stdout = BufReader::new(stdout);
        let mut folder = String::new();
        stdout.read_line(&mut folder).unwrap();
        assert!(
            !folder.is_empty(),
            "PostgreSQL did not start; its programs are in {}",
            programs.display()
        );
        Self {
            socket_folder: folder.trim_end().to_owned(),
            child,
            script: Mutex::new(Some((stdin, stdout))),
        }
    }

    /// Makes a database without any table.
    pub fn fresh_database(&self) -> DatabaseUrl {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let database = format!("wharf_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.tell(&format!("create {database}"));
        let folder = &self.socket_folder;
        DatabaseUrl::Postgres(format!("postgres://postgres@localhost/{database}?host={folder}"))
    }

    /// Ends it as a crash does: every connection at once, with what was committed in its log alone.
    pub fn crash(&self) {
        self.tell("crash");
    }

    /// Starts it again after a crash.
    pub fn start_again(&self) {
        self.tell("start");
    }

    /// Returns what the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(Path::new(&self.socket_folder).join("log")).unwrap()
    }

    /// Sends a line to the script and waits until it is carried out.
    fn tell(&self, line: &str) {
        use std::io::Write as _;
        let mut script = self.script.lock().unwrap();
        let (stdin, stdout) = script.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        let mut answer = String::new();
        stdout.read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "PostgreSQL's script ended at {line}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input.
        drop(self.script.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ended = self.child.wait();
    }
}

/// Finds Debian's folder of the newest server's programs.
fn programs() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .collect();
    versions.sort();
    match versions.pop() {
        Some((_, programs)) => programs,
        None => panic!(
            "no PostgreSQL in {}: install the package postgresql",
            Path::new("/usr/lib/postgresql").display()
        ),
    }
}
